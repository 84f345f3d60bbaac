"""Parts that drivers are made of, ready to be used.

Rules of this file:

- A part keeps the contract of `runtime.py` for a driver, and asks little of it: an event, or two coroutines. No driver
  has to use one.
- A stream tells its end once, and nothing after `close` or `abort`.
- Exceptions are handed on as what happened, without the wrapping that a runtime puts around them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from inspect import iscoroutine
from math import inf
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar

from ..protocol.errors import DisconnectedError, OptionError, StateError
from .runtime import Cell, Runtime, StreamReceiver, Task

NEXT_ADDRESS: Final = 0.25
"""How many seconds to wait for a connection before the next address is tried, too (RFC 8305, section 5)."""


class Event(Protocol):
    """What the event classes of the runtimes have in common: once it is set, all who wait for it go on."""

    def set(self) -> object: ...


E = TypeVar("E", bound=Event)


class EventCell(Generic[E]):
    """A `Cell` over an event of the runtime, for which its `wait` waits before it takes the result."""

    __slots__ = ("_error", "_value", "done", "event")

    def __init__(self, event: E) -> None:
        self.event = event
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None

    def set(self, value: Any = None) -> None:
        """Give a value."""
        if not self.done:
            self.done = True
            self._value = value
            self.event.set()

    def fail(self, error: BaseException) -> None:
        """Give an error to raise."""
        if not self.done:
            self._error = error
            self.set()

    def result(self) -> Any:
        """The value; or raises the error."""
        if self._error is not None:
            raise self._error
        return self._value


class Handle(Protocol):
    """What a loop gives for a callback that is to come."""

    def cancel(self) -> object: ...


class LoopTimer:
    """A `Timer` by a loop's own `call_at(when, callback)`, which holds on to it while it is set."""

    def __init__(self, call_at: Callable[[float, Callable[[], None]], Handle], callback: Callable[[], None]) -> None:
        self._call_at = call_at
        self._callback = callback
        self._handle: Handle | None = None

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline`, instead of when it was set before; None: never."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if deadline is None else self._call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._callback()


class Deadlines:
    """The timers of a runtime that has none of its own, but can sleep until a time.

    Args:
        changed: Called when one was set: the runtime may have to wake earlier.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.armed: dict[DeadlineTimer, float] = {}

    def timer(self, callback: Callable[[], None]) -> DeadlineTimer:
        """Make a timer that calls back, from `fire`."""
        return DeadlineTimer(self, callback)

    @property
    def earliest(self) -> float:
        """When `fire` is due; infinite where no timer is set."""
        return min(self.armed.values(), default=inf)

    def fire(self, now: float) -> None:
        """Call back whose time has come."""
        for timer, deadline in sorted(self.armed.items(), key=itemgetter(1)):
            if deadline <= now and self.armed.get(timer) == deadline:  # a callback may have moved the timers after it
                del self.armed[timer]
                timer.callback()


class DeadlineTimer:
    """A `Timer` among `Deadlines`."""

    __slots__ = ("_deadlines", "callback")

    def __init__(self, deadlines: Deadlines, callback: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self.callback = callback

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline`, instead of when it was set before; None: never."""
        self._deadlines.armed.pop(self, None)
        if deadline is not None:
            self._deadlines.armed[self] = deadline
            self._deadlines.changed()


class Teller:
    """One end of a stream: tells its receiver what happens until it is over, and then nothing more."""

    receiver: StreamReceiver | None
    """None once nothing is told any more."""

    def __init__(self, receiver: StreamReceiver) -> None:
        self.receiver = receiver
        self.is_open = False

    def tell_opened(self) -> None:
        """It is open: the first that is told."""
        self.is_open = True
        if self.receiver is not None:
            self.receiver.opened()

    def tell_failed(self, error: Exception) -> None:
        """It could not be opened: the last that is told."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.failed(error)

    def tell_closed(self, error: Exception | None) -> None:
        """The peer ended it (None) or it broke: the last that is told. Before it was open that is a failure."""
        if not self.is_open:
            self.tell_failed(error or ConnectionError("the peer closed the stream before it was open"))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.closed(error)


