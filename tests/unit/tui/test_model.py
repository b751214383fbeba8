# SPDX-License-Identifier: Apache-2.0
"""What the dashboard knows, after every kind of answer."""

import json
from datetime import timedelta

import pytest

from cco.errors import RequestError, StoreError, Unavailable
from cco.tui.feed import Answer, Query
from cco.tui.logs import LogLine
from cco.tui.model import HEALTH, INTERVALS_S, MAX_LOG, MAX_REQUESTS, Model
from tests.unit.tui.samples import NOW, health, request, today

TODAY = Query("today", "/api/project/stats")
AWAY = Unavailable("daemon-unavailable", "no CCO daemon serves /s")


def take_requests(model: Model, *ids: int) -> None:
    rows = [request(id=each, time=f"2026-11-22T12:00:{each % 60:02d}.000Z") for each in ids]
    model.take(Answer(model.recent_query(), {"recent": rows}), NOW)


def test_answer_is_kept_by_its_name() -> None:
    model = Model()
    assert model.document("today") == {}
    model.take(Answer(TODAY, today()), NOW)
    assert model.document("today") == today()
    later = NOW + timedelta(seconds=5)
    model.take(Answer(TODAY, None), later)  # as before
    assert (model.document("today"), model.seen) == (today(), later)


def test_daemon_that_went_away_leaves_what_was_known() -> None:
    model = Model()
    model.take(Answer(TODAY, today()), NOW)
    model.take(Answer(TODAY, error=AWAY), NOW + timedelta(seconds=60))
    assert (model.away, model.seen, model.document("today")) == (AWAY, NOW, today())
    model.take(Answer(TODAY, today()), NOW + timedelta(seconds=65))
    assert model.away is None


def test_refusal_is_kept_until_the_question_is_answered() -> None:
    model = Model()
    broken = StoreError("ledger-unreadable", "the ledger cannot be read")
    model.take(Answer(TODAY, error=broken), NOW)
    assert (model.troubles, model.away) == ({"today": broken}, None)
    model.take(Answer(TODAY, today()), NOW)
    assert model.troubles == {}


def test_what_is_read_here_says_nothing_of_the_daemon() -> None:
    model = Model()
    model.take(Answer(Query("log", read=list), error=Unavailable("no-log", "none")), NOW)
    assert (model.away, model.seen) == (None, None)
    model.take(Answer(Query("own", read=dict), {"pid": 1}), NOW)
    assert model.seen is None


def test_requests_are_asked_for_from_the_last_known_on() -> None:
    model = Model()
    assert "after=0&" in model.recent_query().target
    take_requests(model, 1, 2, 7)
    assert "after=7&" in model.recent_query().target
    take_requests(model, 8)
    assert [row["id"] for row in model.recent()] == [8, 7, 2, 1]


def test_requests_have_a_bound() -> None:
    model = Model()
    for first in range(1, 5 * MAX_REQUESTS, 200):
        take_requests(model, *range(first, first + 200))
    assert len(model.requests) == MAX_REQUESTS
    assert min(model.requests) == model.last_id - MAX_REQUESTS + 1


def test_rows_of_two_answers_share_their_texts() -> None:
    model = Model()
    for row_id in (1, 2):
        parsed = json.loads(json.dumps({"recent": [request(id=row_id)]}))
        model.take(Answer(model.recent_query(), parsed), NOW)
    one, other = model.recent()
    assert [id(name) for name in one] == [id(name) for name in other]
    assert one["agent"] is other["agent"]


def test_requests_of_another_project_are_forgotten_even_if_they_come_late() -> None:
    model = Model(other_project="/home/alice/shop")
    take_requests(model, 1, 2)
    before = model.recent_query()
    model.switch_project()
    assert (model.project, model.other_project) == ("/home/alice/shop", "")
    assert "project=/home/alice/shop&" in model.recent_query().target
    model.take(Answer(before, {"recent": [request(id=3)]}), NOW)
    assert model.requests == {}
    model.switch_project()
    assert model.project == ""


def test_daemon_that_began_anew_is_asked_for_all_requests() -> None:
    model = Model()
    query = Query("health", HEALTH)
    model.take(Answer(query, health()), NOW)
    take_requests(model, 5)
    model.take(Answer(query, health(warnings=[])), NOW)
    assert model.last_id == 5
    model.take(Answer(query, health(startedAt="2026-11-22T12:30:00.000Z")), NOW)
    assert (model.requests, model.last_id) == ({}, 0)


def test_log_has_a_bound() -> None:
    model = Model()
    for first in range(0, 5 * MAX_LOG, 300):
        lines = [LogLine(n, "", "INFO", "", "x") for n in range(first, first + 300)]
        model.take(Answer(Query("log", read=list), lines), NOW)
    assert len(model.log) == MAX_LOG


def test_interval_changes_in_steps_and_has_ends() -> None:
    model = Model(interval_s=7.0)  # as set by the user
    model.change_interval(1)
    assert model.interval_s == 10
    model.change_interval(-1)
    assert model.interval_s == 5
    for _ in range(20):
        model.change_interval(-1)
    assert model.interval_s == INTERVALS_S[0]
    for _ in range(20):
        model.change_interval(1)
    assert model.interval_s == INTERVALS_S[-1]


@pytest.mark.parametrize("project", ["/a b", "/日本", "/x&fields=none", "/a?b#c"])
def test_project_goes_into_questions_as_it_is(project: str) -> None:
    target = Model(project=project).stats_query("today", "cost", "2026-11-22").target
    path, _, query = target.partition("?")
    assert path == "/api/project/stats"
    assert query.count("&") == 2
    assert not set(" #?") & set(query)


def test_error_that_the_daemon_gives_is_no_absence() -> None:
    model = Model()
    model.take(Answer(TODAY, error=RequestError("bad-time", "no time")), NOW)
    assert model.away is None
    assert model.seen == NOW
