"""The pump: feeds inputs to the state machine, and carries out its actions.

Rules of this file:

- Each run has one pump. After every input and every command, `drain` takes all outputs of the machine.
- `drain` is not reentrant. Code that it calls (for example a task that starts eagerly) may give commands to the machine. The
  `drain` that is already running takes their outputs.
- `drain` calls no code of the application. Routes only queue events and wake waiting callers.
- Streams are not read while the machine is behind with received packets, or while handlers catch up (`pause_reading`).
- An unexpected exception is an internal error. The pump closes everything, ends, and calls `broken` with the exception,
  which is never raised into a callback of the runtime.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..protocol.actions import CloseStream, OpenStream, Send, SetTimer
from ..protocol.machine import Machine
from ..runtime.connect import Connector
from ..runtime.interface import Runtime, Stream


class Pump:
    """Runs a state machine on a runtime.

    Args:
        machine: The state machine.
        runtime: The runtime.
        connector: Opens the streams; None if the machine opens none.
        routes: Maps the class of an event to the function that is called with `owner` and the event.
        owner: The first argument of these functions, so that all runs can share `routes`.
        broken: Called with an unexpected exception.

    Attributes:
        now: The runtime's clock.
        ended: Whether the pump has ended.
        after_drain: A function that is called after each `drain`, or None.
        log: The logger. Servers have another one.
    """

    log: ClassVar[logging.Logger] = logging.getLogger("sansio_socketio.client.streams")

    def __init__(
        self,
        machine: Machine,
        runtime: Runtime,
        connector: Connector | None,
        *,
        routes: Mapping[type, Callable[[Any, Any], None]],
        owner: object,
        broken: Callable[[Exception], None],
    ) -> None:
        self.now = runtime.now
        self.ended = False
        self.after_drain: Callable[[], None] | None = None
        self._machine = machine
        self._next_output = machine.next_output
        self._runtime = runtime
        self._connector = connector
        self._broken = broken
        self._timer = runtime.timer(self._tick)
        self._reading_paused_by: dict[object, None] = {}
        self._streams: dict[int, Stream] = {}
        self._paused: dict[int, Stream] = {}
        self._is_draining = False
        self._routes = routes
        self._owner = owner

    def drain(self) -> None:
        """Take all outputs of the machine: carry out actions and route events. Call this after every command."""
        if self._is_draining or self.ended:
            return
        self._is_draining = True
        try:
            actions, routes, owner = self._ACTIONS, self._routes, self._owner
            while (output := self._next_output()) is not None:
                kind = type(output)
                if kind in actions:
                    actions[kind](self, output)
                else:
                    routes[kind](owner, output)
            if self.after_drain is not None:
                self.after_drain()
            if self._paused and self.reads:
                self._resume_all()
        except Exception as error:
            if not self.ended:  # otherwise it ended within this drain, and the rest concerns streams that are gone
                self._break(error)
        finally:
            self._is_draining = False

    def feed(self, take: Callable[..., None], *inputs: Any) -> None:
        """Feed an input to the machine, and take its outputs."""
        if self.ended:
            return
        now = self.now()  # raises in another thread: an error of the caller, not an internal one
        try:
            take(*inputs, now)
        except Exception as error:
            self._break(error)
        else:
            self.drain()

    def lost(self, stream: int) -> None:
        """Forget a stream that the runtime has closed."""
        self._streams.pop(stream, None)
        self._paused.pop(stream, None)

    @property
    def reads(self) -> bool:
        """Whether the machine can take more data. Otherwise each stream is paused after its next input."""
        machine = self._machine
        return not (machine.paused or machine.is_behind)

    def pause_reading(self, holder: object) -> None:
        """Pause reading, and the handling of what was read, until `resume_reading(holder)`."""
        self._reading_paused_by[holder] = None
        self._machine.paused = True

    def resume_reading(self, holder: object) -> None:
        """Resume, unless another holder has paused reading as well."""
        self._reading_paused_by.pop(holder, None)
        if self._machine.paused and not self._reading_paused_by:
            self._machine.paused = False
            self._tick()

    def pause(self, stream: int) -> None:
        """Pause reading from one stream, if it is still open."""
        if stream in self._streams and stream not in self._paused:
            self._paused[stream] = self._streams[stream]
            self._paused[stream].pause_reading()

    def end(self) -> None:
        """Abort all streams and cancel the timer. Later inputs are ignored."""
        if self.ended:
            return
        self.ended = True
        self._next_output = _no_output  # for a drain that is in progress
        self._timer.set(None)
        for number in list(self._streams):
            self._forget(number).abort()

    def _break(self, error: Exception) -> None:
        self.end()
        self._broken(error)

    def _resume_all(self) -> None:
        for stream in list(self._paused):
            self._resume(stream)

    def _resume(self, stream: int) -> None:
        paused = self._paused.pop(stream, None)
        if paused is not None:
            paused.resume_reading()

    def _forget(self, stream: int) -> Stream:
        self._resume(stream)
        return self._streams.pop(stream)

    def _tick(self) -> None:
        self.feed(self._machine.tick)

    # Actions

    def _open_stream(self, action: OpenStream) -> None:
        assert self._connector is not None
        number, host, port = action.stream, action.host, action.port
        receiver = StreamInput(self, self._machine, number)
        self._streams[number], proxy = self._connector.open(self._runtime, host, port, receiver, tls=action.tls)
        way = ""
        if proxy is not None:
            way = f" through {proxy}"
            receiver.progress(f"no connection to the proxy {proxy} was established; check the proxy's host and port")
        self.log.debug("opening stream %d to %s port %d%s for %s", number, host, port, way, action.transport)

    def _send(self, action: Send) -> None:
        self._streams[action.stream].write(action.data)

    def _close_stream(self, action: CloseStream) -> None:
        stream = self._forget(action.stream)
        if action.abort:
            stream.abort()
        else:
            stream.close()

    def _set_timer(self, action: SetTimer) -> None:
        self._timer.set(action.deadline)

    _ACTIONS: ClassVar[Mapping[type, Callable[[Any, Any], None]]] = {
        Send: _send,
        SetTimer: _set_timer,
        OpenStream: _open_stream,
        CloseStream: _close_stream,
    }


def _no_output() -> None:
    return None


class StreamInput:
    """The receiver of one stream: feeds its notifications to the machine."""

    __slots__ = ("_machine", "_pump", "_stream")

    def __init__(self, pump: Pump, machine: Machine, stream: int) -> None:
        self._pump = pump
        self._machine = machine
        self._stream = stream

    def progress(self, progress: str) -> None:
        self._pump.feed(self._machine.stream_progress, self._stream, progress)

    def opened(self) -> None:
        self._pump.log.debug("stream %d is open", self._stream)
        self._pump.feed(self._machine.stream_opened, self._stream)

    def failed(self, error: Exception) -> None:
        self._pump.log.debug("stream %d could not be opened: %s", self._stream, error)
        self._pump.lost(self._stream)
        self._pump.feed(self._machine.stream_failed, self._stream, error)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        self._pump.feed(self._machine.data_received, self._stream, data)
        if not self._pump.reads:
            self._pump.pause(self._stream)

    def sent(self) -> None:
        self._pump.feed(self._machine.data_sent, self._stream)

    def closed(self, error: Exception | None) -> None:
        self._pump.log.debug("stream %d was closed by the peer: %s", self._stream, error or "end of stream")
        self._pump.lost(self._stream)
        self._pump.feed(self._machine.stream_closed, self._stream, error)
