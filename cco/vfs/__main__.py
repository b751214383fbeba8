# SPDX-License-Identifier: Apache-2.0
"""Runs the mount process: ``python3 -I -m cco.vfs``."""

import sys

from cco.vfs.process import main

sys.exit(main())
