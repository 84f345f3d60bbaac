"""Random programs in virtual time: handlers that act inside the events of a connection neither block it nor wait forever."""

from __future__ import annotations

import logging
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import SocketIOError
from tests.support.fake_runtime import FakeFuture
from tests.support.fake_server import wires
from tests.support.programs import ACTIONS, ENDING, PLACES, Calls, ProgramHandler
from tests.support.variants import VARIANTS, Variant

PATIENCE: Final = 30.0
"""How long a handler waits for the handler that answers; three times as long as `slow_handler_warning`."""

FAULTS: Final = ("lose", "kick", "refuse", "hang", "accept no join", "join", "accept", "ping", "event", "ask")


class Play:
    """A program in a world."""

    def __init__(self, variant: Variant, *, functions: bool) -> None:
        self.variant = variant
        self.calls = Calls()
        self.cycles = 0  # handlers whose answer arrived, but was not handled
        self.is_answered = True
        answer = dict.fromkeys(("query", "extra_headers"), self._answer) if functions else {}
        self.manager: Any = variant.manager(
            on_handler_error=self._report, reconnection_delay=0.5, reconnection_delay_max=2, timeout=5, **answer
        )
        self.socket = self.manager.socket("/", auth=self._answer if functions else None)
        self.socket.on("logged_in", self._logged_in)
        self._logins: list[FakeFuture] = []
        self._answered: dict[int, tuple[float, str | None]] = {}
        self._sessions: list[Any] = []
        variant.server.on_event = self._on_event

    def _answer(self) -> dict[str, str]:
        return {"answer": "yes"}

    def _report(self, error: Exception, event: str) -> None:
        if not isinstance(error, (SocketIOError, ValueError)):
            self.calls.unexpected.append(error)

    def _on_event(self, packet: Any) -> None:
        server = self.variant.server
        if packet.data[0] == "login":
            self._answered[packet.data[1]] = (self.variant.world.time, self.socket.id)
            server.emit("logged_in", packet.data[1])
        elif packet.id is not None and self.is_answered:
            server.ack(packet, "yes")

    def _logged_in(self, number: int) -> None:
        self._logins[number].resolve(True)

    async def log_in(self) -> None:
        number = len(self._logins)
        login = FakeFuture(self.variant.world)
        self._logins.append(login)
        await self.socket.emit("login", number)
        self.variant.world.call_at(self.variant.world.time + PATIENCE, lambda: login.resolve(False))
        if not await self.variant.wait(login):
            now = self.variant.world.time
            answered, sid = self._answered.get(number, (now, None))
            # An answer is lost with its connection.
            self.cycles += now - answered > PATIENCE / 2 and sid is not None and sid == self.socket.id

    async def sleep(self, seconds: float) -> None:
        await self.variant.sleep(seconds)

    def register(self, handlers: list[ProgramHandler]) -> None:
        """Register the handlers, those of the Engine whenever there is a new one."""
        for handler in handlers:
            emitter, event = handler.place
            function = self.variant.handler(self.calls.handler(self, handler))
            if emitter == "Manager":
                self.manager.on(event, function)
            elif emitter == "Engine":
                self._sessions.append((event, function))
            elif event == "any":
                self.socket.on_any(function, concurrency=handler.concurrency)
            elif event == "any_outgoing":
                self.socket.on_any_outgoing(function)
            else:
                self.socket.on(event, function, concurrency=handler.concurrency)
        for event in ("open", "reconnect_attempt"):
            self.manager.on(event, self._watch_engine)
        self._engine: Any = None

    def _watch_engine(self) -> None:
        engine = self.manager.engine
        if engine is not None and engine != self._engine:
            self._engine = engine
            for event, function in self._sessions:
                engine.on(event, function)

    def fault(self, name: str) -> None:
        """Let something happen to the connection."""
        server = self.variant.server
        has_stream = server.stream is not None and server.stream.receiver is not None
        if name == "lose" and has_stream:
            server.lose()
        elif name in {"refuse", "hang", "accept"}:
            server.accepts = {"refuse": False, "hang": None, "accept": True}[name]
        elif name in {"join", "accept no join"}:
            server.joins = name == "join"
        elif has_stream and self.socket.connected:
            if name == "kick":
                server.kick()
            elif name == "ping":
                server.ping()
            elif name in {"event", "ask"}:
                server.emit("event", id=1 if name == "ask" else None)

    async def check(self, *, is_closed: bool) -> None:
        """The faults are over: everything settles, and the connection is there again."""
        server = self.variant.server
        server.accepts = server.joins = True
        if self.variant.server.stream is not None and not self.socket.connected:
            self.fault("lose")  # a CONNECT may be lost that the server did not answer
        await self.sleep(300)
        assert is_closed or self.socket.connected
        for _ in range(40):
            try:
                await self.manager.open()
                await self.socket.connect()
                await self.socket.timeout(5).emit_with_ack("there?")
                break
            except SocketIOError:
                await self.sleep(1)
        else:
            raise AssertionError("the connection does not come again")
        await self.sleep(300)
        assert self.calls.running == {}
        assert self.calls.unexpected == []


def handlers() -> st.SearchStrategy[list[ProgramHandler]]:
    return st.lists(
        st.builds(
            ProgramHandler,
            place=st.sampled_from(PLACES),
            actions=st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=3).map(tuple),
            concurrency=st.sampled_from([None, None, 1, 2]),
        ),
        min_size=1,
        max_size=6,
    )


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    handlers=handlers(),
    faults=st.lists(st.tuples(st.sampled_from(FAULTS), st.sampled_from([0.0, 0.01, 0.6, 3.0])), max_size=6),
    functions=st.booleans(),
    in_scope=st.booleans(),
)
def test_the_connection_recovers_after_a_random_program(
    name: str,
    handlers: list[ProgramHandler],
    faults: list[tuple[str, float]],
    functions: bool,
    in_scope: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    with wires():
        variant = Variant(name)
        play = Play(variant, functions=functions)
        play.register(handlers)
        is_closed = any(ENDING.intersection(handler.actions) for handler in handlers)
        is_closed = is_closed or any(fault == "kick" for fault, _ in faults)

        async def program() -> None:
            await variant.sleep(0.01)
            for fault, pause in faults:
                play.fault(fault)
                await variant.sleep(pause)
            await play.check(is_closed=is_closed)

        async def body() -> None:
            if in_scope:
                async with play.manager:
                    await program()
            else:
                try:
                    await play.manager.open()
                except SocketIOError:
                    await play.manager.open()  # a handler has closed it
                await program()
            for _ in range(15):  # handlers may open it again, also when its scope has ended
                await play.manager.close()
                await variant.sleep(60)

        variant.run(body)
    if play.cycles:
        slow = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert any("has blocked" in record.getMessage() for record in slow)
