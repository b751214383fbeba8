# SPDX-License-Identifier: Apache-2.0
"""``make fuzz``: inputs of chance, for as long as there is time.

First the parsers, in turn; then a live daemon, by its own description and with hook inputs that no
client would send. Ends with status 1 at the first thing that does not hold, and says how to have
it again.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

from tests.daemon import daemon_of_processes
from tests.describing import examine
from tests.fuzz import parsers
from tests.fuzz.hooks import post_anything

ROUND: Final = 200


def main() -> int:
    """Run what the arguments say."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves nothing behind either
    names = [asked.only] if asked.only else list(parsers.TARGETS)
    deadline = time.monotonic() + 60 * asked.minutes
    number = begin = asked.begin if asked.begin is not None else random.randrange(10**9) * 1000
    print(f"parsers, from number {begin}: {', '.join(names)}", flush=True)
    while time.monotonic() < deadline:
        for name in names:
            for each in range(number, number + ROUND):
                try:
                    parsers.run(name, each)
                except Exception:  # noqa: BLE001 - every one of them is a finding
                    traceback.print_exc(file=sys.stdout)
                    print(f"again: make fuzz ARGS='--only {name} --from {each} --minutes 0.01'")
                    return 1
        number += ROUND
    print(f"  {number - begin} inputs each")
    return 0 if asked.only else _fuzz_daemon(asked.examples, seed=begin)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for the parsers (5)")
    parser.add_argument("--examples", type=int, default=200, help="for each operation (200)")
    parser.add_argument("--only", choices=parsers.TARGETS, help="one parser, and no daemon")
    parser.add_argument("--from", type=int, dest="begin", help="number of the first input")
    return parser.parse_args()


def _fuzz_daemon(examples: int, *, seed: int) -> int:
    with daemon_of_processes() as served, tempfile.TemporaryDirectory() as directory:
        served.start()
        print(f"daemon, seed {seed}: {examples} examples for each operation", flush=True)
        wrong = post_anything(served, examples, seed=seed)
        status, told = examine(served, Path(directory), examples=examples, seed=seed)
        is_good = not wrong and status == 0 and "Traceback" not in served.log()
        if not is_good:
            print(*wrong, told[-20_000:], sep="\n")
    print("  all as described" if is_good else "  not as described")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
