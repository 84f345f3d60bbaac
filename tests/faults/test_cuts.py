"""A network that fails repeatedly: no event is lost or reordered, in either direction.

All drivers talk to one server at the same time, through a proxy that cuts all connections every 0.4 seconds on average.
Each sends numbers, under retries; the server streams numbers to all of them, under connection state recovery.

- What a client sends arrives at least once, in order: if the acknowledgement was lost, it is sent again before the next.
- What the server streams arrives exactly once, in order. For that the client must close a broken session on the server. A
  server that regards the response to a poll as delivered would have no session to recover.
- The first cuts are far enough apart for that request to arrive. Once a session has been stored, the server keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from typing import Any

import pytest

from tests.conftest import PeerFactory
from tests.support.cutting_proxy import CuttingProxy
from tests.support.drivers import DRIVERS, Driver, nothing_left
from tests.support.peers import Peer
from tests.support.target import TRANSPORTS

SECONDS = 12.0
BETWEEN_CUTS = 0.4
AWAY = 0.1
PATIENCE = 60.0
NUMBERS = list(range(1_500))
LEAST_DISCONNECTS = 10
"""A client does not notice every cut: while it is disconnected there is nothing to cut."""


@dataclass
class Course:
    """What all clients share: the server, when to start, and whether the test was aborted."""

    url: str
    transport: str
    started: threading.Event = field(default_factory=threading.Event)
    aborted: threading.Event = field(default_factory=threading.Event)


@dataclass
class Client:
    """A client on one driver, and what it has received."""

    driver: Driver
    ready: bool = False
    received: list[int] = field(default_factory=list)
    corrupted: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)
    disconnected: Counter[str] = field(default_factory=Counter)
    recovered: Counter[bool] = field(default_factory=Counter)

    def run(self, course: Course) -> None:
        """Run the client from the connection to the last number."""
        self.driver.play(lambda: self._main(course))

    async def _main(self, course: Course) -> None:
        transports = TRANSPORTS[course.transport]
        options: dict[str, Any] = {"retries": 1_000, "ack_timeout": 2, "transports": transports}
        backoff: dict[str, Any] = {"reconnection_delay": AWAY, "reconnection_delay_max": AWAY}
        async with self.driver.connect(course.url, **options, **backoff) as socket:
            self._listen(socket)
            await self.driver.until(lambda: bool(socket.io.engine.transport.name == transports[-1]))
            self.ready = True
            await self._wait(course, course.started.is_set)
            await self._send(socket)
            await self._wait(course, lambda: len(self.acknowledged) + len(self.failed) == len(NUMBERS))
            await self._wait(course, lambda: len(self.received) >= len(NUMBERS))

    def _listen(self, socket: Any) -> None:
        def connected() -> None:
            if self.disconnected:
                self.recovered[socket.recovered] += 1

        def disconnected(reason: str) -> None:
            if reason != "io client disconnect":
                self.disconnected[reason] += 1

        def streamed(number: int, *rest: Any) -> None:
            self.received.append(number)
            if number % 10 == 0 and rest[0] != bytes([number % 256]) * number:
                self.corrupted.append(number)

        socket.on("connect", connected)
        socket.on("disconnect", disconnected)
        socket.on("streamed", streamed)

    async def _send(self, socket: Any) -> None:
        """Emit all numbers, evenly distributed over the time, whether connected or not."""
        began = time.monotonic()
        for number in NUMBERS:
            early = began + number * SECONDS / len(NUMBERS) - time.monotonic()
            if early > 0:
                await self.driver.sleep(early)
            await socket.emit("record", self.driver.name, number, ack=self._noting(number))

    def _noting(self, number: int) -> Callable[..., None]:
        def note(error: Exception | None) -> None:
            if error is None:
                self.acknowledged.append(number)
            else:
                self.failed.append(error)

        return note

    async def _wait(self, course: Course, condition: Callable[[], bool]) -> None:
        await self.driver.until(lambda: condition() or course.aborted.is_set(), PATIENCE)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost(transport: str, fresh_node_server: PeerFactory, caplog: pytest.LogCaptureFixture) -> None:
    server = fresh_node_server(options={"connectionStateRecovery": {}})
    clients = [Client(driver) for driver in DRIVERS]
    with nothing_left(), CuttingProxy(server.url) as proxy:
        course = Course(proxy.url, transport)
        with ThreadPoolExecutor(len(clients), "peer client") as pool:
            runs = [pool.submit(client.run, course) for client in clients]
            try:
                cut_for_a_while(course, clients, server, proxy)
            except BaseException:
                course.aborted.set()
                raise
    print(f"{proxy.broken} connections were cut")
    for client in clients:
        print(report(client, server))
    for client, run in zip(clients, runs, strict=True):
        run.result()
        check(client, server)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def cut_for_a_while(course: Course, clients: list[Client], server: Peer, proxy: CuttingProxy) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(client.ready for client in clients):
        assert time.monotonic() < deadline, "not every client has connected"
        time.sleep(0.01)
    server.control("stream", event="streamed", count=len(NUMBERS), seconds=SECONDS)
    course.started.set()
    began = time.monotonic()
    for at, reset in zip(moments(Random(1)), cycle([False, True]), strict=False):
        time.sleep(max(0.0, began + at - time.monotonic()))
        proxy.cut(reset=reset)


def moments(random: Random) -> Iterator[float]:
    """Yield when to cut, in seconds from the start."""
    moment = 0.0
    while (moment := moment + random.expovariate(1 / BETWEEN_CUTS)) < SECONDS:
        yield moment


def report(client: Client, server: Peer) -> str:
    received, recorded = client.received, server.control("recorded", client=client.driver.name)
    streams = {"received": received, "recorded": recorded}
    counts = [
        f"{name}: lost {len(NUMBERS) - len(set(numbers))}, twice {len(numbers) - len(set(numbers))}"
        for name, numbers in streams.items()
    ]
    return f"{client.driver.name}: {'; '.join(counts)}; recovered {client.recovered}; {client.disconnected}"


def check(client: Client, server: Peer) -> None:
    assert client.received == NUMBERS
    assert not client.corrupted
    assert not client.failed
    assert client.acknowledged == NUMBERS
    recorded: list[int] = server.control("recorded", client=client.driver.name)
    assert sorted(set(recorded)) == NUMBERS
    assert recorded == sorted(recorded), "a repeated number arrives before the next one"
    assert not client.recovered[False]
    assert client.disconnected.total() >= LEAST_DISCONNECTS
