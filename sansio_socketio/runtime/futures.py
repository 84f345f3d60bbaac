"""Futures over the event class of a runtime, and the errors that `Runtime.wait` and `Runtime.now` raise."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from ..protocol.errors import DisconnectedError, StateError


class Event(Protocol):
    """The common interface of the runtimes' event classes. Setting an event wakes all waiters."""

    def set(self) -> object: ...


E = TypeVar("E", bound=Event)


class EventFuture(Generic[E]):
    """A `Future` based on an event. The runtime's `wait` waits for `event` and returns `result()`.

    Args:
        event: A new event of the runtime.
        outlives_runtime: See `Runtime.future`.
    """

    __slots__ = ("_error", "_value", "done", "event", "outlives_runtime")

    def __init__(self, event: E, *, outlives_runtime: bool = False) -> None:
        self.event = event
        self.outlives_runtime = outlives_runtime
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None

    def resolve(self, value: Any = None) -> None:
        """Set the result to a value. Do nothing if there is a result."""
        if not self.done:
            self.done = True
            self._value = value
            self.event.set()

    def fail(self, error: BaseException) -> None:
        """Set the result to an exception. Do nothing if there is a result."""
        if not self.done:
            self._error = error
            self.resolve()

    def result(self) -> Any:
        """Return the value or raise the exception."""
        if self._error is not None:
            raise self._error
        return self._value


def runtime_ended(cause: BaseException | None = None) -> DisconnectedError:
    """Return the error that `wait` raises when the runtime's scope has ended.

    Args:
        cause: The exception that ended the runtime, if any. It becomes the `__cause__` of the error.
    """
    error = DisconnectedError("the connection has been stopped: its scope has ended")
    error.__cause__ = cause
    return error


def wrong_thread(instead: str) -> StateError:
    """Return the error that `now` and `wait` raise in another thread or event loop.

    Args:
        instead: What to use from another thread, such as "trio.from_thread.run".
    """
    return StateError(
        "called from another thread or event loop: use a Manager and its sockets only in the thread and event loop in "
        f"which they were started, or call them through {instead}"
    )
