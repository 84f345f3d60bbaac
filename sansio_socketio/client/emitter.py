"""`Emitter` and `EventStream`: emit events, and receive events as a stream.

The classes delegate to `core` and `run`. The blocking classes are generated from this file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self, overload

from ..handlers.event_type import Ack, Asks, Call, Converts, Emits, EventType, Result, Values
from ..handlers.registry import Handler
from ..protocol.errors import OptionError
from ..protocol.options import check_option
from ..running.event_stream import Event, EventBuffer
from ..running.flags import Flags
from ..running.unawaited import must_be_awaited
from .core.socket import SocketCore


class Emitter:
    """Base class of objects that emit events: a Socket, or a view of a Socket with flags."""

    _core: SocketCore
    _flags: Flags

    @property
    def volatile(self) -> Emitter:
        """A view of the socket whose events are dropped if they cannot be sent immediately."""
        return _View(self._core, self._flags.replace(volatile=True))

    def compress(self, value: bool) -> Emitter:
        """Return a view of the socket that enables or disables the compression of its events."""
        if not isinstance(value, bool):
            raise OptionError(f"compress takes True or False, not {value!r}")
        return _View(self._core, self._flags.replace(compress=value))

    def timeout(self, seconds: float | None) -> Emitter:
        """Return a view of the socket with a time limit for acknowledgements, in seconds; None for no limit.

        This overrides the option `ack_timeout`.
        """
        check_option("timeout", seconds)
        return _View(self._core, self._flags.replace(timeout=seconds))

    @overload
    async def emit(self, event: Emits[Call], *values: Call.args, **options: Call.kwargs) -> None: ...
    @overload
    async def emit(self, event: str | float, *values: Any, ack: Handler | None = None) -> None: ...
    @must_be_awaited  # type: ignore[misc]  # mypy wants **options, which the protocols name
    async def emit(self, event: Any, *values: Any, ack: Handler | None = None) -> None:
        """Emit an event. While the namespace is not connected, the event is buffered.

        It is also buffered if the client does not try to connect any more (`Socket.close_reason`), and sent after a `connect`.

        Waits while the connection is not writable. Once it is writable, `emit` completes without suspending: if `emit` is
        cancelled, the event was not sent. If it returns, the event was sent or buffered (or, if it is volatile, dropped).

        Args:
            event: The event's name, or its `EventType`, with which type checkers check the values.
            values: Values that JSON can represent, dataclasses, pydantic models, and bytes, bytearray and memoryview, at
                any depth.
            ack: A function to call with the server's acknowledgement: `ack(*values)`, or with a time limit
                `ack(error, *values)`, where `error` is None, an AckTimeout or a DisconnectedError. It receives as many
                arguments as it accepts.

        Raises:
            OptionError: The name of the event is invalid or reserved.
            PacketError: A value cannot be encoded, or the event exceeds the server's `maxPayload` (over polling).
            BufferFullError: `max_buffered_events` or `max_buffered_bytes` would be exceeded.
            DisconnectedError: The Manager has been stopped.
            StateError: The Manager is not running.
        """
        await self._core.emit((event, *values), self._flags, ack)

    @overload
    def emit_nowait(self, event: Emits[Call], *values: Call.args, **options: Call.kwargs) -> None: ...
    @overload
    def emit_nowait(self, event: str | float, *values: Any, ack: Handler | None = None) -> None: ...
    def emit_nowait(  # type: ignore[misc]
        self, event: Any, *values: Any, ack: Handler | None = None
    ) -> None:
        """Emit an event like `emit`, but without waiting until the connection is writable."""
        self._core.emit_nowait((event, *values), self._flags, ack)

    @must_be_awaited
    async def send(self, *values: Any, ack: Handler | None = None) -> None:
        """Emit the event "message". Equivalent to `emit("message", *values)`."""
        await self._core.emit(("message", *values), self._flags, ack)

    @overload
    async def emit_with_ack(self, event: Asks[Call, Ack], *values: Call.args, **options: Call.kwargs) -> Ack: ...
    @overload
    async def emit_with_ack(self, event: str | float, *values: Any) -> Any: ...
    @overload
    async def emit_with_ack(
        self, event: EventType[tuple[*Values], Any], *values: *Values, result: type[Result]
    ) -> Result: ...
    @overload
    async def emit_with_ack(self, event: Converts[Call], *values: Call.args, **options: Call.kwargs) -> Any: ...
    @overload
    async def emit_with_ack(self, event: str | float, *values: Any, result: type[Result]) -> Result: ...
    @overload
    async def emit_with_ack(self, event: str | float, *values: Any, result: object) -> Any: ...
    @must_be_awaited  # type: ignore[misc]
    async def emit_with_ack(self, event: Any, *values: Any, result: Any = None) -> Any:
        """Emit an event and wait for the server's acknowledgement.

        It may return before the handlers of earlier events are called, because these events are queued. If the call is
        cancelled, the event is withdrawn unless it has been sent.

        Args:
            event: The event's name.
            values: As in `emit`.
            result: The type to which to convert the acknowledgement, with pydantic (the extra `typed`): any type that a
                typed handler may use, such as a dataclass or a model; `tuple[…]` if there are several values.

        Returns:
            The value of the acknowledgement: None if there is none, a tuple if there are several.

        Raises:
            PayloadError: The acknowledgement does not match `result`.
            AckTimeout: The acknowledgement did not arrive in time (`timeout()`, or the option `ack_timeout`).
            DisconnectedError: The connection ended before the acknowledgement arrived.
            PacketError: As in `emit`; also later, if the server has refused the event because it is too large.
            OptionError, BufferFullError, StateError: As in `emit`.
        """
        if result is None:
            return await self._core.emit_with_ack((event, *values), self._flags)
        return await self._core.emit_for_result((event, *values), self._flags, result)


class _View(Emitter):
    """A view of a Socket with flags."""

    __slots__ = ("_core", "_flags")

    def __init__(self, core: SocketCore, flags: Flags) -> None:
        self._core = core
        self._flags = flags


class EventStream:
    """A stream of the events of a namespace: an async context manager and an async iterator.

    It yields the events that are dispatched while the context manager is entered, before their handlers are called. The
    stream ends when the socket is disconnected and the client does not reconnect. It raises a DisconnectedError then, unless
    the application has disconnected the socket: see `Socket.wait_closed`. If several tasks iterate over it, each
    event is received by one of them.
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
