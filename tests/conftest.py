# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: a clean environment, and nothing left behind.

Markers follow from folders, so that no test forgets its own.
"""

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import pytest

from tests import capabilities, leftovers
from tests.logwatch import LogWatch

_TESTS: Final = Path(__file__).parent

_FOREIGN: Final = (
    "ANTHROPIC_",
    "CCO_",
    "CLAUDE",
    "CREDENTIALS_DIRECTORY",
    "CURL_CA_BUNDLE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_",
    "NODE_EXTRA_CA_CERTS",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "ORCHESTRATOR_",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_",
    "SYSTEMD_",
    "WATCHDOG_",
    "XDG_",
)
"""Beginnings of names that would reach from the developer's session into a test."""

_FOREIGN_ENDS: Final = (
    "_DIRECTORY",  # STATE_DIRECTORY and its like, from systemd
    "_PROXY",
    "_proxy",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what a person wants who looks into a failure."""
    parser.addoption("--sit", action="store_true", help="keep the machine up at a failed test")


def pytest_configure(config: pytest.Config) -> None:
    """End in good order on SIGTERM too, so that machines and mounts are taken down."""
    signal.signal(signal.SIGTERM, _end_in_good_order)
    # A run below nohup(1) would hand its deafness on to whatever is tested.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("--sit"):
        config.pluginmanager.unregister(name="timeout")  # a person takes the time it takes


def _end_in_good_order(number: int, frame: FrameType | None) -> None:
    pytest.exit("SIGTERM", returncode=128 + number)


def pytest_report_header() -> list[str]:
    """Say what this host can do, so that a skip is no surprise."""
    return capabilities.report()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder."""
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        if folder == "integration":
            item.add_marker(pytest.mark.integration)
        elif folder == "machine":
            item.add_marker(pytest.mark.machine)
            item.add_marker(pytest.mark.needs("machine"))
            item.add_marker(pytest.mark.timeout(900))  # the first one makes the base of all
        elif folder == "lint":
            item.add_marker(pytest.mark.timeout(300))  # mypy with a cold cache


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail in CI, a test whose needs the host does not meet."""
    for marker in item.iter_markers("needs"):
        capabilities.require(*marker.args)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves a thread, process, descriptor, FUSE mount or temporary file.

    Its temporary files go to a directory of its own, which other users may enter, and whose short
    path leaves room for the names of sockets; ``tmp_path`` is elsewhere, and need not be empty.
    """
    base = tmp_path_factory.getbasetemp()
    elsewhere = Path(tempfile.gettempdir())
    place = Path(tempfile.mkdtemp(prefix="cco-test-"))
    place.chmod(0o1777)
    before = leftovers.take_snapshot(place, base, elsewhere=elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(leftovers.TOKEN_VARIABLE, before.token)
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", str(place))
        yield
    found = leftovers.find(before)
    if found:
        leftovers.sweep(before)
    shutil.rmtree(place, ignore_errors=True)
    if found:
        pytest.fail("left behind: " + "; ".join(found), pytrace=False)


@pytest.fixture(autouse=True)
def clean_environment(
    nothing_left_behind: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Give the test an environment without the developer's own settings, and an empty home."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.endswith(_FOREIGN_ENDS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def watch_log(nothing_left_behind: None) -> Iterator[LogWatch]:
    """Fail a test that logs a warning it has not announced with ``expect_log``."""
    watch = LogWatch()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.addHandler(watch)
    yield watch
    root.handlers[:] = handlers
    root.setLevel(level)
    complaints = watch.complaints()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture
def expect_log(watch_log: LogWatch) -> Callable[[str], None]:
    """Return a function that announces log records of level WARNING and above, by pattern."""
    return watch_log.expect
