# SPDX-License-Identifier: Apache-2.0
"""Asking an agent from the command line: by people at a terminal, and by programs."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cco.cli import invoke
from cco.cli.parser import build_parser
from cco.errors import CcoError, NotFound, RequestError, Unavailable, UpstreamError
from tests.unit.cli.fakes import StandIn

Capture = pytest.CaptureFixture[str]

ANSWER: dict[str, Any] = {
    "agent": "Chief Architect",
    "model": "claude-opus-x",
    "response": "Do it so.",
    "stopReason": "end_turn",
    "cached": False,
    "usage": {"total": 1234},
    "costUsd": 0.01,
    "latencyMs": 2345.6,
}


def do(environ: dict[str, str], *argv: str) -> int:
    return invoke.run(build_parser().parse_args(argv), environ)


@pytest.mark.parametrize(
    ("argv", "stdin", "context"),
    [
        ([], "", ""),
        (["--context", "-"], "from a pipe", "from a pipe"),
        (["--context", "FILE"], "", "from a file, ü"),
    ],
)
def test_agent_is_asked(
    argv: list[str],
    stdin: str,
    context: str,
    environ: dict[str, str],
    served: StandIn,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("from a file, ü", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    monkeypatch.chdir(tmp_path)
    served.answers["POST /api/agent/invoke"] = ANSWER
    words = [str(tmp_path / "file") if word == "FILE" else word for word in argv]
    assert do(environ, "invoke", "chief-architect", "the task", *words) == 0

    assert capsys.readouterr() == ("Do it so.\n", "")
    _, headers, payload = served.received[-1]
    assert payload == {
        "agent": "chief-architect",
        "task": "the task",
        "context": context,
        "project": str(tmp_path),
    }
    assert "x-api-key" not in headers
    assert "x-cco-session" not in headers


@pytest.mark.parametrize("name", ["-", "FILE"])
def test_binary_context_is_refused_before_it_is_sent(
    name: str,
    environ: dict[str, str],
    served: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"\x7fELF\xd0\x00"
    (tmp_path / "file").write_bytes(data)
    # As Python reads in the locale C.UTF-8.
    stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(RequestError) as caught:
        do(environ, "invoke", "a", "t", "--context", name.replace("FILE", str(tmp_path / "file")))

    assert caught.value.code == "context-unreadable"
    assert caught.value.message.endswith("cannot be read as text (it is not UTF-8)")
    assert all("invoke" not in str(target) for target, *_ in served.received)


def test_key_and_session_travel_in_headers(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    environ |= {"ANTHROPIC_API_KEY": "k", "CCO_SESSION": "t", "ANTHROPIC_AUTH_TOKEN": "oauth"}
    served.answers["POST /api/agent/invoke"] = ANSWER
    assert do(environ, "invoke", "a", "t", "--json") == 0

    assert json.loads(capsys.readouterr().out) == ANSWER
    _, headers, _ = served.received[-1]
    assert (headers["x-api-key"], headers["x-cco-session"]) == ("k", "t")
    assert "oauth" not in str(served.received)  # a login is for Claude Code alone


def test_an_agent_is_asked_again_if_wanted(environ: dict[str, str], served: StandIn) -> None:
    served.answers["POST /api/agent/invoke"] = ANSWER
    for words, told in (((), None), (("--no-cache",), "no-cache")):
        assert do(environ, "invoke", "a", "t", *words) == 0
        _, headers, _ = served.received[-1]
        assert headers.get("cache-control") == told


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"\xff")])
def test_context_that_cannot_be_read_is_told(
    make: Any, environ: dict[str, str], tmp_path: Path
) -> None:
    make(tmp_path / "file")
    with pytest.raises(RequestError) as caught:
        do(environ, "invoke", "a", "t", "--context", str(tmp_path / "file"))

    assert caught.value.code == "context-unreadable"


# On a terminal.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(environ: dict[str, str], *argv: str) -> tuple[str, str]:
    """Return what a command shows at a terminal: its output, and what else is told."""
    out, err = Terminal(), Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            assert do(environ, *argv) == 0
        except CcoError as error:
            error.shown = out.getvalue()  # type: ignore[attr-defined]
            raise
    return out.getvalue(), err.getvalue()


def events(*given: tuple[str, Any]) -> bytes:
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in given).encode()


def test_answer_is_shown_as_it_comes(environ: dict[str, str], served: StandIn) -> None:
    served.answers["POST /api/agent/invoke"] = events(
        ("delta", {"text": "Do it\n"}), ("delta", {"text": "\tsö."}), ("result", ANSWER)
    )
    out, err = show(environ, "invoke", "a", "t")

    assert out == "Do it\n\tsö.\n"
    assert err == "cco: Chief Architect, claude-opus-x, $0.010000, 1234 tokens, 2.3 s\n"
    assert served.received[-1][2]["stream"] is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": "names tests"}, "Chief Architect (names tests), "),
        ({"costUsd": None}, "unknown"),
        ({"cached": True, "costUsd": 0}, "answered before, at no cost"),
        ({"stopReason": "max_tokens"}, "cut short by its limit of length"),
    ],
)
def test_what_is_told_behind_the_answer(
    changes: dict[str, Any],
    words: str,
    environ: dict[str, str],
    served: StandIn,
) -> None:
    served.answers["POST /api/agent/invoke"] = events(("result", {**ANSWER, **changes}))
    assert words in show(environ, "invoke", "a", "t")[1]


def test_answer_does_nothing_to_the_terminal(environ: dict[str, str], served: StandIn) -> None:
    served.answers["POST /api/agent/invoke"] = events(
        ("delta", {"text": "a\x1b]52;c;ZXZpbA==\x07b\x9b2Jc\r\x08"}), ("result", ANSWER)
    )
    assert show(environ, "invoke", "a", "t")[0] == "a]52;c;ZXZpbA==b2Jc\n"


def test_json_is_no_stream(environ: dict[str, str], served: StandIn) -> None:
    served.answers["POST /api/agent/invoke"] = ANSWER
    assert json.loads(show(environ, "invoke", "a", "t", "--json")[0]) == ANSWER


@pytest.mark.parametrize(
    ("answer", "kind", "code", "shown"),
    [
        (
            events(
                ("delta", {"text": "Do"}),
                ("error", {"error": {"code": "upstream-broken", "message": "no", "hint": "h"}}),
            ),
            UpstreamError,
            "upstream-broken",
            "Do\n",
        ),
        (events(("delta", {"text": "Do"})), Unavailable, "daemon-unavailable", "Do\n"),
        (b"", Unavailable, "daemon-unavailable", ""),
        (
            (404, {"error": {"code": "unknown-agent", "message": "no", "hint": "h"}}),
            NotFound,
            "unknown-agent",
            "",
        ),
    ],
)
def test_answer_that_is_none_is_an_error(
    answer: Any,
    kind: type[CcoError],
    code: str,
    shown: str,
    environ: dict[str, str],
    served: StandIn,
) -> None:
    served.answers["POST /api/agent/invoke"] = answer
    with pytest.raises(kind) as caught:
        show(environ, "invoke", "a", "t")

    assert (type(caught.value), caught.value.code) == (kind, code)
    assert caught.value.hint
    assert caught.value.shown == shown  # type: ignore[attr-defined]
