# SPDX-License-Identifier: Apache-2.0
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cco import config
from cco.errors import ConfigError
from cco.gateway.credentials import MAX_KEY_BYTES, Credentials, digest, load
from cco.gateway.headers import index

KEY = "sk-ant-api03-planted"


def write(path: Path, data: bytes = KEY.encode(), *, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def loaded(credential: str | Path, *, directory: str | Path = "", uid: int = -1) -> Credentials:
    upstream = config.Upstream(name="up", credential=str(credential))
    environ = {"CREDENTIALS_DIRECTORY": str(directory)} if directory else {}
    return load([upstream], environ=environ, uid=os.getuid() if uid < 0 else uid)


def refused(*args: Any, **kwargs: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(*args, **kwargs)
    assert KEY not in f"{caught.value} {caught.value.hint}"
    assert "up" in caught.value.message
    return caught.value


def test_reads_a_file(tmp_path: Path) -> None:
    found = loaded(write(tmp_path / "key"))
    assert (found.keys, found.missing) == ({"up": KEY}, ())


def test_reads_a_credential_of_systemd(tmp_path: Path) -> None:
    # systemd guards the directory; the file's own mode says nothing, on ramfs with ACLs above all.
    write(tmp_path / "anthropic.key", mode=0o440)
    assert loaded("anthropic.key", directory=tmp_path).keys == {"up": KEY}


def test_follows_a_link_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(tmp_path / "key"))
    assert loaded(tmp_path / "link").keys == {"up": KEY}


@pytest.mark.parametrize(
    "data",
    [
        KEY.encode(),
        f"{KEY}\n".encode(),
        f" \t{KEY} \r\n\n".encode(),
        f"{KEY}\0".encode().replace(b"\0", b"\n"),
    ],
)
def test_takes_off_the_space_around_a_key(tmp_path: Path, data: bytes) -> None:
    assert loaded(write(tmp_path / "key", data)).keys == {"up": KEY}


def test_upstreams_without_a_credential_have_none() -> None:
    found = load([config.Upstream()], environ={}, uid=os.getuid())
    assert (found.keys, found.missing) == ({}, ())


def test_each_upstream_has_its_own(tmp_path: Path) -> None:
    upstreams = [
        config.Upstream(name="a", credential=str(write(tmp_path / "a", b"key-a"))),
        config.Upstream(name="b"),
        config.Upstream(name="c", credential=str(tmp_path / "missing")),
        config.Upstream(name="d", credential=str(write(tmp_path / "d", b"key-d"))),
    ]
    found = load(upstreams, environ={}, uid=os.getuid())
    assert found.keys == {"a": "key-a", "d": "key-d"}
    assert [each.upstream for each in found.missing] == ["c"]


@pytest.mark.parametrize(
    ("credential", "directory", "remedy"),
    [
        ("{dir}/none", "", "chmod 600"),
        ("{dir}/file/none", "", "chmod 600"),
        ("none", "{dir}", "LoadCredential=none:"),
        ("none", "{dir}/none", "LoadCredential=none:"),
        ("none", "", "LoadCredential=none:"),
    ],
)
def test_what_is_not_there_is_no_error_yet(
    tmp_path: Path, credential: str, directory: str, remedy: str
) -> None:
    write(tmp_path / "file")
    found = loaded(credential.format(dir=tmp_path), directory=directory.format(dir=tmp_path) or "")
    (missing,) = found.missing
    assert (found.keys, missing.upstream) == ({}, "up")
    assert missing.message.startswith("the upstream up has no credential: ")
    assert remedy in missing.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_refuses_a_file_that_others_can_open(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "key", mode=mode)
    error = refused(path)
    assert (error.code, error.hint) == ("credential-exposed", f"Run: chmod 600 {path}")


def test_refuses_a_file_of_another_user(tmp_path: Path) -> None:
    path = write(tmp_path / "key")
    error = refused(path, uid=os.getuid() + 1)
    assert error.code == "credential-exposed"
    assert error.hint == f"Run: chown {os.getuid() + 1} {path}"


@pytest.mark.parametrize("data", [b"", b"\n", b"a b", b"a\nb", b"a\0b", b"k\xc3\xa9", b"\x1b[31m"])
def test_refuses_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    assert refused(write(tmp_path / "key", data)).code == "credential-invalid"


def test_refuses_a_file_that_is_much_too_long(tmp_path: Path) -> None:
    assert loaded(write(tmp_path / "key", b"k" * MAX_KEY_BYTES)).keys
    path = write(tmp_path / "key", b"k" * MAX_KEY_BYTES + b"\n")
    assert refused(path).code == "credential-invalid"


@pytest.mark.parametrize("data", [b"sk-ant-oat01-abc", b"  sk-ant-oat02-abc\n", b"sk-ant-ort01-x"])
def test_refuses_the_login_of_a_subscription(tmp_path: Path, data: bytes) -> None:
    error = refused(write(tmp_path / "key", data))
    assert error.code == "credential-oauth"
    assert "your login passes through" in (error.hint or "")
    assert "abc" not in error.message


@pytest.mark.parametrize("credential", ["a/b", "../key", ".", "..", "~/key", "x" * 256])
def test_refuses_what_is_neither_path_nor_name(tmp_path: Path, credential: str) -> None:
    assert refused(credential, directory=tmp_path).code == "credential-name"


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)  # nobody writes into it: this must not wait
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        assert refused(path).code == "credential-unreadable"


