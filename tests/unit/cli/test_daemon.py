# SPDX-License-Identifier: Apache-2.0
"""`cco daemon …`: what it prints and how it ends; the daemon is a table of answers here."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cco import paths, units
from cco.cli import daemon
from cco.cli.parser import build_parser
from cco.cli.service import Service
from cco.errors import NotFound, RequestError, Unavailable
from tests.unit.cli.fakes import StandIn, health, make_claude, standing_in

Capture = pytest.CaptureFixture[str]

WARNING = {"code": "x", "message": "the disk is full", "hint": "make room"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "r").mkdir(mode=0o700)
    return {"CCO_RUNTIME_DIR": str(tmp_path / "r"), "HOME": str(tmp_path)}


@pytest.fixture
def where(environ: dict[str, str]) -> paths.Paths:
    return paths.locate(environ, uid=os.getuid())


@pytest.fixture
def served(where: paths.Paths) -> Iterator[StandIn]:
    with standing_in(where.socket, {"GET /health": health("/m")}) as found:
        yield found


def do(environ: dict[str, str], *argv: str) -> int:
    return daemon.run(build_parser().parse_args(["daemon", *argv]), environ)


def test_running_daemon_is_not_started(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "start") == 0
    assert capsys.readouterr().out == "already running: http://127.0.0.1:3000\n"


class Others(Service):
    """The system's daemon as root sees it: alice's, its units under systemd."""

    states: dict[str, str]

    def other(self) -> str:
        return "alice"

    def start(self) -> bool:
        return True

    def restart(self) -> None:
        pass

    def manager(self) -> units.Manager | None:
        told = self.states

        class Manager(units.Manager):
            def states(self, units: Sequence[str] = ()) -> dict[str, str]:
                return told

        return Manager("--system", {})


@pytest.mark.parametrize(
    ("states", "status", "word"),
    [
        ({"cco.service": "active"}, 0, "running"),
        ({"cco.service": "inactive"}, 3, "stopped"),
        ({"cco.service": "active", "cco-vfs.service": "failed"}, 1, "ailing"),
    ],
)
def test_root_hears_of_anothers_daemon_what_systemd_knows(
    states: dict[str, str],
    status: int,
    word: str,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr(Others, "states", states, raising=False)
    monkeypatch.setattr(daemon, "Service", Others)
    assert do(environ, "start") == do(environ, "restart") == 0
    assert capsys.readouterr().out == "started: it serves alice\nrestarted\n"
    assert do(environ, "status") == status
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"CCO is {word}",
        "  serves   alice, so only systemd can tell how it is",
    ]


def test_warnings_are_shown_at_the_start(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /health"] = health(
        http={"url": None}, warnings=[WARNING, {**WARNING, "hint": None}]
    )
    assert do(environ, "start") == 0
    assert capsys.readouterr().out == (
        "already running: no HTTP listener\n"
        "  warning  the disk is full\n"
        "           make room\n"
        "  warning  the disk is full\n"
    )


def test_stop_without_daemon_is_no_error(environ: dict[str, str], capsys: Capture) -> None:
    assert do(environ, "stop") == 0
    assert capsys.readouterr().out == "not running\n"


def test_reload_without_daemon_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(Unavailable):
        do(environ, "reload")


# Status.


def test_status_of_a_running_daemon(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "status") == 0
    assert capsys.readouterr().out == (
        "CCO is running\n"
        "  version  0.1.0, up 2 s\n"
        "  gateway  http://127.0.0.1:3000\n"
        "  mount    /m: OK\n"
    )


@pytest.mark.parametrize(
    ("told", "status", "word"),
    [
        (health(), 0, "running"),
        (health(warnings=[WARNING]), 0, "running"),
        ((503, health(status="degraded")), 1, "ailing"),
    ],
)
def test_status_is_told_to_programs(
    told: Any,
    status: int,
    word: str,
    environ: dict[str, str],
    served: StandIn,
    capsys: Capture,
) -> None:
    served.answers["GET /health"] = told
    assert do(environ, "status", "--json") == status

    shown = json.loads(capsys.readouterr().out)
    assert shown == {
        "status": word,
        "units": {},
        "serves": None,
        "supervisorPid": None,
        "socket": str(served.path),
        "health": told[1] if isinstance(told, tuple) else told,
    }


def test_status_without_daemon(environ: dict[str, str], capsys: Capture) -> None:
    assert do(environ, "status") == 3
    assert capsys.readouterr().out == "CCO is stopped\n"
    assert do(environ, "status", "--json") == 3
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"


class Judged(Service):
    """A service with states of units and a supervisor as a test has them."""

    def __init__(
        self, where: paths.Paths, *, states: dict[str, str] | None, pid: int | None, told: Any
    ) -> None:
        super().__init__(where, environ={}, uid=os.getuid())
        self._states = states
        self._pid = pid
        self._told = told
        self.was_asked = False

    def manager(self) -> units.Manager | None:
        if self._states is None:
            return None
        program = make_claude(self.paths.runtime / "bin" / "systemctl")
        blocks = [f"Id={unit}\\nActiveState={state}\\n" for unit, state in self._states.items()]
        program.write_text("#!/bin/sh\nprintf '" + "\\n".join(blocks) + "'\n")
        return units.Manager("--user", {"PATH": f"{program.parent}:/usr/bin:/bin"})

    def supervisor(self) -> int | None:
        return self._pid

    def health(self) -> dict[str, Any] | None:
        self.was_asked = True
        told: dict[str, Any] | None = self._told
        return told


ACTIVE = dict.fromkeys(units.ALL, "active")
GOOD, ILL = health(), health(status="degraded")


@pytest.mark.parametrize(
    ("states", "pid", "told", "status", "asks"),
    [
        # without systemd
        (None, None, None, 3, True),
        (None, 7, None, 1, True),  # it runs, but does not answer
        (None, 7, GOOD, 0, True),
        (None, None, GOOD, 0, True),  # started by hand
        (None, 7, ILL, 1, True),
        # with systemd: its word counts
        (ACTIVE, None, GOOD, 0, True),
        (ACTIVE, None, ILL, 1, True),
        (ACTIVE, None, None, 1, True),  # it hangs
        (ACTIVE | {"cco-http.socket": "failed"}, None, GOOD, 1, True),  # a taken port
        (ACTIVE | {"cco.service": "failed"}, None, None, 1, False),
        # a question would start it by its socket
        (ACTIVE | {"cco.service": "inactive"}, None, GOOD, 3, False),
        (dict.fromkeys(units.ALL, "inactive"), None, GOOD, 3, False),
        # a supervisor beside resting units
        (dict.fromkeys(units.ALL, "inactive"), 7, GOOD, 0, True),
    ],
)
def test_judgement(
    states: dict[str, str] | None,
    pid: int | None,
    told: Any,
    status: int,
    asks: bool,
    where: paths.Paths,
) -> None:
    service = Judged(where, states=states, pid=pid, told=told)
    found, facts = daemon.judge(service)

    assert (found, service.was_asked) == (status, asks)
    assert facts["units"] == (states or {})
    assert facts["supervisorPid"] == pid


def test_states_of_units_are_shown(where: paths.Paths, capsys: Capture) -> None:
    daemon._status(Judged(where, states=ACTIVE, pid=None, told=GOOD), as_json=False)

    shown = capsys.readouterr().out
    assert "  cco-vfs.service: active\n" in shown
    assert "does not answer" not in shown


@pytest.mark.parametrize(
    ("states", "pid", "is_silent"),
    [(ACTIVE, None, True), (None, 7, True), (ACTIVE | {units.SERVICE: "activating"}, None, False)],
)
def test_daemon_that_hangs_is_not_told_as_stopped(
    states: dict[str, str] | None,
    pid: int | None,
    is_silent: bool,
    where: paths.Paths,
    capsys: Capture,
) -> None:
    assert daemon._status(Judged(where, states=states, pid=pid, told=None), as_json=False) == 1
    told = "the daemon does not answer; see: cco daemon logs"
    assert (told in capsys.readouterr().out) is is_silent


# The log.

LOG = """\
2026-11-20T10:00:00.000Z INFO one: first
2026-11-21T10:00:00.000Z ERROR two: failed
Traceback (most recent call last):
  File "x.py", line 1
