# SPDX-License-Identifier: Apache-2.0
"""`cco`: makes sure that everything serves, then becomes Claude Code."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from cco import configfile, paths
from cco.cli import claude
from cco.cli.output import tell
from cco.cli.service import Service
from cco.cli.upstream import own_upstream, upstream_of, without_session
from cco.errors import CcoError, ConfigError, LaunchError, RequestError, Unavailable
from cco.ports import owner


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run `cco run`; returns only after a dry run."""
    if arguments.project:
        try:
            os.chdir(arguments.project)
        except OSError as exc:
            raise LaunchError(
                "no-such-directory",
                f"{arguments.project} cannot be entered ({exc.strerror})",
                hint="Give --project a directory of yours",
            ) from exc
    if arguments.direct:
        launch_direct(arguments.arguments, environ)
    groups = _groups(arguments.agents)
    if arguments.dry_run:
        show(arguments.arguments, environ, groups)
        return os.EX_OK
    return launch(arguments.arguments, environ, groups)


def _groups(given: str | None) -> list[str]:
    """Return the groups that are named; none where the option is not given.

    Raises:
        RequestError: it is given, and names none.
    """
    groups = [name.strip() for name in (given or "").split(",") if name.strip()]
    if given is not None and not groups:
        raise RequestError(
            "bad-arguments",
            "--agents names no group",
            hint="List them: cco agents",
        )
    return groups


def launch_direct(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become plain Claude Code, outside of the session of CCO's that may be around this one."""
    path = claude.find(environ)
    plain = without_session(environ)
    if plain != environ:
        uid = os.getuid()
        service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
        given = environ.get("ANTHROPIC_BASE_URL", "")
        own = own_upstream(given, service)
        if upstream := given if own is None else own:
            plain["ANTHROPIC_BASE_URL"] = upstream
    print("cco: launching Claude Code without CCO", file=sys.stderr)
    _execute([str(path), *arguments], plain)


def launch(
    arguments: Sequence[str], environ: Mapping[str, str], groups: Sequence[str] = ()
) -> NoReturn:
    """Become Claude Code in a session of its own, which sees `groups`, else what is set.

    Raises:
        CcoError: what is missing, with the remedy; nothing is left half-made.
    """
    start = _Start(arguments, environ, groups)
    health = start.service.ensure()
    mount = Path(health["vfs"]["path"])
    tell(f"daemon {health['version']} at {health['http']['url']}")
    check_mount(mount)
    tell(f"mount {mount}")
    api_url = _api_url(health, port=start.settings.server.port)
    made = start.register()
    tell(f"session {made['id']}, project {start.project}")
    tell(f"agents: {made['agents']}, ~{made['contextTokens']} tokens of context")
    plan = start.plan(
        mount=mount,
        api_url=api_url,
        session=made["id"],
        token=made["token"],
        hooks=made.get("hooks", {}),
    )
    _write_settings(plan, runtime=start.paths.runtime)
    tell(f"launching Claude Code {'.'.join(map(str, start.version))}")
    _execute(plan.argv, plan.environ)


def show(arguments: Sequence[str], environ: Mapping[str, str], groups: Sequence[str] = ()) -> None:
    """Print what `launch` would execute; start nothing and change nothing."""
    start = _Start(arguments, environ, groups)
    health = start.service.health()
    mount, api_url = start.paths.mount, f"http://127.0.0.1:{start.settings.server.port}"
    if health is not None:
        mount = Path(health["vfs"]["path"])
        api_url = _api_url(health, port=start.settings.server.port)
    from cco.catalog import loader, render  # a launch is told by the daemon

    catalog = loader.load(loader.BUILTIN, user=start.paths.config)
    with start.locating():
        team = catalog.in_groups(start.groups)
    hooks = render.session_hooks(catalog)
    plan = start.plan(mount=mount, api_url=api_url, session="SESSION", token="TOKEN", hooks=hooks)
    print("argv:", *plan.argv, sep="\n  ")
    added = [f"{name}={value}" for name, value in sorted(plan.added.items())]
    print("environment:", *added, sep="\n  ")
    print("files:")
    if plan.file is not None:
        print(f"  {plan.file} (0600): your --settings with ANTHROPIC_BASE_URL over it")
    print(f"upstream:\n  {start.upstream or 'as configured'}")
    size = f"{len(team.agents)}, ~{team.context_tokens} tokens of context"
    print(f"agents:\n  {', '.join(start.groups)}: {size}")
    if health is None:
        print("The daemon does not run; it would be started.")


class _Start:
    """What a launch, real or only shown, knows before it asks the daemon for anything."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], groups: Sequence[str]
    ) -> None:
        uid = os.getuid()
        self.paths = paths.locate(environ, uid=uid)
        self.project = project_of(Path())
        self._loaded = configfile.load(environ, config=self.paths.config, project=self.project)
        self.settings = self._loaded.settings
        self.groups = groups or self.settings.agents.groups
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

    def register(self) -> dict[str, Any]:
        """Begin the session; return its id, its token, and what it will see of the agents."""
        asked = {
            "pid": os.getpid(),
            "cwd": str(Path.cwd()),
            "project": str(self.project),
            "upstream": self.upstream,
            "agents": list(self.groups),
        }
        with self.locating():
            told: dict[str, Any] = self.service.client.call("POST", "/api/sessions", asked)
        return told

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Tell of a group that is not there with the place in the settings that names it."""
        try:
            yield
        except CcoError as error:
            if error.code == "unknown-group" and self.groups is self.settings.agents.groups:
                raise located(error, self._loaded) from error
            raise

    def plan(
        self,
        *,
        mount: Path,
        api_url: str,
        session: str,
        token: str,
        hooks: Mapping[str, Any] = MappingProxyType({}),
    ) -> claude.Plan:
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
            hooks=hooks,
        )


def located(error: CcoError, loaded: configfile.Loaded) -> CcoError:
    """Return the error of a group that the settings name, with the place where they do."""
    where = loaded.origins["agents.groups"]
    return ConfigError(error.code, f"{where}: {error.message}", hint=error.hint)


def project_of(directory: Path) -> Path:
    """Return the canonical path of the git top level around a directory, else of itself.

    Raises:
        LaunchError: it is told from the current directory, and that is gone.
    """
    try:
        real = directory.resolve()
    except FileNotFoundError as exc:
        raise LaunchError(
            "no-such-directory", "the current directory is no more", hint="Enter another one: cd"
        ) from exc
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
        raise Unavailable("mount-ailing", f"the mount {mount} says: {told}", hint="Run: cco doctor")


def _api_url(health: dict[str, Any], *, port: int) -> str:
    if url := health["http"]["url"]:
        return str(url)
    hint = next((one["hint"] for one in health["warnings"] if one["code"] == "no-http"), None)
    raise Unavailable(
        "no-http",
        f"the daemon has no HTTP listener for Claude Code (port {port}: {owner(port)})",
        hint=hint,
    )


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
