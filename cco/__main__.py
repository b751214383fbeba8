# SPDX-License-Identifier: Apache-2.0
"""``python3 -m cco``: the same as `cco`."""

from cco.cli.main import entry

if __name__ == "__main__":
    entry()
