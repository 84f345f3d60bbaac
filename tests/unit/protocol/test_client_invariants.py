"""Invariants of the client under any order of actions of the application, the server, the network and time.

The server of the JavaScript implementation closes the whole connection on an unexpected packet, so what the
client may send in which state is checked as strictly.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_socketio.protocol.emit import UNSET
from sansio_socketio.protocol.errors import BufferFullError, OptionError, PacketError
from sansio_socketio.protocol.events import (
    AckFailed,
    AckId,
    Acknowledged,
    Connected,
    Disconnected,
    Drained,
    EventReceived,
    MachineEvent,
    Question,
    ReconnectAttempt,
)
from sansio_socketio.protocol.namespace import Namespace
from sansio_socketio.protocol.options import ASK
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.socketio import CONNECT, DISCONNECT, Packet
from sansio_socketio.protocol.states import JoinState
from tests.support.fake_server import FakeServer, Wire, wires

NAMES = st.sampled_from(["/", "/retries", "/auth"])
SECONDS = st.sampled_from([0, 0.5, 1, 3, 7, 30])
TIMEOUTS = st.sampled_from([UNSET, None, 0, 1, 4])
VALUES = st.sampled_from([(), (1,), ("text",), (b"bytes", {"deep": [b"more"]})])
ANSWERS = st.sampled_from([None, {}, {"token": "t"}, LookupError("no token"), 5])
ABILITIES = st.sampled_from(["is_reading", "closes_streams", "breaks_on_send"])


@dataclass
class Link:
    """The state of one stream on the server."""

    is_strict: bool
    """Whether all that the client sends arrives at once, so that no packets of both sides cross."""
    is_open: bool = False
    ids: list[tuple[str, int]] = field(default_factory=list)
    """The namespaces and the ids of the events that want to be acknowledged."""
    asked: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)


class StrictServer(FakeServer):
    """A server that fails the test where a real one would close the connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.links: defaultdict[int, Link] = defaultdict(lambda: Link(self.is_reading))

    @property
    def link(self) -> Link | None:
        """The latest stream."""
        self.run()
        return self.links[self.streams[-1]] if self.streams else None

    def feed(self, packet: engineio.Packet) -> None:
        """Feed a packet, unless the previous one closed the stream."""
        self.run()
        if self.link is not None and self.link.is_open:
            super().feed(packet)

    def got(self, stream: int, packet: Packet) -> None:
        super().got(stream, packet)
        link, name = self.links[stream], packet.namespace
        if packet.type == CONNECT:
            assert not link.is_strict or name not in link.asked | link.joined, "CONNECT to a joined namespace"
            link.asked.add(name)
        else:
            assert not link.is_strict or name in link.joined, f"{packet} to what is not joined"
            if packet.type == DISCONNECT:
                link.joined.discard(name)
            elif packet.id is not None:
                link.ids.append((name, packet.id))


def _is_opening(client: Client) -> bool:
    link = client.server.link
    return link is not None and not link.is_open


def _is_open(client: Client) -> bool:
    link = client.server.link
    return link is not None and link.is_open


def _is_asked(client: Client) -> bool:
    link = client.server.link
    return link is not None and link.is_open and bool(link.asked)


