"""From the start of a scope to its end: the runtime, and the Managers that live on it.

Rules of this file:

- A scope that ends, also by an exception, disconnects and lets what has been received be handled, within
  `close_timeout`. One that is cancelled or interrupted ends everything at once, without waiting for anything.
- An exception of the body comes out as it is. Where a handler's exception ended the connection (`on_handler_error=
  "raise"`), that one comes out, unless the body raised one that is not of this library (which may well follow from it).
- A Manager that lives in no scope of somebody else's has a `Lease`: one life at a time, and as many as are asked for.
- Nothing here is a generator: where the runtime allows it, one task may begin a life and another one end it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from ..protocol.errors import DisconnectedError, SocketIOError, StateError
from ..runtime.interface import Future, Runtime, RuntimeScope
from .dispatch import is_handling

log = logging.getLogger(__name__)


class Tenant(Protocol):
    """Who lives in a scope: a Manager."""

    failure: Exception | None

    def begin_leaving(self) -> None:
        """Start to disconnect."""

    async def left(self) -> None:
        """Wait until that is done, and everything is handled; at most `close_timeout`."""

    def end(self) -> None:
        """End at once whatever is left, and wake all who wait."""


class Lifetime:
    """A scope of a driver: a runtime that ends with it, after its tenants.

    Attributes:
        runtime: The runtime, from the scope's beginning on.
        tenants: Who lives on it.
        is_held: Whether it is in nobody's scope, so that `Lease.close` must end it.
        ends_on_close: Whether `Lease.close` ends it.
        is_ending: Whether somebody is ending it.
        asked_to_end: Set when somebody wants it to end, or a tenant has failed.
        over: For who ends it to set, and for others to wait for.
    """

    runtime: Runtime
    asked_to_end: Future
    over: Future

    def __init__(self, runtime_scope: RuntimeScope, *, is_held: bool = False, ends_on_close: bool = False) -> None:
        self.tenants: list[Tenant] = []
        self.is_held = is_held
        self.ends_on_close = ends_on_close
        self.is_ending = False
        self._scope = runtime_scope()

    async def __aenter__(self) -> Self:
        self.runtime = await self._scope.__aenter__()
        self.asked_to_end = self.runtime.future()
        self.over = self.runtime.future()
        return self

    async def until_over(self) -> None:
        """Wait until somebody else has ended it."""
        # If nothing can be waited for any more, it is as good as over.
        with self.runtime.lock, suppress(DisconnectedError):
            await self.runtime.wait(self.over)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        instead: BaseException | None = None
        try:
            with self.runtime.lock:
                await self._end_tenants(gracefully=error is None or isinstance(error, Exception))
        except BaseException as another:  # a cancellation, most likely
            instead = another
        else:
            if error is None or isinstance(error, SocketIOError):
                instead = self.failure
        is_handled = await self._scope.__aexit__(*_described(instead or error))
        if instead is not None:
            raise instead
        return is_handled

    @property
    def failure(self) -> Exception | None:
        """What ended a connection from inside, if anything did."""
        return next((tenant.failure for tenant in self.tenants if tenant.failure is not None), None)

    async def _end_tenants(self, *, gracefully: bool) -> None:
        try:
            if gracefully:
                for tenant in self.tenants:
                    tenant.begin_leaving()
                for tenant in self.tenants:
                    await tenant.left()
        finally:
            for tenant in self.tenants:
                tenant.end()


class Lease:
    """The lives of one tenant, each on a runtime of its own.

    Args:
        what: The tenant's name in messages.
        runtime_scope: What makes a runtime.

    Attributes:
        runtime_scope: The same.
        drive: Where threads block: what runs a coroutine, since `Runtime.call` awaits none there.
        until_over: How to wait for the end of a life that somebody else is ending.
    """

    def __init__(self, what: str, runtime_scope: RuntimeScope) -> None:
        self.runtime_scope = runtime_scope
        self.drive: Callable[[Coroutine[Any, Any, Any]], Any] = _leave_it
        self.until_over: Callable[[Lifetime], Coroutine[Any, Any, None]] = Lifetime.until_over
        self._what = what
        self._vacant = [None]  # who takes this out may begin a life: threads may race for it
        self._life: Lifetime | None = None

    def __del__(self) -> None:
        if self._life is not None and self._life.is_held:
            warnings.warn(f"unclosed {self._what}: it was opened, and never closed", ResourceWarning, 2, self)

    @property
    def is_taken(self) -> bool:
        """Whether there is a life."""
        return self._life is not None

    async def begin(
        self, move_in: Callable[[Lifetime], None], *, is_held: bool = False, ends_on_close: bool = False
    ) -> Lifetime:
        """Begin a life, with what `move_in` does with it. For the rest see `Lifetime`.

        Raises:
            StateError: There is one already.
        """
        try:
            self._vacant.pop()
        except IndexError:
            life = self._life
            state = "is still being closed" if life is not None and life.is_ending else "lives already"
            raise StateError(f"{self._what} {state}; one can begin again when it is over") from None
        try:
            life = Lifetime(self.runtime_scope, is_held=is_held, ends_on_close=ends_on_close)
            await life.__aenter__()
        except BaseException:
            self._vacant.append(None)
            raise
        try:
            with life.runtime.lock:  # who closes it from now on has to wait for it
                self._life = life
                move_in(life)
        except BaseException as error:  # an interrupt, most likely
            await self.end(life, error)
            raise
        return life

    async def end(self, life: Lifetime, error: BaseException | None = None, *, wait: bool = True) -> bool | None:
        """End a life, because of `error` if there is one. If somebody else is at it already, `wait` until it is over."""
        with life.runtime.lock:
            is_ending, life.is_ending = life.is_ending, True
        if is_ending:
            if wait:
                await self.until_over(life)
            return None
        try:
            return await life.__aexit__(*_described(error))
        finally:
            self._life = None
            self._vacant.append(None)
            with life.runtime.lock:
                life.over.resolve()

    async def close(self) -> bool:
        """End the life, if it is one that ends on `close`, and wait until it is over. Returns whether that is so.

        A handler, which is a part of the life, could not wait for its end: for one, it only begins.
        """
        life = self._life
        if life is None or not life.ends_on_close:
            return False
        with life.runtime.lock:
            life.asked_to_end.resolve()
            if is_handling(life.runtime):
                for tenant in life.tenants:
                    tenant.begin_leaving()
                if life.is_held:
                    life.runtime.spawn(lambda: self._end_beside(life), f"closes {self._what}")
                return False
        await (self.end(life) if life.is_held else self.until_over(life))
        return True

    async def _end_beside(self, life: Lifetime) -> None:
        try:
            # `call` lets go of the lock, which the end of a life must not be called with.
            await life.runtime.call(lambda: self.drive(self.end(life, wait=False)))
        except Exception as error:
            log.error("%s was closed by a handler", self._what, exc_info=error)  # noqa: TRY400


def _leave_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return coroutine


def _described(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)
