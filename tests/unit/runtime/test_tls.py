"""TLS in memory: a TLSStream over the double of a plain stream, and a server of the standard library."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, cast

import pytest
import trustme

from sansio_socketio.runtime.interface import Stream, StreamReceiver
from sansio_socketio.runtime.tls import TLSStream, default_context, over_tls
from tests.support.doubles import PlainStream, Receiver

MEGABYTE = 1 << 20


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(*(names or ("localhost",))).configure_cert(context)
    return context


class Line:
    """A client, a server, and the bytes between them, which are moved in pieces of a given size."""

    def __init__(
        self,
        server: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
        *,
        hostname: str = "localhost",
        piece: int = MEGABYTE,
    ) -> None:
        self.piece = piece
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = (server or server_context()).wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.server_open = False
        self.server_error: ssl.SSLError | None = None
        self.at_server = bytearray()
        self.plain = PlainStream()
        self.receiver = Receiver()
        self.stream = TLSStream(self.receiver, client or client_context(), hostname)
        self.stream.attach(self.plain)

    def opened(self) -> Line:
        """Complete the handshake."""
        self.stream.opened()
        self.move()
        assert self.receiver.log == ["opened"]
        self.plain.writes = 0
        return self

    def move(self) -> None:
        """Move bytes in both directions until there are none."""
        while self.to_server() or self.to_client():
            pass

    def to_server(self) -> bool:
        moved = bytes(self.plain.written)
        self.plain.written.clear()
        self.incoming.write(moved)
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            try:
                if not self.server_open:
                    self.server.do_handshake()
                    self.server_open = True
                while data := self.server.read(MEGABYTE):
                    self.at_server += data
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                raise
            except ssl.SSLError as error:
                self.server_error = self.server_error or error
        return bool(moved)

    def to_client(self) -> bool:
        moved = self.outgoing.read()
        for piece in _pieces(moved, self.piece):
            if self.plain.end is None:
                self.stream.received(piece)
        return bool(moved)


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


# Opening


@pytest.mark.parametrize("piece", [1, 7, MEGABYTE])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_are_transferred_in_both_directions_in_any_chunking(piece: int, version: ssl.TLSVersion) -> None:
    server = server_context()
    server.maximum_version = version
    line = Line(server, piece=piece)
    line.stream.opened()
    assert line.receiver.log == []
    line.move()
    assert line.receiver.log == ["opened"]
    line.stream.write(b"to the server")
    line.server.write(b"to the ")
    line.server.write(b"client")
    line.move()
    assert line.at_server == b"to the server"
    assert line.receiver.data == b"to the client"
    assert line.server.version() == version.name.replace("_", ".")


def test_the_handshake_in_progress_is_reported() -> None:
    line = Line()
    line.stream.opened()
    progress = "TCP is up, but the TLS handshake with localhost was not completed; does it use TLS on this port?"
    assert line.receiver.steps == [progress]
    line.move()
    assert (line.receiver.log, line.receiver.steps) == (["opened"], [progress])


def test_data_that_arrives_with_the_end_of_the_handshake_is_delivered() -> None:
    server = server_context()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    line = Line(server)
    line.stream.opened()
    line.to_server()
    line.to_client()
    line.to_server()
    line.server.write(b"early")
    line.to_client()
    assert line.receiver.history == ["opened", b"early"]


@pytest.mark.parametrize(
    ("hostname", "sent"),
    [("localhost", "localhost"), ("127.0.0.1", None), ("::1", None), ("bücher.test", "xn--bcher-kva.test")],
)
def test_names_are_sent_to_the_server_and_addresses_are_not(hostname: str, sent: str | None) -> None:
    names: list[str | None] = []
    server = server_context("localhost", "127.0.0.1", "::1", "bücher.test")
    server.sni_callback = lambda _object, name, _context: names.append(name)
    Line(server, hostname=hostname).opened()
    assert names == [sent]


def test_http_1_1_is_offered() -> None:
    context = default_context()
    authority().configure_trust(context)
    server = server_context()
    server.set_alpn_protocols(["h2", "http/1.1"])
    assert Line(server, context).opened().server.selected_alpn_protocol() == "http/1.1"


def test_the_default_context_verifies() -> None:
    context = default_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_stream_is_opened_to_the_host_and_verified_as_the_name() -> None:
    plain, opened = PlainStream(), []

    def open_plain(host: str, port: int, receiver: StreamReceiver) -> Stream:
        opened.append((host, port))
        return plain

    receiver = Receiver()
    stream = over_tls(open_plain, client_context(), "localhost")("10.0.0.1", 443, receiver)
    assert opened == [("10.0.0.1", 443)]
    cast("TLSStream", stream).opened()
    assert b"localhost" in plain.written
    stream.abort()
    assert plain.end == "aborted"
    over_tls(open_plain, client_context())("localhost", 443, receiver)


def test_an_untrusted_certificate_fails() -> None:
    line = Line(client=ssl.create_default_context())
    line.stream.opened()
    line.move()
    assert line.receiver.log == ["failed"]
    assert isinstance(line.receiver.error, ConnectionError)
    assert isinstance(line.receiver.error.__cause__, ssl.SSLCertVerificationError)
    assert "the certificate of localhost could not be verified: " in str(line.receiver.error)
    assert "ssl=" in str(line.receiver.error)
    assert line.plain.end == "closed"
    assert line.server_error is not None
    assert "UNKNOWN_CA" in str(line.server_error.reason)  # because of the client's alert


def test_a_certificate_for_another_name_fails() -> None:
    line = Line(server_context("elsewhere.test"))
    line.stream.opened()
    line.move()
    assert line.receiver.log == ["failed"]
    assert "Hostname mismatch, certificate is not valid for 'localhost'; if " in str(line.receiver.error)
    assert isinstance(cast("Exception", line.receiver.error).__cause__, ssl.SSLCertVerificationError)


def test_a_server_without_tls_fails_with_a_hint() -> None:
    line = Line()
    line.stream.opened()
    line.stream.received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert line.receiver.log == ["failed"]
    assert "TLS handshake with localhost failed" in str(line.receiver.error)
    assert "use http:// or ws://" in str(line.receiver.error)


def test_a_server_with_no_version_in_common_fails() -> None:
    old, new = server_context(), ssl.create_default_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    line = Line(old, new)
    line.stream.opened()
    line.move()
    assert line.receiver.log == ["failed"]
    assert "TLS handshake with localhost failed: " in str(line.receiver.error)
    assert "http://" not in str(line.receiver.error)


@pytest.mark.parametrize(
    ("context", "hostname"),
    [(client_context(), ".no.name"), (client_context(), "h" * 300), (server_context(), "localhost")],
    ids=["a leading dot", "too long", "a context for servers"],
)
def test_a_handshake_that_cannot_start_fails(context: ssl.SSLContext, hostname: str) -> None:
    line = Line(client=context, hostname=hostname)
    line.stream.opened()
    assert line.receiver.log == ["failed"]
    assert isinstance(line.receiver.error, ConnectionError)
    assert line.plain.end == "closed"


def test_a_stream_that_cannot_be_opened_fails() -> None:
    line, error = Line(), ConnectionRefusedError("no")
    line.stream.failed(error)
    assert line.receiver.log == ["failed"]
    assert line.receiver.error is error


@pytest.mark.parametrize("error", [None, ConnectionResetError("broken")])
def test_a_stream_that_ends_during_the_handshake_fails(error: Exception | None) -> None:
    line = Line()
    line.stream.opened()
    line.stream.closed(error)
    assert line.receiver.log == ["failed"]
    assert str(line.receiver.error) == (
        "broken" if error else "localhost closed the connection during the TLS handshake"
    )


# Sending


def test_sent_refers_to_the_applications_bytes_only() -> None:
    line = Line()
    line.stream.opened()
    line.stream.sent()
    line.move()
    line.stream.sent()
    assert line.receiver.log == ["opened"]
    line.stream.write(b"one")
    line.stream.write(memoryview(b"two"))
    line.stream.sent()
    line.stream.sent()
    assert line.receiver.log == ["opened", "sent"]


def test_writing_nothing_is_reported_as_sent() -> None:
    line = Line().opened()
    line.stream.write(b"")
    assert line.plain.writes == 1
    line.stream.sent()
    assert line.receiver.log == ["opened", "sent"]


def test_records_of_tls_itself_are_sent_and_not_reported() -> None:
    """Here, the response to a server that requests a certificate after the handshake (RFC 8446, section 4.6.2)."""
    server, client = server_context(), ssl.create_default_context()
    for context in (server, client):
        authority().configure_trust(context)
        context.post_handshake_auth = True
    authority().issue_cert("client.test").configure_cert(client)
    server.verify_mode = ssl.CERT_OPTIONAL
    line = Line(server, client).opened()
    line.server.verify_client_post_handshake()
    line.server.write(b"after")
    line.to_client()
    assert line.plain.writes == 1
    assert line.receiver.data == b"after"
    line.stream.sent()
    assert line.receiver.log == ["opened"]
    line.move()
    line.server.write(b"verified")
    assert line.server.getpeercert()


class Renegotiating:
    """An SSLObject that must read before it can continue to write, and that accepts few bytes at a time."""

    def __init__(self, real: ssl.SSLObject) -> None:
        self.real = real
        self.waits = True

    def write(self, data: bytes | memoryview) -> int:
        if self.waits:
            raise ssl.SSLWantReadError
        return self.real.write(memoryview(data)[:5])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_writes_during_a_renegotiation_are_sent_after_it() -> None:
    line = Line().opened()
    real = line.stream._tls
    tls = Renegotiating(real)
    line.stream._tls = cast("ssl.SSLObject", tls)
    line.stream.write(b"hello ")
    line.stream.write(b"world")
    line.stream.sent()
    assert line.receiver.log == ["opened"]
    tls.waits = False
    line.server.write(b"something")
    line.move()
    line.stream.sent()
    assert line.at_server == b"hello world"
    assert line.receiver.log == ["opened", "sent"]


def test_large_transfers_arrive_in_large_pieces() -> None:
    line, data = Line(piece=MEGABYTE // 4).opened(), os.urandom(5 * MEGABYTE)
    line.stream.write(data)
    assert line.plain.writes == 1
    line.move()
    assert line.at_server == data
    for piece in _pieces(data, MEGABYTE):
        line.server.write(piece)
    size = line.outgoing.pending
    line.move()
    assert line.receiver.data == data
    assert len(line.receiver.pieces) <= size // line.piece + 1


# Closing


@pytest.mark.parametrize("piece", [1, MEGABYTE])
def test_a_close_notify_of_the_server_closes_the_stream(piece: int) -> None:
    line = Line(piece=piece).opened()
    line.server.write(b"last words")
    with suppress(ssl.SSLWantReadError):
        line.server.unwrap()
    line.move()
    assert line.receiver.data == b"last words"
    assert line.receiver.log == ["opened", "closed"]
    assert line.receiver.error is None
    assert line.plain.end == "closed"
    line.server.unwrap()  # the client's close_notify has arrived


def test_a_close_notify_while_data_is_unsent_aborts_the_stream() -> None:
    line = Line().opened()
    line.stream.write(b"x")
    with suppress(ssl.SSLWantReadError):
        line.server.unwrap()
    line.to_client()
    assert line.receiver.log == ["opened", "closed"]
    assert line.plain.end == "aborted"


@pytest.mark.parametrize("error", [None, ConnectionResetError("broken")])
def test_the_end_of_the_stream_without_close_notify_is_reported(error: Exception | None) -> None:
    line = Line().opened()
    line.stream.closed(error)
    assert line.receiver.log == ["opened", "closed"]
    assert line.receiver.error is error


def test_a_modified_record_closes_the_stream() -> None:
    line = Line().opened()
    line.server.write(b"first")
    good = line.outgoing.read()
    line.server.write(b"second")
    bad = bytearray(line.outgoing.read())
    bad[-1] ^= 1
    line.stream.received(good + bad)
    assert line.receiver.data == b"first"
    assert line.receiver.log == ["opened", "closed"]
    assert isinstance(line.receiver.error, ssl.SSLError)
    assert line.plain.end == "closed"
    line.to_server()
    assert line.server_error is not None  # because of the client's alert


def test_a_server_that_requires_a_certificate_closes_the_stream() -> None:
    """With TLS 1.3, the server's alert arrives after the client has completed the handshake."""
    server = server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(server)
    line = Line(server)
    line.stream.opened()
    line.move()
    assert line.receiver.log == ["opened", "closed"]
    assert "certificate required" in str(line.receiver.error).lower()


