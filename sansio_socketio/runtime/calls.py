"""Functions that call the application's code, for a driver's `Runtime.call`; what to do about unexpected exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable, iscoroutine
from threading import get_ident
from typing import Any, Final

from ..protocol.errors import StateError
from .interface import Runtime

log = logging.getLogger("sansio_socketio.runtime")

this_thread: Final = get_ident
"""Returns a number that identifies the current thread."""


async def call_in_task(function: Callable[..., Any], *args: Any) -> Any:
    """Call the application's code, and await what it returns if it is awaitable."""
    result = function(*args)
    return await result if isawaitable(result) else result


def call_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call the application's code in a thread that must continue afterwards, and that cannot await.

    Raises:
        StateError: The function raised an exception that is no Exception, such as SystemExit or KeyboardInterrupt.
        TypeError: The function is an async function.
    """
    try:
        result = function(*args)
    except Exception:
        raise
    except BaseException as error:
        # This exception would silently end the thread, and with it the handling of events.
        raise ended_inside(function, error) from error
    if iscoroutine(result):
        result.close()
        raise TypeError(f"{name_of(function)} is an async function, which a thread cannot await: use a plain function")
    return result


def cancelled_inside(function: Callable[..., Any]) -> StateError:
    """Return the error for application code that was cancelled although the task that runs it was not."""
    return StateError(f"{name_of(function)} was cancelled from inside: it awaited a task or future that was cancelled")


def log_failure(error: BaseException) -> None:
    """Log an exception that ended a part of a runtime. The initial value of `Runtime.failed`."""
    log.critical("internal error in sansio_socketio; please report it", exc_info=error)


def ended_inside(function: Callable[..., Any], error: BaseException) -> StateError:
    """Return the error for application code that raised an exception that would end its thread or task silently."""
    return StateError(f"{name_of(function)} raised {error!r}, which cannot end the program from this thread or task")


def call_back(runtime: Runtime, callback: Callable[[], None]) -> None:
    """Call a callback of the client. Report an exception to the runtime's `failed`."""
    try:
        callback()
    except Exception as error:
        runtime.failed(error)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function of the application, for error messages."""
    return getattr(function, "__qualname__", None) or repr(function)
