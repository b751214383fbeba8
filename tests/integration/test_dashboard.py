# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real terminal, of a real daemon: keys are typed, and screens looked at."""

import re
import shlex
import signal
import sys
import time
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cco.tui import figures
from cco.tui.views.requests import tokens
from tests import recomputed, screenshots, svg
from tests.capabilities import DEBIAN
from tests.daemon import CCO, Daemon
from tests.integration import test_reports
from tests.integration.dashboard import (
    dashboard,
    dashboard_of,
    fill,
    line_with,
    rows,
    settled,
    told,
)
from tests.integration.traffic import ask
from tests.mounting import wait_until
from tests.screens import compare, normalised

pytestmark = [pytest.mark.needs("tmux", "fuse"), pytest.mark.timeout(240)]

VIEWS = ("Overview", "Requests", "Agents", "Sessions", "Upstreams", "Log", "Machine")
UP = "● up"


def test_every_figure_on_the_screen_is_the_apis_and_the_apis_the_ledgers(cco: Daemon) -> None:
    cco.configure("[[budget]]\nusd = 7.5\n")
    cco.start()
    test_reports.work(cco)
    today = date.today().isoformat()  # noqa: DTZ011 - the machine's day, as the ledger has it
    api = ask(cco, project="", since=today)
    ledger = recomputed.figures(recomputed.rows_of(cco))
    for member in ("cost", "tokens", "requests", "cache", "promptCache", "recent"):
        assert api[member] == ledger[member], member

    with dashboard(cco, columns=120, rows=40) as shown:
        shown.wait_for(UP)
        screen = settled(shown, 1, "Overview", "prompt cache")
        shown.wait_for(figures.usd(api["cost"]["totalUsd"]))
        _overview(shown.visible(), api, told(cco, "/api/activity"))
        _limits(screen, told(cco, "/api/limits"))
        _requests(settled(shown, 2, "Requests", "known"), api["recent"])
        _agents(settled(shown, 3, "Agents", "in all"), api)
        _sessions(settled(shown, 4, "Sessions", "3 alive"), told(cco, "/api/sessions")["sessions"])
        _upstreams(settled(shown, 5, "Upstreams", "closed"), told(cco, "/api/upstreams"))
        log = settled(shown, 6, "Log", "serving")
        assert any("mounted on" in line for line in log)
        _machine(settled(shown, 7, "Machine", "dashboard"), cco)


def _overview(screen: list[str], api: dict, activity: dict) -> None:  # type: ignore[type-arg]
    first, second, third, fourth = screen[4:8]
    assert first.split()[:2] == ["cost", figures.usd(api["cost"]["totalUsd"])]
    assert f"last hour {figures.usd(sum(activity['minutes']['costUsd']))}" in first
    assert f"requests {figures.whole(api['requests']['total'])}" in first
    assert f"{figures.whole(api['requests']['errors'])} failed" in first
    assert second.split() == [
        *("tokens", figures.count(api["tokens"]["total"])),
        *("in", figures.count(api["tokens"]["input"])),
        *("out", figures.count(api["tokens"]["output"])),
    ]
    assert figures.percent(api["cache"]["hitRate"]) in third
    assert f"saved     {figures.usd(api['cost']['savedUsd'])}" in third
    looked = api["cache"]["hits"] + api["cache"]["misses"]
    assert f"hits     {api['cache']['hits']} of {looked}" in third
    assert figures.percent(api["promptCache"]["hitRate"]) in fourth
    assert f"saved     {figures.usd(api['promptCache']['savedUsd'])}" in fourth
    assert f"{api['requests']['unpriced']} of unknown price" in screen[3]


def _limits(screen: list[str], api: dict) -> None:  # type: ignore[type-arg]
    (plan,), (budget,) = api["plan"], api["budgets"]
    used = float(plan["values"]["unified-5h-utilization"])
    assert f"5h {figures.percent(used)}" in screen[1]
    assert f"{figures.usd(budget['spentUsd'])} of $7.50" in screen[1]


def _requests(screen: list[str], recent: list) -> None:  # type: ignore[type-arg]
    # Those that began in the same millisecond have no order.
    for row in recent[:30]:
        cells = [
            figures.clock(row["time"]),
            row["agent"][:10],
            figures.count(tokens(row)),
            figures.usd(row["costUsd"]),
            figures.took(row["latencyMs"]),
            figures.took(row["ttftMs"]),
        ]
        assert any(all(cell in line for cell in cells) for line in screen), cells


