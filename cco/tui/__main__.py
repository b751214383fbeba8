# SPDX-License-Identifier: Apache-2.0
"""Shows the dashboard; see `cco.tui.process`."""

import os
import sys

from cco.tui.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
