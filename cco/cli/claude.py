# SPDX-License-Identifier: Apache-2.0
"""Finds Claude Code, and knows how it wants to be started.

Nothing here starts a daemon or asks one: `plan` turns what is known into arguments, environment
and one file at most.
"""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from cco.config import Upstream
from cco.errors import ConfigError, LaunchError

MINIMUM: Final = (2, 1, 63)
"""Oldest version whose plugins may post hooks over HTTP; older ones drop all hooks silently."""
NO_ATTRIBUTION_BEFORE: Final = (2, 1, 181)
"""Versions before this one put a block into every request that breaks prompt caching behind a
gateway; CLAUDE_CODE_ATTRIBUTION_HEADER=0 keeps it out."""
ANTHROPIC: Final = "anthropic"
"""Family of the upstreams that are Anthropic's, or lead there."""
INSTALL_HINT: Final = "Install it: npm install -g @anthropic-ai/claude-code, or set CCO_CLAUDE"
PLACES: Final = (
    ".claude/local/claude",
    ".local/bin/claude",
    ".npm-global/bin/claude",
    ".npm/bin/claude",
    "node_modules/.bin/claude",
)
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")

_VERSION: Final = re.compile(r"(\d{1,6}\.\d{1,6}\.\d{1,6})")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to execute."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    added: Mapping[str, str] = field(default_factory=dict)
    """The part of `environ` that CCO set."""
    file: Path | None = None
    """Settings file to write first, mode 0600, with `file_text`."""
    file_text: str = ""


def find(environ: Mapping[str, str]) -> Path:
    """Return the path of Claude Code.

    Raises:
        LaunchError: it is nowhere (``claude-missing``), or what was named cannot be executed.
    """
    if given := environ.get("CCO_CLAUDE"):
        path = Path(given)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise LaunchError(
                "claude-not-executable" if path.exists() else "claude-missing",
                f"CCO_CLAUDE names {given}, which cannot be executed",
                hint="Correct CCO_CLAUDE or unset it",
            )
        return path
    home = Path(environ.get("HOME") or "/")
    candidates = [Path(part) / "claude" for part in environ.get("PATH", "").split(":") if part]
    candidates += [home / place for place in PLACES]
    candidates += [Path("/usr/local/bin/claude"), Path("/opt/claude-code/bin/claude")]
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise LaunchError(
        "claude-missing", "Claude Code is not installed where CCO looks", hint=INSTALL_HINT
    )


def version(path: Path, *, cache: Path) -> tuple[int, ...]:
    """Return Claude Code's version; asked once for each installed file, then remembered.

    Args:
        path: the program.
        cache: file that remembers; a broken or unwritable one only costs time.

    Raises:
        LaunchError: it does not run, or is older than `MINIMUM`.
    """
    real = path.resolve()
    found = real.stat()
    key = f"{real}:{found.st_mtime_ns}:{found.st_size}"
    try:
        told = json.loads(cache.read_text(encoding="utf-8"))[key]
        if not _VERSION.fullmatch(told):
            raise ValueError(told)
    except (OSError, ValueError, KeyError, TypeError):
        told = _ask_version(path)
        try:
            cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            cache.write_text(json.dumps({key: told}), encoding="utf-8")
        except OSError:
            pass
    known = tuple(int(part) for part in told.split("."))
    if known < MINIMUM:
        raise LaunchError(
            "claude-too-old",
            f"Claude Code {told} is too old; CCO needs {'.'.join(map(str, MINIMUM))} or later",
            hint="Update it: claude update",
        )
    return known


def _ask_version(path: Path) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,  # what is piped to us is for the real launch
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise LaunchError(
            "claude-not-executable", f"{path} does not run ({exc})", hint=INSTALL_HINT
        ) from exc
    number = _VERSION.match(done.stdout)
    if number is None:
        raise LaunchError(
            "claude-not-executable",
            f"{path} does not tell its version",
            hint="Is it Claude Code? Set CCO_CLAUDE to the right program",
        )
    return number[1]


