"""The driver contract: the services that a driver provides to the client.

Rules of this file:

- Client code is written once, as `async def`. It suspends only in `await runtime.wait(future)` and, for the
  application's own code, in `await runtime.call(...)`.
- Client code, the methods of a `StreamReceiver`, and the callbacks of timers and of `call_soon` never run concurrently:
  they run on the event loop's thread or, in a runtime with several threads, while holding `runtime.lock`. `wait` and
  `call` release the lock while they wait.
- A runtime knows nothing of the protocol, of TLS or of timeouts. It moves bytes, and it keeps one deadline per timer.
- Nothing that a runtime started outlives the scope that made the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol


class StreamReceiver(Protocol):
    """What a stream notifies.

    Calls come in a later loop iteration than `open_stream`, and never from inside `write`. The first call is `opened` or
    `failed`. Nothing is called after `failed` or `closed`, nor after the stream's own `close` or `abort`.
    """

    def opened(self) -> None:
        """Called once the stream is open: it may be written to."""

    def failed(self, error: Exception) -> None:
        """Called if the stream could not be opened."""

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Called with each piece of data that arrives."""

    def sent(self) -> None:
        """Called when the operating system has accepted everything that was written so far."""

    def closed(self, error: Exception | None) -> None:
        """Called when the peer closed the stream (None) or the stream broke."""


class Stream(Protocol):
    """A byte stream, open or being opened."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes. Only called once the stream is open.

        Everything written in one loop iteration is sent in one piece; the receiver's `sent` follows.
        """

    def close(self) -> None:
        """Close once everything written has been sent, or at once while the stream is being opened.

        The end of the runtime's scope aborts a stream that is still closing.
        """

    def abort(self) -> None:
        """Close at once, also while the stream is being opened. Unsent data is lost."""


StreamOpener = Callable[[str, int, StreamReceiver], Stream]
"""A function that starts to open a stream to a host and port, and returns the stream at once. It never raises."""

StreamHook = Callable[..., Any]
"""A function of the application that opens a stream (the option `open_stream`). Each driver defines its signature."""


class Timer(Protocol):
    """One deadline. The callback is called once for each `set`, in a loop iteration of its own."""

    def set(self, deadline: float | None) -> None:
        """Set the time (on the scale of `Runtime.now`) at which to call back, replacing the previous one.

        None cancels. A deadline may be arbitrarily far away.
        """


class Future(Protocol):
    """A one-shot result that others may wait for. The first result counts; later ones are ignored."""

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        ...

    def resolve(self, value: Any = None) -> None:
        """Set the result to a value. Whoever waits continues with it."""

    def fail(self, error: BaseException) -> None:
        """Set the result to an exception. It is raised in whoever waits."""


class Task(Protocol):
    """A function that runs concurrently."""

    def cancel(self) -> object:
        """Ask the task to end. A thread cannot be cancelled: it ends when the future that it waits for is done."""


class Runtime(Protocol):
    """The services of a driver."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The reentrant lock that is held while client code runs; a null context where there is only one thread."""
        ...

    def now(self) -> float:
        """Return the time in seconds on a monotonic clock.

        Raises:
            StateError: Called from another thread, where the runtime is bound to one. Everything that applications
                call reads the clock first, so this check protects all of it.
        """
        ...

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> Stream:
        """Start to open a TCP stream. Never raises: errors are reported to `receiver.failed`.

        TCP_NODELAY is set, and the addresses of the host are tried by happy eyeballs (RFC 8305).

        Args:
            host: Host name or IP address.
            port: TCP port.
            receiver: Notified of all that happens on the stream.
            hook: A function of the application that opens the stream instead. It is called with host and port and
                returns what the runtime calls a stream. An exception that it raises, and a result that is not such a
                stream, are reported to `receiver.failed`. A stream that it returns after `close` or `abort` is closed.
        """
        ...

    def timer(self, callback: Callable[[], None]) -> Timer:
        """Make a timer that calls `callback`."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in a later loop iteration. Callbacks run in the order in which they were added."""

    def future(self, *, outlives_runtime: bool = False) -> Future:
        """Make a future for `wait`.

        Args:
            outlives_runtime: Whether the future may be resolved after the runtime ended. The end of the runtime does
                then not end a `wait` for it.
        """
        ...

    async def wait(self, future: Future) -> Any:
        """Wait for the future's result: return its value or raise its exception.

        Raises the runtime's own cancellation. An exception of a wait does not affect the future.

        Raises:
            DisconnectedError: The runtime's scope has ended, and the future is not done. Not raised for a future that
                outlives the runtime.
        """

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Task:
        """Run `function()` concurrently, in a copy of the current contextvars context. It must not raise."""
        ...

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call code of the application, without holding the lock, and await the result if it is awaitable.

        A runtime of threads does not await.

        Raises:
            StateError: The application's code was cancelled by somebody else, for example because it awaited a task that
                was cancelled. A cancellation that `call` raises is therefore always the runtime's own.
        """


class RuntimeScope(Protocol):
    """A context manager that makes a `Runtime`. At its end, nothing that the runtime started is left."""

    def __call__(self) -> AbstractAsyncContextManager[Runtime]: ...


class BlockingRuntime(Runtime, Protocol):
    """A runtime in which `wait` blocks the calling thread or greenlet, so that coroutines never suspend."""

    def deadline(self, timeout: float | None) -> AbstractContextManager[None]:
        """Limit every `wait` of the calling thread inside the `with` block.

        Args:
            timeout: Seconds from now after which a `wait` raises TimeoutError; None for no limit.
        """
        ...


class BlockingRuntimeScope(Protocol):
    """The `RuntimeScope` of a blocking driver."""

    def __call__(self, lock: Any = None) -> AbstractAsyncContextManager[BlockingRuntime]:
        """Make a runtime with the given reentrant lock, or with a new one."""
        ...
