"""The persistent object behind a Manager.

Rules of this file:

- A Manager has at most one run at a time. `Host` says what ends the run.
- A call that ends a run waits until everything has stopped. If a handler makes the call, it does not wait, because the run
  itself waits for its handlers.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from functools import partial
from random import SystemRandom
from typing import Any, Final

from ...handlers.registry import HandlerRegistry
from ...protocol.client import ClientProtocol
from ...protocol.errors import StateError
from ...protocol.statistics import Statistics
from ...protocol.url import redacted
from ...running.tasks import is_called_by_handler
from ...runtime.connect import Connector
from ...runtime.interface import RuntimeScope
from ..options import manager_settings, socket_settings, warn_about_ignored
from ..run.blueprint import Blueprint, NamespaceSpec
from ..run.link import Link
from ..run.run import Run
from ..run.scope import Host, Scope, starting
from ..run.session import SessionRun
from ..run.state import RunState
from .socket import SocketCore

log = logging.getLogger("sansio_socketio.client.manager")

MANAGER_EVENTS = frozenset(
    {
        "open",
        "error",
        "ping",
        "close",
        "reconnect",
        "reconnect_attempt",
        "reconnect_error",
        "reconnect_failed",
    }
)

_RANDOM: Final = SystemRandom()
"""The source of randomness of all machines. A server must not be able to predict masking keys (RFC 6455, section 5.3)."""


class ManagerCore:
    """Starts and stops the runs of a Manager, and creates its sockets.

    Args:
        url: The server's URL.
        options: The options of the Manager.
        runtime_scope: Creates the runtime of each run.
        lock: The lock that is held while client code runs.
        holds_handlers: Whether each run holds its handlers back until `release_handlers` or `release` is called.
        can_be_held: Whether `open` can start a run that only `close` ends.
        drive: Runs a coroutine inside `Runtime.call`. If `Runtime.call` awaits results, it returns the coroutine.
        awaits: Whether the runtime awaits functions of the application that are async.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        *,
        runtime_scope: RuntimeScope,
        lock: AbstractContextManager[Any],
        holds_handlers: bool = False,
        can_be_held: bool = False,
        drive: Callable[[Coroutine[Any, Any, Any]], Any] = lambda coroutine: coroutine,
        awaits: bool = True,
    ) -> None:
        settings = manager_settings(options)
        local = settings.local
        self.url = url
        self.options = options
        self.runtime_scope = runtime_scope
        machine = ClientProtocol(url, settings.machine, random=_RANDOM)
        shown = redacted(url)
        self.link = Link(shown, lock, awaits=awaits)
        for name, function in settings.functions.items():
            self.link.check_function(name, function)
        self.blueprint = Blueprint(
            shown,
            machine,
            local,
            Connector(
                ssl=local.ssl, server_hostname=local.server_hostname, proxy=local.proxy, open_stream=local.open_stream
            ),
            settings.functions,
            HandlerRegistry(MANAGER_EVENTS),
        )
        self._sockets: dict[str, SocketCore] = {}
        self._holds_handlers = holds_handlers
        self._can_be_held = can_be_held
        self._drive = drive
        self._scope: Scope | None = None
        if local.ssl is False:
            warnings.warn("ssl=False: the server's certificate is not verified", stacklevel=3)

    def __del__(self) -> None:
        scope = getattr(self, "_scope", None)
        if scope is not None and scope.host is Host.OPEN and not scope.stopped.done:
            self._warn_of_unclosed()

    def _warn_of_unclosed(self) -> None:
        warnings.warn(
            f"unclosed Manager of {self.blueprint.url}: open() was called, close() was not", ResourceWarning, 3, self
        )

    # Runs in the scope of connect() or open_io()

    def start_on(self, scope: Scope, *, held: bool) -> Run:
        """Start a run that ends with the given scope.

        Raises:
            StateError: The Manager is already running.
        """
        with self.link.lock, starting(self.blueprint, self.link):
            return scope.start(self.blueprint, self.link, held=held or self._holds_handlers)

    # Runs in a scope of its own

    async def start(self, host: Host) -> Scope:
        """Start a run with a scope of its own.

        Raises:
            StateError: The Manager is already running.
        """
        with self.link.lock:
            if self._current_scope() is None and self.link.status.state is RunState.RUNNING:
                raise StateError(
                    f"the Manager of {self.blueprint.url} is already running in the scope of connect() or open_io()"
                )
        with starting(self.blueprint, self.link):
            scope = Scope(self.runtime_scope, host)
            await scope.__aenter__()
            try:
                with scope.runtime.lock:
                    run = scope.start(self.blueprint, self.link, held=self._holds_handlers)
                    self._scope = scope
                    if host is not Host.OPEN:
                        self.begin(run)
            except BaseException as error:  # most likely an interrupt
                await scope.end(error)
                raise
        return scope

    def _current_scope(self) -> Scope | None:
        """Return the run's own scope, or None if there is none or it has ended."""
        scope = self._scope
        return None if scope is None or scope.stopped.done else scope

    def begin(self, run: Run) -> None:
        """Open the connection in the background if `auto_connect` is True."""
        if self.blueprint.options.auto_connect:
            run.open(reconnect=True)

    async def end(self, error: BaseException | None = None) -> bool | None:
        """End the run of a block, with the exception that caused it, if any."""
        scope = self._current_scope()
        return None if scope is None else await scope.end(error)

    async def run(self, started: Callable[[], None]) -> None:
        """Run in the current task until it is cancelled or `close` is called. Call `started` when the run has started."""
        scope = await self.start(Host.TASK)
        try:
            started()
            await scope.runtime.wait(scope.stop_requested)
        except BaseException as error:
            await scope.end(error)
            raise
        await scope.end()

    async def open(self) -> None:
        """Open the connection and wait until it is open. If the Manager is not running, start it if `can_be_held`."""
        scope = await self.start_to_open()
        try:
            if scope is not None:
                await scope.end_at_shutdown(self._warn_of_unclosed)
            await self.opened()
        except BaseException as error:
            if scope is not None:
                await scope.end(error)
            raise

    async def start_to_open(self) -> Scope | None:
        """Start a run that only `close` ends, and return its scope. Return None if there is a run."""
        if self.link.active() is not None:
            return None
        if not self._can_be_held:
            raise StateError(
                f"the Manager of {self.blueprint.url} is not running: start it with `async with manager`, or with `await "
                "nursery.start(manager.run)` (task_group.start with anyio); open() opens the connection of one that is running"
            )
        return await self.start(Host.OPEN)

    async def opened(self) -> None:
        """Open the connection and wait until it is open."""
        await self.link.current().opened()

    async def close(self) -> None:
        """Close the connection. End the run unless it belongs to a block, and wait until it has ended."""
        self.link.check_caller()
        scope, run = self._current_scope(), self.link.active()
        if scope is not None and scope.host is not Host.BLOCK:
            if run is not None:
                with run.runtime.lock:
                    run.force_close()
            if not is_called_by_handler(scope.runtime):
                await scope.close()
                return
            with scope.runtime.lock:
                scope.stop()
                scope.runtime.spawn(
                    partial(self._close_for_handler, scope), f"closes the Manager of {self.blueprint.url}"
                )
        if run is not None:
            with run.runtime.lock:
                await run.closed()

    async def _close_for_handler(self, scope: Scope) -> None:
        try:
            # The lock must not be held while a run ends; `call` releases it.
            await scope.runtime.call(lambda: self._drive(scope.close(wait=False)))
        except Exception as error:
            message = "closing the Manager of %s failed; a handler had called close()"
            log.error(message, self.blueprint.url, exc_info=error)  # noqa: TRY400

    # Sockets and sessions

    def socket(self, nsp: str, options: Mapping[str, Any]) -> SocketCore:
        """Return the socket of a namespace, and connect it in the background if `auto_connect` is True."""
        settings = socket_settings(options)
        self.link.check_function("auth", options.get("auth"))
        with self.link.lock:
            self.link.check_caller()
            namespace = self.blueprint.machine.namespace(nsp, settings)
            core = self._sockets.get(namespace.name)
            if core is None:
                spec = NamespaceSpec(namespace, options, settings.ack_timeout)
                self.blueprint.namespaces[namespace.name] = spec
                core = self._sockets[namespace.name] = SocketCore(spec, self.link)
                run = self.link.active()
                if run is not None:
                    run.of(spec)  # now, so that its handlers run in a copy of the caller's context
            else:
                warn_about_ignored(f"the socket of {namespace.name}", options, core.spec.options)
            if self.blueprint.options.auto_connect and not namespace.active:
                core.want()
        return core

    def session(self) -> SessionRun | None:
        """Return the current Engine.IO session, or else the last one, or None."""
        with self.link.lock:
            run = self.link.run
            return None if run is None else run.session()

    async def close_session(self, session: SessionRun) -> None:
        """Close a session, and wait until it is closed."""
        run = self.link.run
        if run is not None:
            await run.close_session(session)

    # Options and statistics

    def get_option(self, name: str) -> Any:
        """Return an option that can be set while running."""
        return self.blueprint.option(name)

    def set_option(self, name: str, value: Any) -> None:
        """Set an option that can be set while running."""
        self.link.check_function(name, value)
        with self.link.lock:
            self.link.check_caller()
            self.blueprint.set_option(name, value)
            run = self.link.active()
            if run is not None and name == "reconnection":
                run.pump.drain()
                run.fail_unless_trying("reconnection was set to False")

    def statistics(self) -> Statistics:
        """Return the counters, and the current sizes of the queues."""
        with self.link.lock:
            run = self.link.active()
            return self.blueprint.machine.statistics() if run is None else run.statistics()
