# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from cco.vfs.proof import taken, try_reading


def test_reading_what_is_there(tmp_path: Path) -> None:
    place = tmp_path / "-a 'b' $(c)"
    place.mkdir()
    (place / "health").write_text("OK\n")
    (place / ".manifest").write_text("{}")
    assert try_reading(place) == ""


def test_reading_says_what_is_missing(tmp_path: Path) -> None:
    assert try_reading(tmp_path / "none").endswith("/none': No such file or directory")
    (tmp_path / "health").write_text("OK\n")
    assert try_reading(tmp_path) == f"cat: {tmp_path}/.manifest: No such file or directory"


def test_taken_mount_is_named() -> None:
    assert taken(Path("/run/cco")).message == "somebody has unmounted /run/cco"
