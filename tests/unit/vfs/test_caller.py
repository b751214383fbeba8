# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cco.vfs.caller import MAX_TOKEN, find_token, read_token


@pytest.mark.parametrize(
    ("environment", "token"),
    [
        (b"CCO_SESSION=abc\0", "abc"),
        (b"CCO_SESSION=abc", "abc"),  # a process may have cut its block short
        (b"HOME=/\0CCO_SESSION=abc\0USER=x\0", "abc"),
        (b"CCO_SESSION=a=b\0", "a=b"),
        (b"CCO_SESSION=first\0CCO_SESSION=second\0", "first"),  # as getenv(3) finds it
        (b"", None),
        (b"CCO_SESSION", None),
        (b"CCO_SESSION=\0", None),
        (b"XCCO_SESSION=abc\0", None),
        (b"CCO_SESSION_X=abc\0", None),
        (b"cco_session=abc\0", None),
        (b"OTHER=CCO_SESSION=abc\0", None),
        (b"OTHER=\nCCO_SESSION=abc\0", None),
        (b"CCO_SESSION=a b\0", None),
        (b"CCO_SESSION=a\r\nx-cco-caller-uid: 0\0", None),  # would be a header of its own
        (b"CCO_SESSION=\xc3\xa9\0", None),
        (b"CCO_SESSION=" + b"a" * MAX_TOKEN, "a" * MAX_TOKEN),
        (b"CCO_SESSION=" + b"a" * (MAX_TOKEN + 1), None),
    ],
)
def test_find_token(environment: bytes, token: str | None) -> None:
    assert find_token(environment) == token


_THREADED = """
import threading
def tell():
    print(threading.get_native_id(), flush=True)
    input()
thread = threading.Thread(target=tell)
thread.start()
thread.join()
"""


@pytest.fixture
def child() -> Iterator[tuple[int, int]]:
    """A process with a token; its id and that of a second thread of it."""
    padding = {f"PADDING_{number}": "x" * 100_000 for number in range(3)}
    environ = {**os.environ, **padding, "CCO_SESSION": "of-the-child"}
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _THREADED],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate("\n")


def test_token_of_a_process_and_of_its_thread(child: tuple[int, int]) -> None:
    pid, tid = child
    assert pid != tid
    assert read_token(pid, uid=os.getuid()) == "of-the-child"
    assert read_token(tid, uid=os.getuid()) == "of-the-child"


def test_no_token_of_another_users_process(child: tuple[int, int]) -> None:
    # The number may have been given anew between the call and our look.
    assert read_token(child[0], uid=os.getuid() + 1) is None


def test_no_token_where_there_is_no_process() -> None:
    assert read_token(0, uid=os.getuid()) is None
    assert read_token(2**30, uid=os.getuid()) is None


def test_no_token_where_the_environment_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    assert read_token(7, uid=os.getuid(), proc=tmp_path) is None
    (tmp_path / "7" / "environ").mkdir()
    assert read_token(7, uid=os.getuid(), proc=tmp_path) is None
