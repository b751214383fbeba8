# SPDX-License-Identifier: Apache-2.0
"""Answers that a client asks for again and again: with a tag, so that nothing new costs nothing."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from flask import Response, request

from cco.errors import RequestError


def wanted_members(known: Collection[str]) -> Collection[str]:
    """Return the members that ``fields=`` chooses, all without it.

    Raises:
        RequestError: it names one that is not there.
    """
    given = request.args.get("fields")
    if given is None:
        return known
    chosen = [name.strip() for name in given.split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            raise RequestError(
                "unknown-field",
                f"there is no field '{name[:64]}'",
                hint=f"Known: {', '.join(sorted(known))}",
            )
    return chosen


def tagged(document: Mapping[str, Any]) -> Response:
    """Return a JSON answer with an ``ETag``, or 304 for a client that has the same already."""
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    response = Response(data, mimetype="application/json")
    response.set_etag(hashlib.sha256(data).hexdigest()[:32])
    response.make_conditional(request.environ)
    return response
