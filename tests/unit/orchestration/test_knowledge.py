# SPDX-License-Identifier: Apache-2.0
"""Knowledge on a real database: stored, found, bounded, forgotten."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cco.errors import NotFound, StoreError
from cco.orchestration import knowledge as knowledge_module
from cco.orchestration.facts import TYPES, USER, Fact
from cco.orchestration.knowledge import GATHERED_DAYS, MEMORY_DAYS, Knowledge, Memory, Place
from cco.orchestration.knowledge_schema import SCHEMA

ExpectLog = Callable[[str], None]

DAY_NS = 86_400_000_000_000


class Clock:
    """Time that goes on by itself, a nanosecond a look."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "knowledge.db"


@pytest.fixture
def knowledge(path: Path, clock: Clock) -> Iterator[Knowledge]:
    made = Knowledge(path, now_ns=clock)
    yield made
    made.close()


def store(knowledge: Knowledge, text: str, **changes: Any) -> Fact:
    given = {"project": "/p", "type_": "decision", "source": USER, "session": ""}
    return knowledge.store(text=text, **{**given, **changes})


def texts(found: list[Fact]) -> list[str]:
    return [fact.text for fact in found]


def test_nothing_is_made_before_it_is_needed(knowledge: Knowledge, path: Path) -> None:
    assert not path.parent.exists()
    knowledge.close()
    assert not path.parent.exists()


def test_file_is_for_its_owner_alone(knowledge: Knowledge, path: Path) -> None:
    store(knowledge, "x")

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {part.stat().st_mode & 0o777 for part in path.parent.iterdir()} == {0o600}


def test_fact_is_kept_as_it_was_told(knowledge: Knowledge, clock: Clock) -> None:
    fact = store(knowledge, "Grüße", type_="issue", source="Test Engineer", session="s1")

    assert fact == Fact(1, "/p", "issue", "Grüße", "Test Engineer", "s1", clock.now_ns)
    assert knowledge.latest(limit=9) == [fact]


def test_fact_outlives_the_daemon(knowledge: Knowledge, path: Path, clock: Clock) -> None:
    fact = store(knowledge, "kept")
    knowledge.close()
    again = Knowledge(path, now_ns=clock)

    assert again.latest(limit=9) == [fact]
    again.close()


def test_same_text_is_one_fact_and_as_new(knowledge: Knowledge) -> None:
    first = store(knowledge, "once", type_="issue")
    store(knowledge, "between")
    again = store(knowledge, "once", session="s2")
    other = store(knowledge, "once", project="/q")

    assert (again.id, again.type, again.session) == (first.id, "decision", "s2")
    assert again.created_ns > first.created_ns
    assert texts(knowledge.latest(project="/p", limit=9)) == ["once", "between"]
    assert other.id != first.id


def test_what_the_user_stored_stays_the_users(knowledge: Knowledge) -> None:
    store(knowledge, "both", source=USER)
    assert store(knowledge, "both", source="Test Engineer").source == USER
    store(knowledge, "other", source="Test Engineer")
    assert store(knowledge, "other", source=USER).source == USER


def test_search_finds_words_the_best_first(knowledge: Knowledge) -> None:
    store(knowledge, "Money is kept in cents, as integers")
    store(knowledge, "Configuration lies in TOML files; money is not mentioned there again")
    store(knowledge, "The parser is written by hand")
    store(knowledge, "Money in cents", project="/q")

    assert texts(knowledge.search("Money, in cents?", project="/p", limit=9)) == [
        "Money is kept in cents, as integers",
        "Configuration lies in TOML files; money is not mentioned there again",
    ]
    assert len(knowledge.search("money", limit=9)) == 3
    assert texts(knowledge.search("MONEY", project="/p", limit=1)) == [
        "Money is kept in cents, as integers"
    ]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("We configure it by hand", "configuring"),
        ("Über die Brücke", "brucke"),
        ("see src/billing_cents.py", "billing_cents"),
        ("see src/billing_cents.py", "bill"),
        ("日本語 の文", "日本語"),
        ("Grüße an die Straße", "Grüße"),
        ("Grüße an die Straße", "straße"),
        ("お金はセント単位で保存する", "セント"),
        ("お金はセント単位で保存する", "保存"),
        ("我们决定用整数保存金额", "金额用整数"),
        ("พูดภาษาไทยได้", "ภาษา"),
        ("돈은 센트로 저장한다", "저장"),
        ("हिन्दी में लिखा", "हिन्दी"),
    ],
)
def test_search_is_not_picky(text: str, query: str, knowledge: Knowledge) -> None:
    store(knowledge, text)

    assert texts(knowledge.search(query, limit=9)) == [text]


