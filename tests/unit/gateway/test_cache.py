# SPDX-License-Identifier: Apache-2.0
import os
import random
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from cco.gateway.cache import ENTRY_BYTES, FIELD_BYTES, SHARE, Kept, ResponseCache


def make_kept(size_bytes: int = 10, **overrides: Any) -> Kept:
    given: dict[str, Any] = {
        "reason": "OK",
        "headers": [],
        "body": b"x" * size_bytes,
        "is_stream": False,
        "coding": "",
        "upstream": "up",
        "cost_nano": 0,
    }
    return Kept(**{**given, **overrides})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_keeps_an_answer_until_its_end(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    kept = make_kept()
    cache.put(b"a", kept, ttl_s=10)
    cache.put(b"b", kept, ttl_s=20)

    assert cache.find(b"a") == replace(kept, expires_at=10)
    assert cache.find(b"c") is None
    clock.now = 9.9
    assert cache.find(b"a")
    clock.now = 10
    assert cache.find(b"a") is None
    assert cache.find(b"b")
    assert cache.stats()["entries"] == 1


def test_keeps_nothing_for_no_time(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    cache.put(b"a", make_kept(), ttl_s=0)
    assert cache.find(b"a") is None
    assert cache.stats()["sizeBytes"] == 0


def test_only_one_takes_an_answer_and_may_put_it_back(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    cache.put(b"a", make_kept(), ttl_s=10)
    clock.now = 4
    kept = cache.take(b"a")
    assert kept is not None
    assert cache.take(b"a") is None
    cache.put_back(b"a", kept)
    clock.now = 9
    assert cache.find(b"a")
    clock.now = 10  # its end is the former one
    assert cache.take(b"a") is None
    cache.put_back(b"a", kept)
    assert cache.stats()["entries"] == 0


def test_the_least_recently_used_makes_room(clock: Clock) -> None:
    size = make_kept(1000).size_bytes
    cache = ResponseCache(size * 10, monotonic=clock)
    for name in range(10):
        cache.put(b"%d" % name, make_kept(1000), ttl_s=100 + name)
    assert cache.find(b"0")
    cache.put(b"new", make_kept(1000), ttl_s=1)

    assert cache.find(b"1") is None
    assert cache.find(b"0")
    assert cache.find(b"new")
    told = cache.stats()
    assert (told["entries"], told["evictions"], told["sizeBytes"]) == (10, 1, size * 10)


def test_an_answer_in_the_place_of_another_counts_once(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    for size in (10, 5000, 20):
        cache.put(b"a", make_kept(size), ttl_s=10)
    assert cache.stats()["sizeBytes"] == make_kept(20).size_bytes
    assert cache.stats()["evictions"] == 0


@pytest.mark.parametrize("max_bytes", [0, 1, 100, (ENTRY_BYTES + 10) * SHARE - 1])
def test_nothing_takes_more_than_its_share(clock: Clock, max_bytes: int) -> None:
    cache = ResponseCache(max_bytes, monotonic=clock)
    cache.put(b"a", make_kept(10), ttl_s=10)
    assert cache.find(b"a") is None
    assert cache.stats()["entries"] == 0


def test_what_has_just_its_share_is_kept(clock: Clock) -> None:
    cache = ResponseCache((ENTRY_BYTES + 10) * SHARE, monotonic=clock)
    cache.put(b"a", make_kept(10), ttl_s=10)
    assert cache.find(b"a")


def test_reaping_frees_what_has_ended(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    cache.put(b"a", make_kept(), ttl_s=10)
    clock.now = 10
    cache.reap()
    assert not cache._entries._Cache__data  # type: ignore[attr-defined]
    assert cache.stats()["evictions"] == 0  # its time was over


def test_clearing_says_what_it_freed_and_keeps_the_figures(clock: Clock) -> None:
    cache = ResponseCache(1 << 20, monotonic=clock)
    for name in (b"a", b"b"):
        cache.put(name, make_kept(1000), ttl_s=10)
    cache.note_hit(5)
    assert cache.clear() == (2, 2 * make_kept(1000).size_bytes)
    assert cache.clear() == (0, 0)
    assert cache.find(b"a") is None
    told = cache.stats()
    assert (told["hits"], told["evictions"], told["sizeBytes"]) == (1, 0, 0)


def test_tells_figures(clock: Clock) -> None:
    cache = ResponseCache(4096, monotonic=clock)
    assert cache.stats() == {
        "entries": 0,
        "sizeBytes": 0,
        "maxBytes": 4096,
        "hits": 0,
        "misses": 0,
        "coalesced": 0,
        "evictions": 0,
        "hitRate": None,
        "savedUsd": 0.0,
    }
    for _ in range(3):
        cache.note_hit(1_500_000_001)
    cache.note_miss()
    cache.note_coalesced()
    cache.note_saved(1)
    told = cache.stats()
    assert (told["hits"], told["misses"], told["coalesced"]) == (3, 1, 1)
    assert (told["hitRate"], told["savedUsd"]) == (0.75, 4.500000004)


def test_what_it_says_to_take_it_does_not_exceed(clock: Clock) -> None:
    cache = ResponseCache(1 << 30, monotonic=clock)
    cache.put(b"first", make_kept(), ttl_s=10)
    cache.clear()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for count in range(500):
        fields = [(f"x-field-{count}-{n}", f"value {count} {n}") for n in range(20)]
        cache.put(os.urandom(40), make_kept(headers=fields, body=os.urandom(500)), ttl_s=10)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    said = cache.stats()["sizeBytes"]
    assert said == sum(
        500
        + ENTRY_BYTES
        + sum(len(f"x-field-{c}-{n}value {c} {n}") + FIELD_BYTES for n in range(20))
        for c in range(500)
    )
    assert taken <= said <= 2 * taken


def test_many_threads_keep_it_within_bounds(clock: Clock) -> None:
    cache = ResponseCache(200_000, monotonic=clock)
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(400):
            key = b"%d" % rng.randrange(40)
            match rng.randrange(6):
                case 0 | 1:
                    size = rng.randrange(12_000)
                    cache.put(key, make_kept(size, upstream=key.decode()), ttl_s=rng.random())
                case 2:
                    cache.take(key)
                case 3:
                    clock.now += 0.01
                    cache.reap()
                case 4 if rng.random() < 0.05:
                    cache.clear()
                case _:
                    kept = cache.find(key)
                    if kept is not None and kept.upstream != key.decode():
                        wrong.append("foreign")
            if cache.stats()["sizeBytes"] > 200_000:
                wrong.append("too much")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    clock.now += 2
    cache.reap()
    assert (cache.stats()["entries"], cache.stats()["sizeBytes"]) == (0, 0)
