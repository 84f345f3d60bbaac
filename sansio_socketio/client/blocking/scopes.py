"""The scopes of the blocking driver: `connect` and `open_io`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, Unpack, cast

from ...protocol.url import URL
from ...running.context import BlockingContext, EnteredOnce
from ...running.options import options_by_name
from ...runtime.interface import RuntimeScope
from ..core.connect import Connection, server_url
from ..core.io import IOCore
from ..options import Options
from ..run.scope import Scope
from .api import IO, Manager, Socket, new_core, public_socket, release_all, wrap_core
from .entry import drive

T = TypeVar("T")


class Scopes:
    """The functions `connect` and `open_io` of one blocking driver.

    Args:
        manager_class: The driver's Manager class.
    """

    def __init__(self, manager_class: type[Manager]) -> None:
        self._manager_class = manager_class

    @options_by_name
    def connect(self, url: str, *, retry: bool = False, **options: Unpack[Options]) -> AbstractContextManager[Socket]:
        """Connect to a namespace::

            with connect("http://localhost:3000/chat") as socket: ...

        The body starts when the socket is connected. At the end of the block the client disconnects.

        Args:
            url: The server's URL; its path is the namespace.
            retry: Whether to retry, according to the `reconnection` options, if the first attempt fails. The call then takes as
                long as that needs; to limit it, use a Manager and `socket.wait_connected(timeout=seconds)`.
            options: See `Options`. The option `timeout` limits each attempt, not the call.

        Raises:
            ConnectError: The server refused the namespace, or the first attempt failed (then `__cause__` is the failure).
                Raised when the block is entered.
            OptionError: The URL or an option is invalid. Raised by the call itself.
        """
        make = partial(new_core, self._manager_class, self._manager_class.make_lock())
        connection = Connection(url, options, make, retry=retry)
        return Driven(partial(self._connect, connection), "connect(url)", self._manager_class.shield)

    def open_io(self, url: str | None = None) -> AbstractContextManager[IO]:
        """Open a block in which sockets are created by URL, like JavaScript's `io()`::

            with open_io("http://localhost:3000") as io:
                main, chat = io(), io("/chat")

        Sockets of the same server share a connection. At the end of the block all sockets are disconnected.

        Args:
            url: The base of relative URLs, like `location` in a browser. None if `io` is only called with full URLs.

        Raises:
            OptionError: The URL is invalid. Raised by the call itself.
        """
        base = None if url is None else server_url(url)
        return Driven(partial(self._open_io, base), "open_io(url)", self._manager_class.shield)

    @asynccontextmanager
    async def _connect(self, connection: Connection) -> AsyncGenerator[Socket, None]:
        manager = wrap_core(self._manager_class, connection.manager)
        async with Scope(connection.manager.runtime_scope) as scope:
            core, _ = await connection.start(scope)
            try:
                yield public_socket(core, manager)
            finally:
                release_all(connection.manager)

    @asynccontextmanager
    async def _open_io(self, base: URL | None) -> AsyncGenerator[IO, None]:
        lock = self._manager_class.make_lock()
        runtime_scope = cast("RuntimeScope", partial(self._manager_class.runtime_scope, lock))
        async with Scope(runtime_scope) as scope:
            core = IOCore(scope, base, partial(new_core, self._manager_class, lock))
            try:
                yield IO(core, self._manager_class)
            finally:
                for manager in core.managers:
                    release_all(manager)


class Driven(BlockingContext, Generic[T]):
    """A plain context manager around an async one whose coroutines never suspend.

    Args:
        make: Creates the async context manager.
        usage: The call that creates this object, for messages.
        shield: See `Manager.shield`.
    """

    def __init__(
        self,
        make: Callable[[], AbstractAsyncContextManager[T]],
        usage: str,
        shield: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._scope = EnteredOnce(make, usage)
        self._usage = usage
        self._shield = shield

    def __repr__(self) -> str:
        return repr(self._scope)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{self._usage} returns a context manager, which has no {name!r}: write `with {self._usage} as ...`"
            )

        def __call__(self, *args: object, **options: object) -> NoReturn:
            raise TypeError(
                f"{self._usage} returns a context manager, which cannot be called: write `with {self._usage} as io:`, "
                "and in it io('/chat')"
            )

    def __enter__(self) -> T:
        with self._shield():
            return drive(self._scope.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        with self._shield():
            return drive(self._scope.__aexit__(kind, error, traceback))
