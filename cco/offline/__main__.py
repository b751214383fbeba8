# SPDX-License-Identifier: Apache-2.0
"""Entry point of `python3 -m cco.offline`: serve until SIGTERM or SIGINT.

When it serves, one line with the base URL is on stdout. A record is JSON lines, one a request::

    {"method", "target", "headers": [[name, value], …], "body": base64, "sha256": hex}

with credentials and prompts as they were sent, so the file is made for its owner alone.
"""

import argparse
import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cco.errors import Unavailable
from cco.offline.server import OfflineUpstream, Recorded

_ENDS = {signal.SIGTERM, signal.SIGINT}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to end and return the exit status."""
    options = _parser().parse_args(argv)
    # Blocked before any thread starts, so that sigwait() is the one place where they arrive.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        with ExitStack() as stack:
            record = _recorder(options.record, stack) if options.record else _forget
            upstream = OfflineUpstream(host=options.host, port=options.port, on_request=record)
            stack.enter_context(upstream)
            sys.stdout.write(f"{upstream.url}\n")
            sys.stdout.flush()
            signal.sigwait(_ENDS)
    except Unavailable as exc:
        sys.stderr.write(f"{exc.message}\n{exc.hint}\n")
        return os.EX_UNAVAILABLE
    return os.EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m cco.offline", description="Speak the Messages API without any model."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0: any free one")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append every request to FILE")
    return parser


def _forget(_request: Recorded) -> None:
    """Keep nothing of a request."""


def _recorder(path: Path, stack: ExitStack) -> Callable[[Recorded], None]:
    """Return what appends requests to a file that only its owner can read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as exc:
        raise Unavailable(
            "offline-record",
            f"the record {path} cannot be written: {exc.strerror}",
            hint="Give another file with --record",
        ) from exc
    file = stack.enter_context(os.fdopen(descriptor, "w", encoding="ascii"))
    lock = threading.Lock()

    def record(request: Recorded) -> None:
        line = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": base64.b64encode(request.body).decode("ascii"),
            "sha256": request.sha256,
        }
        with lock:
            file.write(json.dumps(line) + "\n")
            file.flush()

    return record


if __name__ == "__main__":
    raise SystemExit(main())
