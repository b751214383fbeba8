# SPDX-License-Identifier: Apache-2.0
"""The schema of knowledge: every table and column, and the migrations.

The comments stand inside the statements, so ``sqlite3 FILE .schema`` shows them.
"""

from typing import Final

from cco.ledger.versions import Schema

_FACTS: Final = """
CREATE TABLE facts (
    -- One row a fact; the same text of a project is one fact, stored again it is as new.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- what people forget it by; never used again
    project TEXT NOT NULL,                -- canonical path
    type TEXT NOT NULL,                   -- decision, architecture, configuration, issue,
                                          -- implementation, completion
    text TEXT NOT NULL,                   -- at most 4 000 characters
    source TEXT NOT NULL,                 -- 'user', or the agent that told it
    session TEXT NOT NULL,                -- launch of cco; '' = stored outside of one
    created_ns INTEGER NOT NULL,          -- unix ns
    UNIQUE (project, text)
)
"""
_MEMORIES: Final = """
CREATE TABLE memories (
    -- What was saved of a session at its last compaction.
    launch TEXT PRIMARY KEY,              -- launch of cco; it has one conversation at a time
    client_session TEXT NOT NULL,         -- Claude Code's id of that conversation
    project TEXT NOT NULL,                -- canonical path
    text TEXT NOT NULL,                   -- JSON as transcript.Extract gives it
    saved_ns INTEGER NOT NULL             -- unix ns
) WITHOUT ROWID
"""
_PLACES: Final = """
CREATE TABLE places (
    -- Where a launch's conversation is written down, for a daemon that was restarted meanwhile.
    launch TEXT PRIMARY KEY,              -- launch of cco
    client_session TEXT NOT NULL,         -- Claude Code's id of the conversation
    project TEXT NOT NULL,                -- canonical path
    path TEXT NOT NULL,                   -- of the transcript
    noted_ns INTEGER NOT NULL             -- unix ns
) WITHOUT ROWID
"""
_SEARCH: Final = (
    (
        "CREATE VIRTUAL TABLE facts_search USING fts5(text, content='facts', content_rowid='id',"
        " tokenize='porter unicode61 remove_diacritics 2')"
    ),
    (
        "CREATE TRIGGER facts_added AFTER INSERT ON facts BEGIN"
        " INSERT INTO facts_search (rowid, text) VALUES (new.id, new.text); END"
    ),
    (
        "CREATE TRIGGER facts_removed AFTER DELETE ON facts BEGIN INSERT INTO facts_search"
        " (facts_search, rowid, text) VALUES ('delete', old.id, old.text); END"
    ),
)
SCHEMA: Final = Schema(
    name="knowledge",
    application_id=0x63636F6B,  # ccok
    migrations=(
        (_FACTS, "CREATE INDEX facts_by_time ON facts (project, created_ns)", _MEMORIES, *_SEARCH),
        (_PLACES,),
    ),
    remedy="Move knowledge.db, in the state directory of CCO, away",
)
