"""Call client code from any thread.

Rules of this file:

- A method of the blocking API runs a coroutine to its end. The coroutine never suspends, because the blocking runtime's
  `wait` blocks the thread.
- A thread that calls client code holds the lock of the runtime.
- Every method that may block accepts `timeout`, the time limit of the call in seconds. After it TimeoutError is raised.
  (`socket.timeout(seconds)` is something else: as in the other drivers, it limits the time for an acknowledgement.)
- The handlers of a socket are held back until the thread that created it makes a call that may block, until any thread
  makes such a call through the socket or calls its `start_handlers`, or until `SETTLED` seconds after the last handler was
  registered. The last rule is for threads that wait for something else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, cast

from ...handlers.registry import HandlerRegistry
from ...protocol.options import check_option
from ...running.dispatcher import Dispatcher
from ...runtime.interface import BlockingRuntime, Runtime, Timer
from ..run.lifecycle import LifecycleQueue
from ..run.link import Link
from ..run.run import Run

T = TypeVar("T")
P = ParamSpec("P")

SETTLED: Final = 1.0
"""How long after the last registration of a handler the handlers are called, in seconds."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    coroutine.close()
    raise RuntimeError("the blocking runtime suspended a coroutine instead of blocking its thread")


def check_time_limit(timeout: float | None) -> None:
    """Raise OptionError unless `timeout` is valid as the time limit of a call."""
    if timeout is not None:
        check_option("timeout", timeout)


class HandlerHold:
    """Holds the handlers of a socket or a Manager back until they have been registered.

    Args:
        link: Holds the current run.
        handlers: The handlers.
        queues: Returns the queues of a run that call these handlers.
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
        """Hold the handlers back until this thread makes a call that may block. Called at the start of a run."""
        if self.is_held:
            self._of_this_thread.set((*self._of_this_thread.get(), self))
            if self._handlers:
                self.release_soon()

    def release(self) -> None:
        """Stop holding the handlers back."""
        run = self._link.active()
        if run is not None:
            for queue in self._queues(run):
                queue.release()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer[1].set(None)

    def release_soon(self) -> None:
        """Stop holding the handlers back when no handler is registered for `SETTLED` seconds."""
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
    def release_of_this_thread(cls, runtime: Runtime) -> None:
        """Stop holding back the handlers of all objects that this thread has created on a runtime. Hold its lock."""
        holds = cls._of_this_thread.get()
        if holds:
            for hold in holds:
                if hold.runtime is runtime:
                    hold.release()
            cls._of_this_thread.set(tuple(hold for hold in holds if hold.is_held))


class Entry:
    """Calls client code through one object, such as a Socket, from the calling thread.

    Args:
        link: Holds the current run.
        hold: Holds the handlers of the object back.
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
        """Run a coroutine function that may block, for at most `timeout` seconds. Raise OptionError if that is invalid."""
        check_time_limit(timeout)
        with self._link.lock:
            run = self._link.active()
            if run is None:
                return drive(function(*args, **kwargs))
            with cast("BlockingRuntime", run.runtime).deadline(timeout):
                self.hold.release()
                HandlerHold.release_of_this_thread(run.runtime)
                return drive(function(*args, **kwargs))

    @contextmanager
    def registering(self) -> Generator[None, None, None]:
        """Return a context manager in which handlers are registered or removed."""
        with self._link.lock:
            yield
            self.hold.release_soon()
