"""Functions that call the application's code, for a driver's `Runtime.call`; what to do about unexpected exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from inspect import isawaitable, iscoroutine, unwrap
from threading import get_ident
from traceback import walk_tb
from types import CodeType
from typing import Any, Final

from ..protocol.errors import StateError
from .interface import Runtime

log = logging.getLogger("sansio_socketio.runtime")

this_thread: Final = get_ident
"""Returns a number that identifies the current thread."""


class CannotAwait(TypeError):
    """A function of the application is async, or has returned a coroutine, and a thread cannot await it."""


async def call_in_task(function: Callable[..., Any], *args: Any) -> Any:
    """Call the application's code, and await what it returns if it is awaitable."""
    result = function(*args)
    return await result if isawaitable(result) else result


def call_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call the application's code in a thread that must continue afterwards, and that cannot await.

    Raises:
        StateError: The function raised an exception that is no Exception, such as SystemExit or KeyboardInterrupt.
        CannotAwait: The function is an async function.
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
        raise CannotAwait(
            f"{name_of(function)} is an async function, which a thread cannot await: use a plain function"
        )
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
    """Return the name of a function of the application, for error messages; that of a lambda with its file and line."""
    name = _name(function)
    code = _code_of(function) if "<lambda>" in name or name.endswith("._") else None
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def place_of(function: Callable[..., Any], error: Exception) -> str:
    """Return the name of a function, and the file and the line in it that raised `error`, for an error message."""
    code = _code_of(function)
    if code is None:
        return _name(function)
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == code.co_filename]
    return f"{_name(function)}, {code.co_filename}:{lines[-1] if lines else code.co_firstlineno}"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _code_of(function: Any) -> CodeType | None:
    while isinstance(function, partial):
        function = function.func
    function = unwrap(function)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    code: CodeType | None = getattr(function, "__code__", None)
    return code
