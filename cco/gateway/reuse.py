# SPDX-License-Identifier: Apache-2.0
"""Which answers are used again, for whom, and when: the one place where that is decided.

============================  =============  =============  ======================================
request                       is looked up   joins another  its answer is kept
============================  =============  =============  ======================================
``count_tokens``              always         yes            ``ttl_s``
`Call.reuse` (invoke)         always         yes            ``ttl_s``
messages = ``off``            never          no             no
messages = ``retry``          after a loss   no             `LOST_S` if it was lost, for one request
messages = ``exact``          always         yes            ``ttl_s``; as above if it was lost
============================  =============  =============  ======================================

An answer is lost if the upstream had completed it, but its client did not get all of it. The next
equal request gets it, and if that one's client is lost too, the one after that. Who asks for JSON
where a stream was lost gets the message that it told (`rebuild`); the other way round is a miss.

Plain conversations do not join each other: who asks twice may want two answers, and a client that
asks again because its first answer hangs would hang again.

For a request with ``cache-control: no-cache`` nothing is looked up, joined or kept.

What a hit saved is what the answer had cost, by its counted tokens; nothing for count_tokens.

Threading: everything may be called by any thread.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from cco import config
from cco.errors import CcoError, Unavailable
from cco.gateway.cache import Cleared, Kept, ResponseCache
from cco.gateway.call import Answer, Call, FixedBody
from cco.gateway.copying import Copy
from cco.gateway.entry import METERED_PATH, Entry
from cco.gateway.fanout import Reader
from cco.gateway.headers import index, tokens
from cco.gateway.inflight import Flight, Flights
from cco.gateway.key import Key, key_of
from cco.gateway.rebuild import rebuild_message
from cco.gateway.recording import Recording, Room
from cco.gateway.relay import Keep, Relay
from cco.gateway.replay import Replay, message_fields, replayed_fields
from cco.gateway.transport import AbandonedError

LOST_S: Final = 60.0
"""How long a lost answer waits for its client: longer than it waits before it asks again."""
ROOM_SHARE: Final = 4
"""All copies of answers under way may take this part of ``max_bytes``, beside what is kept."""
COUNT_PATH: Final = "/v1/messages/count_tokens"

Fetch = Callable[[Keep | None], Answer]
"""Sends the request and returns the answer, its own fields not yet added.