def test_tells_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    error = refused(tmp_path / "loop")
    assert error.code == "credential-unreadable"
    assert os.strerror(errno.ELOOP) in error.message


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    assert KEY not in repr(loaded(write(tmp_path / "key")))


def test_tells_clients_apart_by_what_they_send() -> None:
    sent = [
        [],
        [("x-api-key", "a")],
        [("x-api-key", "b")],
        [("authorization", "a")],
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("x-api-key", "a"), ("authorization", "b")],
        [("x-api-key", "ab")],
    ]
    digests = [digest(index(fields)) for fields in sent]
    assert digests[0] == ""
    assert len(set(digests)) == len(sent)
    assert digest(index([("Authorization", "b"), ("other", "x"), ("X-Api-Key", "a")])) == digests[5]
    assert digest(index([("x-api-key", "\xff\udcff")]))


# What systemd-creds has encrypted; a script stands for it, tests/machine has the real one.


@pytest.fixture
def creds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make `systemd-creds` what a script says."""

    def install(script: str) -> None:
        program = tmp_path / "bin/systemd-creds"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return install


def test_encrypted_file_is_decrypted_by_systemd(
    tmp_path: Path, creds: Callable[[str], None]
) -> None:
    creds(f"echo {KEY}")
    file = write(tmp_path / "key.cred", b"encrypted", mode=0o644)  # a secret to nobody
    assert loaded(f"encrypted:{file}").keys == {"up": KEY}
    assert (tmp_path / "asked").read_text() == f"--user decrypt {file} -\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Unknown option --user.' >&2; exit 1", "Unknown option --user"),  # systemd 252
        (f"echo {KEY}; echo 'Failed to decrypt: Key rejected' >&2; exit 1", "Key rejected"),
        ("exit 1", "exit status 1"),
    ],
)
def test_file_that_cannot_be_decrypted_is_an_error(
    tmp_path: Path, creds: Callable[[str], None], script: str, reason: str
) -> None:
    creds(script)
    error = refused(f"encrypted:{write(tmp_path / 'key.cred')}")
    assert error.code == "credential-encrypted"
    assert reason in error.message
    assert f"systemd-creds --user encrypt - {tmp_path}/key.cred" in str(error.hint)


def test_without_systemd_creds_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "No such file" in refused(f"encrypted:{write(tmp_path / 'key.cred')}").message


def test_encrypted_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    [missing] = loaded(f"encrypted:{tmp_path}/none").missing
    assert f"{tmp_path}/none is not there" in missing.message
    assert f"systemd-creds --user encrypt - {tmp_path}/none" in missing.hint


def test_what_was_decrypted_must_be_a_key(tmp_path: Path, creds: Callable[[str], None]) -> None:
    creds("echo two words")
    error = refused(f"encrypted:{write(tmp_path / 'key.cred')}")
    assert error.code == "credential-invalid"
