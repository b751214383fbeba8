# SPDX-License-Identifier: Apache-2.0
"""Reads the settings from their files, and says where each value came from.

Files are TOML, later ones win, key by key; ``[[upstream]]`` and ``[[budget]]`` are replaced as a
whole. What is unknown or wrong is an error with file and line: nothing is guessed or skipped.
`parse` is pure, `load` reads files.
"""

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cco import config
from cco.config import Check, Settings, Upstream
from cco.errors import ConfigError

TYPE_NAMES: Final = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the place that each value came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key to ``FILE:LINE``; a key that is missing has its default."""


SECTIONS: Final[Mapping[str, type]] = {
    "server": config.Server,
    "vfs": config.Vfs,
    "upstream": Upstream,
    "cache": config.Cache,
    "agents": config.Agents,
    "ledger": config.Ledger,
    "budget": config.Budget,
    "knowledge": config.Knowledge,
    "tui": config.Tui,
}
REPEATED: Final = frozenset({"upstream", "budget"})
PROJECT_KEYS: Final = frozenset({"agents.groups", "knowledge.enabled", "knowledge.inject_tokens"})
"""What a project's ``.cco.toml`` may set: a checkout must not choose where credentials go."""
HINT: Final = "See what can be set: man cco.toml"

_PART: Final = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_DOTTED: Final = rf"({_PART}(?:\s*\.\s*{_PART})*)"
_HEADING: Final = re.compile(rf"\s*\[\[?\s*{_DOTTED}\s*\]")
_ASSIGNMENT: Final = re.compile(rf"\s*{_DOTTED}\s*=")


def files(environ: Mapping[str, str], *, config: Path, etc: Path = Path("/etc/cco")) -> list[Path]:
    """Return the settings files in the order in which they are read, missing ones included."""
    found: list[Path] = []
    for directory in (etc, config):
        found += [directory / "cco.toml", *sorted((directory / "cco.toml.d").glob("*.toml"))]
    if extra := environ.get("CCO_CONFIG"):
        found.append(Path(extra))
    return found


def load(
    environ: Mapping[str, str],
    *,
    config: Path,
    etc: Path = Path("/etc/cco"),
    project: Path | None = None,
) -> Loaded:
    """Read the settings files, then the project's ``.cco.toml`` if there is a project.

    Raises:
        ConfigError: a file that cannot be read, or holds what it must not; nothing is guessed.
    """
    loaded = Loaded(Settings(), {})
    required = Path(environ.get("CCO_CONFIG") or "")
    for path in files(environ, config=config, etc=etc):
        text = _read(path, is_required=path == required)
        if text is not None:
            loaded = parse(text, source=str(path), base=loaded)
    return loaded if project is None else load_project(project, base=loaded)


def load_project(project: Path, *, base: Loaded) -> Loaded:
    """Return `base` with the project's ``.cco.toml`` over it, if there is one.

    Raises:
        ConfigError: it cannot be read, or sets what a project must not.
    """
    path = project / ".cco.toml"
    text = _read(path, is_foreign=True)
    if text is None:
        return base
    return parse(text, source=str(path), base=base, allowed=PROJECT_KEYS)


def parse(text: str, *, source: str, base: Loaded, allowed: frozenset[str] | None = None) -> Loaded:
    """Return `base` with the settings of one file over it.

    Args:
        text: TOML.
        source: name of the file, for messages and origins.
        base: what was read before.
        allowed: dotted keys that may be set; None is all.

    Raises:
        ConfigError: with file, line and the nearest known name.
    """
    import tomllib  # only where there is something to read: 4 ms of every launch

    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(exc))
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        told = str(exc)[: found.start()] if found else str(exc)
        raise ConfigError("config-syntax", f"{source}:{line}: {told}", hint=HINT) from exc
    reader = _Reader(text.splitlines(), source, allowed)
    origins = dict(base.origins)
    changes: dict[str, Any] = {}
    for name, value in data.items():
        if name == "models":
            changes[name] = reader.models(value, base.settings.models, origins)
        elif name not in SECTIONS:
            raise reader.unknown(name, [*SECTIONS, "models"], section=None)
        elif name in REPEATED:
            changes[name] = reader.tables(name, value, origins)
        else:
            before = getattr(base.settings, name)
            changes[name] = reader.table(name, value, before, origins, key=name)
    return Loaded(replace(base.settings, **changes), MappingProxyType(origins))


