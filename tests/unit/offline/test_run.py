# SPDX-License-Identifier: Apache-2.0
"""Routes, and what one run remembers."""

import json
from typing import Any

import pytest

from cco.offline.answer import NOTICE
from cco.offline.count import Usage
from cco.offline.messages import MAX_DEPTH
from cco.offline.run import MODELS, Run
from cco.offline.wire import Reply


def make_body(prompt: str = "hello", **members: Any) -> bytes:
    message = {"role": "user", "content": prompt}
    return json.dumps({"model": "m", "max_tokens": 99, "messages": [message]} | members).encode()


def post(run: Run, body: bytes, target: str = "/v1/messages") -> tuple[int, Any]:
    return parsed(run.handle("POST", target, body))


def parsed(reply: Reply) -> tuple[int, Any]:
    return reply.status, json.loads(b"".join(step.data for step in reply.steps))


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("HEAD", "/", 200),
        ("GET", "/", 200),
        ("GET", "/?x=/v1/models", 200),
        ("POST", "/", 404),
        ("GET", "/v1/messages", 404),
        ("POST", "/v1/messages/", 404),
        ("POST", "/v1/messages/batches", 404),
        ("DELETE", "/v1/models", 404),
        ("GET", "/v1/models/m", 404),
        ("GET", "//v1/models", 404),
    ],
)
def test_routes(method: str, target: str, status: int) -> None:
    got, document = parsed(Run(mark="t").handle(method, target, b""))

    assert status == got
    assert NOTICE in json.dumps(document)
    if status == 404:
        assert document["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("target", ["/v1/messages", "/v1/messages?beta=true"])
def test_a_message_is_answered_and_accounted(target: str) -> None:
    run = Run(mark="t")

    status, message = post(run, make_body(), target)

    assert (status, message["model"]) == (200, "m")
    assert run.usage["m"].document() == message["usage"]


def test_usage_is_kept_by_model_and_errors_add_nothing() -> None:
    run = Run(mark="t")
    post(run, make_body("one", model="a"))
    post(run, make_body("one", model="b"))
    for prompt in ("offline: status 500", "offline: html", "offline: nonsense"):
        run.handle("POST", "/v1/messages", make_body(prompt))
    post(run, b"{}")
    post(run, make_body(), "/v1/messages/count_tokens")

    assert set(run.usage) == {"a", "b"}
    assert run.usage["a"] == run.usage["b"] != Usage()


def test_a_repetition_reads_what_the_first_request_wrote() -> None:
    run = Run(mark="t")
    system = [{"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}]

    first, second = (post(run, make_body(system=system))[1]["usage"] for _ in range(2))

    assert first["cache_creation_input_tokens"] == second["cache_read_input_tokens"] > 100
    assert second["cache_creation_input_tokens"] == first["cache_read_input_tokens"] == 0


def test_a_count_is_the_sum_that_a_message_reports() -> None:
    run = Run(mark="t")
    body = make_body(system="s", tools=[{"name": "Agent"}])

    _, counted = post(run, body, "/v1/messages/count_tokens?beta=true")

    assert counted == {"input_tokens": post(run, body)[1]["usage"]["input_tokens"]}


def test_times_counts_equal_messages_only() -> None:
    run = Run(mark="t")
    failing, other = (make_body(f"{word}\noffline: status 529 times=2") for word in "ab")
    without_stream = make_body("a\noffline: status 529 times=2", stream=False)

    statuses = [post(run, body)[0] for body in (failing, other, without_stream, failing, other)]

    assert statuses == [529, 529, 529, 200, 529]


def test_a_directive_does_not_hold_for_the_clients_own_requests() -> None:
    title = {"format": {"type": "json_schema", "schema": {}}}

    status, _ = post(Run(mark="t"), make_body("offline: status 500", output_config=title))

    assert status == 200


def test_ids_are_never_repeated() -> None:
    runs = Run(mark="a"), Run(mark="b")
    ids = [post(run, make_body())[1]["id"] for run in runs for _ in range(3)]

    assert len(set(ids)) == 6


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[" * 5000 + b"]" * 5000,
        b'{"model": "m", "max_tokens": 1, "messages": [1]}',
        b'{"model": "m", "max_tokens": 1, "messages": [{}], "tools": '
        + b"[" * 900
        + b"]" * 900
        + b"}",
    ],
)
def test_an_impossible_body_gets_a_400_with_a_message(body: bytes) -> None:
    status, document = post(Run(mark="t"), body)

    assert status == 400
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["message"]


def test_the_deepest_body_is_answered() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]

    assert post(Run(mark="t"), make_body("offline: status 529 times=1", tools=deep))[0] == 529
    assert post(Run(mark="t"), make_body(tools=deep))[0] == 200


@pytest.mark.parametrize(("query", "length"), [("", 8), ("?limit=1000", 8), ("?limit=3", 3)])
def test_models_are_listed_up_to_the_limit(query: str, length: int) -> None:
    _, listed = parsed(Run(mark="t").handle("GET", f"/v1/models{query}", b""))

    ids = [model["id"] for model in listed["data"]]
    assert ids == list(MODELS[:length])
    assert (listed["first_id"], listed["last_id"]) == (ids[0], ids[-1])
    assert listed["has_more"] == (length < len(MODELS))


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", "1" * 5000, "³"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    assert Run(mark="t").handle("GET", f"/v1/models?limit={limit}", b"").status == 400


def test_pages_of_models_come_to_an_end() -> None:
    run, pages, after = Run(mark="t"), [], ""
    while True:
        _, listed = parsed(run.handle("GET", f"/v1/models?limit=3{after}", b""))
        pages.append([one["id"] for one in listed["data"]])
        if not listed["has_more"]:
            break
        after = f"&after_id={listed['last_id']}"

    assert [len(page) for page in pages] == [3, 3, 2]
    assert [model for page in pages for model in page] == list(MODELS)


def test_page_behind_the_last_model_is_empty_and_behind_none_an_error() -> None:
    run = Run(mark="t")
    _, last = parsed(run.handle("GET", f"/v1/models?after_id={MODELS[-1]}", b""))
    assert (last["data"], last["has_more"], last["last_id"]) == ([], False, None)
    assert run.handle("GET", "/v1/models?after_id=weather", b"").status == 400
