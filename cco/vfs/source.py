# SPDX-License-Identifier: Apache-2.0
"""The daemon as the mount sees it: the tree it announces, the files it hands out, our reports.

One long-lived watch stream tells the newest tree and, by its end, that the daemon is gone. Nothing
polls: one thread blocks on that stream and publishes what it learns as an immutable `Snapshot`.
Everything else may be called from any thread.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from cco.client import Client, Reply, error_from
from cco.errors import CcoError, Unavailable
from cco.vfs import tree
from cco.vfs.tree import Snapshot

log = logging.getLogger(__name__)

AWAY: Final = "ERROR: the CCO daemon does not answer. Run: cco daemon restart"
"""What `health` says while there is no stream."""

FIRST_DELAY_S: Final = 0.05
LAST_DELAY_S: Final = 1.0
"""Between the end of a stream and the next try; doubles from the first to the last."""

WATCH_TIMEOUT_S: Final = 100.0
"""Longest silence on the stream; the daemon sends an empty line every 30 s if nothing happens."""

FETCH_TIMEOUT_S: Final = 5.0
"""Longest silence of the daemon that a reader of the mount bears."""


def mount_setting(socket: Path, *, patience_s: float) -> str:
    """Return the mount point that the settings name, empty for the usual one.

    The daemon reads the settings; this process would pay a megabyte for it.

    Raises:
        CcoError: the daemon does not answer in time.
    """
    client = Client(socket, timeout_s=FETCH_TIMEOUT_S)
    for _ in range(int(patience_s / LAST_DELAY_S)):
        try:
            return str(client.call("GET", "/api/vfs/settings")["mount"])
        except Unavailable:
            time.sleep(LAST_DELAY_S)
    return str(client.call("GET", "/api/vfs/settings")["mount"])


def tell_failure(socket: Path, failure: CcoError) -> None:
    """Let the daemon know why there is no mount, so that it can say so; it may be away itself."""
    report = {"pid": os.getpid(), "path": "", "status": "error", "message": failure.message}
    with suppress(CcoError):
        Client(socket, timeout_s=1.0).call("POST", "/api/vfs/report", report)


class Content(NamedTuple):
    """One file as the daemon handed it out."""

    data: bytes
    digest: str


class Source:
    """The daemon behind one socket.

    Args:
        socket: the daemon's.
        identity: ``pid`` and ``path`` of this mount; part of every watch and report.
    """

    def __init__(self, socket: Path, *, identity: Mapping[str, object]) -> None:
        self._identity = identity
        self._watcher = Client(socket, timeout_s=WATCH_TIMEOUT_S)
        self._client = Client(socket, timeout_s=FETCH_TIMEOUT_S)
        self._snapshot: Snapshot | None = None
        self._failure: CcoError | None = None
        self._is_stopping = threading.Event()
        self._has_news = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, at the latest when the present stream ends."""
        self._is_stopping.set()

    def wait(self, *, timeout_s: float) -> None:
        """Return once the daemon has told the first tree.

        Raises:
            CcoError: it did not in time; this is the last thing that went wrong.
        """
        self.wait_for_news(timeout_s=timeout_s)
        if self._snapshot is None:
            raise self._failure or Unavailable(
                "daemon-unavailable", "the daemon does not answer", hint="See: cco daemon status"
            )

    def wait_for_news(self, *, timeout_s: float) -> None:
        """Return when the daemon tells a tree, or after a time."""
        self._has_news.wait(timeout_s)
        self._has_news.clear()

    def snapshot(self) -> Snapshot:
        """Return the newest tree; there is one after `wait`."""
        assert self._snapshot is not None
        return self._snapshot

    def fetch(self, path: str, *, uid: int, token: str | None) -> Content:
        """Return a file's content as this caller may see it.

        Raises:
            Denied: the caller may not.
            NotFound: there is no such file any more.
            Unavailable: the daemon does not answer in time or not sensibly.
        """
        headers = {"x-cco-caller-uid": str(uid)}
        if token is not None:
            headers["x-cco-session"] = token
        reply = self._client.request("GET", f"/api/vfs/file?path={quote(path)}", headers=headers)
        if reply.status != 200:
            raise error_from(reply)
        digest = reply.headers.get("x-cco-digest")
        if not digest:
            raise Unavailable("daemon-garbled", f"the daemon sent {path} without its digest")
        return Content(reply.body, digest)

    def report(self, figures: Mapping[str, object]) -> None:
        """Tell the daemon how this mount is.

        Raises:
            CcoError: it did not take the report.
        """
        self._client.call("POST", "/api/vfs/report", {**self._identity, **figures})

    def _watch(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._is_stopping.is_set():
            try:
                for line in self._lines():
                    self._publish(tree.parse(line, now_ns=time.time_ns()))
                    delay_s = FIRST_DELAY_S
                raise Unavailable("daemon-unavailable", "the daemon ended the watch stream")
            except CcoError as exc:
                self._lose(exc)
            except ValueError as exc:
                log.warning("the daemon announced no tree: %s", exc)
                self._lose(Unavailable("daemon-garbled", f"the daemon announced no tree: {exc}"))
            self._is_stopping.wait(delay_s)
            delay_s = min(2 * delay_s, LAST_DELAY_S)

    def _lines(self) -> Iterator[bytes]:
        body = json.dumps(self._identity).encode()
        with self._watcher.stream("POST", "/api/vfs/watch", body=body) as (status, headers, reader):
            if status != 200:
                raise error_from(Reply(status, headers, reader.read(1 << 16)))
            while (line := reader.readline()).endswith(b"\n"):
                if line.strip():
                    yield line

    def _publish(self, snapshot: Snapshot) -> None:
        if self._snapshot is not None and self._failure is not None:
            log.info("the daemon is back")
        self._snapshot, self._failure = snapshot, None
        self._has_news.set()

    def _lose(self, failure: CcoError) -> None:
        if self._snapshot is not None:
            if self._failure is None:
                log.info(
                    "the daemon is away, its files cannot be opened: %s",
                    failure.message,
                    extra={"CODE": failure.code},
                )
            self._snapshot = self._snapshot.with_health(AWAY, now_ns=time.time_ns())
        self._failure = failure