Raises `CcoError` or `AbandonedError`."""


class Purpose(StrEnum):
    """What an answer may be used for."""

    COUNT = "count"
    INVOKE = "invoke"
    EXACT = "exact"
    RETRY = "retry"


class State(StrEnum):
    """What ``x-cco-cache`` says."""

    BYPASS = "bypass"
    COALESCED = "coalesced"
    HIT = "hit"
    MISS = "miss"


class Reuse:
    """Finds answers that are there, joins requests that are the same, keeps what comes.

    Args:
        settings: of the user.
        monotonic: the clock.
    """

    def __init__(self, settings: config.Cache, *, monotonic: Callable[[], float]) -> None:
        self.settings: Final = settings
        self._monotonic = monotonic
        self._cache = ResponseCache(settings.max_bytes, monotonic=monotonic)
        self._flights = Flights()
        self._room = Room(settings.max_bytes // ROOM_SHARE)
        self._lost_until = float("-inf")
        """Lost answers may be there until then."""

    def answer(self, call: Call, entry: Entry, *, realm: Callable[[], str], fetch: Fetch) -> Answer:
        """Return an answer that is there, or have it fetched.

        Args:
            call: the request.
            entry: its row; `Entry.cache` is filled in, and all of it for what is not fetched.
            realm: returns where the request goes and on whose account; see `key.key_of`.
            fetch: called at most once, by this thread.

        Raises:
            CcoError: there is none, or `realm` raised it.
            AbandonedError: nobody wants it.
        """
        purpose = self._purpose(call)
        entry.cache = State.BYPASS
        if purpose is None:
            return fetch(None)
        asked = _Asked(call, realm)
        if purpose in (Purpose.EXACT, Purpose.RETRY) and self._monotonic() < self._lost_until:
            found = self._find_lost(entry, asked.key)
            if found is not None:
                return found
        if purpose is Purpose.RETRY:
            self._note_miss(entry)
            return fetch(self._copy(entry, asked, purpose))
        slot = asked.slot(purpose)
        reader = Reader(
            entry,
            client_fd=call.client_fd,
            deadline=call.deadline,
            note_saved=self._cache.note_saved,
        )
        boarded = self._flights.board(slot, reader, find=lambda: self._cache.find(slot))
        if isinstance(boarded, Kept):
            return self._replay(entry, boarded, on_lost=_nothing)
        answer = self._await(boarded, reader)
        if answer is not None:
            return _joined(answer, reader)
        boarded.launch(self._copy(entry, asked, purpose))
        return _led(boarded, reader, fetch)

    def stats(self) -> dict[str, Any]:
        """Return the figures of ``GET /api/cache/stats``."""
        return {"enabled": self.settings.enabled, **self._cache.stats()}

    def clear(self) -> Cleared:
        """Forget all answers."""
        return self._cache.clear()

    def reap(self) -> None:
        """Forget the answers that have come to their end; to be called now and then."""
        self._cache.reap()

    def _purpose(self, call: Call) -> Purpose | None:
        """Return what the answer to a request may be used for, None for nothing."""
        if not self.settings.enabled or call.method != "POST":
            return None
        purpose: Purpose | None = None
        if call.path == COUNT_PATH:
            purpose = Purpose.COUNT
        elif call.path == METERED_PATH:
            if call.reuse:
                purpose = Purpose.INVOKE
            elif self.settings.messages != "off":
                purpose = Purpose(self.settings.messages)
        if purpose and "no-cache" in tokens(index(call.headers), "cache-control"):
            return None
        return purpose

    def _copy(self, entry: Entry, asked: "_Asked", purpose: Purpose) -> Copy:
        """Return what copies an answer, and keeps it as `purpose` wants."""

        def keep(kept: Kept) -> None:
            self._cache.put(asked.slot(purpose), kept, ttl_s=self.settings.ttl_s)

        def keep_lost(kept: Kept) -> None:
            self._cache.put(asked.slot(Purpose.RETRY), kept, ttl_s=LOST_S)
            self._lost_until = self._monotonic() + LOST_S

        return Copy(
            entry,
            Recording(self._room, max_bytes=self._cache.max_entry_bytes),
            keep=None if purpose is Purpose.RETRY else keep,
            keep_lost=keep_lost if purpose in (Purpose.EXACT, Purpose.RETRY) else None,
        )

    def _find_lost(self, entry: Entry, key: Key) -> Answer | None:
        """Return the answer that was lost on its way to another client, and let nobody have it."""
        slot = _slot(Purpose.RETRY, key)
        kept = self._cache.take(slot)
        if kept is None:
            return None

        def put_back() -> None:
            self._cache.put_back(slot, kept)

        given = kept if key.streams in (None, kept.is_stream) else _as_message(kept)
        if given is None:
            put_back()
            return None
        return self._replay(entry, given, on_lost=put_back)

    def _replay(self, entry: Entry, kept: Kept, *, on_lost: Callable[[], None]) -> Answer:
        entry.cache = State.HIT
        entry.status = 200
        entry.is_stream = kept.is_stream
        entry.upstream = kept.upstream
        entry.saved_nano = kept.cost_nano
        self._cache.note_hit(kept.cost_nano)
        headers = replayed_fields(kept.headers, length=len(kept.body), request_id=entry.request_id)
        return Answer(200, kept.reason, headers, Replay(kept.body, entry, on_lost=on_lost))

    def _await(self, flight: Flight, reader: Reader) -> Answer | None:
        """Return the answer to a request that another one sent, None for who is to send it."""
        reader.entry.cache = State.COALESCED
        try:
            answer = flight.await_answer(reader)
        except (CcoError, AbandonedError):
            self._cache.note_coalesced()
            raise
        if answer is None:
            self._note_miss(reader.entry)
        else:
            self._cache.note_coalesced()
        return answer

    def _note_miss(self, entry: Entry) -> None:
        entry.cache = State.MISS
        self._cache.note_miss()


class _Asked:
    """What is asked; its key is made when it is needed, which for most requests is never."""

    def __init__(self, call: Call, realm: Callable[[], str]) -> None:
        self._call = call
        self._realm = realm

    @cached_property
    def key(self) -> Key:
        call = self._call
        return key_of(
            method=call.method,
            target=call.target,
            headers=call.headers,
            body=call.same_as or call.body,
            realm=self._realm(),
        )

    def slot(self, purpose: Purpose) -> bytes:
        return _slot(purpose, self.key)


def _slot(purpose: Purpose, key: Key) -> bytes:
    """Return where an answer is kept: by the form that was asked for, but for a lost one."""
    form = "" if purpose is Purpose.RETRY else f"{key.streams}:"
    return f"{purpose}:{form}".encode() + key.digest


def _led(flight: Flight, reader: Reader, fetch: Fetch) -> Answer:
    """Have the answer fetched, for everybody on the flight."""
    try:
        answer = fetch(flight)
    except AbandonedError:
        flight.resign(reader)
        raise
    except CcoError as error:
        if reader.entry.attempts:
            flight.fail(error)
        else:  # nothing was sent: a budget of this one is spent, and the next one's may not be
            flight.resign(reader)
        raise
    except BaseException:
        flight.fail(Unavailable("internal", "CCO failed on this request"))
        raise
    flight.land(answer)
    return replace(answer, body=reader) if isinstance(answer.body, Relay) else answer


def _joined(answer: Answer, reader: Reader) -> Answer:
    """Return the answer to another one's request for a reader that joined."""
    entry = reader.entry
    entry.status = answer.status
    if not isinstance(answer.body, Relay):  # there is no body
        entry.settle()
        return replace(answer, body=FixedBody())
    entry.upstream = answer.body.entry.upstream
    entry.is_stream = answer.body.entry.is_stream
    return replace(answer, body=reader)


def _as_message(kept: Kept) -> Kept | None:
    """Return a stream as the JSON message that it told; None for what is none, or is not sure."""
    if not kept.is_stream:
        return None
    body = rebuild_message(kept.body, content_encoding=kept.coding)
    if body is None:
        return None
    headers = message_fields(kept.headers)
    return replace(kept, headers=headers, body=body, is_stream=False, coding="")


def _nothing() -> None:
    """Do nothing: what is kept for everybody is not lost."""
