"""The limits of a server that an event may exceed: `maxPayload`, and the number of attachments.

Rules of this file:

- Over polling, no server accepts a packet above `maxPayload`, so it is not sent. Over WebSocket some servers accept it.
- A server does not say which event made it close the connection. The first event that was sent and may exceed a limit
  explains it, until the server has received it.
"""

from __future__ import annotations

from math import inf
from typing import Final

from .emit import Emit, Frames
from .engine import EngineSession
from .errors import PacketError, TransportError
from .events import DisconnectReason
from .packets.engineio import MESSAGE, Packet, encoded_size

MOST_FRAMES: Final = 11
"""The messages of an event with as many attachments as servers accept by default."""
_MESSAGE_TOO_BIG: Final = 1009  # RFC 6455, section 7.4.1
_UNEXPLAINED: Final = frozenset({None, 1000, 1005})
"""The close codes after an error of the server's parser; None with polling."""
_LARGEST_CHARACTER: Final = 4
_OVERHEAD: Final = 8  # the type of the packet, and the padding of base64


class LimitExceeded(TransportError):
    """The server has ended the session because of an event that exceeds one of its limits, which the message names."""


class Limits:
    """The limits of the server on the present session.

    Attributes:
        sure_size: An event of at most this size does not exceed `maxPayload`, however it is encoded.
    """

    __slots__ = ("_large", "_many", "_session", "sure_size")

    def __init__(self) -> None:
        self.sure_size = inf
        self._session: EngineSession | None = None
        self._large: str | None = None  # the first event that has been sent and is larger than maxPayload
        self._many: str | None = None  # the first one with many attachments

    def begin(self, session: EngineSession) -> None:
        """Apply the limits of a session that has opened."""
        self._session = session
        if session.max_payload is not None:
            self.sure_size = (session.max_payload - _OVERHEAD) // _LARGEST_CHARACTER

    def end(self) -> None:
        """Forget the limits, because the session has ended."""
        self._session = self._large = self._many = None
        self.sure_size = inf

    def accepted(self) -> None:
        """Note that the server has received all events and is still there."""
        self._large = self._many = None

    def check(self, emit: Emit, frames: Frames, *, sends: bool) -> None:
        """Check an event. If it is about to be sent, remember whether it may exceed a limit.

        Raises:
            PacketError: It exceeds `maxPayload`, and the transport is polling.
        """
        emit.excess = None
        session = self._session
        if session is None or not (emit.size > self.sure_size or len(frames) > MOST_FRAMES):
            return
        is_polling = session.transport == "polling"
        is_text = is_polling or session.options.force_base64
        size, limit = max([_size(frame, is_text=is_text) for frame in frames]), session.max_payload
        if limit is not None and size > limit:
            emit.excess = (
                f"event {emit.args[0]!r} has a message of {size} bytes; the server's limit is {limit} (maxPayload, the "
                "option maxHttpBufferSize or max_http_buffer_size of the server)"
            )
            if is_polling:
                raise PacketError(f"{emit.excess}: split the event, or raise the limit")
        if sends:
            self._large = self._large or emit.excess
        if sends and self._many is None and len(frames) > MOST_FRAMES:
            self._many = (
                f"event {emit.args[0]!r} has {len(frames) - 1} attachments; servers accept at most {MOST_FRAMES - 1} by "
                "default (maxAttachments of socket.io-parser 4.2.6 and later)"
            )

    def explain(self, reason: DisconnectReason, details: Exception | None) -> Exception | None:
        """Return the details of the end of the session, with the likely cause if there is one."""
        if not isinstance(details, TransportError):
            return details
        if is_too_large(details) and self._large is not None:
            cause = f": {self._large}"
        elif self._many is not None and (
            is_too_large(details) or (reason == "transport close" and details.close_code in _UNEXPLAINED)
        ):
            cause = f"; likely cause: {self._many}"
        else:
            return details
        error = LimitExceeded(
            f"{details}{cause}",
            transport=details.transport,
            status=details.status,
            body=details.body,
            close_code=details.close_code,
        )
        error.__cause__ = details
        return error


def is_too_large(details: Exception | None) -> bool:
    """Return whether the server has closed the WebSocket because a message was too large."""
    return isinstance(details, TransportError) and details.close_code == _MESSAGE_TOO_BIG


def _size(frame: str | bytes, *, is_text: bool) -> int:
    return len(frame) if isinstance(frame, bytes) and not is_text else encoded_size(Packet(MESSAGE, frame))
