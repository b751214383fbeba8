# SPDX-License-Identifier: Apache-2.0
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from cco import config
from cco.errors import RequestError, UpstreamRefused
from cco.gateway.headers import Fields
from cco.gateway.transport import AbandonedError
from cco.gateway.upstream import Upstream, Upstreams

HOST = "http://api.example.com"


def make_upstream(
    environ: Mapping[str, str] | None = None, credential: str | None = None, **settings: Any
) -> Upstream:
    return Upstream(
        config.Upstream(**{"name": "up", "base_url": HOST, **settings}),
        environ=environ or {},
        monotonic=itertools.count().__next__,
        credential=credential,
    )


def make_upstreams(*settings: config.Upstream, **keys: str) -> Upstreams:
    return Upstreams(settings, environ={}, monotonic=itertools.count().__next__, keys=keys)


def lines(upstream: Upstream, method: str, target: str, fields: Fields, length: int) -> list[str]:
    head = upstream.encode_head(method, target, fields, length=length)
    return head.decode("latin-1").split("\r\n")[:-2]


@pytest.mark.parametrize(
    ("base_url", "target", "first", "host"),
    [
        (HOST, "/v1/messages?beta=true", "POST /v1/messages?beta=true HTTP/1.1", "api.example.com"),
        (f"{HOST}/", "/", "POST / HTTP/1.1", "api.example.com"),
        (f"{HOST}:8080/p/q/", "/v1/%2e%2E/x?a=b?c", "POST /p/q/v1/%2e%2E/x?a=b?c HTTP/1.1", None),
    ],
)
def test_puts_the_target_behind_the_base_url_byte_for_byte(
    base_url: str, target: str, first: str, host: str | None
) -> None:
    sent = lines(make_upstream(base_url=base_url), "POST", target, [], 3)
    assert sent[0] == first
    assert sent[1] == f"Host: {host or 'api.example.com:8080'}"


@pytest.mark.parametrize(
    ("method", "length", "declared"),
    [
        ("POST", 3, ["Content-Length: 3"]),
        ("POST", 0, ["Content-Length: 0"]),
        ("GET", 0, []),
        ("HEAD", 0, []),
        ("DELETE", 2, ["Content-Length: 2"]),
    ],
)
def test_declares_the_length_that_the_body_has(
    method: str, length: int, declared: list[str]
) -> None:
    fields = [("content-length", "77"), ("Transfer-Encoding", "chunked"), ("a", "b")]
    assert lines(make_upstream(), method, "/", fields, length)[2:] == ["a: b", *declared]


def test_replaces_the_credential_where_one_is_given() -> None:
    fields = [("authorization", "Bearer theirs"), ("a", "b")]
    assert "x-api-key: ours" in lines(make_upstream(credential="ours"), "GET", "/", fields, 0)
    assert "authorization: Bearer theirs" in lines(make_upstream(), "GET", "/", fields, 0)


def test_asks_a_proxy_with_the_whole_url_and_its_own_password() -> None:
    upstream = make_upstream({"HTTP_PROXY": "http://u:p@proxy:3128"}, base_url=f"{HOST}/p")
    assert lines(upstream, "GET", "/v1?a", [("Proxy-Authorization", "theirs")], 0) == [
        f"GET {HOST}/p/v1?a HTTP/1.1",
        "Host: api.example.com",
        "Proxy-Authorization: Basic dTpw",
    ]


def test_asks_an_open_proxy_without_a_password() -> None:
    upstream = make_upstream({"HTTP_PROXY": "http://proxy:3128"})
    assert lines(upstream, "GET", "/", [], 0) == [f"GET {HOST}/ HTTP/1.1", "Host: api.example.com"]


def test_says_when_it_is_used_that_a_proxy_cannot_be() -> None:
    upstream = make_upstream({"HTTP_PROXY": "socks5://p"})
    with pytest.raises(UpstreamRefused):
        upstream.encode_head("GET", "/", [], length=0)


