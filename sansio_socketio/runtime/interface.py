"""The driver contract: the services that a driver provides to the client.

Rules of this file:

- Client code is written once, as `async def`. It suspends only in `await runtime.wait(future)`, in
  `await runtime.listen(...)` and, for the application's own code, in `await runtime.call(...)`.
- Client code, the methods of a `StreamReceiver`, and the callbacks of timers and of `call_soon` never run concurrently:
  they run on the event loop's thread or, in a runtime with several threads, while holding `runtime.lock`. `wait` and
  `call` release the lock while they wait.
- A runtime is independent of the protocol, TLS and timeouts. It transfers bytes, and keeps one deadline per timer.
- Nothing that a runtime has started outlives its scope.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol


class StreamReceiver(Protocol):
    """The object that a stream notifies.

    Its methods are called in a later loop iteration than `open_stream`, and never from inside `write`. The first call is
    `opened` or `failed`, apart from `progress`. After `failed` or `closed` no method is called, nor after `Stream.close` or `Stream.abort`.
    """

    def progress(self, progress: str) -> None:
        """Called before `opened` with how far opening has come, for an error message. Streams need not call it."""

    def opened(self) -> None:
        """Called when the stream is open and can be written to."""

    def failed(self, error: Exception) -> None:
        """Called when the stream could not be opened."""

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Called with received data. The buffer may be reused after the call."""

    def sent(self) -> None:
        """Called when the operating system has accepted all data that was written."""

    def closed(self, error: Exception | None) -> None:
        """Called when the peer has closed the stream (`error` is None) or the stream broke."""


class Stream(Protocol):
    """A byte stream that is open or being opened."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes for sending. Called only while the stream is open.

        Data that is written in one loop iteration is sent together. The receiver's `sent` is called afterwards.
        """

    def pause_reading(self) -> None:
        """Do not call the receiver's `received` until `resume_reading`, and stop reading from the operating system.

        Called only in `received`. `closed` may be called meanwhile, or later.
        """

    def resume_reading(self) -> None:
        """Read again. Called only after `pause_reading`, at the latest before `close` or `abort`.

        `received` is called in a later loop iteration.
        """

    def close(self) -> None:
        """Close when all written data has been sent, or at once if the stream is not open yet.

        At the end of the runtime's scope, a stream that is still closing is aborted.
        """

    def abort(self) -> None:
        """Close at once, even if the stream is not open yet. Unsent data is lost."""


StreamOpener = Callable[[str, int, StreamReceiver], Stream]
"""A function that starts to open a stream to a host and port, and returns it without waiting. It never raises."""

StreamHook = Callable[..., Any]
"""A function of the application that opens a stream (the option `open_stream`). Each driver defines its signature."""


class Timer(Protocol):
    """A timer with one deadline. Each `set` leads to at most one call of the callback, in a later loop iteration."""

    def set(self, deadline: float | None) -> None:
        """Call the callback at `deadline`, on the clock of `Runtime.now`, instead of at the previous deadline.

        None cancels the timer. The deadline may be infinite.
        """


class Future(Protocol):
    """A one-shot result that callers can wait for. Later results are ignored."""

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        ...

    def resolve(self, value: Any = None) -> None:
        """Set the result to a value, which `wait` returns."""

    def fail(self, error: BaseException) -> None:
        """Set the result to an exception, which `wait` raises."""


class Task(Protocol):
    """A concurrently running task or thread."""

    def cancel(self) -> object:
        """Request cancellation. A thread cannot be cancelled: it ends when the future that it waits for is done."""


