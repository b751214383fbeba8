# SPDX-License-Identifier: Apache-2.0
import random

from cco.gateway.recording import Recording, Room


def test_a_recording_gives_back_what_it_took() -> None:
    recording = Recording(Room(100), max_bytes=100)
    for piece in (b"ab", b"", b"cde"):
        recording.add(piece)
    assert recording.is_whole
    assert recording.size == 5
    assert recording.read(0, 5) == b"abcde"
    assert recording.read(1, 3) == b"bc"
    recording.forget(3)  # not while it is whole
    assert recording.read(0, 5) == b"abcde"


def test_one_that_is_too_large_is_whole_no_more_and_keeps_what_is_not_forgotten() -> None:
    room = Room(100)
    recording = Recording(room, max_bytes=4)
    recording.add(b"abcd")
    assert recording.read(0, 4) == b"abcd"
    recording.add(b"ef")
    assert not recording.is_whole
    assert room.take(100)
    assert (recording.size, recording.read(0, 6)) == (6, b"abcdef")
    recording.forget(5)
    recording.forget(2)
    recording.add(b"gh")
    assert (recording.size, recording.read(5, 8)) == (8, b"fgh")
    assert len(recording._data) == 3


def test_all_together_stay_in_their_room() -> None:
    room = Room(10)
    first, second, third = (Recording(room, max_bytes=10) for _ in range(3))
    first.add(b"x" * 6)
    second.add(b"y" * 4)
    third.add(b"z")
    second.add(b"y")
    assert [each.is_whole for each in (first, second, third)] == [True, False, False]
    first.add(b"x" * 4)  # into what the second one left
    assert first.is_whole
    for each in (first, second, third):
        each.close()
        each.close()
    assert room.take(10)
    assert not room.take(1)
    room.give(1)
    assert room.take(1)


def test_random_recordings_leave_the_room_as_it_was() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        room = Room(1000)
        recordings = [Recording(room, max_bytes=400) for _ in range(5)]
        passed = [b""] * 5
        for _ in range(40):
            which = rng.randrange(5)
            data = rng.randbytes(rng.randrange(60))
            recordings[which].add(data)
            passed[which] += data
            for recording, all_bytes in zip(recordings, passed, strict=True):
                if recording.is_whole:
                    assert recording.read(0, recording.size) == all_bytes
        assert sum(each._taken for each in recordings) <= 1000
        for recording in recordings:
            recording.close()
        assert room._left == 1000