def test_reading_pauses_on_the_stream_below() -> None:
    line = Line().opened()
    line.stream.pause_reading()
    assert line.plain.is_paused
    line.stream.resume_reading()
    assert not line.plain.is_paused


def test_closing_sends_close_notify() -> None:
    line = Line().opened()
    line.stream.write(b"last words")
    line.stream.close()
    line.stream.close()
    assert line.plain.end == "closed"
    line.to_server()
    assert line.at_server == b"last words"
    assert line.server_error is None
    line.server.unwrap()
    line.stream.write(b"too late")
    assert line.receiver.log == ["opened"]


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_during_the_handshake_aborts_the_stream(way: str) -> None:
    line = Line()
    line.stream.opened()
    getattr(line.stream, way)()
    assert line.plain.end == "aborted"
    assert line.receiver.log == []


def test_aborting_in_opened_drops_received_data() -> None:
    server = server_context()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    line = Line(server)
    line.receiver.on_opened = line.stream.abort
    line.stream.opened()
    line.to_server()
    line.to_client()
    line.to_server()
    line.server.write(b"early")
    line.to_client()
    assert line.receiver.log == ["opened"]
    assert line.receiver.data == b""


def test_aborting_in_received_prevents_later_notifications() -> None:
    line = Line().opened()
    line.receiver.on_received = line.stream.abort
    line.server.write(b"and data")
    with suppress(ssl.SSLWantReadError):
        line.server.unwrap()
    line.to_client()
    assert line.receiver.log == ["opened"]
    assert line.receiver.data == b"and data"
