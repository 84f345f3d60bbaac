"""The state machine reports packets and sent events only while there are handlers for them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from sansio_socketio.client.run.blueprint import NamespaceSpec
from sansio_socketio.client.run.lifecycle import LifecycleQueue
from sansio_socketio.client.run.session import SessionRun
from sansio_socketio.handlers.registry import RegisteredHandler
from sansio_socketio.protocol.client import ClientProtocol
from tests.support.fake_runtime import URL, FakeRuntime, World


@pytest.fixture
def machine(world: World) -> Iterator[ClientProtocol]:
    machine = ClientProtocol(URL, random=Random(0))
    machine.open(world.time)
    yield machine
    machine.abort(world.time)


def test_sent_events_are_reported_only_while_there_are_handlers(machine: ClientProtocol) -> None:
    namespace = machine.namespace("/")
    handlers = NamespaceSpec(namespace, {}, None).handlers
    assert not namespace.report_sent
    handlers.add("e", RegisteredHandler(print))
    handlers.any.add(RegisteredHandler(print), first=False)
    assert not namespace.report_sent
    handlers.outgoing.add(RegisteredHandler(print), first=False)
    assert namespace.report_sent
    handlers.outgoing.remove(print)
    assert not namespace.report_sent


@pytest.mark.parametrize("name", ["packet", "packet_create", "flush", "drain"])
def test_packets_are_reported_only_while_there_are_handlers(machine: ClientProtocol, world: World, name: str) -> None:
    async def report(error: Exception, event: str, source: str) -> None: ...

    session = machine.engine
    assert session is not None
    runtime = FakeRuntime(world)
    queue = LifecycleQueue(runtime, report=report, finished=lambda: None, broken=lambda _: None, held=False)
    handlers = SessionRun(session, runtime, queue).handlers
    handlers.add("upgrade", RegisteredHandler(print))
    assert not session.report_packets
    handlers.add(name, RegisteredHandler(print))
    assert session.report_packets
    handlers.remove(name, print)
    assert not session.report_packets
    handlers.add(name, RegisteredHandler(print, once=True))
    assert session.report_packets
    handlers.take(name)
    assert not session.report_packets
