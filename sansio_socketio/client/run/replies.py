"""Acknowledging an event of the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...protocol.errors import StateError
from ...protocol.events import AckId
from ...runtime.interface import Runtime


class Reply:
    """The acknowledgement that the server asked for with one event. The first one given is sent."""

    __slots__ = ("_ack_id", "_is_due", "_is_given", "_pending", "_send")

    def __init__(self, ack_id: AckId, send: Callable[[AckId, Sequence[Any]], None]) -> None:
        self._ack_id = ack_id
        self._send = send
        self._is_given = False
        self._is_due = True  # an empty one, when no handler gives another
        self._pending = 1

    def give(self, values: Sequence[Any]) -> None:
        """Acknowledge, unless that was done before. Raises PacketError if a value cannot be encoded."""
        if not self._is_given:
            self._send(self._ack_id, values)
            self._is_given = True

    def returned(self, result: Any) -> None:
        """Acknowledge with what a handler returned, unless it is None."""
        if result is not None:
            self.give(result if isinstance(result, tuple) else (result,))

    def waive(self) -> None:
        """Send no empty acknowledgement: a handler failed, or acknowledges by a function."""
        self._is_due = False

    def hold(self) -> None:
        """Wait for one more handler before an empty acknowledgement is sent."""
        self._pending += 1

    def release(self) -> None:
        """A handler is done. After the last one, send an empty acknowledgement if none was given."""
        self._pending -= 1
        if self._pending == 0 and self._is_due:
            self.give(())


class Acknowledge:
    """The function by which a handler, or the consumer of a stream, acknowledges an event."""

    __slots__ = ("_called", "_reply", "_runtime")

    def __init__(self, reply: Reply | None, runtime: Runtime) -> None:
        self._reply = reply
        self._runtime = runtime
        self._called = False

    def __call__(self, *values: Any) -> None:
        """Acknowledge the event with these values. Does nothing if the server asked for no acknowledgement.

        Raises:
            StateError: It was called before.
            PacketError: A value cannot be encoded.
        """
        with self._runtime.lock:
            if self._called:
                raise StateError("the event has been acknowledged already; an event is acknowledged once")
            if self._reply is not None:
                self._reply.give(values)
            self._called = True
