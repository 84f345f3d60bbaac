"""Building blocks for a driver's streams.

Rules of this file:

- A stream notifies its receiver of its end once, and of nothing after `close` or `abort`.
- Exceptions are reported as what happened, without the wrappers that a runtime puts around them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from ..protocol.errors import OptionError
from .interface import Future, Runtime, Stream, StreamReceiver, Task

ATTEMPT_DELAY: Final = 0.25
"""Seconds to wait for a connection before the next address is tried as well (RFC 8305, section 5)."""


class BaseStream:
    """Base class of streams: notifies its receiver until the stream has ended, and never after that."""

    receiver: StreamReceiver | None
    """None once nothing is to be notified any more."""

    def __init__(self, receiver: StreamReceiver) -> None:
        self.receiver = receiver
        self.is_open = False

    def notify_opened(self) -> None:
        """The stream is open. The first notification."""
        self.is_open = True
        if self.receiver is not None:
            self.receiver.opened()

    def notify_failed(self, error: Exception) -> None:
        """The stream could not be opened. The last notification."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.failed(error)

    def notify_closed(self, error: Exception | None) -> None:
        """The peer closed the stream (None) or it broke. The last notification; a failure if it was not open yet."""
        if not self.is_open:
            self.notify_failed(error or ConnectionError("the peer closed the stream before it was open"))
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.closed(error)


class TaskStream(BaseStream, ABC):
    """A stream that is moved by two tasks of the driver: one runs `read`, the other `write_out`.

    The driver's subclass opens the stream and implements `abort`, which ends both tasks. Any exception of reading or
    writing means that the stream broke, since the application's own streams may raise anything.
    """

    def __init__(self, runtime: Runtime, receiver: StreamReceiver) -> None:
        super().__init__(receiver)
        self._runtime = runtime
        self._written: list[bytes | bytearray | memoryview] = []
        self._more: Future | None = None  # the writer waits for it
        self._error: Exception | None = None  # of writing; what can still be read is read before it is reported

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes for the writing task."""
        self._written.append(data)
        self._wake_writer()

    def close(self) -> None:
        """Close once everything has been sent, or at once while the stream is being opened."""
        self.receiver = None
        if self.is_open:
            self._wake_writer()
        else:
            self.abort()

    @abstractmethod
    def abort(self) -> None:
        """Close at once, also while the stream is being opened."""

    async def read(self, receive: Callable[[], Awaitable[bytes | bytearray]]) -> None:
        """Read until the end of the stream.

        Args:
            receive: Returns the next bytes, or b"" at the end.
        """
        try:
            while data := await receive():
                if self.receiver is not None:
                    self.receiver.received(data)
        except Exception as error:
            self._error = underlying_error(error)
        self.notify_closed(self._error)
        self.abort()

    async def write_out(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Write what is queued, until the stream is closed.

        Args:
            send: Returns when the operating system has accepted all of the bytes.
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
    """Base class of a stream over another stream, such as TLS or a tunnel.

    It is a `Stream` for the layer above, and the `StreamReceiver` of the plain stream below, which `attach` sets.
    """

    __slots__ = ("_open", "_over", "_plain", "_receiver")

    _plain: Stream

    def __init__(self, receiver: StreamReceiver) -> None:
        self._receiver = receiver
        self._open = False  # the layer above has been notified that the stream is open
        self._over = False  # the layer above is not notified any more

    def attach(self, plain: Stream) -> None:
        """Set the plain stream, which was opened with this object as its receiver."""
        self._plain = plain

    def close(self) -> None:
        """Close once everything has been sent, or at once while the stream is being opened."""
        self._over = True
        if self._open:
            self._plain.close()
        else:
            self._plain.abort()

    def abort(self) -> None:
        """Close at once, also while the stream is being opened."""
        self._over = True
        self._plain.abort()


class Closable(Protocol):
    """A connection."""

    def close(self) -> object: ...


A = TypeVar("A")
C = TypeVar("C", bound=Closable)


async def first_connected(runtime: Runtime, addresses: Iterable[A], connect: Callable[[A], Awaitable[C]]) -> C:
    """Connect to one of several addresses by happy eyeballs (RFC 8305).

    The next address is tried when an attempt has failed, or has taken `ATTEMPT_DELAY`; earlier attempts continue
    concurrently. Returns the first connection and closes the others.

    Raises:
        Exception: The errors of all attempts, combined, if none succeeded.
    """
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
    """Make the error of a stream hook that returned something other than `expected`."""
    return OptionError(f"the function open_stream must return {expected}; it returned a {type(returned).__name__}")


def underlying_error(error: Exception) -> Exception:
    """Return the operating system's own error behind a runtime's, where it is known: it says what happened."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        return combine_errors(cause.exceptions)
    return cause if isinstance(cause, Exception) else error


def combine_errors(errors: Sequence[Exception]) -> Exception:
    """Return one error for the several errors of a host's addresses, with all of their messages."""
    return errors[0] if len(errors) == 1 else OSError("; ".join(map(str, errors)))


def unwrap_group(group: BaseExceptionGroup[BaseException], cancelled: type[BaseException]) -> BaseException:
    """Return the one member of a nursery's group that is not a cancellation; the group itself if there are several.

    Raise the result outside of the `except` that caught the group, so that the exception keeps its own context.
    """
    members = [member for member in group.exceptions if not isinstance(member, cancelled)] or [group.exceptions[0]]
    return members[0] if len(members) == 1 else group