def _agents(screen: list[str], api: dict) -> None:  # type: ignore[type-arg]
    whole = api["cost"]["totalUsd"]
    for row in api["byAgent"]:
        line = line_with(screen[5:], row["agent"])
        for cell in (
            figures.usd(row["costUsd"]),
            figures.percent(row["costUsd"] / whole),
            figures.count(row["requests"]),
            figures.count(row["errors"]),
            figures.count(row["tokens"]["total"]),
        ):
            assert cell in line


def _sessions(screen: list[str], api: list) -> None:  # type: ignore[type-arg]
    assert f"{len(api)} alive" in screen[3]
    for row in api:
        line = line_with(screen, row["id"][:12])
        assert figures.usd(row["costUsd"]) in line
        assert f"{len(row['runningAgents'])} " in line
        assert row["project"][-10:] in line


def _upstreams(screen: list[str], api: dict) -> None:  # type: ignore[type-arg]
    (row,) = api["upstreams"]
    line = line_with(screen, "offline")
    for cell in (
        str(row["requests"]),
        str(row["errors"]),
        figures.took(row["latencyMs"]["p50"]),
        figures.took(row["latencyMs"]["p95"]),
        figures.took(row["ttftMs"]["p50"]),
    ):
        assert cell in line


def _machine(screen: list[str], cco: Daemon) -> None:
    api = told(cco, "/api/machine/stats")
    for name, pid in (("daemon", api["daemon"]["pid"]), ("mount", api["vfs"]["pid"])):
        assert str(pid) in line_with(screen[8:], name)
    assert pid == cco.mounter.pid
    assert f"{api['sessions']} sessions alive" in "\n".join(screen)
    own = line_with(screen[8:], "dashboard").split()
    assert re.fullmatch(r"\d+\.\d", own[3])
    assert own[4] == "MiB"


def test_ten_thousand_requests_are_walked_through(cco: Daemon) -> None:
    made = rows(10_000)
    fill(cco, made)
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for("requests 10,000")
        screen = settled(shown, 2, "Requests", "200 known")
        assert line_with(screen, ">")
        newest = figures.clock(ask(cco, project="", fields="recent")["recent"][0]["time"])
        assert newest in line_with(screen, ">")
        shown.press("G")
        oldest = made[-200]
        shown.wait_for(f">{time.strftime('%H:%M:%S', time.localtime(oldest.started_ns / 1e9))}")
        shown.press("/")
        shown.press("-l", "529!")
        shown.wait_for("/529!")
        shown.press("Enter")
        failed = [row for row in made[-200:] if row.status == 529]
        wait_until(
            lambda: sum("529!" in line for line in shown.visible()[5:-1]) == min(18, len(failed)),
            "only failed requests are shown",
        )
        shown.press("Enter")
        shown.wait_for("overloaded_error")
        shown.press("q")
        shown.press("s")
        shown.wait_for("sorted by time")
        settled(shown, 3, "Agents", "10,000 calls")
        shown.press("q")
        wait_until(shown.has_ended, "q ends it")


@pytest.mark.parametrize("count", [0, 300])
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40), (200, 60)])
def test_screens_are_as_they_were_looked_at(
    cco: Daemon, columns: int, lines: int, count: int
) -> None:
    fill(cco, rows(count))
    cco.start()
    with dashboard(cco, columns=columns, rows=lines) as shown:
        for number, view in enumerate(VIEWS, start=1):
            if view in ("Log", "Machine"):
                continue  # other figures each time
            shown.press(str(number))
            shown.wait_for(f"[{number} {view}]")
            shown.wait_for(UP)
            wait_until(
                lambda: "asking" not in "\n".join(shown.visible()), "the daemon has answered"
            )
            if view == "Overview":
                shown.wait_for(f"requests {count}")
            if view == "Upstreams" and count:
                continue  # of the last hour, which a day may have begun in
            screen = normalised("\n".join(shown.visible()))
            compare(f"terminal-{view.lower()}-{count or 'none'}-{columns}x{lines}", screen)


def test_name_of_four_thousand_characters_stays_in_its_place(cco: Daemon) -> None:
    name = ("/" + "日本語プロジェクト-e\u0301-" * 300)[:4000]
    fill(cco, rows(50, project=name))
    cco.start()
    cco.launch()
    with dashboard(cco, "--project", "/nowhere") as shown:
        shown.wait_for("/nowhere")
        shown.press("a")
        shown.wait_for("all projects")
        for number, view in enumerate(VIEWS, start=1):
            shown.press(str(number))
            shown.wait_for(f"[{number} {view}]")
            shown.wait_for("every 5s")
            screen = shown.visible()
            assert len(screen) == 24
            assert screen[0].startswith(" CCO ")
            assert screen[-1].startswith(" ? help")
        shown.press("2")
        shown.wait_for("50 known")
        shown.press("d")
        shown.wait_for("日本語プロジェクト")
        shown.resize(200, 60)
        shown.wait_for("requestId")
        assert "日本語プロジェクト" in "\n".join(shown.visible())


