# SPDX-License-Identifier: Apache-2.0
"""`cco`: makes sure that everything serves, then becomes Claude Code."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

from cco import configfile, paths
from cco.cli import claude
from cco.cli.output import tell
from cco.cli.service import Service
from cco.client import Client
from cco.config import Settings
from cco.errors import LaunchError, Unavailable
from cco.ports import owner


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run `cco run`; returns only after a dry run."""
    if arguments.project:
        try:
            os.chdir(arguments.project)
        except OSError as exc:
            raise LaunchError(
                "no-such-directory", f"{arguments.project} cannot be entered ({exc.strerror})"
            ) from exc
    if arguments.direct:
        launch_direct(arguments.arguments, environ)
    if arguments.dry_run:
        show(arguments.arguments, environ)
        return os.EX_OK
    return launch(arguments.arguments, environ)


def launch_direct(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become plain Claude Code, outside of the session of CCO's that may be around this one."""
    path = claude.find(environ)
    plain = without_session(environ)
    if plain != environ:
        uid = os.getuid()
        service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
        given = environ.get("ANTHROPIC_BASE_URL", "")
        own = _own_upstream(given, service)
        if upstream := given if own is None else own:
            plain["ANTHROPIC_BASE_URL"] = upstream
    print("cco: launching Claude Code without CCO", file=sys.stderr)
    _execute([str(path), *arguments], plain)


def launch(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become Claude Code in a session of its own.

    Raises:
        CcoError: what is missing, with the remedy; nothing is left half-made.
    """
    start = _Start(arguments, environ)
    health = start.service.health()
    if health is None:
        tell("starting the daemon")
    health = start.service.ensure()
    mount = Path(health["vfs"]["path"])
    tell(f"daemon {health['version']} at {health['http']['url']}")
    check_mount(mount)
    tell(f"agents at {mount}")
    api_url, upstream = _api_url(health, port=start.settings.server.port), start.upstream
    session, token = _register(start.service.client, project=start.project, upstream=upstream)
    tell(f"session {session}, project {start.project}")
    plan = start.plan(mount=mount, api_url=api_url, session=session, token=token)
    _write_settings(plan, runtime=start.paths.runtime)
    tell(f"launching Claude Code {'.'.join(map(str, start.version))}")
    _execute(plan.argv, plan.environ)


def show(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Print what `launch` would execute; start nothing and change nothing."""
    start = _Start(arguments, environ)
    health = start.service.health()
    mount, api_url = start.paths.mount, f"http://127.0.0.1:{start.settings.server.port}"
    if health is not None:
        mount = Path(health["vfs"]["path"])
        api_url = _api_url(health, port=start.settings.server.port)
    plan = start.plan(mount=mount, api_url=api_url, session="SESSION", token="TOKEN")
    print("argv:", *plan.argv, sep="\n  ")
    added = [f"{name}={value}" for name, value in sorted(plan.added.items())]
    print("environment:", *added, sep="\n  ")
    print("files:")
    if plan.file is not None:
        print(f"  {plan.file} (0600): your --settings with ANTHROPIC_BASE_URL over it")
    print(f"upstream:\n  {start.upstream or 'as configured'}")
    if health is None:
        print("The daemon does not run; it would be started.")


PREFIX: Final = re.compile(
    r"http://(?:127(?:\.\d+){3}|localhost|\[::1\]):\d+/s/(?P<session>[0-9a-f]{16})/?"
)
"""A base URL that `cco` has set for a session."""


class _Start:
    """What a launch, real or only shown, knows before it asks the daemon for anything."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        uid = os.getuid()
        self.paths = paths.locate(environ, uid=uid)
        self.project = project_of(_current_directory())
        self.settings = configfile.load(
            environ, config=self.paths.config, project=self.project
        ).settings
        self.service = Service(self.paths, environ=environ, uid=uid)
        self._arguments = arguments
        self._environ = environ
        self._claude = claude.find(environ)
        self.version = claude.version(self._claude, cache=self.paths.state / "claude-version.json")

    @cached_property
    def upstream(self) -> str:
        """The base URL that this session brings along, empty for the settings' own."""
        return upstream_of(
            self._arguments,
            self._environ,
            project=self.project,
            settings=self.settings,
            service=self.service,
        )

    def plan(self, *, mount: Path, api_url: str, session: str, token: str) -> claude.Plan:
        """Return what to execute."""
        return claude.plan(
            self._claude,
            self._arguments,
            without_session(self._environ),
            mount=mount,
            api_url=api_url,
            session=session,
            token=token,
            haiku=self.settings.models["haiku"],
            known=self.version,
            is_anthropic=claude.is_anthropic(self.upstream, self.settings.upstream),
            file=self.paths.runtime / f"cco-settings-{os.getpid()}.json",
        )


def project_of(directory: Path) -> Path:
    """Return the canonical path of the git top level around a directory, else of itself."""
    real = directory.resolve()
    # Not Path.exists: it raises where a directory above may not be looked into.
    return next((one for one in (real, *real.parents) if os.path.exists(one / ".git")), real)  # noqa: PTH110


def check_mount(mount: Path) -> None:
    """Read the mount as Claude Code will, which ignores a dead one without a word.

    Raises:
        Unavailable: it is not there, or says that it is ill.
    """
    try:
        told = (mount / "health").read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise Unavailable(
            "mount-unreadable",
            f"the mount {mount} cannot be read ({exc.strerror})",
            hint="Run: cco daemon restart",
        ) from exc
    if told != "OK":
        raise Unavailable("mount-ailing", f"the mount {mount} says: {told}")


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
    own = _own_upstream(given, service)
    return given if own is None else own


def _project_base_url(project: Path, settings: Settings, service: Service) -> str | None:
    """Return the base URL that the project's Claude Code settings may set, None for none."""
    configured = {upstream.base_url.rstrip("/") for upstream in settings.upstream}
    for name in ("settings.local.json", "settings.json"):
        file = project / ".claude" / name
        url = claude.base_url_of(claude.read_settings(file))
        if url is None or _own_upstream(url, service) is not None:
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


def _own_upstream(url: str, service: Service) -> str | None:
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
    print("     Agree? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _api_url(health: dict[str, Any], *, port: int) -> str:
    if url := health["http"]["url"]:
        return str(url)
    hint = next((one["hint"] for one in health["warnings"] if one["code"] == "no-http"), None)
    raise Unavailable(
        "no-http",
        f"the daemon has no HTTP listener for Claude Code (port {port}: {owner(port)})",
        hint=hint,
    )


def _register(client: Client, *, project: Path, upstream: str) -> tuple[str, str]:
    told = client.call(
        "POST",
        "/api/sessions",
        {"pid": os.getpid(), "cwd": str(Path.cwd()), "project": str(project), "upstream": upstream},
    )
    return told["id"], told["token"]


def _write_settings(plan: claude.Plan, *, runtime: Path) -> None:
    """Write the merged settings; remove those of launches that are gone."""
    for old in runtime.glob("cco-settings-*.json"):
        pid = old.stem.rpartition("-")[2]
        if not Path(f"/proc/{pid}").exists():
            old.unlink(missing_ok=True)
    if plan.file is not None:
        plan.file.unlink(missing_ok=True)
        fd = os.open(plan.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(plan.file_text)


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as exc:
        raise LaunchError(
            "no-such-directory", "the current directory is no more", hint="Enter another one: cd"
        ) from exc


def _execute(argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and exec would pass that on
    try:
        os.execve(argv[0], list(argv), dict(environ))
    except OSError as exc:
        raise LaunchError(
            "claude-not-executable",
            f"{argv[0]} cannot be executed ({exc.strerror})",
            hint=claude.INSTALL_HINT,
        ) from exc