class Client(RuleBasedStateMachine):
    """A client, and all actions that can affect it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(wires())
        self.stack.callback(setattr, Wire, "breaks_on_send", False)
        self.questions: list[int] = []
        self.ack_ids: list[tuple[str, AckId]] = []
        self.joined: set[str] = set()
        self.handles: list[tuple[str, int]] = []
        self.waiting: set[tuple[str, int]] = set()
        self.timed: set[tuple[str, int]] = set()

    @initialize(
        timeout=st.sampled_from([5, None, 20, 0]),
        attempts=st.sampled_from([0, 2, float("inf")]),
        delay=st.sampled_from([0, 1]),
        asks=st.booleans(),
        asks_before_reconnecting=st.booleans(),
        bounds=st.sampled_from([(100, 100_000), (3, 100_000), (100, 150)]),
    )
    def begin(
        self,
        timeout: float | None,
        attempts: float,
        delay: float,
        asks: bool,
        asks_before_reconnecting: bool,
        bounds: tuple[int, int],
    ) -> None:
        self.server = StrictServer(
            timeout=timeout,
            reconnection_attempts=attempts,
            reconnection_delay=delay,
            close_timeout=3,
            query=ASK if asks else {},
            max_buffered_events=bounds[0],
            max_buffered_bytes=bounds[1],
        )
        self.client = self.server.client
        self.client.asks_before_reconnecting = asks_before_reconnecting
        self.server.socket("/")
        self.server.socket("/retries", retries=2, ack_timeout=4)
        self.server.socket("/auth", auth=ASK).report_sent = True

    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "server"):
                self._end()

    def _end(self) -> None:
        """Check that close ends everything except what waits for the next connection, and that abort ends that, too."""
        server = self.server
        self.client.close(server.now)
        server.advance(3)
        self._look()
        assert self.client.idle
        server.advance(100)
        self._look()
        assert not self.timed
        assert server.streams == []
        assert server.deadline is None
        self.client.abort(server.now)
        self._look()
        assert not self.waiting
        assert (self.client._buffered_events, self.client._buffered_bytes) == (0, 0)
        assert self.client.idle
        server.advance(10)
        assert server.events() == []

    # The application

    @rule(name=NAMES)
    def connect(self, name: str) -> None:
        self.server.socket(name).connect(self.server.now)
        assert self.server.socket(name).active

    @rule(name=NAMES)
    def disconnect(self, name: str) -> None:
        socket = self.server.socket(name)
        socket.disconnect(self.server.now)
        assert not socket.active
        assert not socket.connected

    @rule(name=NAMES, values=VALUES, ack=st.booleans(), timeout=TIMEOUTS, volatile=st.booleans())
    def emit(self, name: str, values: tuple[Any, ...], ack: bool, timeout: Any, volatile: bool) -> None:
        socket = self.server.socket(name)
        try:
            handle = socket.emit(["event", *values], self.server.now, ack=ack, timeout=timeout, volatile=volatile)
        except BufferFullError:
            return
        assert (name, handle) not in self.handles
        self.handles.append((name, handle))
        if ack:
            self.waiting.add((name, handle))
            # Under retries a timeout counts from each sending, so that it need not come to an end offline.
            if timeout not in {UNSET, None} and (name != "/retries" or volatile):
                self.timed.add((name, handle))

    @rule(name=NAMES, args=st.sampled_from([["a", object()], [b"name"], ["connect"], []]))
    def emit_what_cannot_be(self, name: str, args: list[Any]) -> None:
        try:
            self.server.socket(name).emit(args, self.server.now, ack=True, timeout=1)
        except (PacketError, OptionError):
            return
        raise AssertionError(f"{args} was emitted")

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name, handle = data.draw(st.sampled_from(self.handles))
        self._look()  # which checks the events so far
        self.server.socket(name).forget(handle, self.server.now)
        self._look()  # the emit may have timed out at this very moment
        self.waiting.discard((name, handle))
        self.timed.discard((name, handle))

    @rule(name=NAMES)
    def drop_buffered(self, name: str) -> None:
        socket = self.server.socket(name)
        socket.drop_buffered(self.server.now)
        self._look()
        assert not socket._unsent
        assert all(emit.tries for emit in socket._queue)
        assert socket.drop_buffered(self.server.now) == 0

    @precondition(lambda self: self.ack_ids)
    @rule(data=st.data(), values=VALUES)
    def acknowledge(self, data: st.DataObject, values: tuple[Any, ...]) -> None:
        name, ack_id = data.draw(st.sampled_from(self.ack_ids))
        self.server.socket(name).acknowledge(ack_id, values, self.server.now)

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), value=ANSWERS)
    def answer(self, data: st.DataObject, value: Any) -> None:
        self.client.answer(data.draw(st.sampled_from(self.questions)), value, self.server.now)

    @rule(reconnect=st.booleans())
    def open(self, reconnect: bool) -> None:
        self.client.open(self.server.now, reconnect=reconnect)

    @rule(how=st.sampled_from(["close", "abort", "reconnection"]))
    def end(self, how: str) -> None:
        if how == "reconnection":
            self.client.reconnection = not self.client.reconnection
            return
        self.client.close(self.server.now)
        if how == "abort":
            self.client.abort(self.server.now)
            self._look()
            assert self.client.idle
            assert not self.waiting
        assert self.client.state == "closed"
        assert not self.client.reconnecting

    # The server and the network

    def _link(self) -> Link:
        link = self.server.link
        assert link is not None
        return link

    @precondition(_is_opening)
    @rule()
    def accept(self) -> None:
        link = self._link()
        link.is_open = True
        self.server.accept()

    @precondition(_is_opening)
    @rule()
    def refuse(self) -> None:
        self.server.refuse()

    @precondition(_is_opening)
    @rule()
    def open_without_a_word(self) -> None:
        link = self._link()
        self.server.open_stream()
        link.is_open = True

    @precondition(_is_asked)
    @rule(data=st.data(), pid=st.sampled_from([None, "p1", "p2"]))
    def join(self, data: st.DataObject, pid: str | None) -> None:
        link = self._link()
        name = data.draw(st.sampled_from(sorted(link.asked)))
        link.asked.discard(name)
        link.joined.add(name)
        self.server.join(name, pid=pid)

    @precondition(_is_asked)
    @rule(data=st.data(), old=st.booleans())
    def deny(self, data: st.DataObject, old: bool) -> None:
        link = self._link()
        name = data.draw(st.sampled_from(sorted(link.asked)))
        link.asked.discard(name)
        if old:
            self.server.send(Packet(CONNECT, name))
        else:
            self.server.deny({"message": "no"}, name)

    @precondition(_is_open)
    @rule(name=NAMES)
    def kick(self, name: str) -> None:
        self._link().joined.discard(name)
        self.server.kick(name)

    @precondition(_is_open)
    @rule(name=NAMES, values=VALUES, wants_ack=st.booleans())
    def serve_event(self, name: str, values: tuple[Any, ...], wants_ack: bool) -> None:
        self.server.emit("news", *values, namespace=name, id=7 if wants_ack else None)

    @precondition(lambda self: _is_open(self) and self._link().ids)
    @rule(data=st.data(), values=VALUES)
    def serve_ack(self, data: st.DataObject, values: tuple[Any, ...]) -> None:
        name, number = data.draw(st.sampled_from(self._link().ids[-5:]))
        self.server.ack(*values, namespace=name, id=number)

    @precondition(_is_open)
    @rule(name=NAMES, number=st.integers(0, 5))
    def serve_late_ack(self, name: str, number: int) -> None:
        self.server.ack("late?", namespace=name, id=number)

    @rule(name=NAMES, values=VALUES, timeout=TIMEOUTS)
    def exchange(self, name: str, values: tuple[Any, ...], timeout: Any) -> None:
        """As `get_joined`."""
        self.get_joined(name)
        self.emit(name, ("exchanged", *values), ack=True, timeout=timeout, volatile=False)
        self._look()
        if _is_open(self) and self._link().ids:
            name, number = self._link().ids[-1]
            self.server.ack(namespace=name, id=number)

    @precondition(_is_open)
    @rule(message=st.sampled_from(["nonsense", b"no header", '51-["half",{"_placeholder":true,"num":0}]', "43[]"]))
    def serve_oddly(self, message: str | bytes) -> None:
        self.server.say(message)

    @precondition(_is_open)
    @rule()
    def ping(self) -> None:
        self.server.feed(engineio.Packet(engineio.PING))

    @precondition(_is_open)
    @rule(error=st.sampled_from([None, OSError("reset")]))
    def lose(self, error: Exception | None) -> None:
        self.server.lose(error)

    @rule(ability=ABILITIES)
    def toggle(self, ability: str) -> None:
        if ability == "breaks_on_send":
            Wire.breaks_on_send = not Wire.breaks_on_send
        else:
            setattr(self.server, ability, not getattr(self.server, ability))
        for link in self.server.links.values():
            link.is_strict = link.is_strict and self.server.is_reading

    @rule(name=NAMES)
    def get_joined(self, name: str) -> None:
        """Take all steps at once, since random steps seldom lead to a connected namespace."""
        self.server.is_reading, Wire.breaks_on_send = True, False
        self.client.open(self.server.now)
        self.connect(name)
        for _ in range(2):
            self._look()
            if _is_opening(self):
                self.accept()
            self._look()
            for question in self.questions[-5:]:  # the others are answered or late
                self.client.answer(question, {}, self.server.now)
        self._look()
        if _is_asked(self) and name in self._link().asked:
            self._link().asked.discard(name)
            self._link().joined.add(name)
            self.server.join(name, pid="p1")

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        # With no delay and no time to open in, there are attempts without end: a few of them will do.
        if self.client.timeout == 0 and self.client.reconnection_delay == 0:
            self.client.reconnection_attempts = min(self.client.reconnection_attempts, 5)
        self.server.advance(seconds)

    # Invariants

    @invariant()
    def holds(self) -> None:
        self._look()
        client, server = self.client, self.server
        assert self.joined == {name for name, socket in client.namespaces.items() if socket.connected}
        if client.idle:
            assert server.streams == []
        if client.state in {"opening", "reopening", "asking"}:
            assert server.streams or server.deadline is not None or self.questions, "nothing ends the attempt"
        if client.state == "waiting":
            assert server.deadline is not None, "nothing ends the wait"
        if self.timed:
            assert server.deadline is not None, "nothing ends the wait for an acknowledgement"
        for socket in client.namespaces.values():
            if socket._join is JoinState.WAITING:
                assert server.deadline is not None, "nothing ends the wait for auth"
        waiting = [emit for each in client.namespaces.values() for emit in (*each._unsent.values(), *each._queue)]
        assert client._buffered_events == len(waiting) <= client.options.max_buffered_events
        assert client._buffered_bytes == sum(emit.size for emit in waiting) <= client.options.max_buffered_bytes
        for socket in client.namespaces.values():
            self._check(socket)

    def _check(self, socket: Namespace) -> None:
        if socket.connected:
            assert self.client.is_open
            assert socket.active
            assert socket.sid is not None
            assert not socket._unsent
            assert not socket._queue or socket._queue[0].wire_id is not None, "the queue is blocked"
        else:
            assert socket.sid is None
        assert all(emit.wire_id == number for number, emit in socket._sent.items())
        assert sum(emit.wire_id is not None for emit in socket._queue) <= 1

    def _look(self) -> None:
        """Check that the application may get these events."""
        for event in self.server.events():
            self._check_event(event)

    def _check_event(self, event: MachineEvent) -> None:
        if isinstance(event, Connected):
            assert event.namespace not in self.joined, "no Disconnected between two Connected"
            self.joined.add(event.namespace)
        elif isinstance(event, Disconnected):
            was_joined = event.namespace in self.joined
            assert was_joined or event.reason not in {"io client disconnect", "io server disconnect"}
            self.joined.discard(event.namespace)
        elif isinstance(event, Acknowledged | AckFailed):
            self.waiting.remove((event.namespace, event.handle))  # once, and of what was not forgotten
            self.timed.discard((event.namespace, event.handle))
        elif isinstance(event, EventReceived):
            if event.ack_id is not None:
                self.ack_ids.append((event.namespace, event.ack_id))
        elif isinstance(event, Question):
            self.questions.append(event.question)
        elif isinstance(event, ReconnectAttempt):
            assert (event.question is not None) == self.client.asks_before_reconnecting
            if event.question is not None:
                self.questions.append(event.question)
        elif isinstance(event, Drained):
            assert self.client.writable


TestClient = Client.TestCase
# Explaining a failure takes longer than finding it.
PHASES = [phase for phase in Phase if phase is not Phase.explain]
TestClient.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, phases=PHASES)
