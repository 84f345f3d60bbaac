"""Proxies: which one a stream goes through, and the tunnel, between doubles of a stream and a receiver."""

from __future__ import annotations

from base64 import b64decode

import pytest

from sansio_socketio.protocol.errors import OptionError, TransportError
from sansio_socketio.runtime.interface import Stream, StreamReceiver
from sansio_socketio.runtime.proxy import (
    Proxy,
    TunnelStream,
    check_proxy,
    environment_proxy,
    parse_proxy,
    through,
)
from tests.support.doubles import PlainStream, Receiver


@pytest.fixture(autouse=True)
def no_proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# URLs


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.test:3128", Proxy(False, "proxy.test", 3128)),
        ("http://proxy.test", Proxy(False, "proxy.test", 80)),
        ("https://proxy.test/", Proxy(True, "proxy.test", 443)),
        ("HTTP://Proxy.test:3128", Proxy(False, "proxy.test", 3128)),
        ("proxy.test:3128", Proxy(False, "proxy.test", 3128)),
        ("http://[::1]:3128", Proxy(False, "::1", 3128)),
        ("http://bücher.test", Proxy(False, "xn--bcher-kva.test", 80)),
        ("http://my_proxy.", Proxy(False, "my_proxy.", 80)),
        ("http://[fe80::1%eth0]:3128", Proxy(False, "fe80::1%eth0", 3128)),
    ],
)
def test_proxy_urls_are_parsed(text: str, proxy: Proxy) -> None:
    check_proxy(text)
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    ("user", "pair"),
    [
        ("Ada:secret", "Ada:secret"),
        ("Ada:p%40ss%3A%C3%BC", "Ada:p@ss:ü"),
        ("Ada:a@b", "Ada:a@b"),
        ("J%C3%BCrgen:secret", "Jürgen:secret"),
        ("Ada", "Ada:"),
        (":secret", ":secret"),
    ],
)
def test_credentials_are_not_in_the_repr(user: str, pair: str) -> None:
    proxy = parse_proxy(f"http://{user}@proxy.test:3128")
    assert proxy.credentials is not None
    kind, _, encoded = proxy.credentials.partition(b" ")
    assert (kind, b64decode(encoded).decode()) == (b"Basic", pair)
    assert str(proxy) == "http://proxy.test:3128"
    for shown in (str(proxy), repr(proxy)):
        assert "Ada" not in shown
        assert "secret" not in shown
        assert encoded.decode() not in shown


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is not a valid URL of a proxy"),
        ("http://", "is not a valid URL of a proxy"),
        ("http://Ada:secret@:3128", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy.test:port", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy.test:99999", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy..test", "is not a valid URL of a proxy"),
        ("http://Ada:secret@[::1", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy.test\n", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy.test:0", "is not a valid URL of a proxy"),
        ("http://Ada:secret@proxy*test", "is not a valid URL of a proxy"),
        (f"http://Ada:secret@{'a.' * 127}a", "is not a valid URL of a proxy"),
        ("http://secret:1/x@proxy.test", "is not a valid URL of a proxy"),
        ("http://secret:1?x@proxy.test", "is not a valid URL of a proxy"),
        ("http://secret:1#x@proxy.test", "is not a valid URL of a proxy"),
        ("http://Ada:secret\ud800@proxy.test", "is not a valid URL of a proxy"),
        ("socks5://Ada:secret@proxy.test", "has the scheme 'socks5', but only http and https .* open_stream="),
        (b"http://Ada:secret@proxy.test", "takes a URL .* not this bytes"),
        (False, "takes a URL .* or None, not this bool"),
    ],
)
def test_the_error_for_an_invalid_proxy_does_not_show_it(value: object, message: str) -> None:
    with pytest.raises(OptionError, match=f"^proxy .*{message}") as caught:
        check_proxy(value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_valid_values_of_the_option_are_accepted() -> None:
    check_proxy(True)
    check_proxy(None)


# The environment


@pytest.mark.parametrize(
    ("variables", "host", "tls", "chosen"),
    [
        ({}, "far.test", True, None),
        ({"HTTPS_PROXY": "http://one:1"}, "far.test", True, "http://one:1"),
        ({"https_proxy": "http://one:1"}, "far.test", True, "http://one:1"),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "far.test", True, "http://low:1"),
        ({"HTTPS_PROXY": "http://one:1"}, "far.test", False, None),
        ({"HTTP_PROXY": "http://one:1"}, "far.test", True, None),
        ({"HTTP_PROXY": "one:1"}, "far.test", False, "http://one:1"),
        ({"ALL_PROXY": "https://one:1"}, "far.test", False, "https://one:1"),
        ({"all_proxy": "http://all:1", "HTTP_PROXY": "http://one:1"}, "far.test", False, "http://one:1"),
        ({"ALL_PROXY": "http://all:1", "HTTP_PROXY": ""}, "far.test", False, "http://all:1"),
        ({"HTTP_PROXY": "http://one:1", "REQUEST_METHOD": "GET"}, "far.test", False, None),  # set by a CGI's client
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "*"}, "far.test", True, None),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "near.test, far.test"}, "far.test", True, None),
        ({"ALL_PROXY": "http://one:1", "no_proxy": ".test"}, "far.test", True, None),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "far.test:3000"}, "far.test", True, None),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "far.test:3001"}, "far.test", True, "http://one:1"),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "test.far"}, "far.test", True, "http://one:1"),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "fd00::1"}, "fd00::1", True, None),
        ({"ALL_PROXY": "http://one:1", "NO_PROXY": "[fd00::1]"}, "fd00::1", True, None),
        ({"ALL_PROXY": "http://one:1"}, "fd00::1", True, "http://one:1"),
        ({"ALL_PROXY": "http://one:1"}, "localhost", True, None),
        ({"ALL_PROXY": "http://one:1"}, "LocalHost", True, None),
        ({"ALL_PROXY": "http://one:1"}, "127.0.0.1", True, None),
        ({"ALL_PROXY": "http://one:1"}, "127.9.9.9", True, None),
        ({"ALL_PROXY": "http://one:1"}, "::1", True, None),
        ({"ALL_PROXY": "http://one:1"}, "localhost.test", True, "http://one:1"),
        ({"ALL_PROXY": "http://one:1"}, "10.0.0.1", True, "http://one:1"),
        ({"ALL_PROXY": "socks5://one:1"}, "localhost", True, None),
    ],
)
def test_the_proxy_is_selected_from_the_environment(
    variables: dict[str, str], host: str, tls: bool, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = environment_proxy(host, 3000, tls=tls)
    assert (None if proxy is None else str(proxy)) == chosen


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_an_error_names_the_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "socks5h://Ada:secret@proxy.test")
    with pytest.raises(
        OptionError, match=rf"environment variable {variable} has the scheme .*socks5h.*; pass proxy=None"
    ) as caught:
        environment_proxy("far.test", 443, tls=True)
    assert "secret" not in str(caught.value)


