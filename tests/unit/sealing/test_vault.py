# SPDX-License-Identifier: Apache-2.0
"""The keys of a vault: one for each name, from a master key that ends with it."""

import concurrent.futures
import hashlib
import hmac
import pickle
from collections.abc import Iterator

import pytest

from cco.errors import SealError
from cco.sealing import envelope
from cco.sealing.custody import SecretBytes
from cco.sealing.vault import Vault

PAYLOAD = b'{"webAgents":[]}'


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault.create() as vault:
        yield vault


def test_sealed_file_opens_under_its_name_only(vault: Vault) -> None:
    sealed = vault.seal("agents.sealed", PAYLOAD)

    assert vault.unseal("agents.sealed", sealed) == PAYLOAD
    with pytest.raises(SealError) as caught:
        vault.unseal("hooks.sealed", sealed)
    assert caught.value.code == "seal-name"


def test_key_is_the_hmac_of_label_and_name() -> None:
    master = SecretBytes(32)
    with Vault(master) as vault, master.lend() as view:
        expected = hmac.new(bytes(view), b"cco/seal/v1\x00agents.sealed", hashlib.sha256).digest()
        sealed = vault.seal("agents.sealed", PAYLOAD)

    assert envelope.unseal(sealed, name="agents.sealed", key=expected) == PAYLOAD


def test_each_name_has_its_own_key(vault: Vault) -> None:
    assert vault._key("agents.sealed") != vault._key("hooks.sealed")
    assert vault._key("agents.sealed") == vault._key("agents.sealed")


def test_sealing_twice_uses_two_nonces(vault: Vault) -> None:
    sealed = {vault.seal("agents.sealed", PAYLOAD) for _ in range(100)}
    offset = 11 + len("agents.sealed")

    assert len({data[offset : offset + envelope.NONCE_BYTES] for data in sealed}) == 100


def test_another_vault_opens_nothing(vault: Vault) -> None:
    sealed = vault.seal("agents.sealed", PAYLOAD)

    with Vault.create() as other, pytest.raises(SealError) as caught:
        other.unseal("agents.sealed", sealed)

    assert caught.value.code == "seal-altered"


def test_impossible_name_is_refused(vault: Vault) -> None:
    with pytest.raises(SealError) as caught:
        vault.seal("plugin/agents", PAYLOAD)

    assert caught.value.code == "seal-name"


def test_closed_vault_seals_and_unseals_nothing(vault: Vault) -> None:
    sealed = vault.seal("agents.sealed", PAYLOAD)
    vault.close()
    vault.close()

    with pytest.raises(ValueError, match="closed"):
        vault.seal("agents.sealed", PAYLOAD)
    with pytest.raises(ValueError, match="closed"):
        vault.unseal("agents.sealed", sealed)


def test_threads_share_a_vault(vault: Vault) -> None:
    names = [f"{number}.sealed" for number in range(50)]

    def round_trip(name: str) -> bytes:
        return vault.unseal(name, vault.seal(name, name.encode()))

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert [name.encode() for name in names] == list(threads.map(round_trip, names))


def test_vault_is_not_pickled(vault: Vault) -> None:
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        pickle.dumps(vault)


def test_shortfalls_are_those_of_the_master_key() -> None:
    master = SecretBytes(32)
    with Vault(master) as vault:
        assert vault.shortfalls is master.shortfalls
