"""Building blocks for the streams of drivers.

Rules of this file:

- A stream notifies its receiver of its end once. After `close` or `abort` it does not notify the receiver any more.
- Reported exceptions are the original ones, without the wrappers of a runtime.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from ..protocol.errors import OptionError, chained
from .interface import Future, Runtime, Stream, StreamReceiver, Task

ATTEMPT_DELAY: Final = 0.25
"""Seconds to wait for a connection before the next address is tried as well (RFC 8305, section 5)."""


class BaseStream:
    """Base class of streams. It ensures that the receiver is not notified after the end of the stream."""

    receiver: StreamReceiver | None
    """The object to notify, or None after the end of the stream. That of an accepted stream is set when it is open."""

    def __init__(self, receiver: StreamReceiver | None) -> None:
        self.receiver = receiver
        self.is_open = False

    def notify_opened(self) -> None:
        """Notify the receiver that the stream is open. Called first."""
        self.is_open = True
        if self.receiver is not None:
            self.receiver.opened()

    def notify_failed(self, error: Exception) -> None:
        """Notify the receiver that the stream could not be opened, for the last time."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.failed(error)

    def notify_closed(self, error: Exception | None) -> None:
        """Notify the receiver for the last time: the peer closed the stream (None) or it broke.

        If the stream was not open yet, this is a failure to open it.
        """
        if not self.is_open:
            self.notify_failed(error or ConnectionError("the peer closed the stream before it was open"))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.closed(error)


class TaskStream(BaseStream, ABC):
    """Base class of streams that use two tasks: one runs `read`, the other `write_out`.

    The driver's subclass opens the stream and implements `abort`, which ends both tasks. Any exception while reading or
    writing is reported as a broken stream, because streams of the application may raise any exception.
    """

    def __init__(self, runtime: Runtime, receiver: StreamReceiver | None) -> None:
        super().__init__(receiver)
        self._runtime = runtime
        self._written: list[bytes | bytearray | memoryview] = []
        self._more: Future | None = None  # the writing task waits for it
        self._resumed: Future | None = None  # the reading task waits for it while reading is paused
        self._error: Exception | None = None  # of a failed write; received data is read before it is reported

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes for the writing task."""
        self._written.append(data)
        self._wake_writer()

    def pause_reading(self) -> None:
        """Let the reading task wait."""
        self._resumed = self._runtime.future()

    def resume_reading(self) -> None:
        """Let the reading task continue."""
        if self._resumed is not None:
            self._resumed.resolve()
            self._resumed = None

    def close(self) -> None:
        """Close when all written data has been sent, or at once if the stream is not open yet."""
        self.receiver = None
        if self.is_open:
            self._wake_writer()
        else:
            self.abort()

    @abstractmethod
    def abort(self) -> None:
        """Close at once, even if the stream is not open yet."""

    async def read(self, receive: Callable[[], Awaitable[bytes | bytearray]]) -> None:
        """Read until the end of the stream. Run this in a task.

        Args:
            receive: A function that returns the next bytes, or b"" at the end.
        """
        try:
            while data := await receive():
                if self.receiver is not None:
                    self.receiver.received(data)
                if self._resumed is not None:
                    await self._runtime.wait(self._resumed)
        except Exception as error:
            self._error = underlying_error(error)
        self.notify_closed(self._error)
        self.abort()

    async def write_out(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Write the queued bytes until the stream is closed. Run this in a task.

        Args:
            send: A function that returns when the operating system has accepted all of the bytes.
        """
        try:
            while self._written or self.receiver is not None:
                if self._written:
                    data = b"".join(self._written)
                    self._written.clear()
                    await send(data)
                    if self.receiver is not None and not self._written:
                        self.receiver.sent()
                else:
                    self._more = self._runtime.future()
                    await self._runtime.wait(self._more)
        except Exception as error:
            self._error = underlying_error(error)
        if self.receiver is None:
            self.abort()

    def _wake_writer(self) -> None:
        if self._more is not None:
            self._more.resolve()


