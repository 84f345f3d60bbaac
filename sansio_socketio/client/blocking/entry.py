"""How a thread enters code of the client.

Rules of this file:

- A method of the blocking API drives a coroutine, which never suspends, since the blocking runtime's `wait` blocks the
  thread.
- Whoever enters holds the lock of the runtime.
- Every call that may block takes `timeout`, in seconds: how long the call may take. It raises TimeoutError after that.
  (`socket.timeout(seconds)` is a view, as in the other drivers: how long the server may take to acknowledge.)
- The handlers of a socket are held back until the thread that made it makes a call that may block, until anybody makes one
  through that socket, or until `SETTLED` seconds after the last handler was registered. So a thread that waits for
  something else does not hold its handlers back for long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, cast

from ...runtime.interface import BlockingRuntime, Runtime, Timer
from ..handlers.registry import HandlerRegistry
from ..run.dispatcher import Dispatcher
from ..run.lifecycle import LifecycleQueue
from ..run.link import Link
from ..run.run import Run

T = TypeVar("T")
P = ParamSpec("P")

SETTLED: Final = 1.0


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    coroutine.close()
    raise RuntimeError("the blocking runtime suspended a coroutine instead of blocking its thread")


class HandlerHold:
    """Decides when the handlers of a socket, or of a Manager, are called for the first time in a run.

    Args:
        link: The way to the current run.
        handlers: The handlers.
        queues: Returns the queues of a run that hold them back.
    """

    _of_this_thread: ClassVar[ContextVar[tuple[HandlerHold, ...]]] = ContextVar("holds", default=())

    def __init__(
        self,
        link: Link,
        handlers: HandlerRegistry,
        queues: Callable[[Run], Sequence[LifecycleQueue | Dispatcher]],
    ) -> None:
        self._link = link
        self._handlers = handlers
        self._queues = queues
        self._timer: tuple[Run, Timer] | None = None
        link.on_start.append(self.started)
        self.started()

    def started(self) -> None:
        """There is a run: hold the handlers back until this thread makes a call that may block."""
        if self.is_held:
            self._of_this_thread.set((*self._of_this_thread.get(), self))
            if self._handlers:
                self.release_soon()

    def release(self) -> None:
        """Let the handlers be called."""
        run = self._link.active()
        if run is not None:
            for queue in self._queues(run):
                queue.release()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer[1].set(None)

    def release_soon(self) -> None:
        """Let them be called when no more are registered for a while."""
        run = self._link.active()
        if run is not None and self.is_held:
            if self._timer is None or self._timer[0] is not run:
                self._timer = (run, run.runtime.timer(self.release))
            self._timer[1].set(run.pump.now() + SETTLED)

    @property
    def is_held(self) -> bool:
        """Whether the handlers are held back."""
        run = self._link.active()
        return run is not None and any(queue.is_held for queue in self._queues(run))

    @property
    def runtime(self) -> Runtime | None:
        """The runtime of the run, if there is one."""
        run = self._link.active()
        return None if run is None else run.runtime

    @classmethod
    def release_those_of_this_thread(cls, runtime: Runtime) -> None:
        """Let the handlers be called of what this thread has made on a runtime, whose lock is held."""
        holds = cls._of_this_thread.get()
        if holds:
            for hold in holds:
                if hold.runtime is runtime:
                    hold.release()
            cls._of_this_thread.set(tuple(hold for hold in holds if hold.is_held))


class Entry:
    """How the calling thread enters code of the client through one object.

    Args:
        link: The way to the current run.
        hold: Decides when the handlers of the object are called.
    """

    def __init__(self, link: Link, hold: HandlerHold) -> None:
        self.hold = hold
        self._link = link

    def __call__(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        timeout: float | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run the coroutine of a call that may block, for at most `timeout` seconds."""
        with self._link.lock:
            run = self._link.active()
            if run is None:
                return drive(function(*args, **kwargs))
            with cast("BlockingRuntime", run.runtime).deadline(timeout):
                self.hold.release()
                HandlerHold.release_those_of_this_thread(run.runtime)
                return drive(function(*args, **kwargs))

    @contextmanager
    def registering(self) -> Generator[None, None, None]:
        """Enter to change the handlers."""
        with self._link.lock:
            yield
            self.hold.release_soon()
