"""Ctrl-C in library code of the main thread.

Rules of this file:

- Python raises KeyboardInterrupt between any two instructions of the main thread. Library code that is stopped there would
  leave locks, threads and sockets behind. So while a runtime is running, the library handles SIGINT itself, as asyncio and
  trio do. It does so only if Python's default handler is installed.
- In the application's code, KeyboardInterrupt is raised at once, as usual. A `wait` of the main thread ends with it.
- In other library code it is delayed. A trace function raises it at the next line of the application's code that called the
  library. If a debugger is tracing already, the signal is sent again after `_DELAY`, until it arrives in the application's
  code. That alone is not enough: a thread gets to send it when the main thread does I/O, which may always be in library code.
- A handler of signals runs in the main thread between any two instructions, so it must not take a lock. What needs a lock or
  takes time is done in a new thread. `threading` itself uses locks, so `_thread` is used.
"""

from __future__ import annotations

import signal
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from time import sleep
from types import FrameType
from typing import Any, Final, NoReturn
from weakref import WeakSet

from sansio_socketio.runtime.calls import call_in_thread

_DELAY: Final = 0.001
_LIBRARY: Final = (
    *(f"sansio_socketio.{layer}." for layer in ("client", "runtime", "protocol")),
    __name__.rpartition(".")[0] + ".",
)
"""How the names of modules with library code start."""


class MainThreadWait:
    """Makes waits of the main thread end with KeyboardInterrupt."""

    def __init__(self) -> None:
        self._wake: Callable[[], None] | None = None  # called in a new thread
        self._is_interrupted = False
        self._traced: FrameType | None = None  # the application's code in which a delayed interrupt is raised

    def interrupt(self) -> bool:
        """Interrupt the wait. Return False if the main thread is not waiting."""
        wake = self._wake
        if wake is None:
            return False
        self._is_interrupted = True
        start_new_thread(wake, ())
        return True

    def delay(self, application: FrameType) -> None:  # pragma: no cover  # a tool that measures coverage traces, too
        """Raise KeyboardInterrupt at the next line of the application's code, or by the next wait if that begins earlier."""
        self._is_interrupted = True
        self._traced = application
        application.f_trace = lambda *_: self._raise()
        sys.settrace(_trace_nothing)

    def _raise(self) -> NoReturn:
        traced, self._traced = self._traced, None
        if traced is not None:  # pragma: no cover  # as above
            traced.f_trace = None
            sys.settrace(None)
        self._is_interrupted = False
        raise KeyboardInterrupt

    @contextmanager
    def __call__(self, wake: Callable[[], None]) -> Generator[Callable[[], bool], None, None]:
        """Return a context manager around a wait that `wake` ends. Its value returns whether to stop waiting.

        At the end, KeyboardInterrupt is raised if the wait has been interrupted.
        """
        if threading.current_thread() is not threading.main_thread():
            yield lambda: False
            return
        before, self._wake = self._wake, wake
        try:
            yield lambda: self._is_interrupted
        finally:
            self._wake = before
            if self._is_interrupted:
                self._raise()


interruptible: Final = MainThreadWait()


running: Final[WeakSet[Any]] = WeakSet()
"""The runtimes that have not ended."""


@contextmanager
def shield() -> Generator[None, None, None]:
    """Return a context manager around calls that start or end a run.

    On entry, replace Python's handler of SIGINT. On exit, restore it if no runtime is running. In other threads than the
    main thread, do nothing.
    """
    _replace(signal.default_int_handler, _interrupted)
    try:
        yield
    finally:
        if not running:
            _replace(_interrupted, signal.default_int_handler)


Handler = Callable[[int, FrameType | None], object]


def _replace(old: Handler, new: Handler) -> None:
    if signal.getsignal(signal.SIGINT) is old:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, new)


def _interrupted(signal_number: int, frame: FrameType | None) -> None:
    """Handle SIGINT."""
    application = _application_frame(frame)
    if application is frame:
        signal.default_int_handler(signal_number, frame)
    if interruptible.interrupt():
        return
    if application is None or sys.gettrace() is not None:
        start_new_thread(_interrupt_again, ())
    else:  # pragma: no cover  # as above
        interruptible.delay(application)


def _application_frame(frame: FrameType | None) -> FrameType | None:
    """Return the frame that called library code, or `frame` itself if it is not in library code."""
    found = frame
    while frame is not None and frame.f_code is not call_in_thread.__code__:  # which calls the application's code
        if frame.f_globals.get("__name__", "").startswith(_LIBRARY):
            found = frame.f_back
        frame = frame.f_back
    return found


def _trace_nothing(*_: object) -> None:  # pragma: no cover  # as above
    """Trace no frame but those that have a trace function of their own."""


def _interrupt_again() -> None:  # pragma: no cover  # no coverage is measured in threads of `_thread`
    sleep(_DELAY)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread, signal.SIGINT)  # this also ends a system call of the main thread
    else:  # Windows
        signal.raise_signal(signal.SIGINT)
