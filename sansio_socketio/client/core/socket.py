"""The persistent object behind a Socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...handlers.conversion import conversions
from ...handlers.registry import LIFECYCLE_EVENTS, Handler, check_wildcard, event_name
from ...protocol.client import namespace_name
from ...protocol.errors import AckTimeout, OptionError
from ...protocol.options import ASK, ClientOptions, check_option
from ...protocol.url import parse_url, redacted
from ...running.event_stream import Event, EventBuffer
from ...running.flags import Flags
from ..options import Auth, check_askable
from ..run.blueprint import NamespaceSpec
from ..run.disconnection import Disconnection
from ..run.link import Link
from ..run.namespace import NamespaceRun

_DEFAULT_ENDPOINT: Final = ClientOptions().path


class SocketCore:
    """Connects a namespace and emits events on it, in the current run.

    Args:
        spec: The namespace.
        link: Holds the current run.

    Attributes:
        public: The Socket of this core, or None before it is created.
    """

    __slots__ = ("public", "link", "spec")

    def __init__(self, spec: NamespaceSpec, link: Link) -> None:
        self.public: Any = None
        self.spec = spec
        self.link = link

    def set_auth(self, value: Auth) -> None:
        """Set the credentials to send from the next attempt on."""
        check_askable("auth", value)
        self.link.check_function("auth", value)
        with self.link.lock:
            self.link.check_caller()
            self.spec.namespace.auth = ASK if callable(value) else value
            self.spec.auth = value

    # Connecting

    async def connect(self) -> None:
        """Connect the namespace, and wait until it is connected."""
        self.begin()
        await self.wait_connected()

    def begin(self) -> None:
        """Connect the namespace in the background."""
        self.link.current().of(self.spec).connect()

    def want(self) -> None:
        """Connect the namespace in the background. If the Manager is not running, connect it in the next run."""
        if self.link.running() is None:
            self.spec.wanted = True
        else:
            self.begin()

    def disconnect(self) -> None:
        """Disconnect the namespace, and do not connect it in the next run."""
        self.link.check_caller()
        self.spec.wanted = False
        run = self.link.active()
        if run is None:
            self.spec.namespace.active = False
        else:
            run.of(self.spec).disconnect()

    async def wait_connected(self) -> None:
        """Wait until the namespace is connected."""
        if not self.spec.namespace.connected:
            namespace = self._trying()
            try:
                await namespace.connections.wait()
            except TimeoutError:  # the time limit of a blocking call
                late = namespace.explained(TimeoutError("the call did not complete within its timeout"))
                raise late from late.__cause__

    def _trying(self) -> NamespaceRun:
        """Return the namespace in the current run. Raise an error if it is neither connected nor connecting."""
        namespace = self.link.sending().of(self.spec)
        if not namespace.is_trying:
            raise namespace.not_trying()
        return namespace

    async def wait_first_attempt(self) -> None:
        """Wait until the namespace is connected. Raise ConnectError if the first attempt fails."""
        namespace = self.link.sending().of(self.spec)
        if namespace.failure is not None:
            raise namespace.failure
        if not self.spec.namespace.connected:
            await namespace.first_attempts.wait()

    @property
    def close_reason(self) -> Disconnection | None:
        """How the socket was disconnected, or None."""
        with self.link.lock:
            run = self.link.active()
            return self.spec.disconnection if run is None else run.of(self.spec).disconnection

    async def wait_closed(self) -> None:
        """Wait until the namespace is disconnected and the client does not reconnect it."""
        run = self.link.active()
        if run is None:
            if self.spec.wanted and self.link.run is None:
                self.link.sending()  # raise the error that says how to start the Manager
        else:
            namespace = run.of(self.spec)
            if namespace.is_trying:
                await namespace.closings.wait()
                return
        disconnection = self.spec.disconnection
        lost = None if disconnection is None else disconnection.error(self.spec.name)
        if lost is not None:
            raise lost

    def events(self, how_to_open: str) -> EventBuffer:
        """Create a stream of the namespace's events."""
        self.link.check_caller()
        return EventBuffer(self.link.sending().of(self.spec), how_to_open)

    async def wait_for(self, event: object, timeout: float | None) -> Event:
        """Wait for the next event of a name."""
        name = event_name(event)
        check_wildcard(name)
        if name in LIFECYCLE_EVENTS:
            raise OptionError(
                f"wait_for waits for an event of the server's application, not for {name!r}: call wait_connected() or "
                "wait_closed(), or register a handler"
            )
        check_option("timeout", timeout)
        namespace = self._trying()
        try:
            return await namespace.dispatcher.expected.wait(name, timeout)
        except TimeoutError as late:
            late = namespace.explained(late)
            raise late from late.__cause__

    # Sending

    async def emit(self, args: Sequence[Any], flags: Flags, ack: Handler | None) -> None:
        """Wait until the connection is writable, then emit."""
        run = self.link.sending()
        if not (run.machine.writable or flags.volatile):
            await run.drained()
        run.of(self.spec).emit(args, flags, ack)

    def emit_nowait(self, args: Sequence[Any], flags: Flags, ack: Handler | None) -> None:
        """Emit without waiting until the connection is writable."""
        with self.link.lock:
            self.link.sending().of(self.spec).emit(args, flags, ack)

    async def emit_with_ack(self, args: Sequence[Any], flags: Flags) -> Any:
        """Wait until the connection is writable, emit, and wait for the acknowledgement."""
        run = self.link.current()  # while the run is stopping, no acknowledgement can arrive
        try:
            if not (run.machine.writable or flags.volatile):
                await run.drained()
            return await run.of(self.spec).emit_with_ack(args, flags)
        except AckTimeout:
            raise
        except TimeoutError:  # the time limit of a blocking call
            late = AckTimeout(f"event {args[0]!r} was not acknowledged within the timeout of the call")
            late = run.of(self.spec).explained(late)
            raise late from late.__cause__

    async def emit_for_result(self, args: Sequence[Any], flags: Flags, result: Any) -> Any:
        """Emit like `emit_with_ack`, and convert the acknowledgement to the type `result`."""
        convert = conversions("result").converting_ack(result, event_name(args[0]))  # before it is sent: it may raise
        return convert(await self.emit_with_ack(args, flags))

    def drop_buffered(self) -> int:
        """Drop the events that have not been sent, and return how many."""
        with self.link.lock:
            run = self.link.active()
            return 0 if run is None else run.of(self.spec).drop_buffered()


def url_namespace(url: str, options: Mapping[str, Any]) -> str:
    """Return the namespace that the path of a URL names.

    Raises:
        OptionError: The URL is invalid, or its path is the server's endpoint, such as /socket.io/.
    """
    path = parse_url(url).path
    endpoint = options.get("path", _DEFAULT_ENDPOINT)
    if isinstance(endpoint, str) and path.strip("/") == endpoint.strip("/") != "":
        raise OptionError(
            f"the path of {redacted(url)!r} is the server's endpoint; in this URL the path names a namespace: "
            "leave it out (the option `path` sets the endpoint)"
        )
    return namespace_name(path)
