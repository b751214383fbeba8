# SPDX-License-Identifier: Apache-2.0
"""Imports urwid without what the dashboard does not use of it.

urwid imports asyncio, and with it ssl, for one of its event loops; the dashboard runs on another
one. Measured with Python 3.11 and urwid 5.0.1: 4.6 MB of the 20 MB that it may take. A module that
is empty stands in while urwid is imported; whoever imports asyncio later gets the real one.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


def _import_lean() -> ModuleType:
    """Return urwid, imported with nothing behind the name asyncio if nobody needs that yet."""
    if "asyncio" in sys.modules:
        return importlib.import_module("urwid")
    sys.modules["asyncio"] = ModuleType("asyncio")
    try:
        return importlib.import_module("urwid")
    except AttributeError:  # a version that uses it at once
        for name in [name for name in sys.modules if name.partition(".")[0] == "urwid"]:
            del sys.modules[name]
        del sys.modules["asyncio"]
        return importlib.import_module("urwid")
    finally:
        if not hasattr(sys.modules.get("asyncio"), "run"):
            sys.modules.pop("asyncio", None)


_import_lean()

import urwid as urwid  # noqa: E402 - found as it was imported above


def raw_screen() -> Any:
    """Return the screen that speaks to the terminal itself."""
    if hasattr(urwid, "display"):  # from 2.4 on, where the old name warns
        return urwid.display.raw.Screen()
    return urwid.raw_display.Screen()
