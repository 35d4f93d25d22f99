from __future__ import annotations

import socket

import pytest

from edge_msa_runtime.serve.security import HostNames, check_headers, is_loopback, response_headers

LOCAL, OPEN = HostNames("127.0.0.1"), HostNames("0.0.0.0")  # noqa: S104 - nothing is bound


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "::1"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", ""])  # noqa: S104
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("header", ["127.0.0.1:8000", "localhost:8000", "LocalHost", "[::1]:8000", "localhost:9999"])
def test_a_local_server_accepts_its_names(header: str) -> None:
    assert LOCAL.accepts(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.2:8000",
        "user@localhost",
        "localhost/path",
        "localhost?x",
        "localhost:port",
        "localhost:99999",
        "localhost; script-src *",
        "[::1",
        "[::1].evil.example",
        "[::1]evil.example:8000",
        "[::1] ; script-src *",
        "localhost:8000 ",
        "localhost:",
        "localhost'",
        "[127.0.0.1]",
        "l\u00f6calhost",
    ],
)
def test_a_local_server_refuses_other_names(header: str) -> None:
    assert not LOCAL.accepts(header)


def test_a_server_of_the_network_accepts_addresses_and_its_name_only() -> None:
    assert OPEN.accepts("192.168.1.2:8000")
    assert OPEN.accepts("[fe80::1]:8000")
    assert OPEN.accepts(f"{socket.gethostname()}:8000")
    assert OPEN.accepts("localhost:8000")
    assert not OPEN.accepts("evil.example:8000")
    assert HostNames("lab.example").accepts("lab.example:8000")


def test_a_local_server_accepts_the_name_of_its_proxy() -> None:
    names = HostNames("127.0.0.1", ("Talk.example",))
    assert names.accepts("talk.example")
    assert not names.accepts("other.example")
    headers = {"host": "talk.example", "origin": "https://talk.example", "sec-fetch-site": "same-origin"}
    assert check_headers("POST", headers, names) is None


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "https://localhost:8000"}, False),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://localhost:9000"}, True),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "file://"}, True),
        ({"origin": ""}, True),
        ({"origin": "ftp://localhost:8000"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, False),
    ],
)
def test_requests_of_other_pages_are_refused(headers: dict[str, str], is_refused: bool) -> None:
    problem = check_headers("GET", {"host": "localhost:8000", **headers}, LOCAL)
    assert (problem is not None) == is_refused
    assert "\n" not in (problem or "")


def test_a_form_of_another_page_is_refused() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert check_headers("POST", {"host": "localhost:8000", **headers}, LOCAL) is not None


def test_the_policy_allows_nothing_but_this_server() -> None:
    policy = response_headers("localhost:8000")["Content-Security-Policy"]
    sources = {word for part in policy.split(";") for word in part.split()[1:]}
    assert sources == {"'none'", "'self'", "ws://localhost:8000", "wss://localhost:8000"}