def test_daemon_dies_and_returns(cco: Daemon) -> None:
    fill(cco, rows(30))
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for("requests 30")
        cco.stop()
        shown.wait_for("daemon away")
        screen = shown.visible()
        assert "data of" in screen[3]
        assert "D start it" in screen[3]
        assert "requests 30" in screen[5]  # what was known stays, grey
        styled = "\n".join(shown.visible(styled=True)[4:-1])
        assert "\x1b[38;5;244m" in styled
        assert "\x1b[38;5;32m" not in styled  # what graphs are drawn in
        shown.press("2")  # and can be walked through
        shown.wait_for("30 known")
        shown.press("6")  # the log tells what has happened
        shown.wait_for("unmounted from")
        shown.press("D")
        shown.wait_for("the daemon is started")
        shown.wait_for(UP)
        assert cco.is_serving()

        cco.worker.kill()  # the arbiter makes another one
        wait_until(cco.is_serving, "the daemon serves again")
        cco.stop()
        shown.wait_for("daemon away")
        cco.start()  # by somebody else
        shown.wait_for(UP)
        shown.press("1")
        shown.wait_for("requests 30")


def test_daemon_that_hangs_keeps_nobody_waiting(cco: Daemon) -> None:
    fill(cco, rows(30))
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for("requests 30")
        worker = cco.worker
        worker.suspend()
        try:
            shown.press("r", "2", "?")  # obeyed while the daemon is being asked
            shown.wait_for("the view of that number")
            shown.press("q")
            shown.wait_for("the daemon does not answer")
        finally:
            worker.resume()
        shown.wait_for(UP)
        shown.wait_for("30 known")


def test_dashboard_comes_up_without_a_daemon(cco: Daemon) -> None:
    with dashboard(cco) as shown:
        shown.wait_for("no data yet")
        shown.wait_for("D start it")
        shown.press("q")
        wait_until(shown.has_ended, "q ends it")


@pytest.mark.parametrize(
    ("environ", "wanted", "unwanted"),
    [
        ({"NO_COLOR": "1"}, r"\x1b\[7m|\x1b\[1m", r"\x1b\[(?:[0-9;]*;)?(?:3[0-79]|38|9[0-7])[;m]"),
        ({"TERM": "xterm"}, r"\x1b\[(?:1;)?(?:3[0-7]|9[0-7])m", r"38;[25];"),
        ({}, r"38;5;", r"38;2;"),
        ({"COLORTERM": "truecolor"}, r"38;2;0;135;215", r"38;5;"),
    ],
    ids=["none", "16", "256", "true"],
)
def test_colours_are_those_of_the_terminal(
    cco: Daemon, environ: dict[str, str], wanted: str, unwanted: str
) -> None:
    fill(cco, rows(5))
    cco.start()
    with dashboard(cco, environ=environ) as shown:
        shown.wait_for("requests 5")
        styled = "\n".join(shown.visible(styled=True))
        assert re.search(wanted, styled)
        assert not re.search(unwanted, styled.replace("\x1b[39m", ""))


def test_ascii_is_enough(cco: Daemon) -> None:
    fill(cco, rows(40))
    cco.start()
    with dashboard(cco, environ={"LANG": "C", "LC_ALL": "C", "NO_COLOR": "1"}) as shown:
        for number, view in enumerate(VIEWS, start=1):
            shown.press(str(number))
            shown.wait_for(f"[{number} {view}]")
            shown.wait_for("+ up")
            assert "\n".join(shown.visible()).isascii()


def test_size_changes_while_it_is_shown(cco: Daemon) -> None:
    fill(cco, rows(40))
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for("requests 40")
        shown.resize(60, 20)
        shown.wait_for("needs 80x24; this is 60x20")
        shown.resize(300, 100)
        shown.wait_for("requests 40")
        wait_until(lambda: len(shown.visible()) == 100, "as many lines as there are")
        assert max(len(line) for line in shown.visible()) > 250
        shown.resize(80, 24)
        shown.wait_for("? help")
        assert len(shown.visible()) == 24


