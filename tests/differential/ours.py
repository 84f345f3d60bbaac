"""The side of this library in the differential tests: runs a scenario with one of the drivers. javascript.js is the other side.

What a step does (`who` is a name that `io`, `manager` or `socket` gave; `how` is that name, or an object with `socket`
and flags: `ack` (a label), `timeout`, `volatile`, `compress`):

    io NAME [NAMESPACE] [OPTIONS]              io(url + namespace, options); the first Manager is called "manager"
    manager NAME [OPTIONS]                     new Manager(url, options)
    socket NAME MANAGER [NAMESPACE] [OPTIONS]  manager.socket(namespace, options)
    emit HOW EVENT VALUES...                   and send HOW VALUES...
    ask HOW EVENT VALUES...                    emitWithAck; it waits for the answer
    on WHO EVENT LABEL [{once, reply, steps}]  a handler: it logs the values under the label (but not those of lifecycle
                                               events), takes the steps, and acknowledges with the values in `reply`
    off WHO [EVENT] [LABEL]
    on_any WHO LABEL [{method, steps}]         off_any WHO [LABEL] [{method}]
    connect WHO, disconnect WHO                of a socket; they do not wait
    open WHO LABEL, close WHO                  of a Manager; the result of opening is logged under the label
    close_engine WHO                           of a Manager's session
    set WHO PROPERTY VALUE                     is WHO PROPERTIES...: log them; same WHO WHO: whether they are the same
    server COMMAND [ARGUMENTS]                 see COMMANDS in server.js
    seen EVENT [COUNT]                         wait until the server has received it
    wait WHO EVENT VALUES...                   take the first entry of the log that starts so and has not been taken
    transport NAME                             wait until the session uses that transport
    pass MILLISECONDS                          let time pass in which nothing must happen
    note WORDS...                              put something into the log

The log has lists: a socket's events under its name, with `active` or `inactive` after failures; what is watched under the
Manager's name, or "engine"; and ["ack", label, ...], ["answer", value] and
["raised", step, error].

An error is logged by its kind, since the messages differ; what the server sent is logged as it is.
Bytes are {"$bytes": hexadecimal digits}.

At the end of a scenario its sockets disconnect, and the server returns its record when it has seen that.
"""

from __future__ import annotations

import json
import re
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from sansio_socketio.handlers.registry import LIFECYCLE_EVENTS
from sansio_socketio.protocol.errors import (
    AckTimeout,
    ConnectError,
    DisconnectedError,
    OpenTimeout,
    OptionError,
    PacketError,
    TransportError,
)
from tests.differential.scenarios import Outcome, Scenario
from tests.support.drivers import Driver
from tests.support.peers import Peer

Step = Sequence[Any]
Start = Callable[[Callable[[], Awaitable[Any]]], None]

AT_A_TIME: Final = 8

_asking: Final = threading.Lock()
_PREPARING: Final = frozenset({"manager", "socket", "on", "on_any"})
_TIMES: Final = frozenset({"reconnectionDelay", "reconnectionDelayMax", "timeout", "ackTimeout"})


def run_all(driver: Driver, peer: Peer, scenarios: Mapping[str, Scenario]) -> dict[str, Outcome]:
    """Run scenarios with a driver, several concurrently, and return the outcomes by name; a failed one has `failed`."""
    outcomes: dict[str, Outcome] = {}
    left = deque(scenarios.items())

    async def work() -> None:
        while True:
            try:
                name, scenario = left.popleft()
            except IndexError:
                return
            server = ScenarioServer(peer, scenario.get("server", {}))
            try:
                outcomes[name] = await ScenarioRun(driver, server, scenario).run()
            except Exception:
                outcomes[name] = {"failed": traceback.format_exc()}
            finally:
                server.ask("drop")

    driver.run(lambda: driver.gather(*[work] * AT_A_TIME))
    return outcomes


class ScenarioServer:
    """The server of one scenario: one of those in the process of server.js."""

    def __init__(self, peer: Peer, config: Mapping[str, Any]) -> None:
        self._peer = peer
        with _asking:
            opened = peer.control("open", **config)
        self._cell = opened["cell"]
        self.url = f"http://127.0.0.1:{opened['port']}"

    def ask(self, cmd: str, **args: Any) -> Any:
        with _asking:
            return self._peer.control(cmd, cell=self._cell, **args)