ValueError: x
2026-11-22T10:00:00.000Z INFO three: last
"""


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        ([], range(6)),
        (["-n", "2"], (4, 5)),
        (["-n", "0"], ()),
        (["--since", "2026-11-21T10:00:00Z"], (1, 2, 3, 4, 5)),  # the traceback with its line
        (["--since", "2026-11-21T12:00:00+01:00"], (5,)),
        (["--since", "2026-11-21T11:00:00+01:00", "-n", "3"], (3, 4, 5)),
        (["--since", "2026-11-23T00:00Z"], ()),
    ],
)
def test_log_file_is_shown(
    argv: list[str], lines: range, environ: dict[str, str], where: paths.Paths, capsys: Capture
) -> None:
    where.state.mkdir(parents=True)
    where.log_file.write_text(LOG)
    assert do(environ, "logs", *argv) == 0

    all_lines = LOG.splitlines(keepends=True)
    assert capsys.readouterr().out == "".join(all_lines[at] for at in lines)


def test_log_since_a_span_as_for_statistics(
    environ: dict[str, str], where: paths.Paths, capsys: Capture
) -> None:
    now = datetime.now(UTC)
    times = (now - timedelta(days=2), now - timedelta(minutes=5))
    lines = [f"{time:%Y-%m-%dT%H:%M:%S.000Z} INFO a: b\n" for time in times]
    where.state.mkdir(parents=True)
    where.log_file.write_text("".join(lines))
    assert do(environ, "logs", "--since", "1h") == 0
    assert capsys.readouterr().out == lines[1]


def test_journal_that_may_be_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "JOURNALS", (tmp_path / "none", tmp_path))
    daemon._check_journal()  # there is no systemd
    (tmp_path / "machine").mkdir()
    daemon._check_journal()


def test_less_than_no_lines_is_no_number_of_lines(
    environ: dict[str, str], where: paths.Paths, capsys: Capture
) -> None:
    where.state.mkdir(parents=True)
    where.log_file.write_text(LOG)
    with pytest.raises(SystemExit):
        do(environ, "logs", "-n", "-5")
    assert "-5 is less than none" in capsys.readouterr().err


def test_following_begins_at_the_time_that_is_given(
    environ: dict[str, str], where: paths.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, command: became.append(command))
    where.state.mkdir(parents=True)
    where.log_file.write_text(LOG)
    do(environ, "logs", "-f", "--since", "2026-11-21T10:00:00Z")
    assert became == [["tail", "-F", "-n", "5", str(where.log_file)]]
    with pytest.raises(RequestError):
        do(environ, "logs", "-f", "--since", "nonsense")


@pytest.mark.parametrize("given", ["yesterday-ish", "0001-01-01T00:00+14:00", ""])
def test_time_that_is_none_is_told(given: str, environ: dict[str, str], where: paths.Paths) -> None:
    where.state.mkdir(parents=True)
    where.log_file.write_text(LOG)
    if not given:
        assert do(environ, "logs", "--since", given) == 0  # nothing is asked for
        return
    with pytest.raises(RequestError) as caught:
        do(environ, "logs", "--since", given)

    assert caught.value.code == "bad-time"
    assert caught.value.hint


def test_missing_log_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(NotFound) as caught:
        do(environ, "logs")

    assert caught.value.code == "no-log"


def test_log_with_broken_letters_is_shown(
    environ: dict[str, str], where: paths.Paths, capsys: Capture
) -> None:
    where.state.mkdir(parents=True)
    where.log_file.write_bytes(b"2026 \xff\n")
    assert do(environ, "logs") == 0
    assert capsys.readouterr().out == "2026 \ufffd\n"
