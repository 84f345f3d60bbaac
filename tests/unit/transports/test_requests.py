"""Targets and headers: what the application can set, and what it cannot."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import parse_qsl

import pytest

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.options import EngineOptions
from sansio_socketio.protocol.transports.base import Endpoint
from sansio_socketio.protocol.transports.cookies import CookieJar
from sansio_socketio.protocol.transports.requests import Requests, check_headers
from sansio_socketio.protocol.url import parse_url


def requests(
    *,
    stamped: bool = False,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    sid: str | None = None,
    cookies: CookieJar | None = None,
    **options: Any,
) -> Requests:
    endpoint = Endpoint(
        url=parse_url("http://localhost:3000"),
        options=EngineOptions(**options),
        random=Random(7),
        query=query or {},
        headers=headers or {},
        sid=sid,
        cookies=cookies,
    )
    return Requests(endpoint, "polling", stamped=stamped)


def query_of(target: str) -> dict[str, str]:
    return dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))


@pytest.mark.parametrize(
    ("path", "slash", "expected"),
    [
        ("/engine.io", True, "/engine.io/"),
        ("/engine.io/", True, "/engine.io/"),
        ("/engine.io", False, "/engine.io"),
        ("/engine.io/", False, "/engine.io"),
        ("/engine.io//", True, "/engine.io//"),  # one slash is taken away, as in the JavaScript client
        ("", True, "/"),
        ("", False, "/"),
        ("engine.io", True, "/engine.io/"),
        ("/a b/ü?x#y", True, "/a%20b/%C3%BC%3Fx%23y/"),
        ("/a%20b", True, "/a%20b/"),
    ],
)
def test_the_path_ends_with_a_slash_if_add_trailing_slash_is_set(path: str, slash: bool, expected: str) -> None:
    assert requests(path=path, add_trailing_slash=slash).target(base64=False).partition("?")[0] == expected


def test_the_query_of_the_application_precedes_that_of_the_protocol() -> None:
    target = requests(query={"token": "ü &=", "empty": ""}, sid="abc").target(base64=False)
    assert target == "/engine.io/?token=%C3%BC%20%26%3D&empty=&EIO=4&transport=polling&sid=abc"


def test_base64_adds_b64_to_the_query() -> None:
    assert query_of(requests().target(base64=True))["b64"] == "1"


def test_timestamps_differ_and_come_from_the_random_source() -> None:
    maker, same = requests(stamped=True), requests(stamped=True)
    stamps = [query_of(maker.target(base64=False))["t"] for _ in range(100)]
    assert len(set(stamps)) == 100
    assert stamps == [query_of(same.target(base64=False))["t"] for _ in range(100)]
    assert all(set(stamp) <= set("0123456789abcdefghijklmnopqrstuvwxyz") for stamp in stamps)


@pytest.mark.parametrize(
    ("stamped", "option", "expected"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_timestamp_requests_enables_and_disables_timestamps(stamped: bool, option: bool | None, expected: bool) -> None:
    maker = requests(stamped=stamped, timestamp_requests=option, timestamp_param="stamp")
    assert ("stamp" in query_of(maker.target(base64=False))) is expected


def test_headers_replace_the_defaults_of_the_same_name() -> None:
    maker = requests(headers={"user-agent": "mine", "X-Extra": " ü\t"})
    headers = maker.headers("/", 0.0, {"Host": b"localhost", "User-Agent": b"default"})
    assert headers == [(b"Host", b"localhost"), (b"user-agent", b"mine"), (b"X-Extra", "ü".encode("latin-1"))]


def jar() -> CookieJar:
    cookies = CookieJar()
    cookies.update([(b"set-cookie", b"kept=1")], "/", 0.0)
    return cookies


def test_stored_cookies_are_sent() -> None:
    assert requests(cookies=jar()).headers("/", 0.0, {}) == [(b"Cookie", b"kept=1")]
    assert requests(cookies=CookieJar()).headers("/", 0.0, {}) == []


def test_the_applications_cookies_come_first() -> None:
    maker = requests(cookies=jar(), headers={"cookie": "own=2"})
    assert maker.headers("/", 0.0, {}) == [(b"Cookie", b"own=2; kept=1")]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ü", "a\r\nb", "a\n"])
def test_an_invalid_header_name_is_an_option_error(name: str) -> None:
    with pytest.raises(OptionError, match="not allowed in a header name"):
        check_headers({name: "x"})


@pytest.mark.parametrize("name", ["Content-Length", "connection", "TRANSFER-ENCODING", "Sec-WebSocket-Key", "Upgrade"])
def test_headers_that_the_transport_sets_are_an_option_error(name: str) -> None:
    with pytest.raises(OptionError, match=f"must not contain '{name}'"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "\x00", "a\x7fb", "☃", "a\x0bb"])
def test_an_invalid_header_value_is_an_option_error(value: str) -> None:
    with pytest.raises(OptionError, match="'X-Token' in extra_headers") as caught:
        check_headers({"X-Token": f"secret{value}"})
    assert "secret" not in str(caught.value)


def test_valid_headers_are_accepted() -> None:
    check_headers({"X-Token": "a b\tc", "Empty": "", "Latin": "é", "Origin": "http://localhost"})
