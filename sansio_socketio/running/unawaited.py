"""Detection of a plain handler that calls an async method of ours and drops the coroutine.

Rules of this file:

- While a handler that is a plain function runs, the coroutines that our methods return are kept. When it has returned, one
  that was not started and that nothing else refers to can never be awaited: it is closed and reported. So one that was
  returned, or given to a task, is not touched.
- Methods return the coroutine itself, not a wrapper, so that every runtime accepts it. While no plain handler runs, they
  look at one empty dictionary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, ParamSpec, TypeVar

from ..handlers.registry import RegisteredHandler
from ..protocol.errors import StateError
from ..runtime.calls import this_thread

P = ParamSpec("P")
T = TypeVar("T")

_Kept = list[tuple[str, Coroutine[Any, Any, Any]]]

_INSTEAD: Final = {
    "Emitter.emit": "emit_nowait()",
    "Emitter.send": "emit_nowait()",
    "Socket.connect": "connect_nowait()",
    "Socket.disconnect": "disconnect_nowait()",
}
"""What a plain function may call instead of a method."""

_kept: dict[int, _Kept] = {}
"""The coroutines that have been made while a plain handler runs, by thread."""


def must_be_awaited(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorate an async method whose coroutine a handler may drop by mistake."""
    name = method.__qualname__

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        try:
            coroutine = method(*args, **kwargs)
        except TypeError as error:
            for keyword in _HINTS:
                if f"unexpected keyword argument '{keyword}'" in str(error):
                    raise TypeError(_hint(name, keyword)) from None
            raise
        if _kept:
            kept = _kept.get(this_thread())
            if kept is not None:
                kept.append((name, coroutine))
        return coroutine

    return call


_ROOMS: Final = "only a server can emit to a room or to another client"
_HINTS: Final = {
    "timeout": "",
    "callback": "write ack=function",
    "namespace": "each namespace has a socket of its own, from io('/chat') or manager.socket('/chat')",
    "to": _ROOMS,
    "room": _ROOMS,
    "skip_sid": _ROOMS,
}
"""Keyword arguments of the blocking driver and of python-socketio, with what to write instead."""


def _hint(method: str, keyword: str) -> str:
    """Return the message for a method that was called with a keyword of another library, or of the blocking driver."""
    owner, _, name = method.partition(".")
    if keyword == "callback" and name == "emit_with_ack":
        return f"{name}() takes no callback: it returns the acknowledgement"
    if keyword != "timeout":
        return f"{name}() takes no {keyword}: {_HINTS[keyword]}"
    if owner == "Emitter":
        return f"{name}() of an async driver takes no timeout: write socket.timeout(seconds).{name}(...)"
    limits = "asyncio.timeout(), trio.fail_after() or anyio.fail_after()"
    return f"{name}() of an async driver takes no timeout: call it in the scope of {limits}"


class Watched:
    """A plain handler, watched while it runs.

    Attributes:
        dropped: The names of the methods whose coroutines it dropped, until they are reported.
    """

    __slots__ = ("_function", "_name", "dropped")

    def __init__(self, handler: RegisteredHandler) -> None:
        self._function = handler.call
        self._name = handler.name
        self.dropped: list[str] = []

    def __repr__(self) -> str:
        return self._name  # for errors about the handler

    def __call__(self, *args: Any) -> Any:
        thread = this_thread()
        before = _kept.get(thread)  # a task that starts eagerly may run a handler inside a handler
        kept: _Kept = []
        _kept[thread] = kept
        try:
            return self._function(*args)
        finally:
            if before is None:
                del _kept[thread]
            else:
                _kept[thread] = before
            if kept:
                self.dropped.extend(_close_dropped(kept))

    def error(self, event: str) -> StateError:
        """Return the error about what was dropped."""
        method = self.dropped[0]
        self.dropped.clear()
        instead = f", or call {_INSTEAD[method]}" if method in _INSTEAD else ""
        return StateError(
            f"handler {self._name} of {event!r} called {method.rpartition('.')[2]}() without awaiting it; make the handler "
            f"async{instead}"
        )


def watch(handler: RegisteredHandler) -> Watched | None:
    """Return the handler's watched function; None if it is an async function."""
    if handler.watched is None and not handler.is_async:
        handler.watched = Watched(handler)
    watched: Watched | None = handler.watched
    return watched


def _close_dropped(kept: _Kept) -> list[str]:
    dropped = []
    while kept:
        if _references(kept) == _ALONE and getcoroutinestate(kept[-1][1]) == CORO_CREATED:
            kept[-1][1].close()
            dropped.append(kept[-1][0])
        kept.pop()
    return dropped[::-1]


def _references(kept: list[tuple[str, Any]]) -> int:
    """Count the references to the last of the coroutines."""
    return sys.getrefcount(kept[-1][1])


_ALONE: Final = _references([("", [])])
"""How many there are if nothing else refers to it."""
