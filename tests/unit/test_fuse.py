# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from cco.errors import Unavailable
from cco.fuse import check_device, find_fusermount, fusermounts


def test_fusermount_is_looked_for_where_libfuse_does() -> None:
    assert fusermounts("/opt/x::/y") == [
        Path("/bin/fusermount"),
        Path("/usr/bin/fusermount"),
        Path("/opt/x/fusermount"),
        Path("/y/fusermount"),
    ]


def test_first_program_that_can_be_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    program = tmp_path / "fusermount"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_fusermount([tmp_path / "none", tmp_path / "plain", program]) == program


def test_missing_program_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        find_fusermount([tmp_path / "none"])
    assert caught.value.hint == "Install it, on Debian with: apt install fuse3"


def test_missing_device_is_told_from_a_forbidden_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        check_device(tmp_path / "fuse")
    assert caught.value.code == "fuse-missing"
    check_device(Path("/dev/null"))  # what may be opened is good enough
