# SPDX-License-Identifier: Apache-2.0
"""Where a launch sends its requests: to whom the settings name, unless the user named another."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cco.cli import claude
from cco.cli.output import agrees
from cco.cli.service import Service
from cco.config import Settings

PREFIX: Final = re.compile(
    r"http://(?:127(?:\.\d+){3}|localhost|\[::1\]):\d+/s/(?P<session>[0-9a-f]{16})/?"
)
"""A base URL that `cco` has set for a session."""


def upstream_of(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    project: Path,
    settings: Settings,
    service: Service,
) -> str:
    """Return the base URL that this session's requests go to, empty for the settings' own.

    One that the user set, in the environment, in ``--settings`` or in their Claude Code settings,
    is taken, in Claude Code's order of precedence. One that the project sets would receive the
    user's credential, so it must be a configured upstream or be agreed to at the terminal.
    """
    _, inline = claude.split_settings(arguments)
    directory = environ.get("CLAUDE_CONFIG_DIR") or f"{environ.get('HOME', '/')}/.claude"
    wanted = [
        claude.base_url_of(claude.decode_settings(inline)) if inline else None,
        _project_base_url(project, settings, service),
        claude.base_url_of(claude.read_settings(Path(directory) / "settings.json")),
        environ.get("ANTHROPIC_BASE_URL"),
    ]
    given = next((url for url in wanted if url), "")
    own = own_upstream(given, service)
    return given if own is None else own


def _project_base_url(project: Path, settings: Settings, service: Service) -> str | None:
    """Return the base URL that the project's Claude Code settings may set, None for none."""
    configured = {upstream.base_url.rstrip("/") for upstream in settings.upstream}
    for name in ("settings.local.json", "settings.json"):
        file = project / ".claude" / name
        url = claude.base_url_of(claude.read_settings(file))
        if url is None or own_upstream(url, service) is not None:
            continue
        if url.rstrip("/") in configured or _agrees(url, file):
            return url
        print(
            f"cco: {file} asks for {url}, which is not a configured upstream: not used",
            file=sys.stderr,
        )
    return None


def without_session(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what a session around this one has put there."""
    if "CCO_SESSION" not in environ:
        return dict(environ)
    ours = ("CCO_SESSION", "ANTHROPIC_BASE_URL")
    return {name: value for name, value in environ.items() if name not in ours}


def own_upstream(url: str, service: Service) -> str | None:
    """Return the upstream of the session whose gateway prefix `url` is; None if it is no prefix.

    A `cco` inside a session of `cco` finds its parent's gateway in the environment.
    """
    prefix = PREFIX.fullmatch(url)
    if prefix is None:
        return None
    live = service.client.call("GET", "/api/sessions")["sessions"] if service.health() else []
    return next((one["upstream"] or "" for one in live if one["id"] == prefix["session"]), "")


def _agrees(url: str, file: Path) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"cco: {file} wants requests, with your credential, sent to {url}", file=sys.stderr)
    return agrees("     Agree?", out=sys.stderr)
