"""TLS between the hub and a runtime's plain bytes, over `ssl.MemoryBIO`.

Rules of this file:

- A `TLSStream` has two sides: to the hub it is a `Stream`, to the runtime's plain stream it is the `StreamReceiver`. It
  keeps the contract of both, so neither knows of it, and no runtime knows of TLS.
- `opened` is told after the handshake. What goes wrong before is `failed`, what goes wrong after is `closed`.
- `sent` speaks of the application's bytes only: the records that TLS sends on its own account (the handshake, key
  updates, alerts) leave as soon as they exist and are never reported.
- A peer that closes without TLS's goodbye (`close_notify`) has just closed: HTTP and WebSocket know by themselves
  whether something is missing.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from .interface import Stream, StreamOpener, StreamReceiver

_RECORD = 16384  # the most plaintext that one TLS record holds (RFC 8446, section 5.1), and so that one read gives

_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
}


def default_context() -> ssl.SSLContext:
    """A context that verifies the server against the system's certificates, and offers HTTP/1.1 (ALPN, RFC 7301)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def over_tls(opener: StreamOpener, context: ssl.SSLContext, server_hostname: str | None = None) -> StreamOpener:
    """An opener of TLS streams, whose records travel over the streams of another.

    Args:
        opener: Opens the streams beneath.
        context: How to verify the server, and what to offer. It is used as it is.
        server_hostname: The name or IP address that the certificate must be for; a name is told to the server (SNI).
            Where it is None, the host that is opened.
    """

    def open_tls(host: str, port: int, receiver: StreamReceiver) -> Stream:
        stream = TLSStream(receiver, context, server_hostname or host)
        stream.attach(opener(host, port, stream))
        return stream

    return open_tls


class TLSStream:
    """The client's end of a TLS connection. The records travel over the stream that `attach` tells."""

    __slots__ = (
        "_context",
        "_hostname",
        "_incoming",
        "_open",
        "_outgoing",
        "_over",
        "_plain",
        "_receiver",
        "_tls",
        "_unsent",
        "_waiting",
    )

    _plain: Stream
    _tls: ssl.SSLObject

    def __init__(self, receiver: StreamReceiver, context: ssl.SSLContext, hostname: str) -> None:
        self._receiver = receiver
        self._context = context
        self._hostname = hostname
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._waiting: list[bytes | bytearray | memoryview] = []  # to be encrypted once a renegotiation is over
        self._open = False  # the handshake is done
        self._over = False  # nothing is told any more
        self._unsent = False  # the application wrote something, and was not told yet that it left

    def attach(self, plain: Stream) -> None:
        """Use `plain`, which was opened with this object as its receiver."""
        self._plain = plain

    # The hub's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and queue bytes. They leave together with what else is written in this turn."""
        if self._over:
            return
        self._unsent = True
        if data:
            self._waiting.append(data)
            self._encrypt()
        self._plain.write(self._outgoing.read())

    def close(self) -> None:
        """Say goodbye and close once all that was written has left; while still opening, close at once."""
        if self._over:
            return
        self._over = True
        if self._open:
            self._say_goodbye()
            self._plain.close()
        else:
            self._plain.abort()

    def abort(self) -> None:
        """Close at once, also while still opening."""
        self._over = True
        self._plain.abort()

    # The plain stream's side

    def opened(self) -> None:
        """The plain stream is open: begin the handshake."""
        try:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._hostname)
        except (OSError, ValueError) as error:  # no name for a certificate, or a context for servers
            self._fail(error)
        else:
            self._shake_hands()

    def failed(self, error: Exception) -> None:
        """The plain stream could not be opened."""
        self._receiver.failed(error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Records, or pieces of some, arrived."""
        self._incoming.write(data)
        if not self._open:
            self._shake_hands()
        if self._open and not self._over:
            self._decrypt()

    def sent(self) -> None:
        """All records so far have left: pass that on if the application's bytes were among them."""
        if self._unsent and not self._waiting:
            self._unsent = False
            self._receiver.sent()

    def closed(self, error: Exception | None) -> None:
        """The plain stream ended or broke."""
        self._over = True
        if self._open:
            self._receiver.closed(error)
        else:
            self._receiver.failed(
                error or ConnectionError(f"{self._hostname} closed the connection during the TLS handshake")
            )

    # Between the two

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
        self._flush()  # the alert that tells the server what it did wrong
        self._plain.close()
        failure = ConnectionError(_explain(error, self._hostname))
        failure.__cause__ = error
        self._receiver.failed(failure)

    def _encrypt(self) -> None:
        waiting = self._waiting
        with suppress(ssl.SSLWantReadError):  # the server renegotiates (TLS 1.2): go on when it has answered
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
            self._plain.abort()  # nobody wants the rest, and a peer that does not read would keep it here
        else:
            self._say_goodbye()
            self._plain.close()
        self._receiver.closed(error)

    def _say_goodbye(self) -> None:
        with suppress(OSError):  # it has been said, or waits for the peer's, or the connection is broken already
            self._tls.unwrap()
        self._flush()


def _explain(error: Exception, hostname: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(". ")
        return (
            f"the certificate of {hostname} could not be verified: {reason}. "
            "If the server is the right one, pass ssl= a context that trusts it, or server_hostname= the certificate's name"
        )
    reason = getattr(error, "reason", None) or str(error)
    hint = ". Does the server speak TLS there? If not, use http:// or ws://" if reason in _NOT_TLS else ""
    return f"the TLS handshake with {hostname} failed: {reason}{hint}"
