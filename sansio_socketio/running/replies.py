"""Acknowledge events of the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..protocol.events import AckId
from ..runtime.interface import Runtime

log = logging.getLogger("sansio_socketio.client.socket")


class Reply:
    """The acknowledgement of one event, which the server has requested. It is sent once, by the first call."""

    __slots__ = ("_ack_id", "_is_due", "_is_given", "_pending", "_send")

    def __init__(self, ack_id: AckId, send: Callable[[AckId, Sequence[Any]], None]) -> None:
        self._ack_id = ack_id
        self._send = send
        self._is_given = False
        self._is_due = True  # an empty acknowledgement is due if no handler gives another
        self._pending = 1

    def give(self, values: Sequence[Any]) -> None:
        """Send the acknowledgement unless it was sent before. Raise PacketError if a value cannot be encoded."""
        if not self._is_given:
            self._send(self._ack_id, values)
            self._is_given = True

    def returned(self, result: Any) -> None:
        """Send the return value of a handler as the acknowledgement, unless it is None."""
        if result is not None:
            self.give(result if isinstance(result, tuple) else (result,))

    def waive(self) -> None:
        """Send no empty acknowledgement, because a handler has failed or has the acknowledgement function."""
        self._is_due = False

    def hold(self) -> None:
        """Delay an empty acknowledgement until one more handler is done."""
        self._pending += 1

    def release(self) -> None:
        """Note that a handler is done. After the last one, send an empty acknowledgement if it is due."""
        self._pending -= 1
        if self._pending == 0 and self._is_due:
            self.give(())


class Acknowledge:
    """The function with which a handler, or the consumer of a stream, acknowledges an event."""

    __slots__ = ("_called", "_reply", "_runtime")

    def __init__(self, reply: Reply | None, runtime: Runtime) -> None:
        self._reply = reply
        self._runtime = runtime
        self._called = False

    def __call__(self, *values: Any) -> None:
        """Acknowledge the event with `values`. Do nothing if the server requested no acknowledgement, or got one before.

        Raises:
            PacketError: A value cannot be encoded.
        """
        with self._runtime.lock:
            if self._called:
                log.debug("an event was acknowledged a second time, which is ignored")
                return
            if self._reply is not None:
                self._reply.give(values)
            self._called = True
