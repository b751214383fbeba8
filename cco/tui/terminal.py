# SPDX-License-Identifier: Apache-2.0
"""What the terminal can show, judged from the environment.

Pure: nothing is asked of the terminal, for an answer over a slow line would come among the keys.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from cco.tui import palette
from cco.tui.graph import Charset

MIN_COLUMNS: Final = 80
MIN_ROWS: Final = 24

_UTF8: Final = re.compile(r"utf-?8", re.IGNORECASE)
_COLOURLESS: Final = re.compile(r"^(dumb|vt\d+.*|.*-mono|.*-m)?$")
_WITHOUT_BRAILLE: Final = re.compile(r"^linux|^cons")
"""The console's fonts have blocks and lines only."""


class Terminal(NamedTuple):
    """What may be used."""

    colours: int
    """1, 16, 256 or 2**24."""
    charset: Charset

    @property
    def is_utf8(self) -> bool:
        """Say whether there is more than ASCII."""
        return self.charset is not Charset.ASCII


def judge(environ: Mapping[str, str]) -> Terminal:
    """Return what the terminal of this environment can do."""
    name = environ.get("TERM", "")
    return Terminal(_colours(environ, name), _charset(environ, name))


def _colours(environ: Mapping[str, str], name: str) -> int:
    if environ.get("NO_COLOR") or _COLOURLESS.match(name):  # no-color.org: any value but none
        return palette.MONO
    if environ.get("COLORTERM") in ("truecolor", "24bit") or name.endswith("-direct"):
        return palette.TRUE
    return palette.MANY if "256" in name else palette.BASIC


def _charset(environ: Mapping[str, str], name: str) -> Charset:
    locale = next((environ[key] for key in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(key)), "")
    if not _UTF8.search(locale):
        return Charset.ASCII
    return Charset.BLOCK if _WITHOUT_BRAILLE.match(name) else Charset.BRAILLE
