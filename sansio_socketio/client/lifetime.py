"""From the start of a scope to its end: the runtime, and the Managers that live on it.

Rules of this file:

- A scope that ends, also by an exception, disconnects and lets what has been received be handled, within
  `close_timeout`. One that is cancelled or interrupted ends everything at once, without waiting for anything.
- An exception of the body comes out as it is. Where a handler's exception ended the connection (`on_handler_error=
  "raise"`), that one comes out, unless the body raised one that is not of this library (which may well follow from it).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from ..protocol.errors import SocketIOError
from .runtime import Runtime, RuntimeScope


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
    """A runtime while it is there, and who lives on it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.tenants: list[Tenant] = []

    @property
    def failure(self) -> Exception | None:
        """What ended a connection from inside, if anything did."""
        return next((tenant.failure for tenant in self.tenants if tenant.failure is not None), None)

    async def end(self, *, gracefully: bool) -> None:
        """End all tenants."""
        try:
            if gracefully:
                for tenant in self.tenants:
                    tenant.begin_leaving()
                for tenant in self.tenants:
                    await tenant.left()
        finally:
            for tenant in self.tenants:
                tenant.end()


@asynccontextmanager
async def lifetime(runtime_scope: RuntimeScope) -> AsyncGenerator[Lifetime, None]:
    """A scope of a driver: a runtime that ends with it, after its tenants."""
    async with runtime_scope() as runtime:
        life = Lifetime(runtime)
        try:
            yield life
        except BaseException as error:
            with runtime.lock:
                await life.end(gracefully=isinstance(error, Exception))
            if life.failure is not None and isinstance(error, SocketIOError):
                raise life.failure from None
            raise
        with runtime.lock:
            await life.end(gracefully=True)
        if life.failure is not None:
            raise life.failure
