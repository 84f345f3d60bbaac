"""Where the machine meets the runtime: inputs go in, actions come out and are carried out.

Rules of this file:

- One hub for one machine. Every input is followed by a drain, and so must every command be.
- The drain is guarded against re-entry: what runs inside it (a task that starts eagerly, say) may give the machine
  commands, and the drain that is already at work carries out what follows from them.
- No code of the application runs inside a drain. Events are handed to `deliver`, which only puts them where they are
  waited for.
- An unexpected exception, which is a mistake of this library, ends the hub: everything is closed, and `broken` hears of
  it. It is never raised into a runtime's callback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..protocol.actions import Action, CloseStream, OpenStream, Send, SetTimer
from ..protocol.events import MachineEvent
from ..protocol.machine import Machine
from ..runtime.connect import Connector
from ..runtime.interface import Future, Runtime, Stream

log = logging.getLogger(__name__)


class Waiters:
    """All who wait for the same thing to happen."""

    __slots__ = ("_cells", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._cells: dict[Future, None] = {}

    def __len__(self) -> int:
        return len(self._cells)

    async def wait(self) -> None:
        """Wait until it happens; raises the error that it failed with."""
        cell = self._runtime.future()
        self._cells[cell] = None
        try:
            await self._runtime.wait(cell)
        finally:
            self._cells.pop(cell, None)

    def wake(self) -> None:
        """It has happened."""
        cells, self._cells = self._cells, {}
        for cell in cells:
            cell.resolve()

    def fail(self, error: Exception) -> None:
        """It will not happen."""
        cells, self._cells = self._cells, {}
        for cell in cells:
            cell.fail(error)


class Hub:
    """A machine on a runtime.

    Attributes:
        runtime: The driver's services.
        now: The runtime's clock.
        ended: Whether nothing more goes in or out.
    """

    def __init__(
        self,
        machine: Machine,
        runtime: Runtime,
        connector: Connector,
        *,
        deliver: Callable[[MachineEvent], None],
        drained: Callable[[], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self.runtime = runtime
        self.now = runtime.now
        self.ended = False
        self._machine = machine
        self._next_output = machine.next_output
        self._connector = connector
        self._deliver = deliver
        self._drained = drained
        self._broken = broken
        self._timer = runtime.timer(self._tick)
        self._streams: dict[int, Stream] = {}
        self._draining = False
        self._carry_out: dict[type[Action], Callable[[Any], None]] = {
            OpenStream: self._open_stream,
            Send: self._send,
            CloseStream: self._close_stream,
            SetTimer: self._set_timer,
        }

    def drain(self) -> None:
        """Carry out all that the machine asks for. To be called after every input and command."""
        if self._draining or self.ended:
            return
        self._draining = True
        try:
            next_output, carry_out = self._next_output, self._carry_out
            while (output := next_output()) is not None:
                if isinstance(output, MachineEvent):
                    self._deliver(output)
                else:
                    carry_out[type(output)](output)
            self._drained()
        except Exception as error:
            self._break(error)
        finally:
            self._draining = False

    def feed(self, take: Callable[..., None], *inputs: Any) -> None:
        """Give the machine an input, and carry out what follows from it."""
        if self.ended:
            return
        now = self.now()  # in a foreign thread it raises, which is the caller's mistake, and breaks nothing
        try:
            take(*inputs, now)
        except Exception as error:
            self._break(error)
        else:
            self.drain()

    def end(self) -> None:
        """Cut every stream and stop the timer. Nothing goes in or out any more."""
        if self.ended:
            return
        self.ended = True
        self._timer.set(None)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.abort()

    def _break(self, error: Exception) -> None:
        self.end()
        self._broken(error)

    # Inputs

    def _tick(self) -> None:
        self.feed(self._machine.tick)

    def opened(self, stream: int) -> None:
        log.debug("stream %d is open", stream)
        self.feed(self._machine.stream_opened, stream)

    def failed(self, stream: int, error: Exception) -> None:
        log.debug("stream %d could not be opened: %s", stream, error)
        self._streams.pop(stream, None)
        self.feed(self._machine.stream_failed, stream, error)

    def received(self, stream: int, data: bytes | bytearray | memoryview) -> None:
        self.feed(self._machine.data_received, stream, data)

    def sent(self, stream: int) -> None:
        self.feed(self._machine.data_sent, stream)

    def closed(self, stream: int, error: Exception | None) -> None:
        log.debug("stream %d was closed by the peer: %s", stream, error or "an orderly end")
        self._streams.pop(stream, None)
        self.feed(self._machine.stream_closed, stream, error)

    # Actions

    def _open_stream(self, action: OpenStream) -> None:
        number, receiver = action.stream, _Receiver(self, action.stream)
        self._streams[number], proxy = self._connector.open(
            self.runtime, action.host, action.port, receiver, tls=action.tls
        )
        way = "" if proxy is None else f" through {proxy}"
        log.debug("opening stream %d to %s port %d%s for %s", number, action.host, action.port, way, action.transport)

    def _send(self, action: Send) -> None:
        self._streams[action.stream].write(action.data)

    def _close_stream(self, action: CloseStream) -> None:
        stream = self._streams.pop(action.stream)
        if action.abort:
            stream.abort()
        else:
            stream.close()

    def _set_timer(self, action: SetTimer) -> None:
        self._timer.set(action.deadline)


class _Receiver:
    """What a runtime's stream tells, with the stream's number."""

    __slots__ = ("_hub", "_stream")

    def __init__(self, hub: Hub, stream: int) -> None:
        self._hub = hub
        self._stream = stream

    def opened(self) -> None:
        self._hub.opened(self._stream)

    def failed(self, error: Exception) -> None:
        self._hub.failed(self._stream, error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self._hub.received(self._stream, data)

    def sent(self) -> None:
        self._hub.sent(self._stream)

    def closed(self, error: Exception | None) -> None:
        self._hub.closed(self._stream, error)
