# SPDX-License-Identifier: Apache-2.0
"""The log: where it goes, how it looks, and what never stands in it."""

import contextvars
import io
import logging
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cco.log import (
    FLOOD,
    MAX_COUNTED,
    QUIET_S,
    Flood,
    Repeats,
    _about,
    begin,
    redact,
    setup,
    tell_about,
)

log = logging.getLogger("somewhere")
KEY = "sk-ant-api03-abcDEF_123-secret"


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Begin outside of a request, and leave the root logger's level as it was.

    Its handlers are put back by the guard of all tests.
    """
    level = logging.getLogger().level
    token = _about.set({})
    yield
    _about.reset(token)
    logging.getLogger().setLevel(level)


def logged(*, environ: dict[str, str] | None = None, debug: bool = False) -> io.StringIO:
    stream = io.StringIO()
    setup(environ or {}, stream=stream, debug=debug)
    return stream


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"key {KEY}, and more",
        f"x-api-key: {KEY}",
        "sk-ant-oat01-abcdef",
        "Authorization: Bearer abc.def-123",
        "authorization: bearer abc.def-123",
        "{'Authorization': 'Bearer abc.def-123'}",
        "('authorization', 'Bearer abc.def-123')",
        "(b'Authorization', b'Bearer abc.def-123')",
        "Proxy-Authorization: Basic abcdef12345=",
        "authorization=abcdef123",
        "x-api-key: abcdef123",
        "X-Api-Key=abcdef123",
        "{'x-api-key': 'abcdef123'}",
        '{"x-api-key":"abcdef123"}',
        "[('x-api-key', 'abcdef123')]",
        "(b'x-api-key', b'abcdef123')",
        "x-cco-session: abcdef123",
        "{'x-cco-session': 'abcdef123'}",
        "CCO_SESSION=abcdef123",
        "'CCO_SESSION': 'abcdef123'",
        "ANTHROPIC_API_KEY=abcdef123",
        "ANTHROPIC_AUTH_TOKEN=abcdef123",
        "CLAUDE_CODE_OAUTH_TOKEN='abcdef123'",
        "http://user:abcdef123@proxy.example:3128",
    ],
)
def test_credentials_are_blotted_out(text: str) -> None:
    shown = redact(text)

    assert "[redacted]" in shown
    assert not re.search(r"abc|secret|def|123", shown), shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "POST /v1/messages: no connection to the upstream anthropic",
        "request cco_0123456789abcdef0123456789abcdef took 12.5 ms",
        "http://127.0.0.1:3000/s/0123456789abcdef",
        "https://api.anthropic.com",
        "the session 0123456789abcdef has ended",
        "no API key",
        "user@host.example",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_two_credentials_are_both_blotted_out() -> None:
    assert redact(f"{KEY} Bearer abcdef {KEY}") == (
        "sk-ant-api0[redacted] Bearer [redacted] sk-ant-api0[redacted]"
    )


@pytest.mark.usefixtures("levels")
def test_message_arguments_and_traceback_are_redacted(watch_log: object) -> None:
    stream = logged()
    try:
        raise ValueError(f"the key {KEY} is wrong")
    except ValueError:
        log.info("failed with %s", f"x-api-key: {KEY}", exc_info=True)
    log.info(f"in the message {KEY}")  # noqa: G004
    log.info("in a mapping %(key)s", {"key": KEY})

    text = stream.getvalue()
    assert "Traceback" in text
    assert "ValueError" in text
    assert "secret" not in text
    assert text.count("[redacted]") == 4


def test_traceback_that_another_formatter_has_made_is_redacted_too() -> None:
    # logging keeps the text of a traceback in the record for all handlers.
    stream = logged()
    try:
        raise ValueError(KEY)
    except ValueError as error:
        record = log.makeRecord("x", 20, "f", 1, "m", (), (type(error), error, None))
    logging.Formatter().format(record)
    log.handle(record)

    assert "secret" not in stream.getvalue()


def test_line_has_time_level_and_name() -> None:
    stream = logged()
    log.info("up")

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO somewhere: up\n", stream.getvalue()
    )


def test_path_with_a_line_end_does_not_pass_for_another_line() -> None:
    stream = logged()
    log.info("a session begins in %s", "/x\n2026-11-28T00:00:00.000Z ERROR cco: forged\x1b[2J")
    [line] = stream.getvalue().splitlines()
    assert line.endswith(r"/x\n2026-11-28T00:00:00.000Z ERROR cco: forged\x1b[2J")


def test_terminal_gets_no_time() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        setup({}, stream=terminal)
        log.info("up")
        assert screen.read(100).strip() == b"INFO somewhere: up"


def test_setup_twice_logs_once() -> None:
    logged()
    stream = logged()
    log.info("up")

    assert stream.getvalue().count("up") == 1


@pytest.mark.parametrize(
    ("environ", "debug", "level"),
    [
        ({}, False, logging.INFO),
        ({}, True, logging.DEBUG),
        ({"SYSTEMD_LOG_LEVEL": "debug"}, False, logging.DEBUG),
        ({"SYSTEMD_LOG_LEVEL": "notice"}, False, logging.INFO),
        ({"SYSTEMD_LOG_LEVEL": "warning"}, False, logging.WARNING),
        ({"SYSTEMD_LOG_LEVEL": "err"}, False, logging.ERROR),
        ({"SYSTEMD_LOG_LEVEL": "crit"}, False, logging.CRITICAL),
        ({"SYSTEMD_LOG_LEVEL": "7"}, False, logging.DEBUG),  # numbers are as good
        ({"SYSTEMD_LOG_LEVEL": "3"}, False, logging.ERROR),
        ({"SYSTEMD_LOG_LEVEL": "err"}, True, logging.DEBUG),  # whoever asks for it gets it
        ({"SYSTEMD_LOG_LEVEL": "loud"}, False, logging.INFO),
        ({"SYSTEMD_LOG_LEVEL": ""}, False, logging.INFO),
    ],
)
def test_level_is_the_one_that_was_asked_for(
    environ: dict[str, str], debug: bool, level: int
) -> None:
    logged(environ=environ, debug=debug)

    assert logging.getLogger().level == level


# The journal.


def test_stream_that_is_not_the_journals_is_written_to(tmp_path: Path) -> None:
    for told in ("1:2", "", "x"):
        with (tmp_path / "log").open("w+") as stream:
            setup({"JOURNAL_STREAM": told}, stream=stream)
            log.info("up")
            stream.seek(0)
            assert stream.read().endswith("INFO somewhere: up\n")


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take what would go to the journal's socket, as lines ``FIELD=value``."""
    sent: list[str] = []
    monkeypatch.setattr("systemd.journal.sendv", lambda *fields: sent.extend(map(str, fields)))
    return sent


