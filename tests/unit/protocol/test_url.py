"""Parsing of URLs, and encoding of queries."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.url import (
    PROTOCOL_PARAMETERS,
    default_port,
    encode_query,
    parse_url,
    redacted,
    resolve_url,
)


@pytest.mark.row("io.no_scheme")
@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path", "authority"),
    [
        ("http://localhost", "http", "localhost", 80, "/", "localhost"),
        ("http://localhost:3000/chat", "http", "localhost", 3000, "/chat", "localhost:3000"),
        ("https://example.com:443/", "https", "example.com", 443, "/", "example.com"),
        ("ws://h:80", "ws", "h", 80, "/", "h"),
        ("wss://h:80", "wss", "h", 80, "/", "h:80"),
        ("HTTP://Example.COM", "http", "example.com", 80, "/", "example.com"),
        ("localhost:3000", "https", "localhost", 3000, "/", "localhost:3000"),
        ("//localhost:3000", "https", "localhost", 3000, "/", "localhost:3000"),
        ("example.com/a?next=http://other", "https", "example.com", 443, "/a", "example.com"),
        ("http://[::1]:3000/x", "http", "::1", 3000, "/x", "[::1]:3000"),
        ("https://[::1]", "https", "::1", 443, "/", "[::1]"),
        ("http://bücher.example", "http", "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
        ("http://h:", "http", "h", 80, "/", "h"),
        ("http://h:65535", "http", "h", 65535, "/", "h:65535"),
        ("http://h.example.", "http", "h.example.", 80, "/", "h.example."),
        ("http://my_host-1", "http", "my_host-1", 80, "/", "my_host-1"),
        ("http://127.0.0.1", "http", "127.0.0.1", 80, "/", "127.0.0.1"),
        (f"http://{'a' * 63}", "http", "a" * 63, 80, "/", "a" * 63),
        (f"http://{'a.' * 126}a", "http", "a." * 126 + "a", 80, "/", "a." * 126 + "a"),
        ("http://[fe80::1%eth0]:3000", "http", "fe80::1%eth0", 3000, "/", "[fe80::1]:3000"),
        ("http://[fe80::1%25eth0]", "http", "fe80::1%eth0", 80, "/", "[fe80::1]"),
    ],
)
def test_urls_are_parsed(text: str, scheme: str, host: str, port: int, path: str, authority: str) -> None:
    url = parse_url(text)
    assert (url.scheme, url.host, url.port, url.path, url.authority) == (scheme, host, port, path, authority)
    assert url.secure is (scheme in {"https", "wss"})
    assert url.origin == (url.secure, host, port)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("http://h", ()),
        ("http://h?", ()),
        ("http://h?a=1&b=&c&&a=2", (("a", "1"), ("b", ""), ("c", ""), ("a", "2"))),
        ("http://h?a=1+1&b=%2B%20", (("a", "1+1"), ("b", "+ "))),
        ("http://h?%C3%A9=%E2%82%AC&x=%zz", (("é", "€"), ("x", "%zz"))),
        ("http://h/p?a=b=c#fragment", (("a", "b=c"),)),
    ],
)
def test_queries_are_parsed_as_in_javascript(text: str, query: tuple[tuple[str, str], ...]) -> None:
    assert parse_url(text).query == query


@pytest.mark.row("difference.query_of_a_transport")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"http://h", "must be a str, not bytes"),
        (None, "must be a str, not NoneType"),
        ("", "it has no host"),
        ("/chat", "it has no host"),
        ("http://", "it has no host"),
        ("http://:3000", "it has no host"),
        ("ftp://h", "the scheme must be http, https, ws or wss"),
        ("http://h:99999", "invalid URL"),
        ("http://h:x", "invalid URL"),
        ("http://[::1", "invalid URL"),
        ("http://h /", "contains a space or a control character"),
        ("http://h\r\n", "contains a space or a control character"),
        ("http://h\x7f", "contains a space or a control character"),
        ("http://h:0", "the port must be a number from 1 to 65535"),
        ("http://h:-1", "the host or the port is invalid"),
        ("http://h/\ud800", "contains an unpaired surrogate"),
        ("http://h?\ud800=", "contains an unpaired surrogate"),
        ("http://h?%ff=", "its query is not percent-encoded UTF-8"),
        ("http://h?a=b&EIO=3", r"its query contains a parameter of the protocol \(EIO, sid, transport\)"),
        ("http://h?s%69d=x", "its query contains a parameter of the protocol"),
    ],
)
def test_invalid_url_is_quoted_in_the_error(text: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        parse_url(text)
    if isinstance(text, str):
        assert repr(redacted(text, is_valid=False)) in str(caught.value)


@pytest.mark.row("difference.ipv6_brackets")
@pytest.mark.parametrize("text", ["http://::1:3000", "http://::1", "::1", "ws://2001:db8:0:0:0:0:0:1"])
def test_an_ipv6_address_without_brackets_is_an_error(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"port is invalid; an IPv6 address needs brackets, as in http://\[::1\]:3000"
    ):
        parse_url(text)


@pytest.mark.row("difference.impossible_hosts")
@pytest.mark.parametrize(
    "host",
    [
        "a" * 64,
        f"{'a' * 64}.example",
        f"{'a' * 63}." * 4 + "example",
        "a..b",
        ".a",
        "a..",
        ".",
        "a b",
        "a%20b",
        "a*b",
        "a,b",
        "é..example",
        "é" * 60,
        "a\u2100b",
        "\u3002",
        "256.1.1.1",
        "1.2.3.999.",
        "[::1%]",
        "[fe80::1%é]",
        "[::g]",
        "[v1.a]",
        "[127.0.0.1]",
        "[a]",
    ],
)
def test_an_invalid_host_is_refused(host: str) -> None:
    with pytest.raises(OptionError, match="invalid URL"):
        parse_url(f"http://{host}:3000/chat")


@pytest.mark.row("difference.url_credentials")
def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(OptionError) as caught:
        parse_url("http://user:secret@h")
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_gives_a_url_or_an_option_error(text: str) -> None:
    try:
        url = parse_url(text)
    except OptionError:
        return
    assert url.authority.isascii()
    assert 0 <= url.port <= 65535
    assert url.path.startswith("/")


def test_queries_are_encoded_as_in_javascript() -> None:
    assert encode_query({}) == ""
    assert encode_query({"a b": "ä&=/?+", "-_.!~*'()": ""}) == "a%20b=%C3%A4%26%3D%2F%3F%2B&-_.!~*'()="


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS.filter(lambda name: name not in {"", *PROTOCOL_PARAMETERS}), TEXTS))
def test_encoded_queries_are_parsed_unchanged(query: dict[str, str]) -> None:
    assert dict(parse_url(f"http://h?{encode_query(query)}").query) == query


def test_the_port_defaults_to_that_of_the_scheme() -> None:
    assert (default_port(secure=True), default_port(secure=False)) == (443, 80)


# As browsers parse it


@pytest.mark.row("io.default_url")
@pytest.mark.parametrize(
    ("base", "text", "whole"),
    [
        ("http://localhost:3000", None, "http://localhost:3000/"),
        ("http://localhost:3000", "/chat", "http://localhost:3000/chat"),
        ("http://localhost:3000", "/?token=1", "http://localhost:3000/?token=1"),
        ("http://localhost:80/", "/chat", "http://localhost/chat"),
        ("https://[::1]:3000", "/chat", "https://[::1]:3000/chat"),
        ("ws://localhost", None, "ws://localhost/"),
        ("http://localhost:3000", "//other:1/chat", "http://other:1/chat"),
        ("http://localhost:3000", "other:1/chat", "http://other:1/chat"),
        ("http://localhost:3000", "https://other", "https://other"),
        (None, "//other", "//other"),
        (None, "other:1/chat", "other:1/chat"),
        (None, "https://other", "https://other"),
    ],
)
def test_a_relative_url_is_completed_from_the_base(base: str | None, text: str | None, whole: str) -> None:
    resolved = resolve_url(text, None if base is None else parse_url(base))
    assert resolved == whole
    assert parse_url(resolved).path in {"/", "/chat"}


@pytest.mark.row("io.default_url")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no URL; pass the server's URL to io\(\) or to open_io\(\)"),
        ("/chat", "only the path '/chat'; pass the server's URL"),
        ("?token=1", r"it is only a query; for the server of open_io\(\), pass '/\?…'"),
        (5, "url must be a str, not int"),
    ],
)
def test_a_url_that_cannot_be_completed_is_an_error(text: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_url(text, None)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:s3cret@host",
        "http://user:s3cret@host:port",
        "http://user:s3cret@host:99999",
        "http://user:s3/s3cret@host",
        "http://user:s3cret@",
        "http://user:s3@s3cret@host /",
        "user:s3cret@host",
        "http://[user:s3cret@host",
        "http://user:s3cret@a..b\u2100",
        "?token=s3cret",
        "ftp://host?token=s3cret&other=s3cret#s3cret=s3cret",
        "http://user:s3cret?x@host",
        "http://user:s3cret#x@host",
        "http://user:x?s3cret=x@host",
        "http://user?s3cret=x@host /",
        "http://s3cret?x@host /",
        "http://user:@?s3cret@host",
        "http://user:s3cret%40host",
        "http:\\\\user:s3cret@host",
        "ftp://host?s3cret",
        "ftp://host?name;s3cret",
        "http://host:x#s3cret",
    ],
)
def test_error_messages_do_not_show_secrets(url: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_url(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@settings(deadline=None)
@given(st.data())
def test_the_error_for_any_malformed_url_does_not_show_secrets(data: st.DataObject) -> None:
    secret = st.text("/:@#?&=%4[]\\ \n\ud800.", max_size=5).map(lambda text: f"{text}s3cret{text[::-1]}")
    odd = st.sampled_from(
        ["", "http:", "http://", "ftp://", "//", "http:\\\\", "host", "host:3000", "[::1", "a..b", "\n"]
    )
    user = data.draw(st.just("ada") | secret)
    url = data.draw(
        st.sampled_from(
            [
                f"{data.draw(odd)}{user}:{data.draw(secret)}@{data.draw(odd)}",
                f"{data.draw(odd)}?token={data.draw(secret)}",
                f"{data.draw(odd)}/chat?{data.draw(secret)}#{data.draw(secret)}",
            ]
        )
    )
    message = failure(url)
    if message is not None:  # otherwise the URL is valid, and "s3cret" may be its host
        assert "s3cret" not in message


def failure(url: str) -> str | None:
    try:
        parse_url(url)
    except OptionError as error:
        return "".join(traceback.format_exception(error))
    return None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/chat", "http://host/chat"),
        ("http://user:pass@host/chat?token=abc&x=1", "http://***@host/chat?token=***&x=***"),
        ("host:3000", "host:3000"),
        ("/chat?a&b=", "/chat?***&b=***"),
        ("http://host/#", "http://host/#"),
        ("http://host?#a", "http://host?#***"),
        ("http://[::1]:3000/?mail=a@b", "http://[::1]:3000/?mail=***"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert redacted(url) == shown
