"""Cookies: which are stored, for how long, and with which requests they are sent."""

from __future__ import annotations

import pytest

from sansio_socketio.protocol.transports.cookies import MAX_COOKIE_SIZE, MAX_COOKIES, CookieJar

TARGET = "/socket.io/?EIO=4"
DATE = (b"date", b"Wed, 21 Oct 2015 07:28:00 GMT")


def jar_with(*cookies: bytes, date: bool = True) -> CookieJar:
    jar = CookieJar()
    jar.update([*([DATE] if date else []), *((b"set-cookie", cookie) for cookie in cookies)], TARGET, 100.0)
    return jar


def sent(jar: CookieJar, now: float = 100.0, target: str = TARGET, *, secure: bool = False) -> bytes:
    return jar.header(target, now, secure=secure)


def test_cookies_are_stored_and_sent_in_order() -> None:
    assert sent(jar_with(b"a=1; HttpOnly", b"b=two words; SameSite=Lax", b'c="3"')) == b'a=1; b=two words; c="3"'


def test_a_cookie_set_again_is_replaced() -> None:
    assert sent(jar_with(b"a=1", b"b=2", b"a=3")) == b"a=3; b=2"


def test_a_cookie_with_an_empty_value_is_sent() -> None:
    assert sent(jar_with(b"a=")) == b"a="


@pytest.mark.parametrize("text", [b"", b"a", b"=1", b"  =1", b";a=1", b"a=" + b"x" * MAX_COOKIE_SIZE])
def test_an_invalid_cookie_is_ignored(text: bytes) -> None:
    assert sent(jar_with(text)) == b""


def test_a_cookie_expires_after_max_age() -> None:
    jar = jar_with(b"a=1; Max-Age=10", b"b=2; max-age = 20")
    assert sent(jar, 109.9) == b"a=1; b=2"
    assert sent(jar, 110.0) == b"b=2"
    assert sent(jar, 120.0) == b""
    assert sent(jar, 100.0) == b"", "expired cookies are removed"


@pytest.mark.parametrize("age", [b"0", b"-1", b"-0"])
def test_a_max_age_of_zero_or_less_deletes_the_cookie(age: bytes) -> None:
    assert sent(jar_with(b"a=1", b"a=1; Max-Age=" + age)) == b""


@pytest.mark.row("difference.max_age")
@pytest.mark.parametrize("age", [b"", b"soon", b"1.5", b"+5", b"--5"])
def test_an_invalid_max_age_is_ignored(age: bytes) -> None:
    assert sent(jar_with(b"a=1; Max-Age=" + age), 1e9) == b"a=1"


@pytest.mark.row("difference.max_age")
@pytest.mark.parametrize("expires", [b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 01 Jan 2100 00:00:00 GMT"])
def test_max_age_counts_if_there_is_expires_as_well(expires: bytes) -> None:
    jar = jar_with(b"a=1; Max-Age=10; Expires=" + expires, b"b=2; Expires=" + expires + b"; Max-Age=20")
    assert sent(jar, 109.9) == b"a=1; b=2"
    assert sent(jar, 110.0) == b"b=2"
    assert sent(jar, 120.0) == b""


def test_a_huge_max_age_is_accepted() -> None:
    assert sent(jar_with(b"a=1; Max-Age=" + b"9" * 400), 1e9) == b"a=1"


@pytest.mark.parametrize(
    "expires",
    [
        b"Wed, 21 Oct 2015 07:28:30 GMT",
        b"Wed, 21-Oct-2015 07:28:30 GMT",
        b"Wednesday, 21-Oct-15 07:28:30 GMT",
        b"Wed Oct 21 07:28:30 2015",
        b"Wed, 21 Oct 2015 09:28:30 +0200",
    ],
)
def test_expires_is_relative_to_the_date_of_the_response(expires: bytes) -> None:
    jar = jar_with(b"a=1; Expires=" + expires)
    assert sent(jar, 129.9) == b"a=1"
    assert sent(jar, 130.0) == b""


def test_expires_at_the_epoch_deletes_without_a_date_header() -> None:
    assert sent(jar_with(b"a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", date=False)) == b""
    assert sent(jar_with(b"a=1; Expires=Wed, 21 Oct 2015 07:28:30 GMT", date=False)) == b"a=1"


@pytest.mark.parametrize(
    "expires", [b"", b"never", b",", b"Wed, 99 Foo 2015", b"Wed, 21 Oct 99999 07:28:00 GMT", b"x" * 99]
)
def test_an_invalid_expires_is_ignored(expires: bytes) -> None:
    assert sent(jar_with(b"a=1; Expires=" + expires), 1e9) == b"a=1"


def test_max_age_wins_over_expires() -> None:
    jar = jar_with(b"a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert sent(jar, 105.0) == b"a=1"


@pytest.mark.parametrize(
    ("path", "target", "is_sent"),
    [
        (b"/", "/socket.io/?a", True),
        (b"/socket.io", "/socket.io/?a", True),
        (b"/socket.io/", "/socket.io/?a", True),
        (b"/socket.io", "/socket.io?a", True),
        (b"/socket.io/", "/socket.io?a", False),
        (b"/socket", "/socket.io/?a", False),
        (b"/other", "/socket.io/?a", False),
        (b"relative", "/socket.io/?a", True),  # no path: that of the request
        (b"relative", "/?a", False),
    ],
)
def test_a_cookie_is_sent_to_matching_paths_only(path: bytes, target: str, is_sent: bool) -> None:
    assert sent(jar_with(b"a=1; Path=" + path), target=target) == (b"a=1" if is_sent else b"")


def test_cookies_with_longer_paths_are_sent_first() -> None:
    assert sent(jar_with(b"a=1; Path=/", b"b=2; Path=/socket.io", b"a=3; Path=/socket.io/")) == b"a=3; b=2; a=1"


@pytest.mark.row("difference.secure_cookies")
def test_a_secure_cookie_is_sent_with_tls_only() -> None:
    jar = jar_with(b"a=1; Secure")
    assert sent(jar) == b""
    assert sent(jar, secure=True) == b"a=1"


def test_the_number_of_cookies_is_bounded() -> None:
    jar = jar_with(*(b"c%d=1" % number for number in range(MAX_COOKIES + 1)))
    names = sent(jar).split(b"; ")
    assert len(names) == MAX_COOKIES
    assert b"c0=1" not in names
