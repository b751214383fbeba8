# SPDX-License-Identifier: Apache-2.0
"""Who listens on a port."""

import subprocess
import sys
from pathlib import Path

import pytest

from cco.ports import owner


def test_owner_of_another_process_is_named() -> None:
    script = (
        "import socket, sys; sock = socket.create_server(('127.0.0.1', 0));"
        "print(sock.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert owner(port).endswith(f"(pid {process.pid})")


HEAD = "  sl  local_address rem_address   st ...\n"


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        # 3000 is 0x0BB8; the process cannot be seen, its uid can
        ({"tcp": "0: 0100007F:0BB8 00000000:0000 0A 0:0 0:0 0 1000 0 77 1 0"}, "uid 1000"),
        ({"tcp6": "0: 0:0BB8 0:0000 0A 0:0 0:0 0 1000 0 77 1 0"}, "uid 1000"),
        # only those that listen, and on this port
        ({"tcp": "0: 0100007F:0BB8 0100007F:1234 01 0:0 0:0 0 1000 0 77 1 0"}, None),
        ({"tcp": "0: 0100007F:0BB9 00000000:0000 0A 0:0 0:0 0 1000 0 77 1 0"}, None),
        ({"tcp": ""}, None),
        ({}, None),  # neither table
    ],
)
def test_owner_that_cannot_be_seen(
    tables: dict[str, str], told: str | None, tmp_path: Path
) -> None:
    (tmp_path / "net").mkdir()
    for name, line in tables.items():
        (tmp_path / "net" / name).write_text(HEAD + line)

    assert owner(3000, proc=tmp_path) == (told or "another program")
