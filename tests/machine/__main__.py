# SPDX-License-Identifier: Apache-2.0
"""Boots a machine and gives a root shell in it: ``sudo .venv/bin/python -m tests.machine``."""

import subprocess
import sys

from tests.machine.machine import booted

with booted(*sys.argv[1:]) as machine:
    subprocess.run(machine.shell_command(), check=False)
