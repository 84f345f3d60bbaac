"""Client machines and a server's machine, joined by streams in memory: a virtual clock, seeded delays and chunks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

from sansio_socketio.protocol import Machine
from sansio_socketio.protocol.actions import CloseStream, OpenStream, Send, SetTimer
from sansio_socketio.protocol.server.engine_protocol import ServerMachine

Key = tuple[int, int]
"""A side and its number of a stream. Side 0 is the server."""


@dataclass
class Half:
    """One direction of a stream: the end that receives, and when the last bytes sent so far arrive."""

    to: Key
    arrives: float = 0.0
    in_flight: int = 0
    ended: bool = False


@dataclass
class Side:
    machine: Machine
    react: Callable[[Any, float], None]
    events: list[Any] = field(default_factory=list)
    deadline: float | None = None


class Joined:
    """A server and clients. `react(event, now)` of a side is called with each of its events."""

    def __init__(self, server: ServerMachine, react: Callable[[Any, float], None] = lambda *_: None, *, seed: int = 0):
        self.now = 0.0
        self.server = server
        self.sides = [Side(server, react)]
        self.random = Random(seed)
        self.halves: dict[Key, Half] = {}  # by the end that sends
        self.closed: set[Key] = set()
        self.delay = 0.02
        self.most_chunks = 4
        self.refuses = False
        self.most_late = 0.0  # seconds that a timer fires late
        self.extra_ticks = 0.0  # how often an input is preceded by a superfluous tick
        self.bytes: dict[str, int] = defaultdict(int)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def add(self, machine: Machine, react: Callable[[Any, float], None] = lambda *_: None) -> int:
        """Add a client. Return the number of its side."""
        self.sides.append(Side(machine, react))
        return len(self.sides) - 1

    def events(self, side: int, kind: type[Any] = object) -> list[Any]:
        return [event for event in self.sides[side].events if isinstance(event, kind)]

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._queue, (when, self._sequence, action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.drain()
        while True:
            deadline, side = min(
                ((side.deadline, number) for number, side in enumerate(self.sides) if side.deadline is not None),
                default=(None, 0),
            )
            upcoming = self._queue[0][0] if self._queue else None
            if deadline is not None and (upcoming is None or deadline < upcoming) and deadline <= end:
                self.now = max(self.now, deadline)
                self.sides[side].deadline = None
                self.sides[side].machine.tick(self.now)
            elif upcoming is not None and upcoming <= end:
                self.now, _, action = heappop(self._queue)
                if self.random.random() < self.extra_ticks:
                    self.random.choice(self.sides).machine.tick(self.now)
                action()
            else:
                self.now = end
                return
            self.drain()

    def cut(self, index: int = -1) -> None:
        """Break a stream for both ends."""
        open_ends = [key for key in self.halves if key[0] and key not in self.closed]
        if open_ends:
            key = open_ends[index % len(open_ends)]
            for end in (self.halves[key].to, key):
                self.lose(end, ConnectionResetError("cut"))

    def drain(self) -> None:
        """Carry out the outputs of all sides."""
        busy = True
        while busy:
            busy = False
            for number, side in enumerate(self.sides):
                while (output := side.machine.next_output()) is not None:
                    busy = True
                    self.carry_out(number, side, output)

    def carry_out(self, number: int, side: Side, output: Any) -> None:
        if isinstance(output, SetTimer):
            late = self.random.random() * self.most_late
            side.deadline = None if output.deadline is None else output.deadline + late
        elif isinstance(output, OpenStream):
            self.at(self.now + self.wait(), lambda: self.connect(number, output.stream))
        elif isinstance(output, Send):
            self.send((number, output.stream), bytes(output.data))
        elif isinstance(output, CloseStream):
            self.close((number, output.stream), abort=output.abort)
        else:
            side.events.append(output)
            side.react(output, self.now)

    def wait(self) -> float:
        return self.random.random() * self.delay

    def connect(self, number: int, stream: int) -> None:
        end = (number, stream)
        if end in self.closed:
            return
        if self.refuses:
            self.closed.add(end)
            self.sides[number].machine.stream_failed(stream, ConnectionRefusedError("refused"), self.now)
            return
        peer = (0, self.server.stream_accepted(self.now, peer=f"client {number}"))
        self.halves[end], self.halves[peer] = Half(peer), Half(end)
        self.sides[number].machine.stream_opened(stream, self.now)

    def send(self, end: Key, data: bytes) -> None:
        assert end not in self.closed, "a closed stream is written to"
        half = self.halves[end]
        assert not half.ended
        self.bytes["sent by the server" if end[0] == 0 else "sent by clients"] += len(data)
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(self.most_chunks)))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            half.arrives = max(half.arrives, self.now + self.wait())
            half.in_flight += 1
            self.at(half.arrives, partial(self.deliver, end, half, data[start:stop]))

    def deliver(self, end: Key, half: Half, chunk: bytes) -> None:
        half.in_flight -= 1
        if half.to not in self.closed:
            self.sides[half.to[0]].machine.data_received(half.to[1], chunk, self.now)
        if not half.in_flight and end not in self.closed:
            self.sides[end[0]].machine.data_sent(end[1], self.now)

    def close(self, end: Key, *, abort: bool) -> None:
        assert end not in self.closed, "a stream is closed twice"
        self.closed.add(end)
        half = self.halves.get(end)
        if half is None:
            return
        half.ended = True
        error = ConnectionResetError("aborted") if abort else None
        when = self.now if abort else max(half.arrives, self.now)
        self.at(when, lambda: self.lose(half.to, error))

    def lose(self, end: Key, error: Exception | None) -> None:
        if end not in self.closed:
            self.closed.add(end)
            self.sides[end[0]].machine.stream_closed(end[1], error, self.now)

    @property
    def open_streams(self) -> list[Key]:
        return [key for key in self.halves if key not in self.closed]
