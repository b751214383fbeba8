# SPDX-License-Identifier: Apache-2.0
"""What tests send by chance: JSON in every spelling that JSON allows, and header fields.

Everything follows from the `random.Random` that is passed in, so a seed brings it back.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

Fields = list[tuple[str, str]]

NUMBERS: Final = ("0", "-0", "1.0", "1.10", "1e5", "1E+5", "-2.5e-7", "1e400", "1" * 40)
CHARACTERS: Final = 'aZ \\"/\n\t\x7fé€\u2028\U0001f388'
SPACES: Final = ("", "", "", " ", "\n", "\r\n\t  ")
LARGE_BYTES: Final = 5 * 2**20

PREFIXES: Final = ("anthropic-", "x-claude-code-", "x-stainless-", "x-", "un_known-", "Te-")
NAMES: Final = (
    *("anthropic-beta", "Anthropic-Version", "X-API-Key", "authorization", "User-Agent"),
    *("Accept-Encoding", "cookie", "x-ccox", "x-forwarded-for", "date"),
)
VALUES: Final = ("", "a", "b, c", "x" * 3000, "caf\xe9", '"q;=,"', "two  spaces\tand a tab")


def bodies(count: int, *, seed: int) -> Iterator[bytes]:
    """Yield request bodies; one in ten is damaged, one in two hundred has 5 MB."""
    chance = random.Random(seed)
    for number in range(count):
        data = bytearray(body(chance, text_bytes=LARGE_BYTES if number % 200 == 100 else 0))
        if chance.random() < 0.1:
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield bytes(data)


def body(chance: random.Random, *, text_bytes: int = 0) -> bytes:
    """Return a request for a message; its members come in any order, some of them twice."""
    members = [("model", '"claude-x"'), ("stream", chance.choice(["true", "false"]))]
    members += [("messages", value(chance)), ("max_tokens", chance.choice(NUMBERS))]
    members += chance.choices(members, k=chance.randrange(3))
    if text_bytes:
        members.append(("text", f'"{"0123456789abcde" * (text_bytes // 15)}"'))
    chance.shuffle(members)
    written = ",".join(f"{space(chance)}{string(chance, name)}:{text}" for name, text in members)
    return f"{space(chance)}{{{written}{space(chance)}}}{space(chance)}".encode()


def value(chance: random.Random, depth: int = 0) -> str:
    """Return any JSON value as text."""
    kinds: list[Callable[[], str]] = [
        lambda: chance.choice(["true", "false", "null"]),
        lambda: chance.choice([*NUMBERS, repr(chance.uniform(-1e9, 1e9))]),
        lambda: string(chance, "".join(chance.choices(CHARACTERS, k=chance.randrange(12)))),
        lambda: f"[{','.join(value(chance, depth + 1) for _ in range(chance.randrange(5)))}]",
        lambda: f"{{{','.join(member(chance, depth + 1) for _ in range(chance.randrange(5)))}}}",
    ]
    text = chance.choice(kinds if depth < 4 else kinds[:3])()
    return f"{space(chance)}{text}{space(chance)}"


def member(chance: random.Random, depth: int) -> str:
    """Return a member of an object as text; few names, so that some come twice."""
    return f"{string(chance, chance.choice(['a', 'b', 'stream', 'é']))}:{value(chance, depth)}"


def string(chance: random.Random, text: str) -> str:
    """Return a string as JSON, each character in one of its spellings."""
    return f'"{"".join(_spell(chance, character) for character in text)}"'


def space(chance: random.Random) -> str:
    """Return what may stand between any two tokens."""
    return chance.choice(SPACES)


def fields(chance: random.Random) -> Fields:
    """Return header fields that cross the gateway as they are."""
    return [(_name(chance), _value(chance)) for _ in range(chance.randrange(1, 30))]


def _spell(chance: random.Random, character: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "/": "\\/"}
    if chance.random() < 0.7:
        return character if character >= " " and character not in '"\\' else short[character]
    units = character.encode("utf-16-be")
    if chance.random() < 0.1:
        units = units[:2]  # of a pair this is one half alone
    written = units.hex().upper() if chance.random() < 0.5 else units.hex()
    return "".join(f"\\u{written[at : at + 4]}" for at in range(0, len(written), 4))


def _name(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(NAMES)
    return chance.choice(PREFIXES) + "".join(chance.choices("abcXYZ019-_", k=8)) + "z"


def _value(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(VALUES)
    return "".join(chr(chance.randrange(33, 127)) for _ in range(chance.randrange(1, 60)))