class TaskStream(Teller, ABC):
    """A stream that two tasks of the driver move: one runs `read`, the other `write_out`.

    The driver's subclass opens it and has `abort`, which ends both tasks. An exception of reading or writing means that
    the stream broke, whatever it is: a stream of the user's own may raise any.
    """

    def __init__(self, runtime: Runtime, receiver: StreamReceiver) -> None:
        super().__init__(receiver)
        self._runtime = runtime
        self._written: list[bytes | bytearray | memoryview] = []
        self._more: Cell | None = None  # which the writer waits for
        self._error: Exception | None = None  # of writing: what can still be read comes first

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, for when the writer's turn comes."""
        self._written.append(data)
        self._wake_the_writer()

    def close(self) -> None:
        """Close once all has left; while still opening, at once."""
        self.receiver = None
        if self.is_open:
            self._wake_the_writer()
        else:
            self.abort()

    @abstractmethod
    def abort(self) -> None:
        """Close at once, also while opening."""

    async def read(self, receive: Callable[[], Awaitable[bytes | bytearray]]) -> None:
        """Read to the end. `receive` gives b"" there."""
        try:
            while data := await receive():
                if self.receiver is not None:
                    self.receiver.received(data)
        except Exception as error:
            self._error = plain_cause(error)
        self.tell_closed(self._error)
        self.abort()

    async def write_out(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what is there, until it is closed. `send` returns when the operating system has taken all."""
        try:
            while self._written or self.receiver is not None:
                if self._written:
                    data = b"".join(self._written)
                    self._written.clear()
                    await send(data)
                    if self.receiver is not None and not self._written:
                        self.receiver.sent()
                else:
                    self._more = self._runtime.cell()
                    await self._runtime.wait(self._more)
        except Exception as error:
            self._error = plain_cause(error)
        if self.receiver is None:
            self.abort()

    def _wake_the_writer(self) -> None:
        if self._more is not None:
            self._more.set()


class Closable(Protocol):
    """A connection."""

    def close(self) -> object: ...


A = TypeVar("A")
C = TypeVar("C", bound=Closable)


async def first_connected(runtime: Runtime, addresses: Iterable[A], connect: Callable[[A], Awaitable[C]]) -> C:
    """Connect to one address after the other, beside those that are being tried (happy eyeballs, RFC 8305).

    Returns the first connection, and closes the others. Where there is none, raises what went wrong with all addresses.
    """
    errors, connected, tries = list[Exception](), list[C](), list[Task]()
    news = runtime.cell()

    def tell() -> None:
        news.set()

    async def attempt(address: A) -> None:
        try:
            connected.append(await connect(address))
        except Exception as error:
            errors.append(error)
        tell()

    timer = runtime.timer(tell)
    try:
        for address in addresses:
            tries.append(runtime.spawn(partial(attempt, address), "connect"))
            timer.set(runtime.now() + NEXT_ADDRESS)
            await runtime.wait(news)
            news = runtime.cell()
            if connected:
                break
        while not connected and len(errors) < len(tries):
            await runtime.wait(news)
            news = runtime.cell()
        if not connected:
            raise as_one(errors)
        return connected.pop(0)
    finally:
        timer.set(None)
        for task in tries:
            task.cancel()
        for connection in connected:
            connection.close()


def nothing_comes() -> DisconnectedError:
    """What a wait raises that begins after the end of the runtime's scope."""
    return DisconnectedError("the scope of this connection has ended: there is nothing to wait for any more")


def no_stream(wanted: str, given: object) -> OptionError:
    """What a stream fails with where the user's hook returned something else than `wanted`."""
    return OptionError(f"the function open_stream must return {wanted}; it returned a {type(given).__name__}")


def called_by_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call the application's code, where no exception must end the thread and nobody awaits what it returns."""
    try:
        result = function(*args)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        # It would end this thread, and so the handling of events, without a word.
        raise StateError(f"{name_of(function)} raised {error!r}, which ends no program from a thread") from error
    if iscoroutine(result):
        result.close()
        raise TypeError(f"{name_of(function)} is an async function, which no thread awaits; make it a plain one")
    return result


def foreign(instead: str) -> StateError:
    """What `now` and `wait` raise where the caller is in a thread, or a loop, that is not the runtime's."""
    return StateError(
        "a Manager and its sockets are used in the thread, and in the event loop, in which they live; from elsewhere call "
        f"them by {instead}"
    )


def cancelled_inside(function: Callable[..., Any]) -> StateError:
    """What `call` raises where the application's code was cancelled, but the task that runs it was not."""
    return StateError(
        f"{name_of(function)} was cancelled from inside: it awaited a task or a future that somebody cancelled"
    )


def name_of(function: Callable[..., Any]) -> str:
    """What an error calls a function of the application."""
    return getattr(function, "__qualname__", None) or repr(function)


def plain_cause(error: Exception) -> Exception:
    """The operating system's own error behind one of a runtime's, where it is known: that one says what happened."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        return as_one(cause.exceptions)
    return cause if isinstance(cause, Exception) else error


def as_one(errors: Sequence[Exception]) -> Exception:
    """One error for several, which names them all: those of the addresses of a host."""
    return errors[0] if len(errors) == 1 else OSError("; ".join(map(str, errors)))


def ungrouped(group: BaseExceptionGroup[BaseException], cancelled: type[BaseException]) -> BaseException:
    """What a nursery's or task group's own group stands for: its one member that is no cancellation, if it is one.

    To be raised outside the `except` that caught the group, so that the exception keeps its own context.
    """
    members = [member for member in group.exceptions if not isinstance(member, cancelled)] or [group.exceptions[0]]
    return members[0] if len(members) == 1 else group