def test_refuses_a_base_url_that_is_none() -> None:
    with pytest.raises(RequestError):
        make_upstream(base_url="nonsense")


def test_prefers_the_lowest_priority_and_the_first_among_equals() -> None:
    upstreams = make_upstreams(
        config.Upstream(name="spare", base_url="http://s", priority=1),
        config.Upstream(name="one", base_url="http://a"),
        config.Upstream(name="two", base_url="http://b"),
    )
    assert upstreams.choose().name == "one"


def test_a_session_has_its_own_upstream_and_nothing_of_ours() -> None:
    ours = config.Upstream(
        name="ours", base_url="http://a", credential="c", ca_file="f", read_timeout_s=7
    )
    upstreams = make_upstreams(ours)
    own = upstreams.choose("http://their.example:99/p")

    assert (own.name, own.settings.base_url) == ("their.example:99", "http://their.example:99/p")
    assert (own.settings.credential, own.settings.ca_file) == ("", "")
    assert own.settings.read_timeout_s == 7
    assert upstreams.choose("http://their.example:99/p/") is own
    assert upstreams.choose() is not own


def test_a_session_that_names_a_configured_upstream_gets_that() -> None:
    upstreams = make_upstreams(
        config.Upstream(name="one", base_url="http://a"),
        config.Upstream(name="two", base_url="http://b/"),
        config.Upstream(name="three", base_url="http://b"),
    )
    assert upstreams.choose("http://b").name == "two"


def test_only_the_family_of_the_preferred_upstream_is_to_be_chosen_from() -> None:
    upstreams = make_upstreams(
        config.Upstream(name="spare", base_url="http://a", priority=1),
        config.Upstream(name="other", base_url="http://b", family="other"),
        config.Upstream(name="one", base_url="http://c"),
        config.Upstream(name="two", base_url="http://d"),
    )
    assert [each.name for each in upstreams.configured] == ["spare", "other", "one", "two"]
    assert [each.name for each in upstreams.candidates] == ["other"]
    upstreams = make_upstreams(*(each.settings for each in upstreams.configured if each.priority))
    assert [each.name for each in upstreams.candidates] == ["spare"]


def test_candidates_are_in_the_order_of_priority() -> None:
    upstreams = make_upstreams(
        config.Upstream(name="spare", base_url="http://a", priority=1, weight=5),
        config.Upstream(name="one", base_url="http://c"),
        config.Upstream(name="two", base_url="http://d"),
    )
    assert [each.name for each in upstreams.candidates] == ["one", "two", "spare"]
    assert [each.weight for each in upstreams.candidates] == [1, 1, 5]


def test_a_key_is_for_the_upstream_that_it_was_set_for() -> None:
    upstreams = make_upstreams(
        config.Upstream(name="one", base_url="http://a", credential="k"),
        config.Upstream(name="two", base_url="http://b", credential="missing"),
        config.Upstream(name="their.example", base_url="http://c"),
        one="key-one",
        **{"their.example": "key-three"},
    )
    one, two, three = upstreams.configured
    assert (one.has_credential, one.lacks_credential) == (True, False)
    assert (two.has_credential, two.lacks_credential) == (False, True)
    assert (three.has_credential, three.lacks_credential) == (True, False)

    own = upstreams.choose("http://their.example")
    assert (own.name, own.family) == ("their.example", "http://their.example")
    assert (own.has_credential, own.lacks_credential) == (False, False)
    head = own.encode_head("GET", "/", [("x-api-key", "theirs")], length=0)
    assert b"\r\nx-api-key: theirs\r\n" in head
    assert b"key-" not in head
    assert "key-one" not in repr(one) + repr(upstreams)


def test_refuses_a_session_whose_upstream_is_none() -> None:
    with pytest.raises(RequestError):
        make_upstreams(config.Upstream()).choose("file:///etc/passwd")


def test_client_whose_time_is_over_is_not_served() -> None:
    # It may have waited for its budget meanwhile, and the answer would be paid for in vain.
    with pytest.raises(AbandonedError):
        make_upstream().open(None, deadline=0.0)