class StackedStream:
    """Base class of streams over another stream, such as TLS and tunnels.

    It is a `Stream` for the layer above, and the `StreamReceiver` of the stream below, which `attach` sets.
    """

    __slots__ = ("_open", "_over", "_plain", "_receiver")

    _plain: Stream

    def __init__(self, receiver: StreamReceiver) -> None:
        self._receiver = receiver
        self._open = False  # `opened` has been called on the layer above
        self._over = False  # nothing is called on the layer above any more

    def progress(self, progress: str) -> None:
        """Report how far opening the stream below has come."""
        self._receiver.progress(progress)

    def attach(self, plain: Stream) -> None:
        """Set the stream below, whose receiver is this object."""
        self._plain = plain

    def pause_reading(self) -> None:
        """Pause reading from the stream below."""
        self._plain.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the stream below."""
        self._plain.resume_reading()

    def close(self) -> None:
        """Close when all written data has been sent, or at once if the stream is not open yet."""
        self._over = True
        if self._open:
            self._plain.close()
        else:
            self._plain.abort()

    def abort(self) -> None:
        """Close at once, even if the stream is not open yet."""
        self._over = True
        self._plain.abort()


class Closable(Protocol):
    """A connection."""

    def close(self) -> object: ...


A = TypeVar("A")
C = TypeVar("C", bound=Closable)


async def first_connected(runtime: Runtime, addresses: Sequence[A], connect: Callable[[A], Awaitable[C]]) -> C:
    """Connect to one of several addresses by happy eyeballs (RFC 8305).

    Try the next address when an attempt has failed, or after `ATTEMPT_DELAY`. Earlier attempts continue concurrently.
    Return the first connection and close the others.

    Raises:
        Exception: All attempts failed. Their errors are combined.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    errors, connected, attempts = list[Exception](), list[C](), list[Task]()
    progress = runtime.future()

    def notify() -> None:
        progress.resolve()

    async def attempt(address: A) -> None:
        try:
            connected.append(await connect(address))
        except Exception as error:
            errors.append(error)
        notify()

    timer = runtime.timer(notify)
    try:
        for address in addresses:
            attempts.append(runtime.spawn(partial(attempt, address), "connect"))
            timer.set(runtime.now() + ATTEMPT_DELAY)
            await runtime.wait(progress)
            progress = runtime.future()
            if connected:
                break
        while not connected and len(errors) < len(attempts):
            await runtime.wait(progress)
            progress = runtime.future()
        if not connected:
            raise combine_errors(errors)
        return connected.pop(0)
    finally:
        timer.set(None)
        for task in attempts:
            task.cancel()
        for connection in connected:
            connection.close()


def invalid_stream(expected: str, returned: object) -> OptionError:
    """Return the error for a hook `open_stream` that did not return `expected`."""
    return OptionError(f"the function open_stream must return {expected}; it returned a {type(returned).__name__}")


def underlying_error(error: Exception) -> Exception:
    """Return the operating system's error that caused an error of a runtime, or the latter if there is none."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        return combine_errors(cause.exceptions)
    return cause if isinstance(cause, Exception) else error


def combine_errors(errors: Sequence[Exception]) -> Exception:
    """Return one error with the messages of the errors of all addresses of a host. Its cause is the group of them."""
    if len(errors) == 1:
        return errors[0]
    error = OSError("; ".join(map(str, errors)))
    return chained(error, ExceptionGroup("no address could be connected to", errors)) if errors else error


def find_interrupt(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the KeyboardInterrupt or SystemExit in a nursery's group, or None. The nursery may contain other nurseries."""
    found: BaseException | None = group.subgroup((KeyboardInterrupt, SystemExit))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def unwrap_group(group: BaseExceptionGroup[BaseException], cancelled: type[BaseException]) -> BaseException:
    """Return the only exception in a nursery's group that is not a cancellation, or the group if there are different ones.

    Raise the result outside of the `except` block that caught the group, so that the exception keeps its own context.
    """
    members = [member for member in group.exceptions if not _is_cancellation(member, cancelled)]
    if not members:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return first
    return members[0] if all(member is members[0] for member in members) else group


def _is_cancellation(error: BaseException, cancelled: type[BaseException]) -> bool:
    """Return whether an error is a cancellation, or a group that contains nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(member, cancelled) for member in error.exceptions)
    return isinstance(error, cancelled)