def plan(
    path: Path,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    mount: Path,
    api_url: str,
    session: str,
    token: str,
    haiku: str,
    known: tuple[int, ...],
    is_anthropic: bool,
    file: Path,
    hooks: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Return how to start Claude Code in a session.

    Args:
        path: Claude Code.
        arguments: the user's, for Claude Code.
        environ: the user's; what is set there is never overridden.
        mount: of the sealed files, checked by the caller.
        api_url: of the daemon, ``http://127.0.0.1:3000``.
        session: id for the gateway's prefix.
        token: opens the unsealed files and names the session to the API.
        haiku: model for small tasks; behind a gateway the client would use its largest.
        known: the client's version.
        is_anthropic: the session's requests end at Anthropic. Others know neither deferred tools
            nor the block that attributes a request, which is in their prompt cache's way.
        file: where settings go that are not only ours.
        hooks: by event, as Claude Code's settings have them.

    Raises:
        ConfigError: the user's ``--settings`` cannot be read.
    """
    base_url = f"{api_url}/s/{session}"
    forced = {
        "ORCHESTRATOR_ENABLED": "true",
        "ORCHESTRATOR_VFS_MOUNT": str(mount),
        "ORCHESTRATOR_AGENTS": f"{mount}/agents.sealed",
        "ORCHESTRATOR_RULES": f"{mount}/orchestrator.sealed",
        "ORCHESTRATOR_HOOKS": f"{mount}/hooks.sealed",
        "ORCHESTRATOR_MANIFEST": f"{mount}/.manifest",
        "ORCHESTRATOR_API_URL": api_url.replace("127.0.0.1", "localhost"),
        "CCO_SESSION": token,
        "ANTHROPIC_BASE_URL": base_url,
    }
    offered = {"ANTHROPIC_DEFAULT_HAIKU_MODEL": haiku}
    if is_anthropic:
        offered["ENABLE_TOOL_SEARCH"] = "true"
    if known < NO_ATTRIBUTION_BEFORE or not is_anthropic:
        offered["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"
    added = forced | {name: value for name, value in offered.items() if name not in environ}
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        # Programs differ in which of the two they ask; one that is set must not hide the other.
        listed = environ[name] if name in environ else environ.get(other, "")
        added[name] = _with_loopback(listed, api_url)
    rest, theirs = split_settings(arguments)
    ours: dict[str, Any] = {"env": {"ANTHROPIC_BASE_URL": base_url}}
    if hooks:
        ours["hooks"] = dict(hooks)
    if theirs is None:
        told, file_text = json.dumps(ours), ""
    else:
        told, file_text = str(file), json.dumps(_merge(decode_settings(theirs), ours))
    argv = (str(path), "--plugin-dir", f"{mount}/plugin", "--settings", told, *rest)
    return Plan(
        argv=argv,
        environ={**environ, **added},
        added=added,
        file=file if file_text else None,
        file_text=file_text,
    )


def is_anthropic(base_url: str, upstreams: Sequence[Upstream]) -> bool:
    """Say whether requests end at Anthropic: by the family in the settings, else by the host.

    Args:
        base_url: that the session brings along; empty for the upstream that is preferred.
        upstreams: of the settings, one or more.
    """
    named = [one for one in upstreams if one.base_url.rstrip("/") == base_url.rstrip("/")]
    configured = named if base_url else sorted(upstreams, key=lambda one: one.priority)
    if configured:
        return configured[0].family == ANTHROPIC
    return f".{urlsplit(base_url).hostname or ''}".endswith(f".{ANTHROPIC}.com")


def split_settings(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Take ``--settings`` out of the user's arguments.

    Of several the last counts, as it does for Claude Code itself.
    """
    rest: list[str] = []
    found: str | None = None
    pending = iter(arguments)
    for word in pending:
        if word == "--":
            rest += [word, *pending]
        elif word == "--settings":
            found = next(pending, "")
        elif word.startswith("--settings="):
            found = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, found


def base_url_of(settings: object) -> str | None:
    """Return the base URL that decoded Claude Code settings set, if they set one."""
    env = settings.get("env") if isinstance(settings, dict) else None
    value = env.get("ANTHROPIC_BASE_URL") if isinstance(env, dict) else None
    return value if isinstance(value, str) and value else None


def read_settings(path: Path) -> object:
    """Return a settings file of Claude Code's; None where there is none that can be read."""
    try:
        # A checkout may hold a link to a device, which would be read for ever.
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def decode_settings(given: str) -> dict[str, Any]:
    """Return the user's ``--settings``, which is JSON or the path of a file.

    Raises:
        ConfigError: it is neither.
    """
    is_inline = given.lstrip().startswith("{")
    try:
        text = given if is_inline else Path(given).read_text(encoding="utf-8")
        settings = json.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        where = "--settings" if is_inline else f"--settings {given}"
        raise ConfigError(
            "settings-unreadable",
            f"{where} cannot be read ({exc})",
            hint="It must be a JSON object or the path of a file with one",
        ) from exc
    if not isinstance(settings, dict):
        raise ConfigError(
            "settings-unreadable",
            "--settings must hold a JSON object",
            hint='Such as: --settings \'{"model": "sonnet"}\'',
        )
    return settings


def _merge(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return the user's settings with ours over them; hooks of both run."""
    env, hooks = theirs.get("env"), theirs.get("hooks")
    merged = {**theirs, "env": {**(env if isinstance(env, dict) else {}), **ours["env"]}}
    if "hooks" in ours:
        merged["hooks"] = dict(hooks) if isinstance(hooks, dict) else {}
        for event, rows in ours["hooks"].items():
            former = merged["hooks"].get(event)
            merged["hooks"][event] = [*(former if isinstance(former, list) else []), *rows]
    return merged


def _with_loopback(listed: str, api_url: str) -> str:
    """Return a list of hosts that no proxy is used for, with those of ours behind it."""
    ours = dict.fromkeys((*LOOPBACK_NAMES, urlsplit(api_url).hostname or ""))
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if names == ["*"]:  # it means everything only where it stands alone
        return "*"
    return ",".join([*names, *(name for name in ours if name not in names)])