class ScenarioRun:
    """One run of a scenario."""

    def __init__(self, driver: Driver, server: ScenarioServer, scenario: Scenario) -> None:
        self._driver = driver
        self._server = server
        self._scenario = scenario
        self._entries = driver.queue()
        self._log: list[list[Any]] = []
        self._taken: set[int] = set()
        self._over = False
        self._sockets: dict[str, Any] = {}
        self._managers: dict[str, Any] = {}
        self._outside: list[str] = []
        self._handlers: dict[str, Any] = {}
        self._watch: Sequence[str] = scenario.get("watch", ())
        self._scopes = AsyncExitStack()

    async def run(self) -> Outcome:
        async with self._driver.background() as self._start, self._scopes:
            self._io = await self._scopes.enter_async_context(self._driver.open_io())
            for step in self._scenario["steps"]:
                await self._step(step)
            await self._end()
        return {"saw": self._log, **self._server.ask("record")}

    async def _step(self, step: Step) -> None:
        verb, *args = step
        if verb not in _PREPARING:
            await self._enter_managers()
        do = getattr(self, f"_do_{verb}")
        try:
            await do(*args)
        except (OptionError, PacketError) as error:
            self._put("raised", verb, _describe_error(error))

    def _put(self, *entry: Any) -> None:
        if not self._over:
            self._entries.put(_encode(list(entry)))

    async def _do_wait(self, *pattern: Any) -> None:
        for socket in self._sockets.values():
            await self._driver.registered(socket)
        while True:
            for index, entry in enumerate(self._log):
                if index not in self._taken and entry[: len(pattern)] == list(pattern):
                    self._taken.add(index)
                    return
            try:
                self._log.append(await self._entries.get())
            except Exception as error:
                raise AssertionError(f"timed out waiting for {pattern}; log: {json.dumps(self._log)}") from error

    # Creating

    async def _do_io(self, name: str, namespace: str = "/", options: Mapping[str, Any] | None = None) -> None:
        self._add_socket(name, self._io(self._server.url + namespace, **self._options(options, name)))

    async def _do_manager(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        manager = self._driver.manager(self._server.url, **self._options(options, name))
        self._managers[name] = manager
        self._watch_manager(manager, name)
        self._outside.append(name)

    async def _enter_managers(self) -> None:
        """Start the Managers that were made. With threads one may be connected, or refused, before the next step."""
        while self._outside:
            name = self._outside.pop(0)
            await self._scopes.enter_async_context(self._managers[name])
            self._watch_session(name)

    async def _do_socket(
        self, name: str, manager: str, namespace: str = "/", options: Mapping[str, Any] | None = None
    ) -> None:
        self._add_socket(name, self._managers[manager].socket(namespace, **self._own(options or {}, name)))

    def _options(self, options: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
        return self._own({**self._scenario["options"], **(options or {})}, name)

    def _own(self, options: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return the options with the names and units of this library."""
        ours: dict[str, Any] = {}
        for option, value in options.items():
            if option == "transportOptions":
                ours["transport_options"] = {key: self._own(own, name) for key, own in value.items()}
            elif option in _TIMES:
                ours[_snake(option)] = None if value is False else value / 1000
            elif option == "auth" and isinstance(value, list):
                ours["auth"] = self._asker(name, value)
            else:
                ours[_snake(option)] = value
        return ours

    def _asker(self, name: str, values: list[Any]) -> Callable[[], Any]:
        """Return a function that returns each of these once, and then the last one again."""
        left = list(values)

        def answer() -> Any:
            self._put(name, "asked for auth")
            return left.pop(0) if len(left) > 1 else left[0]

        return answer

    def _add_socket(self, name: str, socket: Any) -> None:
        known = socket in self._sockets.values()
        self._sockets[name] = socket
        if known:
            return

        def state() -> list[str]:
            return [] if self._scenario.get("active") is False else ["active" if socket.active else "inactive"]

        socket.on("connect", lambda: self._put(name, "connect", *(["recovered"] if socket.recovered else [])))
        socket.on("connect_error", lambda error: self._put(name, "connect_error", _describe_error(error), *state()))
        socket.on(
            "disconnect",
            lambda reason, details: self._put(name, "disconnect", reason, _describe_details(details), *state()),
        )
        if not self._scenario.get("quiet"):
            socket.on_any(lambda *args: self._put(name, *args))
        if socket.io not in self._managers.values():
            manager = f"manager of {name}" if "manager" in self._managers else "manager"
            self._managers[manager] = socket.io
            self._watch_manager(socket.io, manager)
            self._watch_session(manager)

    def _watch_manager(self, manager: Any, name: str) -> None:
        if "manager" not in self._watch:
            return
        for event in ("open", "ping", "reconnect", "reconnect_attempt", "reconnect_failed"):
            manager.on(event, lambda *args, event=event: self._put(name, event, *args))
        for event in ("error", "reconnect_error"):
            manager.on(event, lambda error, event=event: self._put(name, event, _describe_error(error)))
        manager.on("close", lambda reason, details: self._put(name, "close", reason, _describe_details(details)))

    def _watch_session(self, name: str) -> None:
        if "engine" in self._watch:
            self._watch_engine(name)

    def _watch_engine(self, name: str) -> None:
        engine = self._managers[name].engine
        if not {"packets", "flow"} & set(self._watch):
            engine.on("open", lambda: self._put("engine", "open"))
        for event in ("upgrading", "upgrade"):
            engine.on(event, lambda transport, event=event: self._put("engine", event, transport.name))
        engine.on("upgrade_error", lambda error: self._put("engine", "upgradeError", _describe_error(error)))
        engine.on("close", lambda reason, _: self._put("engine", "close", reason))
        if "packets" in self._watch:
            engine.on("packet", lambda packet: self._put_packet("packet", packet))
            engine.on("packet_create", lambda packet: self._put_packet("packetCreate", packet))
        if "flow" in self._watch:
            for event in ("flush", "drain"):
                engine.on(event, lambda event=event: self._put("engine", event))

    def _put_packet(self, event: str, packet: Any) -> None:
        if packet.type not in ("ping", "pong"):
            has_data = packet.type != "open" and packet.data
            self._put("engine", event, packet.type, *([packet.data] if has_data else []))

    # Sending

    async def _do_emit(self, how: Any, event: Any, *values: Any) -> None:
        socket, ack = self._flagged(how)
        await socket.emit(event, *_decode(values), **ack)

    async def _do_send(self, how: Any, *values: Any) -> None:
        socket, ack = self._flagged(how)
        await socket.send(*_decode(values), **ack)

    async def _do_ask(self, how: Any, event: Any, *values: Any) -> None:
        socket, _ = self._flagged(how)
        try:
            self._put("answer", await socket.emit_with_ack(event, *_decode(values)))
        except (AckTimeout, DisconnectedError) as error:
            self._put("answer", _describe_error(error))

    def _flagged(self, how: Any) -> tuple[Any, dict[str, Any]]:
        flags: dict[str, Any] = {"socket": how} if isinstance(how, str) else how
        socket = self._sockets[flags.get("socket", "socket")]
        if flags.get("volatile"):
            socket = socket.volatile
        if "compress" in flags:
            socket = socket.compress(flags["compress"])
        if "timeout" in flags:
            socket = socket.timeout(flags["timeout"] / 1000)
        if "ack" not in flags:
            return socket, {}
        return socket, {"ack": lambda *values: self._put("ack", flags["ack"], *map(_describe, values))}

    # Handlers

    async def _do_on(self, name: str, event: str, label: str, what: Mapping[str, Any] | None = None) -> None:
        what = what or {}

        async def handle(*values: Any) -> Any:
            self._put(label, *([] if event in LIFECYCLE_EVENTS else values))
            for step in what.get("steps", ()):
                await self._step(step)
            return tuple(_decode(what["reply"])) if "reply" in what else None

        handler = self._handlers[label] = self._driver.handler(handle)
        target = self._sockets.get(name) or self._managers[name]
        (target.once if what.get("once") else target.on)(event, handler)

    async def _do_off(self, name: str, event: str | None = None, label: str | None = None) -> None:
        args = [event] if event else []
        (self._sockets.get(name) or self._managers[name]).off(*args, *([self._handlers[label]] if label else []))

    async def _do_on_any(self, name: str, label: str, what: Mapping[str, Any] | None = None) -> None:
        what = what or {}

        async def handle(*values: Any) -> None:
            self._put(label, *values)
            for step in what.get("steps", ()):
                await self._step(step)

        handler = self._handlers[label] = self._driver.handler(handle)
        getattr(self._sockets[name], _snake(what.get("method", "onAny")))(handler)

    async def _do_off_any(self, name: str, label: str | None = None, what: Mapping[str, Any] | None = None) -> None:
        method = _snake((what or {}).get("method", "offAny"))
        getattr(self._sockets[name], method)(*([self._handlers[label]] if label else []))

    # Connecting and disconnecting

    async def _do_connect(self, name: str) -> None:
        socket = self._sockets[name]
        await self._begin(socket.connect, lambda: bool(socket.active))

    async def _do_disconnect(self, name: str) -> None:
        await self._sockets[name].disconnect()

    async def _do_open(self, name: str, label: str) -> None:
        manager = self._managers[name]

        async def open_it() -> None:
            try:
                await manager.open()
            except ConnectError as error:
                self._put(label, _describe_error(error))
            else:
                self._put(label, "open")

        await self._begin(open_it, lambda: manager.engine is not None and manager.engine.state != "closed")

    async def _begin(self, function: Callable[[], Awaitable[Any]], begun: Callable[[], bool]) -> None:
        """Call a function that waits for an end, and wait only until it has started."""
        done: list[None] = []

        async def call() -> None:
            try:
                await function()
            except (ConnectError, DisconnectedError):
                pass  # the events show it
            finally:
                done.append(None)

        self._start(call)
        await self._driver.until(lambda: bool(done) or begun())

    async def _do_close(self, name: str) -> None:
        await self._managers[name].close()

    async def _do_close_engine(self, name: str) -> None:
        await self._managers[name].engine.close()

    async def _do_set(self, name: str, prop: str, value: Any) -> None:
        target = self._sockets.get(name) or self._managers[name]
        setattr(target, _snake(prop), value / 1000 if prop in _TIMES else value)

    async def _do_is(self, name: str, *properties: str) -> None:
        target = self._sockets.get(name) or self._managers[name]
        self._put(name, "is", {prop: _look(target, prop) for prop in properties})

    async def _do_same(self, first: str, second: str) -> None:
        one, two = self._sockets[first], self._sockets[second]
        self._put("same", {"socket": one == two, "manager": one.io == two.io})

    # The server, and time

    async def _do_server(self, cmd: str, args: Mapping[str, Any] | None = None) -> None:
        await self._driver.until(lambda: self._server.ask(cmd, **(args or {})) is not False)

    async def _do_seen(self, event: str, count: int = 1) -> None:
        await self._driver.until(lambda: self._server.ask("seen", event=event) >= count)

    async def _do_transport(self, name: str) -> None:
        manager = self._managers["manager"]
        await self._driver.until(lambda: manager.engine is not None and manager.engine.transport.name == name)

    async def _do_pass(self, milliseconds: float) -> None:
        await self._driver.sleep(milliseconds / 1000)

    async def _do_note(self, *words: Any) -> None:
        self._put("note", *words)

    async def _end(self) -> None:
        for name, socket in self._sockets.items():
            if socket.connected:
                await socket.disconnect()
                await self._do_wait(name, "disconnect", "io client disconnect")
        await self._driver.until(self._is_all_handled)
        self._put("the end")
        await self._do_wait("the end")
        self._log.pop()
        self._over = True
        for socket in self._sockets.values():
            await socket.disconnect()
        for manager in self._managers.values():
            await manager.close()
        await self._driver.until(lambda: self._server.ask("clients") == 0)

    def _is_all_handled(self) -> bool:
        """Return whether no handler is running or queued. No public API returns that."""
        for view in self._managers.values():
            core = getattr(view, "_target", view)._core
            run = core.link.active()
            if run is None:
                continue
            dispatchers = [run.of(spec).dispatcher for spec in core.blueprint.namespaces.values()]
            if run.lifecycle.is_busy or any(queue.is_handling for queue in [run.lifecycle, *dispatchers]):
                return False
        return True


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


def _look(target: Any, prop: str) -> Any:
    """Return a property in the units of the JavaScript client."""
    if prop == "transport":
        return target.engine.transport.name
    if prop == "engineId":
        return target.engine.id
    if prop in ("listeners", "listenersAny", "listenersAnyOutgoing"):
        return len(getattr(target, _snake(prop))(*(["event"] if prop == "listeners" else [])))
    value = getattr(target, _snake(prop))
    return value * 1000 if prop in _TIMES else value


def _encode(value: Any) -> Any:
    """Return what is logged for a value; bytes are written as in the scenarios."""
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return bytes.fromhex(value["$bytes"])
    if "$number" in value:
        return float(value["$number"])
    return {key: _decode(item) for key, item in value.items()}


def _describe(value: Any) -> Any:
    return _describe_error(value) if isinstance(value, Exception) else value


def _describe_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, AckTimeout):
        return {"error": "ack timeout"}
    if isinstance(error, DisconnectedError):
        return {"error": "disconnected"}
    if isinstance(error, OpenTimeout):
        return {"error": "open timeout"}
    if isinstance(error, TransportError):
        if str(error).startswith("probe error"):
            return {"error": "probe"}
        shown = error.transport == "polling"  # the JavaScript client does not have the response to a WebSocket request
        return {"error": "transport", "status": error.status if shown else None, "body": error.body if shown else None}
    if isinstance(error, ConnectError) and error.__cause__ is not None:
        return _describe_error(error.__cause__)
    if isinstance(error, ConnectError):
        return {"error": "refused", "message": error.message, "data": error.data}
    if isinstance(error, OptionError) and "reserved" in str(error):
        return {"error": "reserved name"}
    return {"error": type(error).__name__}


def _describe_details(details: Exception | None) -> str | None:
    if details is None:
        return None
    return "parse error" if isinstance(details, PacketError) else "transport"
