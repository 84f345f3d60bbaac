"""TLS over the plain streams of a runtime, with `ssl.MemoryBIO`.

Rules of this file:

- A `TLSStream` fulfils the contracts of `Stream` and `StreamReceiver`. So the layers above and below, and the runtimes, are
  independent of TLS.
- `opened` is called after the handshake. Errors before it are reported to `failed`, errors after it to `closed`.
- `sent` is reported for the application's bytes only. Other TLS records (handshake, key updates, alerts) are written at
  once and never reported.
- A stream that the peer closes without `close_notify` is reported as closed, not as broken, because HTTP and WebSocket
  detect truncation themselves.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from .interface import Stream, StreamOpener, StreamReceiver
from .streams import StackedStream

_RECORD = 16384  # the maximum size of the plaintext of a TLS record in bytes (RFC 8446, section 5.1)

_NOT_TLS = {  # OpenSSL's reasons if the peer does not use TLS
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
}


def default_context() -> ssl.SSLContext:
    """Return a context that verifies the server with the system's certificates and offers HTTP/1.1 (ALPN, RFC 7301)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def over_tls(opener: StreamOpener, context: ssl.SSLContext, server_hostname: str | None = None) -> StreamOpener:
    """Return an opener of TLS streams over the streams of another opener.

    Args:
        opener: Opens the plain streams.
        context: The TLS context. It is not modified.
        server_hostname: The host name or IP address that the certificate must match; None for the host to connect to. A
            host name is sent to the server (SNI).
    """

    def open_tls(host: str, port: int, receiver: StreamReceiver) -> Stream:
        stream = TLSStream(receiver, context, server_hostname or host)
        stream.attach(opener(host, port, stream))
        return stream

    return open_tls


class TLSStream(StackedStream):
    """A TLS stream of a client, over another stream. It is open when the TLS handshake is done."""

    __slots__ = ("_context", "_hostname", "_incoming", "_outgoing", "_tls", "_unsent", "_waiting")

    _tls: ssl.SSLObject

    def __init__(self, receiver: StreamReceiver, context: ssl.SSLContext, hostname: str) -> None:
        super().__init__(receiver)
        self._context = context
        self._hostname = hostname
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._waiting: list[bytes | bytearray | memoryview] = []  # data to encrypt after a renegotiation
        self._unsent = False  # `sent` has not been reported for all bytes of the application

    # The stream, for the layer above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and queue bytes."""
        if self._over:
            return
        self._unsent = True
        if data:
            self._waiting.append(data)
            self._encrypt()
        self._plain.write(self._outgoing.read())

    def close(self) -> None:
        """Close with `close_notify` when all written data has been sent, or at once if the stream is not open yet."""
        if not self._over:
            if self._open:
                self._send_close_notify()
            super().close()

    # The receiver, for the plain stream

    def opened(self) -> None:
        """Start the handshake: the plain stream is open."""
        try:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._hostname)
        except (OSError, ValueError) as error:  # an invalid server_hostname, or a server-side context
            self._fail(error)
        else:
            self._receiver.progress(
                f"TCP is up, but the TLS handshake with {self._hostname} was not completed; does it use TLS on this port?"
            )
            self._continue_handshake()

    def failed(self, error: Exception) -> None:
        """Report that the plain stream could not be opened."""
        self._receiver.failed(error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Decrypt received data, which may end in the middle of a record."""
        self._incoming.write(data)
        if not self._open:
            self._continue_handshake()
        if self._open and not self._over:
            self._decrypt()

    def sent(self) -> None:
        """Report `sent` if bytes of the application were sent."""
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

    def _continue_handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:  # including ssl.SSLError
            self._fail(error)
        else:
            self._open = True
            self._flush()
            self._receiver.opened()

    def _fail(self, error: Exception) -> None:
        self._over = True
        self._flush()  # send the alert with the reason
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
            self._plain.abort()  # the peer may never accept unsent data
        else:
            self._send_close_notify()
            self._plain.close()
        self._receiver.closed(error)

    def _send_close_notify(self) -> None:
        with suppress(OSError):  # sent before, or the peer's is missing, or the connection is broken
            self._tls.unwrap()
        self._flush()


def _explain(error: Exception, hostname: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(". ")
        return (
            f"the certificate of {hostname} could not be verified: {reason}; "
            "if this is the right server, pass a context that trusts it (ssl=), or the name in the certificate "
            "(server_hostname=)"
        )
    reason = getattr(error, "reason", None) or str(error)
    hint = "; if the server does not use TLS on this port, use http:// or ws://" if reason in _NOT_TLS else ""
    return f"the TLS handshake with {hostname} failed: {reason}{hint}"
