# SPDX-License-Identifier: Apache-2.0
"""``GET /openapi.json``: the description of the whole HTTP interface.

It is written by hand, in ``cco/api/data/openapi.json``; tests hold it against the routes and
against what they answer.
"""

import json
from pathlib import Path
from typing import Any, Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from cco import __version__
from cco.api.answers import tagged
from cco.api.services import Services

FILE: Final = Path(__file__).parents[1] / "data/openapi.json"


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    del services  # it describes the routes, not what they show
    routes = Blueprint("openapi", __name__)

    @routes.get("/openapi.json")
    def describe() -> ResponseReturnValue:
        return tagged(load_document())

    return routes


def load_document() -> dict[str, Any]:
    """Return the description, with the version of this CCO."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    document["info"]["version"] = __version__
    return document
