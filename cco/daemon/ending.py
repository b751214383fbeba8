# SPDX-License-Identifier: Apache-2.0
"""How the daemon's processes say why they end: the sentence, the remedy, the exit status."""

import logging
import os
import sys

from cco.errors import CcoError, ConfigError
from cco.log import is_journal

log = logging.getLogger(__name__)


def give_up(error: CcoError) -> int:
    """Tell whoever reads standard error why this process ends; return its exit status."""
    if is_journal(os.environ, sys.stderr):
        log.error("%s. %s", error.message, error.hint or "", extra={"CODE": error.code})
    else:  # whoever has started it reads that
        print(f"cco: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
    return os.EX_CONFIG if isinstance(error, ConfigError) else os.EX_UNAVAILABLE
