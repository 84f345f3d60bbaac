"""Emitting events, and receiving them as a stream.

The classes are faces of `core` and `run`. The blocking ones are generated from this file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

from ..protocol.errors import OptionError
from ..protocol.options import check_option
from .core.socket import SocketCore
from .handlers.registry import Handler
from .run.event_stream import Event, EventBuffer
from .run.namespace import Flags
from .run.unawaited import must_be_awaited


class Emitter:
    """What emits events: a Socket, or a view of one with flags."""

    _core: SocketCore
    _flags: Flags

    @property
    def volatile(self) -> Emitter:
        """A view whose events are dropped if the connection cannot send them at once."""
        return _View(self._core, self._flags.but(volatile=True))

    def compress(self, value: bool) -> Emitter:
        """Return a view whose events may be compressed, or not (if the transport compresses at all)."""
        if not isinstance(value, bool):
            raise OptionError(f"compress takes True or False, not {value!r}")
        return _View(self._core, self._flags.but(compress=value))

    def timeout(self, seconds: float | None) -> Emitter:
        """Return a view whose acknowledgements time out after so many seconds; None for no timeout.

        It overrides the option `ack_timeout`.
        """
        check_option("timeout", seconds)
        return _View(self._core, self._flags.but(timeout=seconds))

    @must_be_awaited
    async def emit(self, event: str | float, *values: Any, ack: Handler | None = None) -> None:
        """Emit an event. While the namespace is not connected it is buffered.

        Waits while the connection is not writable. Nothing is awaited after that: an emit that is cancelled was not sent,
        and one that returns is on its way (or was dropped, if it is volatile).

        Args:
            event: The event's name.
            values: What JSON can represent, dataclasses and pydantic models, and bytes, bytearray and memoryview anywhere
                in it.
            ack: Called with the server's acknowledgement: `ack(*values)`, or `ack(error, *values)` if it has a timeout;
                `error` is None, AckTimeout or DisconnectedError. It is called with as many of these as it accepts.

        Raises:
            OptionError: The name is reserved.
            PacketError: A value cannot be sent.
            BufferFullError: Too much is buffered already.
            DisconnectedError: The connection has been stopped.
            StateError: The Manager is not running.
        """
        await self._core.emit((event, *values), self._flags, ack)

    def emit_nowait(self, event: str | float, *values: Any, ack: Handler | None = None) -> None:
        """Emit an event as `emit` does, but without waiting until the connection is writable."""
        self._core.emit_nowait((event, *values), self._flags, ack)

    @must_be_awaited
    async def send(self, *values: Any, ack: Handler | None = None) -> None:
        """Emit the event "message": `emit("message", *values)`."""
        await self._core.emit(("message", *values), self._flags, ack)

    @must_be_awaited
    async def emit_with_ack(self, event: str | float, *values: Any) -> Any:
        """Emit an event and wait for the server's acknowledgement.

        It may return before events that the server sent earlier have been handled, because those are queued. If it is
        cancelled, the event is withdrawn unless it has been sent.

        Args:
            event: The event's name.
            values: As in `emit`.

        Returns:
            The value of the acknowledgement; None if it has none, a tuple if it has several.

        Raises:
            AckTimeout: It did not arrive within the timeout (`timeout`, or the option `ack_timeout`).
            DisconnectedError: The connection ended before it arrived.
            OptionError, PacketError, BufferFullError, StateError: As in `emit`.
        """
        return await self._core.emit_with_ack((event, *values), self._flags)


class _View(Emitter):
    """A Socket with flags."""

    __slots__ = ("_core", "_flags")

    def __init__(self, core: SocketCore, flags: Flags) -> None:
        self._core = core
        self._flags = flags


class EventStream:
    """The events of a namespace as a stream: an async context manager that is also the iterator.

    It yields the events that are dispatched while it is entered, before the handlers are called. It ends when the socket is
    closed, or when nothing tries to reconnect it. Several tasks may share one; each event goes to one of them.
    """

    def __init__(self, buffer: EventBuffer) -> None:
        self._buffer = buffer

    async def __aenter__(self) -> Self:
        await self._buffer.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._buffer.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._buffer.next()
        if event is None:
            raise StopAsyncIteration
        return event
