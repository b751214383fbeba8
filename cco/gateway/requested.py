# SPDX-License-Identifier: Apache-2.0
"""The model that a request asks for, read from a copy of its body.

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