def test_words_without_spaces_between_them_are_found_the_best_first(knowledge: Knowledge) -> None:
    store(knowledge, "金额 保存")
    store(knowledge, "我们决定用整数保存金额")
    store(knowledge, "整数")
    store(knowledge, "其他")

    found = texts(knowledge.search("用整数保存金额 money", project="/p", limit=9))
    assert sorted(found[1:]) == ["整数", "金额 保存"]
    assert found[0] == "我们决定用整数保存金额"
    assert len(knowledge.search("整数", limit=1)) == 1


@pytest.mark.parametrize("query", ["", "  ", '"', "nothing like it", "AND OR NOT"])
def test_search_may_find_nothing(query: str, knowledge: Knowledge) -> None:
    store(knowledge, "something")

    assert knowledge.search(query, limit=9) == []


def test_types_are_told_apart(knowledge: Knowledge) -> None:
    for type_ in reversed(TYPES):
        store(knowledge, f"a fact, {type_}", type_=type_)

    assert texts(knowledge.search("fact", type_="issue", limit=9)) == ["a fact, issue"]
    assert texts(knowledge.latest(type_="issue", limit=9)) == ["a fact, issue"]
    assert [fact.type for fact in knowledge.latest(limit=9, by_value=True)] == [*TYPES]


def test_one_fact_is_forgotten(knowledge: Knowledge) -> None:
    fact = store(knowledge, "wrong")
    kept = store(knowledge, "right")
    knowledge.forget(fact.id)

    assert knowledge.latest(limit=9) == [kept]
    assert knowledge.search("wrong", limit=9) == []
    with pytest.raises(NotFound) as caught:
        knowledge.forget(fact.id)
    assert caught.value.code == "unknown-fact"
    assert store(knowledge, "next").id > kept.id  # an id is never used again


def test_project_is_forgotten_with_its_sessions(knowledge: Knowledge) -> None:
    store(knowledge, "one")
    store(knowledge, "two")
    other = store(knowledge, "three", project="/q")
    for launch, project in (("a", "/p"), ("b", "/q")):
        knowledge.save_memory(Memory(launch, "c", project, "{}"))

    assert knowledge.forget_project("/p") == 2
    assert knowledge.latest(limit=9) == [other]
    assert knowledge.memory("a") is None
    assert knowledge.memory("b") is not None
    assert knowledge.forget_project("/p") == 0


def test_what_is_forgotten_is_gone_from_the_disk(knowledge: Knowledge, path: Path) -> None:
    for number in range(50):
        store(knowledge, f"filler {number} " + "padding " * 100)
    fact = store(knowledge, "unforgettablexyz is a word of its own")
    knowledge.save_memory(Memory("a", "c", "/q", '["rememberedxyz"]'))

    def on_disk(word: bytes) -> bool:
        return any(word in part.read_bytes() for part in path.parent.iterdir())

    assert on_disk(b"unforgettablexyz")
    assert on_disk(b"rememberedxyz")
    knowledge.forget(fact.id)
    knowledge.forget_project("/q")
    assert not on_disk(b"unforgettablexyz")
    assert not on_disk(b"ettablexyz")  # the index has it in pieces
    assert not on_disk(b"rememberedxyz")
    assert knowledge.search("filler", limit=9)


