"""TLS over the plain streams of a runtime, by `ssl.MemoryBIO`.

Rules of this file:

- A `TLSStream` keeps the contracts of a `Stream` and of a `StreamReceiver`, so neither side knows of it, and no runtime
  knows of TLS.
- `opened` is called after the handshake. Errors before it are reported to `failed`, errors after it to `closed`.
- `sent` refers to the application's bytes only: the records that TLS sends on its own (the handshake, key updates, alerts)
  are written at once and are never reported.
- A peer that closes without `close_notify` has closed the stream in the ordinary way: HTTP and WebSocket detect
  truncation themselves.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from .interface import Stream, StreamOpener, StreamReceiver
from .streams import StackedStream

_RECORD = 16384  # bytes of plaintext in one TLS record at most (RFC 8446, section 5.1), and so in one read

_NOT_TLS = {  # reasons of OpenSSL for what is not TLS at all
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
}


def default_context() -> ssl.SSLContext:
    """Make a context that verifies the server with the system's certificates, and offers HTTP/1.1 (ALPN, RFC 7301)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def over_tls(opener: StreamOpener, context: ssl.SSLContext, server_hostname: str | None = None) -> StreamOpener:
    """Make an opener of TLS streams over the streams of another opener.

    Args:
        opener: Opens the plain streams.
        context: The TLS context. It is not changed.
        server_hostname: The name or IP address that the certificate must be for; a name is sent to the server (SNI).
            None for the host that is opened.
    """

    def open_tls(host: str, port: int, receiver: StreamReceiver) -> Stream:
        stream = TLSStream(receiver, context, server_hostname or host)
        stream.attach(opener(host, port, stream))
        return stream

    return open_tls


class TLSStream(StackedStream):
    """The client's end of a TLS connection. It is open when the handshake is done."""

    __slots__ = ("_context", "_hostname", "_incoming", "_outgoing", "_tls", "_unsent", "_waiting")

    _tls: ssl.SSLObject

    def __init__(self, receiver: StreamReceiver, context: ssl.SSLContext, hostname: str) -> None:
        super().__init__(receiver)
        self._context = context
        self._hostname = hostname
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._waiting: list[bytes | bytearray | memoryview] = []  # to be encrypted after a renegotiation
        self._unsent = False  # the application has written bytes that are not reported as sent yet

    # The stream, for the layer above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and queue bytes. They are sent together with what else is written in this loop iteration."""
        if self._over:
            return
        self._unsent = True
        if data:
            self._waiting.append(data)
            self._encrypt()
        self._plain.write(self._outgoing.read())

    def close(self) -> None:
        """Close, with `close_notify`, once everything has been sent, or at once while the stream is being opened."""
        if not self._over:
            if self._open:
                self._send_close_notify()
            super().close()

    # The receiver, for the plain stream

    def opened(self) -> None:
        """Start the handshake: the plain stream is open."""
        try:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._hostname)
        except (OSError, ValueError) as error:  # an invalid name for a certificate, or a context for servers
            self._fail(error)
        else:
            self._shake_hands()

    def failed(self, error: Exception) -> None:
        """Report that the plain stream could not be opened."""
        self._receiver.failed(error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Decrypt records, or pieces of records."""
        self._incoming.write(data)
        if not self._open:
            self._shake_hands()
        if self._open and not self._over:
            self._decrypt()

    def sent(self) -> None:
        """Report `sent`, if bytes of the application were among the records."""
        if self._unsent and not self._waiting:
            self._unsent = False
            self._receiver.sent()

    def closed(self, error: Exception | None) -> None:
        """Report that the plain stream was closed or broke."""
        self._over = True
        if self._open:
            self._receiver.closed(error)
        else:
            self._receiver.failed(
                error or ConnectionError(f"{self._hostname} closed the connection during the TLS handshake")
            )

    # Between the two sides

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:  # ssl.SSLError is one
            self._fail(error)
        else:
            self._open = True
            self._flush()
            self._receiver.opened()

    def _fail(self, error: Exception) -> None:
        self._over = True
        self._flush()  # sends the alert that tells the server what is wrong
        self._plain.close()
        failure = ConnectionError(_explain(error, self._hostname))
        failure.__cause__ = error
        self._receiver.failed(failure)

    def _encrypt(self) -> None:
        waiting = self._waiting
        with suppress(ssl.SSLWantReadError):  # a renegotiation (TLS 1.2): continue after the server's response
            while waiting:
                written = self._tls.write(waiting[0])
                if written == len(waiting[0]):
                    del waiting[0]
                else:
                    waiting[0] = memoryview(waiting[0])[written:]

    def _decrypt(self) -> None:
        pieces: list[bytes] = []
        ended, error = True, None
        try:
            while piece := self._tls.read(_RECORD):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            ended = False
        except OSError as broken:
            error = broken
        if self._waiting and not ended:
            self._encrypt()
        self._flush()
        if pieces:
            self._receiver.received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended and not self._over:
            self._finish(error)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.write(self._outgoing.read())

    def _finish(self, error: Exception | None) -> None:
        self._over = True
        if self._unsent:
            self._plain.abort()  # the peer does not want the rest, and might never accept it
        else:
            self._send_close_notify()
            self._plain.close()
        self._receiver.closed(error)

    def _send_close_notify(self) -> None:
        with suppress(OSError):  # already sent, or waiting for the peer's, or the connection is broken
            self._tls.unwrap()
        self._flush()


def _explain(error: Exception, hostname: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(". ")
        return (
            f"the certificate of {hostname} could not be verified: {reason}; "
            "if the server is the right one, pass ssl= a context that trusts it, or server_hostname= the name in the certificate"
        )
    reason = getattr(error, "reason", None) or str(error)
    hint = "; if the server does not use TLS on this port, use http:// or ws://" if reason in _NOT_TLS else ""
    return f"the TLS handshake with {hostname} failed: {reason}{hint}"
