"""`Server` and `ServerNamespace`: the API of servers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Self, TypeVar, overload

from ..handlers.registration import DECORATE, Registration
from ..handlers.registry import Handler, event_name
from ..protocol.errors import OptionError
from .client import NamespaceSpec
from .remote import RemoteClient
from .run import ServerRun

H = TypeVar("H", bound=Handler)

_NOT_ON_SERVERS: Final = {"connect_error": "only clients have it", "connection": "use 'connect'"}
"""Events that a server does not have, with what to say about them."""


class ServerNamespace(Registration):
    """A namespace of a server: its handlers and its clients. Created by `Server.of`."""

    def __init__(self, run: ServerRun, spec: NamespaceSpec) -> None:
        self._run = run
        self._spec = spec
        self._handlers = spec.handlers

    @property
    def name(self) -> str:
        """The name of the namespace, such as "/chat"."""
        return self._spec.namespace.name

    @property
    def clients(self) -> list[RemoteClient]:
        """The connected clients."""
        return list(self._run.clients(self.name))

    @overload
    def on(
        self, event: str | float, *, concurrency: int | None = None, manual_ack: bool = False
    ) -> Callable[[H], H]: ...
    @overload
    def on(
        self, event: str | float, handler: Handler, *, concurrency: int | None = None, manual_ack: bool = False
    ) -> Self: ...
    def on(
        self,
        event: str | float,
        handler: Any = DECORATE,
        *,
        concurrency: int | None = None,
        manual_ack: bool = False,
    ) -> Any:
        """Register a handler of an event. Without `handler`, return a decorator.

        The handler may be async. Its arguments are the client and the event's values, as many as it accepts. If the client
        requested an acknowledgement, the return value is sent: one value, or a tuple of several values. If every handler
        returns None, an empty acknowledgement is sent after the last one.

        The handlers of a client are called one at a time, in order; those of different clients concurrently. Two events are
        not sent by the client: "connect", with the client, is the first one; "disconnect", with the client, the reason and
        the error (or None), is the last one.

        Args:
            event: The event's name.
            handler: The function to call.
            concurrency: The maximum number of concurrent calls of this handler for one client. They also run concurrently
                with other handlers.
            manual_ack: Whether to pass an acknowledgement function as the last argument, instead of using the return
                value. It acknowledges the event with its arguments, and can be called once, at any time. It does nothing
                if the client requested no acknowledgement.

        Raises:
            OptionError: The event or the handler is invalid, or `concurrency` is not a whole number of at least 1.
        """
        _check_event(event)
        return self._register(event, handler, manual_ack=manual_ack, typed=False, concurrency=concurrency)

    @overload
    def once(self, event: str | float, *, manual_ack: bool = False) -> Callable[[H], H]: ...
    @overload
    def once(self, event: str | float, handler: Handler, *, manual_ack: bool = False) -> Self: ...
    def once(self, event: str | float, handler: Any = DECORATE, *, manual_ack: bool = False) -> Any:
        """Register a handler that is called only for the next such event, of any client. Otherwise like `on`."""
        _check_event(event)
        return self._register(event, handler, manual_ack=manual_ack, typed=False, once=True)

    def use(self, check: H) -> H:
        """Register a function that is called with each client before it joins. Usable as a decorator.

        The function may be async. It refuses the client by raising a ConnectError with a message and data, which the client
        receives. Another exception refuses the client without an explanation. The functions of a namespace are called in
        order, until one refuses, within `connect_timeout`. Clients that recover their connection join without being checked.
        """
        if not callable(check):
            raise OptionError(f"use() takes a function that is called with the client, not {check!r}")
        self._spec.checks.append(check)
        self._spec.namespace.asks_before_connecting = True
        return check

    def broadcast(
        self,
        event: str | float,
        *values: Any,
        except_: Collection[RemoteClient] = (),
        volatile: bool = False,
    ) -> None:
        """Emit an event to all clients of the namespace. It is encoded once, and does not wait for slow clients.

        Args:
            event: The event's name.
            values: As in `RemoteClient.emit`.
            except_: The clients that do not receive it.
            volatile: Whether to drop it for the clients to which it cannot be sent immediately.

        Raises:
            OptionError: The name of the event is invalid or reserved.
            PacketError: A value cannot be encoded.
        """
        pump = self._run.pump
        except_ids = {client.id for client in except_}
        self._spec.namespace.broadcast((event, *values), pump.now(), except_=except_ids, volatile=volatile)
        pump.drain()


class Server(ServerNamespace):
    """A Socket.IO server, created by `serve`. It is also its main namespace, "/"."""

    def __init__(self, run: ServerRun, host: str, port: int) -> None:
        super().__init__(run, run.of("/"))
        self._namespaces: dict[str, ServerNamespace] = {"/": self}
        self._host = host
        self._port = port

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return self._port

    @property
    def url(self) -> str:
        """The URL of the server for clients on the same machine."""
        host = self._host if self._host not in {"", "0.0.0.0", "::"} else "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def of(self, name: str) -> ServerNamespace:
        """Return a namespace, which is created by the first call. Clients can join only namespaces that exist.

        Raises:
            PacketError: The name is invalid.
        """
        name = name if name.startswith("/") else f"/{name}"
        if name not in self._namespaces:
            self._namespaces[name] = ServerNamespace(self._run, self._run.of(name))
        return self._namespaces[name]

    async def serve_forever(self) -> None:
        """Wait until `close` is called, or the task is cancelled.

        Raises:
            Exception: A handler raised it, and `on_handler_error` is "raise".
        """
        await self._run.stopping()

    def close(self) -> None:
        """Start to stop: accept no more clients and disconnect all. The end of the `serve` block waits until it is done."""
        self._run.stop()


def _check_event(event: object) -> None:
    """Raise OptionError for events that servers do not have."""
    name = event_name(event)
    if name in _NOT_ON_SERVERS:
        raise OptionError(f"servers have no event {name!r}: {_NOT_ON_SERVERS[name]}")