def test_what_is_forgotten_while_somebody_reads_is_gone_when_they_are(
    knowledge: Knowledge, path: Path
) -> None:
    fact = store(knowledge, "unforgettablexyz is a word of its own")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM facts").fetchall() == [(1,)]
        knowledge.forget(fact.id)
    knowledge.latest(limit=9)

    assert not any(b"unforgettablexyz" in part.read_bytes() for part in path.parent.iterdir())


def test_number_is_bounded_and_the_least_valuable_go(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = knowledge_module._EXCESS.replace("facts > 1000", "facts > 4")
    monkeypatch.setattr(knowledge_module, "_EXCESS", sql)
    store(knowledge, "old decision")
    store(knowledge, "gathered decision", source="Test Engineer")
    store(knowledge, "user's completion", type_="completion")
    store(knowledge, "gathered completion", type_="completion", source="Test Engineer")
    store(knowledge, "elsewhere", project="/q")
    store(knowledge, "new decision")
    assert set(texts(knowledge.latest(project="/p", limit=9))) == {
        "old decision",
        "gathered decision",
        "user's completion",
        "new decision",
    }
    store(knowledge, "issue", type_="issue")
    store(knowledge, "newest decision")
    assert texts(knowledge.latest(project="/p", limit=9, by_value=True)) == [
        "newest decision",
        "new decision",
        "old decision",
        "issue",
    ]
    assert texts(knowledge.latest(project="/q", limit=9)) == ["elsewhere"]


def test_what_the_user_is_told_was_stored_is_there(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else has to make room, and however little its type is worth."""
    sql = knowledge_module._EXCESS.replace("facts > 1000", "facts > 2")
    monkeypatch.setattr(knowledge_module, "_EXCESS", sql)
    for number in range(3):
        store(knowledge, f"decision {number}")
    store(knowledge, "a completion", type_="completion")
    store(knowledge, "gathered", source="Test Engineer")

    assert texts(knowledge.latest(limit=9)) == ["a completion", "decision 2"]


def test_size_is_bounded_in_bytes(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = knowledge_module._EXCESS.replace("bytes > 1000000", "bytes > 100")
    monkeypatch.setattr(knowledge_module, "_EXCESS", sql)
    for letter in "abcdef":
        store(knowledge, letter + "ü" * 20)  # 41 bytes

    assert [text[0] for text in texts(knowledge.latest(limit=9))] == ["f", "e"]


def test_bounds_are_those_that_are_told(knowledge: Knowledge) -> None:
    limits = knowledge.stats()["limits"]

    assert f"facts > {limits['factsPerProject']} " in knowledge_module._EXCESS
    assert f"bytes > {limits['bytesPerProject']})" in knowledge_module._EXCESS


def test_what_was_gathered_goes_with_time_and_the_users_stays(
    knowledge: Knowledge, clock: Clock
) -> None:
    store(knowledge, "stored")
    store(knowledge, "gathered", source="Test Engineer")
    knowledge.save_memory(Memory("a", "c", "/p", "{}"))
    clock.now_ns += (MEMORY_DAYS + 1) * DAY_NS
    knowledge.save_memory(Memory("b", "c", "/p", "{}"))
    assert knowledge.memory("a") is None
    assert texts(knowledge.latest(limit=9)) == ["gathered", "stored"]
    clock.now_ns += GATHERED_DAYS * DAY_NS
    store(knowledge, "new", project="/q")

    assert texts(knowledge.latest(project="/p", limit=9)) == ["stored"]


def test_memory_of_a_launch_is_the_last_one(knowledge: Knowledge) -> None:
    first = Memory("a", "c1", "/p", '{"requests": []}')
    last = first._replace(client_session="c2")
    for memory in (first, last):
        knowledge.save_memory(memory)

    assert knowledge.memory("a") == last
    assert knowledge.memory("b") is None
    assert knowledge.stats()["memories"] == 1


def test_place_of_a_launch_is_the_last_one_and_goes_with_its_project(
    knowledge: Knowledge, clock: Clock
) -> None:
    first = Place("a", "c1", "/p", "/home/alice/.claude/projects/-p/c1.jsonl")
    last = first._replace(client_session="c2", path="/home/alice/.claude/projects/-p/c2.jsonl")
    for place in (first, last, first._replace(launch="b", project="/q")):
        knowledge.save_place(place)

    assert knowledge.place("a") == last
    assert knowledge.stats()["memories"] == 0
    knowledge.forget_project("/p")
    assert knowledge.place("a") is None
    clock.now_ns += (MEMORY_DAYS + 1) * DAY_NS
    knowledge.save_place(last)
    assert knowledge.place("b") is None


def test_knowledge_of_an_earlier_version_is_kept(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        replace(SCHEMA, migrations=SCHEMA.migrations[:1]).migrate(old)
        old.execute("INSERT INTO facts VALUES (1, '/p', 'issue', 'kept', 'user', '', 1)")
    knowledge = Knowledge(path, now_ns=clock)

    assert texts(knowledge.search("kept", limit=9)) == ["kept"]
    assert knowledge.place("a") is None
    knowledge.close()


def test_stats_count(knowledge: Knowledge) -> None:
    assert knowledge.stats()["facts"] == 0
    store(knowledge, "ü")
    store(knowledge, "b", type_="issue")
    store(knowledge, "c", project="/q")

    told = knowledge.stats()
    assert (told["facts"], told["textBytes"]) == (3, 4)
    assert told["byType"] == {**dict.fromkeys(TYPES, 0), "decision": 2, "issue": 1}
    assert told["byProject"] == [{"project": "/p", "facts": 2}, {"project": "/q", "facts": 1}]
    assert knowledge.stats(project="/q")["facts"] == 1


def test_damaged_file_is_set_aside(knowledge: Knowledge, path: Path, expect_log: ExpectLog) -> None:
    expect_log("The knowledge was damaged")
    store(knowledge, "lost")
    knowledge.close()
    path.write_bytes(b"no database at all, but long enough" * 100)
    store(knowledge, "after")

    assert texts(knowledge.latest(limit=9)) == ["after"]
    assert len(list(path.parent.glob("knowledge.db.damaged-*"))) >= 1


def test_damage_while_it_is_open_is_got_over(
    knowledge: Knowledge, path: Path, expect_log: ExpectLog
) -> None:
    expect_log("The knowledge was damaged")
    store(knowledge, "lost " * 500)
    knowledge.close()
    assert knowledge.latest(limit=9)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with closing(sqlite3.connect(path)) as other:  # what the first one has cached is void now
        other.execute(f"PRAGMA user_version = {SCHEMA.version}")
    store(knowledge, "after")

    assert texts(knowledge.latest(limit=9)) == ["after"]


def test_foreign_database_is_refused(knowledge: Knowledge, path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url)")

    with pytest.raises(StoreError) as caught:
        store(knowledge, "x")
    assert caught.value.code == "knowledge-foreign"


def test_disk_that_cannot_be_used_is_an_error_with_a_remedy(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    knowledge = Knowledge(tmp_path / "file" / "knowledge.db", now_ns=clock)

    with pytest.raises(StoreError) as caught:
        knowledge.latest(limit=9)
    assert caught.value.code == "knowledge-unavailable"
    assert caught.value.hint


def test_many_threads_store_and_search(knowledge: Knowledge) -> None:
    failures: list[Exception] = []

    def work(name: int) -> None:
        try:
            for number in range(20):
                store(knowledge, f"fact {name} {number}")
                knowledge.search(f"fact {number}", limit=5)
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert knowledge.stats()["facts"] == 160