class Runtime(Protocol):
    """The services of a driver.

    Attributes:
        failed: Called with the exception if a callback, a task or a thread of the runtime ends with one unexpectedly. The
            client sets it to a function that ends its runs. Before that it is `log_failure`.
    """

    failed: Callable[[BaseException], None]

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """The reentrant lock that is held while client code runs. A null context if there is only one thread."""
        ...

    def now(self) -> float:
        """Return the time in seconds on a monotonic clock.

        Raises:
            StateError: Called from another thread, if the runtime is bound to one thread. All functions that
                applications call read the clock first, so this check protects all of them.
        """
        ...

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: StreamHook | None = None) -> Stream:
        """Start to open a TCP stream. Never raises: errors are reported to `receiver.failed`.

        Set TCP_NODELAY, and try the addresses of the host by happy eyeballs (RFC 8305).

        Args:
            host: Host name or IP address.
            port: TCP port.
            receiver: Notified of everything that happens on the stream.
            hook: The application's function that opens the stream instead. The driver defines its parameters and its
                return value. If it raises, or returns something else, the error is reported to `receiver.failed`. If it
                returns after `close` or `abort`, the returned stream is closed.
        """
        ...

    def timer(self, callback: Callable[[], None]) -> Timer:
        """Create a timer that calls `callback`."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in a later loop iteration. Callbacks run in the order in which they were added."""

    def future(self, *, outlives_runtime: bool = False) -> Future:
        """Create a future for `wait`.

        Args:
            outlives_runtime: Whether the future can be resolved after the end of the runtime. The end of the runtime then
                does not end a `wait` for the future.
        """
        ...

    async def wait(self, future: Future) -> Any:
        """Wait for the future, and return its value or raise its exception.

        If the task is cancelled, raise the runtime's cancellation. The future is unaffected then.

        Raises:
            DisconnectedError: The runtime's scope has ended, and the future is not done. Not raised for a future that
                outlives the runtime.
        """

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Task:
        """Run `function()` concurrently, in a copy of the current contextvars context. `function` must not raise."""
        ...

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the application's code without holding the lock, and await the result if it is awaitable.

        A blocking runtime does not await. It raises TypeError if the function is async.

        Raises:
            StateError: The application's code was cancelled although the calling task was not, for example because it
                awaited another task that was cancelled. So a cancellation that `call` raises is always the runtime's.
        """


StreamAcceptor = Callable[[Stream, str], StreamReceiver]
"""A function that is called with each accepted stream and the address of its peer, such as "127.0.0.1:50000".

It returns the receiver of the stream, whose `opened` is called next. Until then the stream must not be used. It never raises.
For an accepted stream, `sent` is called before `received` with what the peer sends when it has received everything.
"""


class Listener(Protocol):
    """Listening sockets. They are also closed at the end of the runtime's scope."""

    @property
    def port(self) -> int:
        """The port on which they listen."""
        ...

    def close(self) -> None:
        """Accept no more streams. Accepted ones stay open."""


class ListeningRuntime(Runtime, Protocol):
    """A `Runtime` that can also accept streams. Servers need it, clients do not."""

    async def listen(self, host: str, port: int, accept: StreamAcceptor) -> Listener:
        """Listen on a host and port. Set TCP_NODELAY for accepted streams.

        Args:
            host: Host name or IP address. All of its addresses are used. "" stands for all addresses of the machine.
            port: TCP port. 0 for one that the operating system chooses, the same one for all addresses.
            accept: Called with each accepted stream, in a later loop iteration than `listen` returns.

        Raises:
            OSError: The host name cannot be resolved, or the port is not available.
        """
        ...


class RuntimeScope(Protocol):
    """A function that returns a context manager around a `Runtime`. On exit, everything that the runtime started ends."""

    def __call__(self) -> AbstractAsyncContextManager[Runtime]: ...


class ListeningRuntimeScope(Protocol):
    """The `RuntimeScope` of a driver that can accept streams."""

    def __call__(self) -> AbstractAsyncContextManager[ListeningRuntime]: ...


class BlockingRuntime(Runtime, Protocol):
    """A `Runtime` whose `wait` blocks the calling thread or greenlet, so that coroutines never suspend."""

    def deadline(self, timeout: float | None) -> AbstractContextManager[None]:
        """Limit the duration of each `wait` of the calling thread in the `with` block.

        Args:
            timeout: After so many seconds from now, `wait` raises TimeoutError. None for no limit.
        """
        ...


class BlockingRuntimeScope(Protocol):
    """The `RuntimeScope` of a blocking driver."""

    def __call__(self, lock: Any = None) -> AbstractAsyncContextManager[BlockingRuntime]:
        """Create a runtime with the given reentrant lock, or with a new one."""
        ...
