# SPDX-License-Identifier: Apache-2.0
"""The machine that tests of this folder share, and what a failed one shows of it."""

import shlex
from collections.abc import Generator, Iterator

import pytest

from tests import capabilities
from tests.machine.installed import Chosen, Login, chosen, equipped, journal_read, login
from tests.machine.machine import SUITES, Machine, booted
from tests.machine.package import Packages, build, install

_CURSOR = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Build the packages of this tree, once for all tests."""
    capabilities.require("machine")
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session", params=SUITES)
def machine(request: pytest.FixtureRequest, packages: Packages) -> Iterator[Machine]:
    """Boot a Debian with CCO installed; one machine for all tests, which therefore undo it all."""
    with booted(request.param) as machine:
        install(machine, packages.deb)
        yield machine


@pytest.fixture(scope="module")
def equipment(machine: Machine) -> Iterator[None]:
    """Give the machine a Claude Code and an upstream for the tests of a file."""
    with equipped(machine):
        yield


@pytest.fixture
def alice(machine: Machine, equipment: None) -> Iterator[Login]:
    """Give alice, with no CCO running; files about the system's daemon have another alice."""
    with login(machine, "alice") as alice:
        yield alice


@pytest.fixture
def running(alice: Login) -> Login:
    """Start alice's CCO."""
    alice.start()
    return alice


@pytest.fixture
def elected(machine: Machine, equipment: None) -> Iterator[Chosen]:
    """Give alice, whom the system's daemon is to serve; it does not run."""
    with chosen(machine, "alice") as alice:
        yield alice


@pytest.fixture
def served(elected: Chosen) -> Chosen:
    """Start the system's daemon, which serves alice."""
    elected.start()
    return elected


@pytest.fixture(params=SUITES)
def fresh(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Boot a machine that has never seen CCO."""
    capabilities.require("machine")
    with booted(request.param) as machine:
        yield machine


@pytest.fixture
def newcomer(fresh: Machine) -> Iterator[Login]:
    """Give the alice of that machine; fail if her CCO leaves unexpected lines in the journal."""
    alice = Login(fresh, "alice")
    with journal_read(alice):
        yield alice


@pytest.fixture(autouse=True)
def remember_journal(request: pytest.FixtureRequest) -> None:
    """Note where the journal ends before the test, unless it boots a machine of its own."""
    if "machine" in request.fixturenames:
        machine: Machine = request.getfixturevalue("machine")
        request.node.stash[_CURSOR] = machine.cursor()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the machine's journal of the test to a failure; with --sit, wait with the machine up."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if not report.failed or not isinstance(machine, Machine):
        return report
    entries = machine.journal(since=item.stash.get(_CURSOR, None))
    lines = [f"{entry.get('SYSLOG_IDENTIFIER')}: {entry.get('MESSAGE')}" for entry in entries]
    report.sections.append(("journal of the machine", "\n".join(lines)))
    if item.config.getoption("--sit"):
        _sit(item, machine, report)
    return report


def _sit(item: pytest.Item, machine: Machine, report: pytest.TestReport) -> None:
    capture = item.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    capture.suspend_global_capture(in_=True)
    print(f"\n{report.longreprtext}\n\n{item.nodeid} failed; in another terminal, as root:")
    print(f"  {shlex.join(machine.shell_command())}")
    input("Enter ends the machine's rest: ")
    capture.resume_global_capture()