@pytest.fixture
def journal_stream(tmp_path: Path) -> Iterator[None]:
    """Log as under systemd: the journal's stream is the standard error that it names."""
    with (tmp_path / "stderr").open("w+") as stream:
        found = os.fstat(stream.fileno())
        setup({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, stream=stream, debug=True)
        yield
        stream.seek(0)
        assert stream.read() == ""  # nothing twice


@pytest.mark.usefixtures("journal_stream")
def test_journal_gets_fields(journal: list[str]) -> None:
    log.info("up after %d s", 3)

    assert {"MESSAGE=up after 3 s", "LOGGER=somewhere", "SYSLOG_IDENTIFIER=cco"} <= set(journal)
    assert "PRIORITY=6" in journal
    assert any(field.startswith("CODE_FILE=") for field in journal)
    assert not [field for field in journal if not field.partition("=")[0].isupper()]


@pytest.mark.usefixtures("journal_stream")
def test_no_field_of_the_journal_holds_a_credential(journal: list[str]) -> None:
    # The library adds the arguments and the exception as fields of their own.
    try:
        raise ValueError(f"the key {KEY} is wrong")
    except ValueError:
        log.info("failed with %s", f"x-api-key: {KEY}", exc_info=True, extra={"NOTE": KEY})

    text = "\n".join(journal)
    assert "EXCEPTION_TEXT=Traceback" in text
    assert "NOTE=sk-ant-api0[redacted]" in journal
    assert "secret" not in text


@pytest.mark.usefixtures("journal_stream")
def test_journal_knows_the_request(journal: list[str]) -> None:
    def serve() -> None:
        begin("cco_0")
        tell_about(SESSION="5e55")
        begin("cco_1")  # the next one in the same thread
        tell_about(SESSION="5e56", PROJECT="/home/ada/p", AGENT="")
        log.info("inside", extra={"CODE": "upstream-timeout"})

    contextvars.copy_context().run(serve)
    inside, journal[:] = list(journal), []
    log.info("outside")

    wanted = {"REQUEST_ID=cco_1", "SESSION=5e56", "PROJECT=/home/ada/p", "CODE=upstream-timeout"}
    assert wanted <= set(inside)
    assert not [field for field in inside if field.startswith("AGENT")]
    assert not [field for field in journal if field.startswith(("REQUEST_ID", "SESSION"))]


# What is said again and again.


def at(second: float, text: str = "no connection", level: int = logging.WARNING) -> Any:
    record = log.makeRecord("x", level, "f", 1, "%s", (text,), None)
    record.created = second
    return record


def test_outage_is_told_once_and_then_counted() -> None:
    repeats = Repeats()
    told = []
    for second in range(1000, 1131):
        record = at(second)
        if repeats.filter(record):
            told.append((second, record.getMessage()))

    assert told == [
        (1000, "no connection"),
        (1060, "no connection (and 59 times since the last)"),
        (1120, "no connection (and 59 times since the last)"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (at(1000), at(1000, "another")),
        (at(1000), at(1000 + QUIET_S)),
        (at(1000), at(900)),  # the clock was set back
        (at(1000, level=logging.INFO), at(1000, level=logging.INFO)),  # the life cycle
    ],
)
def test_what_is_not_a_repetition_is_told(first: Any, second: Any) -> None:
    repeats = Repeats()
    assert repeats.filter(first)
    assert repeats.filter(second)
    assert second.getMessage() in ("another", "no connection")


def test_many_different_warnings_are_not_remembered_for_ever() -> None:
    repeats = Repeats()
    for number in range(MAX_COUNTED + 1):
        repeats.filter(at(1000, str(number)))

    assert not repeats.filter(at(1001, str(MAX_COUNTED)))
    assert repeats.filter(at(1001, "0"))


def test_flood_is_cut_off_and_tells_so() -> None:
    flood = Flood()
    lines = [at(1000 + number / 100, f"line {number}", logging.INFO) for number in range(600)]
    told = [record.getMessage() for record in lines if flood.filter(record)]

    assert told[:-1] == [f"line {number}" for number in range(FLOOD - 1)]
    assert told[-1] == "line 499 (a flood: what follows within 30 s is left out)"
    assert flood.filter(at(1029, level=logging.DEBUG))  # whoever asks for those wants all
    later = at(1030)
    assert flood.filter(later)
    assert later.getMessage() == "no connection (100 lines before it were left out)"


def test_clock_that_is_set_back_silences_nobody() -> None:
    flood = Flood()
    for number in range(FLOOD + 1):
        flood.filter(at(1000, str(number)))

    assert flood.filter(at(900))


def test_percent_signs_of_a_told_line_stay() -> None:
    flood = Flood()
    lines = [at(1000, f"{number} %s 100%") for number in range(FLOOD)]

    assert all(flood.filter(record) for record in lines)
    assert lines[-1].getMessage().startswith("499 %s 100% (a flood")
