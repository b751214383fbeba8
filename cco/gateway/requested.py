# SPDX-License-Identifier: Apache-2.0
"""The model that a request asks for, and how long an answer, read from a copy of its body.

Pure. The body itself is never parsed and written again: it goes upstream as it came.
"""

import json
import re
from typing import Final

MAX_PARSED_BYTES: Final = 2**21
"""A larger body that does not begin with its model is left alone: parsing it would hold up every
other answer, and the upstream names the model in its own."""
MAX_MODEL_LENGTH: Final = 128

_FRONT: Final = re.compile(rb'\s*\{\s*"model"\s*:\s*"([^"\\]*)"')
"""How Claude Code, and most who write by hand, begin a body."""

_MAX_TOKENS: Final = re.compile(rb'(?<!\\)"max_tokens"\s*:\s*([0-9]{1,9})')
"""In JSON a quote inside a text has a backslash before it."""


def requested_model(body: bytes) -> str:
    """Return the model that a body names, or the empty string."""
    front = _FRONT.match(body)
    if front is not None:
        return front[1].decode("utf-8", "replace")[:MAX_MODEL_LENGTH]
    if not body or len(body) > MAX_PARSED_BYTES:
        return ""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    model = parsed.get("model") if isinstance(parsed, dict) else None
    return model[:MAX_MODEL_LENGTH] if isinstance(model, str) else ""


def requested_max_tokens(body: bytes) -> int:
    """Return the ``max_tokens`` of a body, the largest if several members have that name; or 0."""
    return max((int(found) for found in _MAX_TOKENS.findall(body)), default=0)
