# SPDX-License-Identifier: Apache-2.0
import gzip
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable

import brotli
import pytest
import zstandard

from cco.gateway import unpack
from cco.gateway.unpack import PackedError, unpacker
from tests.capabilities import ROOT

PLAIN = (ROOT / "tests/data/sse/001.sse").read_bytes()
EVENTS = [event + b"\n\n" for event in PLAIN.split(b"\n\n")[:-1]]
CODINGS = ["gzip", "deflate", "br", "zstd"]


def unpacked(coding: str, pieces: Iterable[bytes]) -> list[bytes]:
    feed = unpacker(coding)
    assert feed is not None
    return [b"".join(feed(piece)) for piece in pieces]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def packing(coding: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Return what packs an event so that it can be read at once, and what ends the stream."""
    if coding == "br":
        brotli_packer = brotli.Compressor()
        return (
            lambda event: brotli_packer.process(event) + brotli_packer.flush(),
            brotli_packer.finish,
        )
    if coding == "zstd":
        zstd_packer = zstandard.ZstdCompressor().compressobj()
        block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        return (
            lambda event: zstd_packer.compress(event) + zstd_packer.flush(block),
            zstd_packer.flush,
        )
    zlib_packer = zlib.compressobj(wbits=zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
    return (
        lambda event: zlib_packer.compress(event) + zlib_packer.flush(zlib.Z_SYNC_FLUSH),
        zlib_packer.flush,
    )


@pytest.mark.parametrize("coding", CODINGS)
def test_an_event_comes_out_when_it_has_come_in(coding: str) -> None:
    pack, finish = packing(coding)
    packed = [pack(event) for event in EVENTS]
    assert unpacked(coding, [*packed, finish()]) == [*EVENTS, b""]


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(PLAIN)),
        ("GZIP ", gzip.compress(PLAIN)),
        ("x-gzip", gzip.compress(PLAIN)),
        # two members, as a server may write that compresses anew after a while
        ("gzip", gzip.compress(PLAIN[:300]) + gzip.compress(PLAIN[300:])),
        ("deflate", zlib.compress(PLAIN)),
        # what some servers take "deflate" for
        ("deflate", raw_deflate(PLAIN)),
        ("br", brotli.compress(PLAIN)),
        ("Br", brotli.compress(PLAIN, quality=1)),
        ("zstd", zstandard.compress(PLAIN)),
        # two frames, and one between that is to be passed over
        (
            "zstd",
            zstandard.compress(PLAIN[:300])
            + b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
            + zstandard.compress(PLAIN[300:]),
        ),
        ("identity", PLAIN),
        ("", PLAIN),
    ],
)
def test_unpacks_wherever_it_is_split(coding: str, data: bytes) -> None:
    assert b"".join(unpacked(coding, [data])) == PLAIN
    assert b"".join(unpacked(coding, (data[i : i + 1] for i in range(len(data))))) == PLAIN
    for position in range(len(data)):
        assert b"".join(unpacked(coding, [data[:position], data[position:]])) == PLAIN, position


@pytest.mark.parametrize("coding", CODINGS)
def test_unpacks_more_than_one_piece_of_output(coding: str) -> None:
    pack, finish = packing(coding)
    plain = random.Random(3).randbytes(1000) * 1000
    packed = pack(plain) + finish()
    for step in (1000, 2**20):
        pieces = [packed[i : i + step] for i in range(0, len(packed), step)]
        assert b"".join(unpacked(coding, pieces)) == plain


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "nonsense", "br;q=1"])
def test_knows_no_other_coding(coding: str) -> None:
    assert unpacker(coding) is None


@pytest.mark.parametrize("coding", CODINGS)
def test_says_that_something_is_packed_otherwise(coding: str) -> None:
    with pytest.raises(PackedError):
        unpacked(coding, [b"this is plain text"])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("behind", [bytes(9), b"this is plain text"])
def test_what_came_before_garbage_is_told(coding: str, behind: bytes) -> None:
    pack, finish = packing(coding)
    feed = unpacker(coding)
    assert feed is not None
    assert b"".join(feed(pack(PLAIN) + finish())) == PLAIN
    with pytest.raises(PackedError):
        list(feed(behind))


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_not_unpacked_to_its_end(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_BYTES", 1_000_000)
    pack, finish = packing(coding)
    bomb = pack(bytes(20_000_000)) + finish()
    feed = unpacker(coding)
    assert feed is not None
    pieces: list[int] = []
    with pytest.raises(PackedError, match="too much"):
        pieces.extend(map(len, feed(bomb)))
    assert sum(pieces) <= 1_000_000


def test_an_endless_gzip_header_is_not_kept() -> None:
    feed = unpacker("gzip")
    assert feed is not None
    assert list(feed(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 100_000)) == []
    with pytest.raises(PackedError, match="nothing comes out"):
        list(feed(b"n"))


def test_a_window_that_http_does_not_allow_is_not_made() -> None:
    large = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=large).compressobj()
    with pytest.raises(PackedError):
        unpacked("zstd", [packer.compress(PLAIN) + packer.flush()])


def test_never_raises_anything_else() -> None:
    chance = random.Random(11)
    packed = [
        gzip.compress(PLAIN),
        raw_deflate(PLAIN),
        brotli.compress(PLAIN),
        zstandard.compress(PLAIN),
    ]
    for _ in range(1500):
        data = bytearray(chance.choice(packed))
        for _ in range(chance.randint(0, 12)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = chance.randint(0, len(data))
        feed = unpacker(chance.choice(CODINGS))
        assert feed is not None
        try:
            for piece in (data[:cut], data[cut:]):
                assert sum(map(len, feed(bytes(piece)))) <= unpack.MAX_BYTES
        except PackedError:
            continue


def test_libraries_are_loaded_when_they_are_needed() -> None:
    told = (
        "import sys; from cco.gateway import proxy, unpack;"
        "unpack.unpacker('gzip');"
        "print(sorted({'brotli', 'zstandard'} & set(sys.modules)));"
        "unpack.unpacker('br'); unpack.unpacker('zstd');"
        "print(sorted({'brotli', 'zstandard'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "['brotli', 'zstandard']"]
