"""What a driver supplies: streams, a timer, waiting, tasks.

Rules of this file:

- Client code (`hub`, `dispatch`, `socket`, `manager`) is written once as `async def` whose only suspension is
  `await runtime.wait(cell)` (and, for the application's own code, `await runtime.call(...)`).
- All client code and all calls of a `StreamReceiver`, a timer's callback or `call_soon`'s happen in one turn at a time:
  on the loop's thread, or, in a runtime of several threads, while holding `runtime.lock`. `wait` and `call` let go of
  it while they wait.
- A runtime knows nothing of the protocol, of TLS or of timeouts: bytes go in and out, one deadline is kept per timer.
- Nothing that a runtime started outlives the scope that made the runtime.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol


class StreamReceiver(Protocol):
    """What a stream tells, always in a later turn than `open_stream` and never from inside `write`.

    `opened` or `failed` comes first, once; after `failed`, `closed`, or the stream's own `close` or `abort`: nothing.
    """

    def opened(self) -> None: ...
    def failed(self, error: Exception) -> None: ...
    def received(self, data: bytes | bytearray | memoryview) -> None: ...
    def sent(self) -> None:
        """All that was written so far has been taken by the operating system."""

    def closed(self, error: Exception | None) -> None:
        """The peer ended the stream (None) or it broke."""


class Stream(Protocol):
    """A byte stream that is being opened, or is open."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes, once `opened` was told. All that is written before the loop turns leaves in one write, then
        `sent` follows.
        """

    def close(self) -> None:
        """Close once all that was written has left; while still opening, at once. Given up with the runtime's scope."""

    def abort(self) -> None:
        """Close at once, also while still opening; what was not sent yet is lost."""


Opener = Callable[[str, int, StreamReceiver], Stream]
"""Begins to open a stream to a host and a port, as `Runtime.open_stream` does, and returns it at once. Never raises."""

StreamHook = Callable[..., Any]
"""The user's own way to open a stream (the option `open_stream`). What it takes and gives is the driver's business."""


class Timer(Protocol):
    """One deadline. Its callback is called once for each `set`, in a turn of its own."""

    def set(self, deadline: float | None) -> None:
        """Call back at `deadline` (on the scale of `Runtime.now`), instead of when it was set before; None: never."""


class Cell(Protocol):
    """A place for one result that somebody may wait for. The first result counts; later ones are ignored."""

    @property
    def done(self) -> bool: ...
    def set(self, value: Any = None) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class Task(Protocol):
    """Something that runs beside."""

    def cancel(self) -> object:
        """Ask it to end. A thread cannot be made to: it ends when the cell it waits for is set."""


class Runtime(Protocol):
    """A driver's services."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while client code runs; a null context where there is one thread. Reentrant."""
        ...

    def now(self) -> float:
        """Seconds on a monotonic scale. Raises StateError in a thread that is not the runtime's, unless any thread is.

        Whatever users call asks for it before anything is done.
        """
        ...

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> Stream:
        """Begin to open a TCP stream (TCP_NODELAY, happy eyeballs where there are any). Never raises.

        Args:
            hook: Opens it in the runtime's place: the application's code, which is given host and port and returns what
                the runtime calls a stream. What it raises, and what is no stream, is told by `failed`. A stream that it
                returns too late, after `close` or `abort`, is closed.
        """
        ...

    def timer(self, callback: Callable[[], None]) -> Timer: ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in a later turn; in order."""

    def cell(self) -> Cell: ...

    async def wait(self, cell: Cell) -> Any:
        """Wait for the cell's result: return its value or raise its error. Raises the runtime's own cancellation.

        A wait that begins when the runtime's scope has ended, and for what has not come by then, raises
        DisconnectedError.
        """

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Task:
        """Run `function()` beside, in a copy of the present contextvars context. It must not raise."""
        ...

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code without the lock; where it returns an awaitable, await that (not in threads).

        A cancellation that is the application's own business (its code awaited a task that was cancelled) is raised
        as a StateError, so that what `call` raises as a cancellation is always the runtime's.
        """


class RuntimeScope(Protocol):
    """Each driver has one: a context manager that makes a Runtime, and at whose end nothing that it started is left."""

    def __call__(self) -> AbstractAsyncContextManager[Runtime]: ...


Handler = Callable[..., Awaitable[Any] | Any]
