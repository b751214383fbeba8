# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.errors import UpstreamRefused
from cco.gateway.proxies import Proxy, choose_proxy, is_exempt, is_loopback, parse_proxy


@pytest.mark.parametrize(
    ("environ", "scheme", "port"),
    [
        ({}, "https", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", 1),
        ({"https_proxy": "http://p:2", "HTTPS_PROXY": "http://p:1"}, "https", 2),
        ({"HTTP_PROXY": "http://p:1"}, "https", None),
        ({"HTTP_PROXY": "http://p:1"}, "http", 1),
        ({"HTTPS_PROXY": ""}, "https", None),
        ({"HTTPS_PROXY": "p:8080"}, "https", 8080),
        ({"HTTPS_PROXY": "http://p"}, "https", 80),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "https", None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "other", "NO_PROXY": "*"}, "https", 1),
    ],
)
def test_chooses_the_proxy_of_the_environment(
    environ: dict[str, str], scheme: str, port: int | None
) -> None:
    proxy = choose_proxy(environ, scheme, "api.example.com", 443)
    assert proxy == (None if port is None else Proxy("p", port))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost."])
def test_never_goes_through_a_proxy_to_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert choose_proxy({"HTTPS_PROXY": "http://p:1"}, "https", host, 443) is None


@pytest.mark.parametrize("host", ["128.0.0.1", "localhost.example.com", "::2", "0.0.0.0"])
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("listed", "host", "port", "exempt"),
    [
        ("", "a.b", 443, False),
        (" , ,", "a.b", 443, False),
        ("*", "a.b", 443, True),
        ("a.b", "a.b", 443, True),
        ("A.B.", "a.b", 443, True),
        (".b", "a.b", 443, True),
        ("b", "a.b", 443, True),
        ("*.b", "a.b", 443, True),
        ("b", "ab", 443, False),
        ("x, a.b", "a.b", 443, True),
        ("a.b:443", "a.b", 443, True),
        ("a.b:80", "a.b", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("fd00::1", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("[fd00::1]:80", "fd00::1", 443, False),
        ("b", "10.1.2.3", 443, False),
    ],
)
def test_reads_no_proxy(listed: str, host: str, port: int, exempt: bool) -> None:
    assert is_exempt(host, port, listed) is exempt


def test_reads_a_password_and_does_not_show_it() -> None:
    proxy = parse_proxy("http://us%40er:pa%3Ass@p:1", source="HTTPS_PROXY")
    assert proxy.authorization == "Basic dXNAZXI6cGE6c3M="
    assert "dXN" not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["socks5://p:1", "https://p:1", "http://", "http://p:x", "http://p:99999", "http://[p"]
)
def test_refuses_what_is_no_http_proxy_without_repeating_it(url: str) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        parse_proxy(url, source="HTTPS_PROXY")
    assert caught.value.code == "upstream-proxy"
    assert url not in caught.value.message
