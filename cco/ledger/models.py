# SPDX-License-Identifier: Apache-2.0
"""The many spellings of a model's id, brought down to the ones in a price list.

Pure. Known: ``anthropic/claude-opus-4-8`` (routers), ``us.anthropic.claude-opus-4-8-v1:0``
(Bedrock), ``claude-opus-4-8@20260101`` (Vertex), ``claude-opus-4-8-20260101``,
``claude-opus-4-8-latest``, ``claude-opus-4-8[1m]`` (Claude Code), and combinations.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_MAX_LENGTH: Final = 200
"""Ids come from request bodies; a longer one names no model."""

_VARIANT: Final = re.compile(r"\[[^\[\]]*\]$")
_PROVIDER: Final = re.compile(r"^.*(?:/|anthropic\.)")
_REVISION: Final = re.compile(r"-v\d+(?::\d+)?$")
_DATE: Final = re.compile(r"-(?:\d{8}|latest)$")


def spellings(model: str) -> Iterator[str]:
    """Yield an id as given, then ever plainer forms of it, each part taken off in turn."""
    if len(model) > _MAX_LENGTH:
        return
    yield model
    plain = _PROVIDER.sub("", _VARIANT.sub("", model.strip()))
    yield plain
    plain, _, at = _REVISION.sub("", plain).partition("@")
    if at:
        yield f"{plain}-{at}"
    yield plain
    yield undated(plain)


def undated(model: str) -> str:
    """Return an id without its date or ``-latest``."""
    return _DATE.sub("", model)


def aliases(models: Iterable[str]) -> Mapping[str, str]:
    """Map each id, and each dated id's undated form, to the id in the list that it means.

    A form that is in the list means itself; else the latest dated id is meant.
    """
    listed = sorted(models)
    return {undated(model): model for model in listed} | {model: model for model in listed}