# The tunnel

PROXY = parse_proxy("http://Ada:secret@proxy.test:3128")
REQUEST = (
    b"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\nUser-Agent: sansio-socketio\r\n"
    b"Proxy-Authorization: Basic QWRhOnNlY3JldA==\r\n\r\n"
)
ACCEPTED = b"HTTP/1.1 200 Connection established\r\nProxy-Agent: tests\r\n\r\n"
MEGABYTE = 1 << 20


class TunnelRig:
    """A tunnel whose stream to the proxy is open: the request has been written."""

    def __init__(self, proxy: Proxy = PROXY) -> None:
        self.plain, self.receiver = PlainStream(), Receiver()
        self.stream = TunnelStream(self.receiver, proxy, "far.test", 443)
        self.stream.attach(self.plain)
        self.stream.opened()
        self.plain.written.clear()

    def accepted(self) -> TunnelRig:
        self.stream.received(ACCEPTED)
        assert self.receiver.log == ["opened"]
        return self

    @property
    def failure(self) -> TransportError:
        assert self.receiver.log == ["failed"]
        assert isinstance(self.receiver.error, TransportError)
        assert "proxy http://proxy.test:3128" in str(self.receiver.error)
        assert "secret" not in str(self.receiver.error)
        return self.receiver.error


def test_a_tunnel_is_requested_from_the_proxy() -> None:
    plain, opened = PlainStream(), list[tuple[str, int]]()

    def open_plain(host: str, port: int, receiver: StreamReceiver) -> Stream:
        opened.append((host, port))
        return plain

    receiver = Receiver()
    stream = through(PROXY, open_plain)("far.test", 443, receiver)
    assert opened == [("proxy.test", 3128)]
    assert isinstance(stream, TunnelStream)
    assert plain.written == b""
    stream.opened()
    assert plain.written == REQUEST
    assert receiver.steps == ["the proxy http://proxy.test:3128 did not respond to CONNECT far.test:443"]


