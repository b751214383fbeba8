# SPDX-License-Identifier: Apache-2.0
"""The lines above every view, and the sheet of all that they cut short: how everything stands.

Pure. What the provider never told is "unknown"; nothing of it is estimated.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cco.errors import CcoError
from cco.tui import figures
from cco.tui.graph import bar
from cco.tui.model import Model
from cco.tui.table import Look
from cco.tui.text import Line, beside, cut, fit_line, line_width
from cco.tui.views import upstreams

_SHARE: Final = "-utilization"
_UNIFIED: Final = "unified-"
_BAR: Final = 10
_WARN_SHARE: Final = 0.8


def lines(model: Model, look: Look, columns: int) -> list[Line]:
    """Return the two lines at the top."""
    states = _states(model, look)
    scope = _scope(model, look, columns - line_width(states) - 1)
    return [
        beside(states, scope, columns, dots=look.dots),
        fit_line([*_plan(model, look), *_budget(model, look)], columns, dots=look.dots),
    ]


def _states(model: Model, look: Look) -> Line:
    health = model.document("health")
    line: Line = [("", " "), ("title", f"CCO {health.get('version', '')}".rstrip()), ("", " ")]
    line += _daemon(model, health, look)
    if not health or model.away:
        return line
    mounted = health["vfs"]["mounted"] and health["vfs"]["status"] == "OK"
    line += [("", "  "), ("dim", "mount "), _sign(look, is_good=mounted, good="ok", bad="ill")]
    line += [("", "  "), ("dim", "upstreams "), *_upstreams(health["upstreams"], look)]
    if health["ledger"]["status"] != "ok":
        line += [("", "  "), ("warn", "ledger ill")]
    if told := len(_warnings(model)):
        line += [("", "  "), ("warn", f"! {told} "), ("key", "w")]
    return line


def _daemon(model: Model, health: Mapping[str, Any], look: Look) -> Line:
    if model.is_starting:
        return [("warn", "daemon starting")]
    if model.away:
        return [_sign(look, is_good=False, good="", bad="daemon away")]
    if not health:
        return [("dim", "asking the daemon")]
    up = figures.span(figures.age_s(health["startedAt"], look.now))
    return [_sign(look, is_good=True, good="up", bad=""), ("", f" {up}")]


def _sign(look: Look, *, is_good: bool, good: str, bad: str) -> tuple[str, str]:
    if is_good:
        return "good", f"{'+' if look.ascii_only else '●'} {good}"
    return "bad", f"{'x' if look.ascii_only else '✖'} {bad}"


def _upstreams(told: Sequence[Mapping[str, Any]], look: Look) -> Line:
    if len(told) == 1:
        return [(upstreams.style(told[0]), upstreams.state(told[0], look))]
    up = sum(one["state"] == "up" for one in told)
    worst = next((one for one in told if one["state"] not in ("up", "resting")), None)
    if worst is None:
        worst = next((one for one in told if one["state"] != "up"), told[0])
    sign = upstreams.state(worst, look)[:1]
    return [(upstreams.style(worst), f"{sign} {up}/{len(told)} up")]


def _scope(model: Model, look: Look, room: int) -> Line:
    """Return what is looked at, in as many columns as there are."""
    if not model.project:
        return [("dim", "all projects ")] if room > len("all projects ") else []
    shown = cut(look.clean(model.project), room - 1, dots=look.dots, keep_end=True)
    return [("title", shown), ("", " ")]


def rhythm(model: Model) -> Line:
    """Return how often the daemon is asked."""
    if model.is_paused:
        return [("warn", "paused ")]
    value = model.interval_s
    return [("dim", f"every {value:g}s " if value < 60 else f"every {figures.span(value)} ")]


def shares(values: Mapping[str, str]) -> list[tuple[str, float, float | None]]:
    """Return name, share that is used, and the moment of the reset, of each limit that was told.

    Two forms exist: ``unified-5h-utilization`` with ``unified-5h-reset`` in Unix seconds, of plans;
    ``tokens-remaining`` with ``tokens-limit`` and ``tokens-reset`` in RFC 3339, of API keys.
    """
    found = []
    for name in values:
        if name.endswith(_SHARE):
            stem = name.removesuffix(_SHARE)
            used = _float(values[name])
        elif name.endswith("-remaining"):
            stem = name.removesuffix("-remaining")
            limit, left = _float(values.get(f"{stem}-limit")), _float(values[name])
            used = 1 - left / limit if limit and left is not None else None
        else:
            continue
        if used is not None:
            reset = _moment(values.get(f"{stem}-reset"))
            found.append((stem.removeprefix(_UNIFIED), used, reset))
    return found


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _moment(text: str | None) -> float | None:
    if (number := _float(text)) is not None:
        return number
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _plan(model: Model, look: Look) -> Line:
    told: Sequence[Mapping[str, Any]] = model.document("limits").get("plan") or []
    known = shares(told[0]["values"]) if told else []
    if not known:
        return [("", " "), ("dim", "plan limits "), ("", "unknown")]
    line: Line = [("", " "), ("dim", "plan ")]
    for name, used, _ in known[:2]:
        style = "warn" if used >= _WARN_SHARE else ""
        line += [("dim", f"{look.clean(name)} "), (style, figures.percent(used)), ("", " ")]
    age = figures.span(figures.age_s(told[0]["toldAt"], look.now))
    return [*line, ("dim", f"({age} ago)")]


def _budget(model: Model, look: Look) -> Line:
    told = model.document("limits").get("budgets") or ()
    if not told:
        return [("", "   "), ("dim", "no budget")]
    tightest = max(told, key=used_share)
    more = f" +{len(told) - 1}" if len(told) > 1 else ""
    return [
        ("", "   "),
        ("dim", f"budget {tightest['scope']} "),
        *_spent(tightest, look),
        ("", more),
    ]


def used_share(budget: Mapping[str, Any]) -> float:
    """Return how much of a budget is spent; more than 1 where it is overspent."""
    return float(budget["spentUsd"] / budget["limitUsd"]) if budget["limitUsd"] else 1.0


def _spent(budget: Mapping[str, Any], look: Look) -> Line:
    share = used_share(budget)
    style = "bad" if share >= 1 else "warn" if share >= _WARN_SHARE else "graph"
    full, rest = bar(share, _BAR, look.charset)
    word = " spent" if share >= 1 else ""
    amounts = f" {figures.usd(budget['spentUsd'])} of {figures.usd(budget['limitUsd'])}"
    text = style if style != "graph" else ""
    return [(style, full), ("dim", rest), ("", amounts), (text, f" {share:.0%}{word}")]


def sheet(model: Model, look: Look) -> list[Line]:
    """Return warnings, limits and budgets in full."""
    return [*_all_warnings(model, look), *_all_limits(model, look), *_all_budgets(model, look)]


def _all_warnings(model: Model, look: Look) -> list[Line]:
    found: list[Line] = [[("title", "Warnings")]]
    for style, words, hint in _warnings(model):
        found.append([(style, "! "), ("", look.clean(words))])
        if hint:
            found.append([("dim", f"  {look.clean(hint)}")])
    return found if len(found) > 1 else [*found, [("dim", "none")]]


def _warnings(model: Model) -> list[tuple[str, str, str]]:
    """Return colour, sentence and remedy of all that a person should know."""
    health = model.document("health")
    found = [("warn", one["message"], one["hint"] or "") for one in health.get("warnings", ())]
    if health and model.version not in ("", health["version"]):
        words = f"this dashboard is CCO {model.version}, the daemon {health['version']}"
        found.append(("warn", words, "End it and open it again: cco tui"))
    for name, error in model.troubles.items():
        found.append(("bad", f"{name}: {error.message}", error.hint or ""))
    return found


def _all_limits(model: Model, look: Look) -> list[Line]:
    found: list[Line] = [[], [("title", "Limits of the plan, as the provider last told them")]]
    for told in model.document("limits").get("plan") or ():
        age = figures.span(figures.age_s(told["toldAt"], look.now))
        whose = f"key {told['credential']}, " if told["credential"] else ""
        found.append([("", look.clean(f"{whose}{told['upstream']}")), ("dim", f"  {age} ago")])
        for name, used, reset in shares(told["values"]):
            full, rest = bar(used, _BAR, look.charset)
            line: Line = [("dim", f"  {look.clean(name):<24} "), ("graph", full), ("dim", rest)]
            line.append(("", f" {figures.percent(used):>6}"))
            if reset is not None:
                left_s = reset - look.now.astimezone(UTC).timestamp()
                line.append(("dim", f"  new in {figures.span(left_s)}" if left_s > 0 else "  over"))
            found.append(line)
        rest_of_it = {name: value for name, value in told["values"].items() if "status" in name}
        found += [
            [("dim", f"  {look.clean(name):<24} "), ("", look.clean(value))]
            for name, value in rest_of_it.items()
        ]
    return found if len(found) > 2 else [*found, [("dim", "unknown: no answer has told any")]]


def _all_budgets(model: Model, look: Look) -> list[Line]:
    found: list[Line] = [[], [("title", "Budgets")]]
    for budget in model.document("limits").get("budgets") or ():
        whose = look.clean(f"{budget['scope']} {budget['key']}")
        line: Line = [("", f"{whose}  "), *_spent(budget, look), ("dim", f"  {budget['action']}")]
        if budget["reservedUsd"]:
            line.append(("dim", f", {figures.usd(budget['reservedUsd'])} reserved"))
        found.append(line)
    return found if len(found) > 2 else [*found, [("dim", "none; see [[budget]] in the settings")]]


def sentence(error: CcoError) -> str:
    """Return an error as one line: the sentence, and the remedy."""
    return f"{error.message}. {error.hint}" if error.hint else error.message


def away(model: Model, look: Look, columns: int) -> Line:
    """Return the line that says that the daemon does not answer, and what to do."""
    if model.away is None:
        return []
    age = figures.span((look.now - model.seen).total_seconds()) if model.seen else ""
    shown = f"data of {age} ago" if age else "no data yet"
    begin: Line = [("bad", " ! "), ("", look.clean(model.away.message))]
    end: Line = [("dim", f"  {shown}  "), ("key", "D"), ("dim", " start it ")]
    if model.is_starting:
        end = [("dim", f"  {shown}  "), ("warn", "starting it ")]
    room = columns - line_width(end)
    return [*fit_line(begin, max(0, room), dots=look.dots), *end]
