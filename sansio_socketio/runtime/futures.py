"""Futures over the event class of a runtime, and the errors that `Runtime.wait` and `Runtime.now` raise."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from ..protocol.errors import DisconnectedError, StateError


class Event(Protocol):
    """What the event classes of all runtimes have in common. Once it is set, all who wait for it continue."""

    def set(self) -> object: ...


E = TypeVar("E", bound=Event)


class EventFuture(Generic[E]):
    """A `Future` over an event. The runtime's `wait` waits for `event`, then takes `result()`.

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
        """Set the result to a value, unless there is a result."""
        if not self.done:
            self.done = True
            self._value = value
            self.event.set()

    def fail(self, error: BaseException) -> None:
        """Set the result to an exception, unless there is a result."""
        if not self.done:
            self._error = error
            self.resolve()

    def result(self) -> Any:
        """Return the value or raise the exception."""
        if self._error is not None:
            raise self._error
        return self._value


def runtime_ended() -> DisconnectedError:
    """Make the error of a `wait` after the end of the runtime's scope."""
    return DisconnectedError("the scope of this connection has ended: there is nothing left to wait for")


def wrong_thread(instead: str) -> StateError:
    """Make the error of `now` and `wait` when called from another thread or event loop.

    Args:
        instead: How to call into the right thread, such as "trio.from_thread.run".
    """
    return StateError(
        "called from another thread or event loop: a Manager and its sockets may only be used in the ones they were "
        f"started in; from elsewhere, call them through {instead}"
    )