def test_the_progress_of_the_stream_to_the_proxy_is_reported() -> None:
    rig = TunnelRig()
    rig.receiver.steps.clear()
    rig.stream.progress("TLS is up")
    assert rig.receiver.steps == ["TLS is up"]


def test_an_ipv6_address_is_requested_in_brackets() -> None:
    plain = PlainStream()
    stream = TunnelStream(Receiver(), parse_proxy("http://proxy.test"), "::1", 80)
    stream.attach(plain)
    stream.opened()
    assert plain.written.startswith(b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert b"authorization" not in plain.written.lower()


@pytest.mark.parametrize("size", [1, 7, MEGABYTE])
def test_bytes_after_the_response_are_delivered_in_any_chunking(size: int) -> None:
    rig = TunnelRig()
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + ACCEPTED + b"the server's"
    for start in range(0, len(data), size):
        rig.stream.received(memoryview(data)[start : start + size])
    assert rig.receiver.log == ["opened"]
    assert rig.receiver.data == b"the server's"


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_the_size_of_a_response_is_bounded_in_any_chunking(size: int) -> None:
    def tunnel(head: int) -> TunnelRig:
        rig = TunnelRig()
        data = ACCEPTED.replace(b"tests", b"x" * (head - len(ACCEPTED) + 5)) + b"the server's"
        for start in range(0, len(data), size):
            if "failed" not in rig.receiver.log:
                rig.stream.received(data[start : start + size])
        return rig

    rig = tunnel(16 * 1024)
    assert rig.receiver.log == ["opened"]
    assert rig.receiver.data == b"the server's"
    assert str(tunnel(16 * 1024 + 1).failure).endswith("it is longer than 16384 bytes")


def test_empty_data_does_not_end_the_response() -> None:
    rig = TunnelRig()
    rig.stream.received(b"")
    rig.stream.received(ACCEPTED)
    assert rig.receiver.log == ["opened"]


def test_bytes_are_passed_on_unchanged() -> None:
    rig = TunnelRig().accepted()
    data = bytes(MEGABYTE)
    taken: list[object] = []
    vars(rig.receiver)["received"] = taken.append
    vars(rig.plain)["write"] = taken.append
    rig.stream.received(data)
    rig.stream.write(data)
    assert taken[0] is data
    assert taken[1] is data


def test_sent_refers_to_bytes_through_the_tunnel_only() -> None:
    rig = TunnelRig()
    rig.stream.sent()
    assert rig.receiver.log == []
    rig.accepted()
    rig.stream.write(b"x")
    rig.stream.sent()
    assert rig.receiver.log == ["opened", "sent"]


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_2xx_status_opens_the_tunnel(status: int) -> None:
    """Such a response has no body, whatever its headers say (RFC 9110, section 9.3.6)."""
    rig = TunnelRig()
    rig.stream.received(b"HTTP/1.1 %d Fine\r\nContent-Length: 5\r\n\r\nhello" % status)
    assert rig.receiver.log == ["opened"]
    assert rig.receiver.data == b"hello"


@pytest.mark.parametrize("size", [1, MEGABYTE])
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 8\r\n\r\n", b"not you!"),
        (b"HTTP/1.1 302 There\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", b"b" * 5000),
    ],
)
def test_a_refusal_has_status_and_body(head: bytes, body: bytes, size: int) -> None:
    rig = TunnelRig()
    data = head + body
    for start in range(0, len(data), size):
        if rig.plain.end is None:
            rig.stream.received(data[start : start + size])
    assert rig.plain.end == "aborted"
    assert rig.failure.status == int(head[9:12])
    assert rig.failure.body == {b"b": "b" * 4096, b"3": "abc"}.get(body[:1], body.decode())
    assert f"CONNECT far.test:443 with HTTP status {rig.failure.status}" in str(rig.failure)


