# SPDX-License-Identifier: Apache-2.0
"""Undoes the content codings of answers, on a copy, piece by piece as they arrive.

Pure: bytes in, bytes out. ``gzip``, ``deflate``, ``br`` and ``zstd`` are known, which is all that
HTTP clients ask for. What is unpacked is bounded, in one step as well as in all: a few hundred
bytes can stand for gigabytes.

The libraries for ``br`` and ``zstd`` are named here only, and loaded with the first answer that
needs them.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

MAX_BYTES: Final = 2**28
"""Unpacked bytes after which an answer is not read on."""

_PIECE_BYTES: Final = 65536
_ANY_ZLIB: Final = 32 + zlib.MAX_WBITS
"""Tell gzip and zlib apart by their headers."""
_BROTLI_STEP: Final = 32
"""Bytes put in at once: up to three meta-blocks end in them, each of at most 16 MB (RFC 7932,
section 9.2). Not before Brotli 1.2 can the library itself be bounded."""
_ZSTD_STEP: Final = 256
"""Bytes put in at once: up to 64 blocks, each of at most 128 KB (RFC 8878, section 3.1.1.2)."""
_ZSTD_WINDOW_BYTES: Final = 2**23
"""What HTTP allows, RFC 9659."""


class PackedError(Exception):
    """It is packed otherwise than it says, or unpacks to too much."""


class _Engine(Protocol):
    """Undoes one coding."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in pieces of bounded size.

        Raises:
            PackedError: it is packed otherwise.
        """


def unpacker(content_encoding: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """Return what undoes a content coding as bytes arrive, None for one that is not known.

    It yields what has come out, and raises `PackedError`.
    """
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return lambda data: iter((data,))
    engine = _ENGINES.get(coding)
    return None if engine is None else _Bounded(engine()).feed


class _Bounded:
    """Keeps an engine from unpacking to no end."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._total = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for plain in self._engine.unpack(data):
            self._total += len(plain)
            if self._total > MAX_BYTES:
                raise PackedError("unpacks to too much")
            if plain:
                yield plain


class _Zlib:
    """Undoes gzip (of several members too), zlib, and the bare deflate that some send instead."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(_ANY_ZLIB)
        self._beginning: bytes | None = b""
        """What was fed while nothing had come out yet, to start over with bare deflate."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        has_more = True
        while data or has_more:
            try:
                plain = self._piece(data)
            except zlib.error as error:
                raise PackedError(str(error)) from error
            yield plain
            has_more = len(plain) == _PIECE_BYTES
            data = self._engine.unconsumed_tail
            if self._engine.eof:
                data = self._engine.unused_data
                self._engine = zlib.decompressobj(_ANY_ZLIB)
                has_more = False

    def _piece(self, data: bytes) -> bytes:
        if self._beginning is None:
            return self._engine.decompress(data, _PIECE_BYTES)
        if len(self._beginning) > _PIECE_BYTES:
            raise PackedError("nothing comes out")
        self._beginning += data
        try:
            plain = self._engine.decompress(data, _PIECE_BYTES)
        except zlib.error:
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            plain = self._engine.decompress(self._beginning, _PIECE_BYTES)
        if plain:
            self._beginning = None
        return plain


class _Brotli:
    """Undoes Brotli, RFC 7932."""

    def __init__(self) -> None:
        import brotli

        self._engine: Any = brotli.Decompressor()
        self._error: type[Exception] = brotli.error

    def unpack(self, data: bytes) -> Iterator[bytes]:
        for step in _steps(data, _BROTLI_STEP):
            try:
                plain = self._engine.process(step)
            except self._error as error:
                raise PackedError(str(error)) from error
            yield plain


class _Zstd:
    """Undoes Zstandard, RFC 8878, of several frames too."""

    def __init__(self) -> None:
        import zstandard

        self._frames = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame = self._frames.decompressobj()
        self._error = zstandard.ZstdError

    def unpack(self, data: bytes) -> Iterator[bytes]:
        for step in _steps(data, _ZSTD_STEP):
            left = step
            while left:
                try:
                    plain = self._frame.decompress(left)
                except self._error as error:
                    raise PackedError(str(error)) from error
                yield plain
                left = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame = self._frames.decompressobj()


_ENGINES: Final[dict[str, Callable[[], _Engine]]] = {
    "gzip": _Zlib,
    "x-gzip": _Zlib,
    "deflate": _Zlib,
    "br": _Brotli,
    "zstd": _Zstd,
}


def _steps(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
