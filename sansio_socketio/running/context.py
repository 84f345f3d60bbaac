"""The context managers of `connect` and `open_io`, and errors that say how a context manager is entered.

Rules of this file:

- The methods that only raise an error are hidden from type checkers, which report wrong usage themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from ..protocol.errors import StateError

T = TypeVar("T")


class AsyncContext:
    """Base class of the context managers of the async API: `await` and `with` raise TypeError."""

    _usage: str
    """The call that creates the context manager, for messages."""

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(f"{self._usage} cannot be awaited: write `async with {self._usage} as ...`")

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"{self._usage} of an async driver needs `async with`, not `with`; sansio_socketio_blocking is not async"
            )

        def __exit__(self, *exception: object) -> None: ...  # `with` looks for it first


class BlockingContext:
    """Base class of the context managers of the blocking API: `await` and `async with` raise TypeError."""

    _usage: str

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(
                f"{self._usage} of the blocking driver cannot be awaited: write `with {self._usage} as ...`"
            )

        async def __aenter__(self) -> NoReturn:
            raise TypeError(
                f"{self._usage} of the blocking driver needs `with`, not `async with`; "
                "sansio_socketio_asyncio, sansio_socketio_trio and sansio_socketio_anyio are async"
            )

        async def __aexit__(self, *exception: object) -> None: ...


class EnteredOnce(AsyncContext, Generic[T]):
    """A context manager that creates its scope when it is entered. It can be entered once.

    Args:
        make: Creates the scope.
        usage: The call that creates this object, for messages.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]], usage: str) -> None:
        self._make = make
        self._usage = usage
        self._scope: AbstractAsyncContextManager[T] | None = None

    def __repr__(self) -> str:
        return f"<context manager of {self._usage}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{self._usage} returns a context manager, which has no {name!r}: write `async with {self._usage} as ...`"
            )

        def __call__(self, *args: object, **options: object) -> NoReturn:
            raise TypeError(
                f"{self._usage} returns a context manager, which cannot be called: write `async with {self._usage} as io:`, "
                "and in it io('/chat')"
            )

    async def __aenter__(self) -> T:
        if self._scope is not None:
            raise StateError(f"the context manager of {self._usage} can be entered only once; call it again")
        self._scope = self._make()
        return await self._scope.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._scope is not None
        return await self._scope.__aexit__(kind, error, traceback)
