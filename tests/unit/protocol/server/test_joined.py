"""The client's machine and the server's machine, joined in memory: what one sends, the other receives."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol import ClientOptions, ClientProtocol, EngineOptions, EngineProtocol, events
from sansio_socketio.protocol.server import (
    EngineServerOptions,
    EngineServerProtocol,
    Recovery,
    ServerOptions,
    ServerProtocol,
)
from sansio_socketio.protocol.server.events import (
    ClientAcknowledged,
    ClientConnected,
    ClientDisconnected,
    ClientEmitted,
    SessionClosed,
    SessionMessage,
    SessionUpgraded,
)
from tests.support.joined import Joined

TRANSPORTS: list[Sequence[str]] = [("polling",), ("websocket",), ("polling", "websocket")]
URL = "http://server.test"
SEEDS = st.integers(0, 2**32)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


class World:
    """A server that echoes, and one client."""

    def __init__(
        self, transports: Sequence[str], seed: int, *, recovery: Recovery | None = None, **options: Any
    ) -> None:
        self.server = ServerProtocol(
            ServerOptions(transports=["polling", "websocket"], recovery=recovery, max_attachments=100, **options),
            random=Random(seed),
        )
        self.net = Joined(self.server, self.react, seed=seed)
        self.client = ClientProtocol(
            URL, ClientOptions(transports=transports, reconnection_delay=0.1), random=Random(seed)
        )
        self.side = self.net.add(self.client)

    def react(self, event: Any, now: float) -> None:
        if isinstance(event, ClientEmitted):
            namespace = self.server.namespace(event.namespace)
            if event.ack_id is not None:
                namespace.acknowledge(event.client, event.ack_id, event.args, now)
            elif event.args[0] == "echo":
                namespace.emit(event.client, event.args, now)

    def join(self, name: str = "/") -> Any:
        self.server.namespace(name)
        socket = self.client.namespace(name)
        socket.connect(self.net.now)
        return socket

    def received(self) -> list[Any]:
        return [event.args for event in self.net.events(self.side, events.EventReceived)]

    def emitted(self) -> list[Any]:
        return [event.args for event in self.net.events(0, ClientEmitted)]

    def finish(self) -> None:
        """Stop the server. Nothing is left."""
        self.client.close(self.net.now)
        self.net.run(30)
        assert not self.server.sessions
        self.server.shutdown(self.net.now)
        self.net.run(30)
        assert self.server.state == "stopped"
        assert self.client.idle
        assert not self.net.open_streams


@pytest.mark.parametrize("transports", TRANSPORTS)
@given(seed=SEEDS, values=st.lists(VALUES, max_size=6))
@settings(deadline=None, max_examples=40)
def test_everything_arrives_once_and_in_order(transports: Sequence[str], seed: int, values: list[Any]) -> None:
    world = World(transports, seed)
    world.net.most_late, world.net.extra_ticks = 0.05, 0.2
    socket, other = world.join(), world.join("/other")
    handles = []
    for number, value in enumerate(values):
        socket.emit(["echo", number, value], world.net.now)
        handles.append(other.emit(["ask", value], world.net.now, ack=True, timeout=30))
        world.net.run(world.net.random.random() * 0.1)
    world.net.run(10)
    expected = [["echo", number, value] for number, value in enumerate(values)]
    assert [args for args in world.emitted() if args[0] == "echo"] == expected
    assert world.received() == expected
    acknowledged = {event.handle: event.args for event in world.net.events(world.side, events.Acknowledged)}
    assert acknowledged == {handle: ["ask", value] for handle, value in zip(handles, values, strict=True)}
    assert [upgrade.transport for upgrade in world.net.events(0, SessionUpgraded)] == (
        ["websocket"] if len(transports) == 2 else []
    )
    world.finish()


@pytest.mark.parametrize("transports", TRANSPORTS)
@given(seed=SEEDS, values=st.lists(VALUES, max_size=6))
@settings(deadline=None, max_examples=25)
def test_the_server_emits_and_broadcasts(transports: Sequence[str], seed: int, values: list[Any]) -> None:
    world = World(transports, seed)
    world.join()
    world.net.run(2)
    (connected,) = world.net.events(0, ClientConnected)
    namespace = world.server.namespace()
    handles: list[int] = []
    for value in values:
        namespace.broadcast(["all", value], world.net.now)
        handles.append(namespace.emit(connected.client, ["one", value], world.net.now, ack=True, timeout=30))
        world.net.run(world.net.random.random() * 0.1)
        for event in world.net.events(world.side, events.EventReceived):
            if event.ack_id is not None:
                world.client.namespace("/").acknowledge(event.ack_id, event.args, world.net.now)
    world.net.run(5)
    assert world.received() == [args for value in values for args in (["all", value], ["one", value])]
    for event in world.net.events(world.side, events.EventReceived):
        if event.ack_id is not None:
            world.client.namespace("/").acknowledge(event.ack_id, event.args, world.net.now)
    world.net.run(5)
    acknowledged = world.net.events(0, ClientAcknowledged)
    assert [event.args for event in acknowledged] == [["one", value] for value in values]
    assert [event.handle for event in acknowledged] == handles
    world.finish()


@pytest.mark.parametrize("transports", TRANSPORTS)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 3), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_a_client_that_was_cut_off_recovers_every_event(transports: Sequence[str], seed: int, cuts: list[int]) -> None:
    world = World(transports, seed, recovery=Recovery(max_age=60))
    world.join()
    world.net.run(1)
    namespace = world.server.namespace()
    count = 0
    namespace.broadcast(["news", count], world.net.now)
    world.net.run(1)
    for cut in cuts:
        for _ in range(3):
            count += 1
            namespace.broadcast(["news", count], world.net.now)
            world.net.run(world.net.random.random() * 0.05)
        world.net.cut(cut)
        count += 1
        namespace.broadcast(["news", count], world.net.now)
        world.net.run(3)
    world.net.run(60)  # a polling session is lost with its ping timeout
    assert [args[1] for args in world.received()] == [*range(count + 1)]
    joined = world.net.events(0, ClientConnected)
    assert all(event.client == joined[0].client for event in joined)
    assert [event.recovered for event in joined] == [False, *[True] * (len(joined) - 1)]
    world.finish()


@pytest.mark.parametrize("transports", TRANSPORTS)
@given(seed=SEEDS, cuts=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2)), max_size=6))
@settings(deadline=None, max_examples=40)
def test_streams_that_break_at_any_time_break_nothing_else(
    transports: Sequence[str], seed: int, cuts: list[tuple[int, float]]
) -> None:
    world = World(transports, seed, ping_interval=1.0, ping_timeout=1.0)
    socket = world.join()
    for number, (cut, wait) in enumerate(cuts):
        socket.emit(["echo", number], world.net.now)
        world.net.run(wait * world.net.random.random())
        world.net.cut(cut)
    world.net.run(20)
    assert socket.connected
    assert len(world.net.events(0, ClientConnected)) == len(world.net.events(0, ClientDisconnected)) + 1
    emitted = [args[1] for args in world.emitted()]
    assert emitted == sorted(set(emitted))
    world.finish()


@pytest.mark.parametrize("transports", TRANSPORTS)
@given(
    seed=SEEDS, messages=st.lists(st.text(max_size=5).filter(lambda text: "\x1e" not in text) | st.binary(max_size=5))
)
@settings(deadline=None, max_examples=30)
def test_engine_io_alone_echoes(transports: Sequence[str], seed: int, messages: list[str | bytes]) -> None:
    server = EngineServerProtocol(EngineServerOptions(), random=Random(seed))

    def echo(event: Any, now: float) -> None:
        if isinstance(event, SessionMessage):
            server.send(event.session, event.data, now)

    net = Joined(server, echo, seed=seed)
    client = EngineProtocol(URL, EngineOptions(transports=transports), random=Random(seed))
    side = net.add(client)
    client.open(net.now)
    for message in messages:
        client.send(message, net.now)
        net.run(net.random.random() * 0.05)
    net.run(100)  # several pings
    assert [event.data for event in net.events(side, events.EngineMessage)] == messages
    client.close(net.now)
    net.run(10)
    (closed,) = net.events(0, SessionClosed)
    assert closed.reason == "transport close"
    assert client.idle
    server.shutdown(net.now)
    net.run(10)
    assert server.state == "stopped"
    assert not net.open_streams


@given(seed=SEEDS, count=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_a_broadcast_reaches_every_client_once_and_in_order(seed: int, count: int) -> None:
    world = World(("polling", "websocket"), seed)
    world.join()
    others = []
    for number in range(count):
        client = ClientProtocol(URL, ClientOptions(transports=TRANSPORTS[number % 3]), random=Random(number))
        others.append(world.net.add(client))
        client.namespace("/").connect(world.net.now)
    world.net.run(world.net.random.random())
    world.net.run(1)
    for number in range(10):
        world.server.namespace().broadcast(["news", number, bytes([number])], world.net.now)
        world.net.run(world.net.random.random() * 0.1)
    world.net.run(5)
    for side in [world.side, *others]:
        received = [event.args for event in world.net.events(side, events.EventReceived)]
        assert received == [["news", number, bytes([number])] for number in range(10)]
    assert len(world.server.namespace().clients) == count + 1


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_a_server_that_stops_closes_its_sessions(transports: Sequence[str]) -> None:
    world = World(transports, 1)
    socket = world.join()
    world.net.run(2)
    world.server.shutdown(world.net.now)
    world.net.refuses = True
    world.net.run(3)
    assert world.server.state == "stopped"
    assert not socket.connected
    assert world.net.events(world.side, events.Closed)[0].reason == "transport close"
    (disconnected,) = world.net.events(0, ClientDisconnected)
    assert disconnected.reason == "server shutting down"
    world.client.close(world.net.now)
    world.net.run(10)
    assert not world.net.open_streams