class _Reader:
    """Turns one decoded file into dataclasses; knows the lines for its messages."""

    def __init__(self, lines: Sequence[str], source: str, allowed: frozenset[str] | None) -> None:
        self._lines = lines
        self._source = source
        self._allowed = allowed

    def table(
        self,
        section: str,
        value: Any,
        before: Any,
        origins: dict[str, str],
        *,
        key: str,
        nth: int = 0,
    ) -> Any:
        """Return `before` with the values of one table; `key` is its name in `origins`."""
        if not isinstance(value, dict):
            raise self._wrong(section, section, "must be a table", nth=0)
        known = {f.name: f for f in fields(SECTIONS[section])}
        changes: dict[str, Any] = {}
        for name, got in value.items():
            if name not in known:
                raise self.unknown(name, list(known), section=section, nth=nth)
            if self._allowed is not None and f"{section}.{name}" not in self._allowed:
                raise self._wrong(section, name, "cannot be set by a project", nth=nth)
            changes[name] = self._value(section, name, got, known[name], nth=nth)
            origins[f"{key}.{name}"] = f"{self._source}:{self._line(section, name, nth=nth)}"
        return replace(before, **changes)

    def tables(self, section: str, value: Any, origins: dict[str, str]) -> tuple[Any, ...]:
        """Return an array of tables, which replaces what was there before."""
        if self._allowed is not None:
            raise self._wrong(section, section, "cannot be set by a project", nth=0)
        if not isinstance(value, list):
            raise self._wrong(section, section, f"must be written [[{section}]]", nth=0)
        for old in [name for name in origins if name.startswith(f"{section}[")]:
            del origins[old]
        made = tuple(
            self.table(
                section, item, SECTIONS[section](), origins, key=f"{section}[{nth}]", nth=nth
            )
            for nth, item in enumerate(value)
        )
        if section == "upstream" and not made:
            raise self._wrong(section, section, "must hold one upstream or more", nth=0)
        names = [item.name for item in made if isinstance(item, Upstream)]
        for nth, name in enumerate(names):
            if name in names[:nth]:
                raise self._wrong(section, "name", f"'{name}' is taken by another", nth=nth)
        return made

    def models(self, value: Any, before: Mapping[str, str], origins: dict[str, str]) -> Any:
        """Return the model names with those of the file over them; any key is a name."""
        if self._allowed is not None:
            raise self._wrong("models", "models", "cannot be set by a project", nth=0)
        if not isinstance(value, dict):
            raise self._wrong("models", "models", "must be a table", nth=0)
        for name, got in value.items():
            if not isinstance(got, str) or not got:
                # opus-4.1 without quotes is a table of the name opus-4.
                complaint = "must be the id of a model (a name with a dot is quoted)"
                raise self._wrong("models", name, complaint, nth=0)
            origins[f"models.{name}"] = f"{self._source}:{self._line('models', name, nth=0)}"
        return MappingProxyType({**before, **value})

    def unknown(
        self, name: str, known: Sequence[str], *, section: str | None, nth: int = 0
    ) -> ConfigError:
        """Return the error for a name that is not there."""
        import difflib

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        where = f" in [{section}]" if section else ""
        return ConfigError(
            "config-unknown-key",
            f"{self._source}:{self._line(section, name, nth=nth)}: unknown key '{name}'{where}",
            hint=f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(known)}",
        )

    def _value(self, section: str, name: str, got: Any, known: Field[Any], *, nth: int) -> Any:
        kind = type(known.default)
        if kind is tuple:
            if not isinstance(got, list) or not all(isinstance(item, str) for item in got):
                raise self._wrong(section, name, "must be a list of texts", nth=nth)
            return tuple(got)
        if kind is float and type(got) is int:
            got = float(got)
        if type(got) is not kind:
            raise self._wrong(section, name, f"must be {TYPE_NAMES[kind]}", nth=nth)
        check: Check | None = known.metadata["check"]
        if check is not None and (complaint := check(got)):
            raise self._wrong(section, name, complaint, nth=nth)
        return got

    def _wrong(self, section: str, name: str, complaint: str, *, nth: int) -> ConfigError:
        line = self._line(section, name, nth=nth)
        return ConfigError(
            "config-invalid",
            f"{self._source}:{line}: {name} in [{section}] {complaint}",
            hint=HINT,
        )

    def _line(self, section: str | None, name: str, *, nth: int) -> int:
        """Return the line of a key, of its table where the key has none of its own, or 1."""
        wanted = [name] if section is None else [section, name]
        table: list[str] = []
        seen, start = -1, 0
        for number, line in enumerate(self._lines, start=1):
            if heading := _HEADING.match(line):
                path = table = _parts(heading[1])
                seen += table == wanted[:1]
            elif assignment := _ASSIGNMENT.match(line):
                path = [*table, *_parts(assignment[1])]
            else:
                continue
            if path[0] == wanted[0] and seen in (-1, nth):
                if path[: len(wanted)] == wanted:
                    return number
                start = start or number
        return start or 1


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]


def _read(path: Path, *, is_required: bool = False, is_foreign: bool = False) -> str | None:
    """Return the text of a file, None if it need not be there and is not.

    Args:
        path: of the file.
        is_required: whether it must be there.
        is_foreign: whether others may have put it there, who must not make us read a device.
    """
    try:
        if is_foreign and path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is not a regular file")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as exc:
        if not is_required:
            return None
        raise ConfigError(
            "config-missing",
            f"the settings file {path} is not there",
            hint="Correct CCO_CONFIG or unset it",
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(
            "config-unreadable",
            f"the settings file {path} cannot be read ({reason})",
            hint=f"Correct it, or move it away: mv {path} {path}.bad",
        ) from exc