@pytest.mark.parametrize(
    ("proxy", "hint"),
    [(PROXY, "rejected the user and password"), (parse_proxy("proxy.test:3128"), "requires a user and a password")],
)
def test_a_proxy_that_requires_credentials_fails_with_a_hint(proxy: Proxy, hint: str) -> None:
    rig = TunnelRig(proxy)
    rig.stream.received(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
    assert hint in str(rig.failure)


def test_a_truncated_refusal_has_the_body_so_far() -> None:
    rig = TunnelRig()
    rig.stream.received(b"HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\nhalf of")
    assert rig.receiver.log == []
    rig.stream.closed(None)
    assert (rig.failure.status, rig.failure.body) == (502, "half of")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n\r\n", b"\x16\x03\x01" + bytes(100), b"x" * 100_000])
def test_a_response_that_is_not_http_fails(data: bytes) -> None:
    rig = TunnelRig()
    rig.stream.received(data)
    assert "sent an invalid response" in str(rig.failure)
    assert len(str(rig.failure)) < 400
    assert rig.plain.end == "aborted"


@pytest.mark.parametrize(
    ("error", "words"), [(None, "closed the connection"), (ConnectionResetError("reset"), r"broke .*\(reset\)")]
)
def test_a_proxy_that_closes_without_a_response_fails(error: Exception | None, words: str) -> None:
    rig = TunnelRig()
    rig.stream.received(b"HTTP/1.1 2")
    rig.stream.closed(error)
    with pytest.raises(TransportError, match=f"{words} before it responded"):
        raise rig.failure


def test_a_proxy_that_refuses_connections_fails() -> None:
    rig = TunnelRig()
    refused = ConnectionRefusedError("refused")
    rig.stream.failed(refused)
    assert "could not connect to the proxy http://proxy.test:3128: connection refused" in str(rig.failure)
    assert rig.failure.__cause__ is refused


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_a_tunnel_closes_with_its_stream(error: Exception | None) -> None:
    rig = TunnelRig().accepted()
    rig.stream.closed(error)
    assert rig.receiver.log == ["opened", "closed"]
    assert rig.receiver.error is error


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_before_the_proxy_responds_aborts_the_stream(way: str) -> None:
    rig = TunnelRig()
    getattr(rig.stream, way)()
    assert rig.plain.end == "aborted"
    assert rig.receiver.log == []


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_or_aborting_in_opened_drops_received_data(way: str) -> None:
    rig = TunnelRig()
    rig.receiver.on_opened = getattr(rig.stream, way)
    rig.stream.received(ACCEPTED + b"early")
    assert rig.receiver.log == ["opened"]
    assert rig.receiver.data == b""
    assert rig.plain.end == {"close": "closed", "abort": "aborted"}[way]