def test_nothing_is_cleared_once_it_is_drawn(cco: Daemon) -> None:
    fill(cco, rows(200))
    cco.configure("[tui]\nrefresh_s = 0.5\n")
    cco.start()
    written = cco.base / "written"
    with dashboard(cco) as shown:
        shown.wait_for("every 0.5s")
        shown.wait_for("requests 200")
        shown.tmux("pipe-pane", "-o", f"cat > {written}")
        for key, text in (("2", "200 known"), ("j", "known"), ("s", "sorted"), ("3", "in all")):
            shown.press(key)
            shown.wait_for(text)
        before = line_with(shown.visible(), "up ")
        wait_until(lambda: line_with(shown.visible(), "up ") != before, "it is refreshed")
        shown.tmux("pipe-pane")
    data = written.read_bytes()
    assert data
    assert b"\x1b[2J" not in data
    assert b"\x1b[J" not in data


def test_cache_is_cleared_and_a_view_exported_by_keys(cco: Daemon) -> None:
    fill(cco, rows(20))
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for("requests 20")
        shown.press("c")
        shown.wait_for("Forget all answers")
        shown.press("y")
        shown.wait_for("0 answers forgotten")
        settled(shown, 2, "Requests", "20 known")
        shown.press("e")
        shown.wait_for("j = JSON, c = CSV")
        shown.press("c")
        shown.wait_for("written: cco-requests-")
    (file,) = cco.home.glob("cco-requests-*.csv")
    assert len(file.read_text().splitlines()) == 21


def test_help_and_mouse(cco: Daemon) -> None:
    cco.start()
    with dashboard(cco) as shown:
        shown.wait_for(UP)
        shown.press("?")
        shown.wait_for("the view of that number")
        shown.press("Escape")
        # What a terminal sends for a press and a release at column 37, line 3 (SGR or X10 form).
        shown.tmux("send-keys", "-l", "\x1b[<0;37;3M\x1b[<0;37;3m")
        shown.wait_for("[4 Sessions]")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminal_is_as_it_was_whatever_ends_it(cco: Daemon, number: signal.Signals) -> None:
    script = f"{shlex.join(CCO)} tui; echo status $?; stty -a; read line"
    with dashboard(cco, program=("sh", "-c", script)) as shown:
        shown.wait_for("no data yet")
        dashboard_of(cco).send_signal(number)
        screen = shown.wait_for("icanon")
        assert "-icanon" not in screen
        assert "-echo " not in screen
        assert f"status {0 if number == signal.SIGTERM else 130}" in screen
        assert "no data yet" not in screen  # it had a screen of its own


@pytest.mark.needs("debian-urwid")
def test_urwid_of_debian_shows_the_same(cco: Daemon) -> None:
    fill(cco, rows(300))
    cco.start()
    # Of Debian's modules that one alone: the others are not what is looked at here.
    only = cco.base / "modules"
    only.mkdir()
    (only / "urwid").symlink_to(DEBIAN / "urwid")
    script = (
        f"import os, sys; sys.path.insert(0, {str(only)!r}); from cco.tui.process import main;"
        f" import urwid; assert urwid.__file__.startswith({str(only)!r});"
        " sys.exit(main(sys.argv[1:], os.environ))"
    )
    program = (sys.executable, "-I", "-c", script, "5", "", "")
    with dashboard(cco, program=program) as shown:
        shown.wait_for("requests 300")
        for number, view in enumerate(VIEWS, start=1):
            shown.press(str(number))
            shown.wait_for(f"[{number} {view}]")
            shown.wait_for(UP)
        lines = settled(shown, 3, "Agents", "in all")
        compare("terminal-agents-300-80x24", normalised("\n".join(lines)))
        shown.resize(60, 20)
        shown.wait_for("needs 80x24")
        shown.resize(80, 24)
        shown.wait_for("? help")
        cco.stop()
        shown.wait_for("daemon away")
        shown.press("q")
        wait_until(shown.has_ended, "q ends it")


def test_pictures_are_of_the_real_program(tmp_path: Path) -> None:
    screenshots.main(tmp_path)
    for name, _, text in screenshots.SHOTS:
        drawn = ElementTree.parse(tmp_path / f"tui-{name}.svg").getroot()
        words = " ".join("".join(each.itertext()) for each in drawn.iter(f"{{{svg.XMLNS}}}text"))
        plain = (tmp_path / f"tui-{name}.txt").read_text()
        assert text in plain
        dots = "".join(chr(code) for code in range(0x2800, 0x2900))
        letters = plain.translate(dict.fromkeys(map(ord, f" \n{dots}")))  # dots are drawn
        assert sorted(letters) == sorted(words.replace(" ", ""))
        assert bool(set(plain) & set(dots[1:])) == bool(list(drawn.iter(f"{{{svg.XMLNS}}}path")))
