# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.gateway.call import Answer, FixedBody
from tests.forwarding import make_call


@pytest.mark.parametrize(
    ("target", "path"),
    [("/v1/messages?beta=true", "/v1/messages"), ("/", "/"), ("/a?b?c", "/a"), ("?", "")],
)
def test_path_is_the_target_without_query(target: str, path: str) -> None:
    assert make_call(target=target).path == path


def test_a_call_does_not_show_its_body() -> None:
    assert "secret" not in repr(make_call(body=b"secret"))


def test_a_fixed_body_is_read_once() -> None:
    body = FixedBody(b"x")
    assert list(body) == [b"x"]
    assert list(body) == []
    body.close()
    assert list(FixedBody()) == []


def test_closing_an_answer_closes_its_body() -> None:
    class Closable(FixedBody):
        closed = False

        def close(self) -> None:
            self.closed = True

    body = Closable(b"")
    Answer(200, "OK", [], body).close()
    assert body.closed
