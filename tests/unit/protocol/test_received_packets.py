"""How many received packets an input handles, and what waits for the others."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from sansio_socketio.protocol import ClientOptions, ClientProtocol
from sansio_socketio.protocol.actions import OpenStream, Output, Send, SetTimer, packet_cost
from sansio_socketio.protocol.events import Connected, Disconnected, EventReceived, Pinged
from tests.unit.transports.rig import CLOSE_FRAME, PING_FRAME, TEXT, frame, http_response, switching

HANDSHAKE = b'0{"sid":"S","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'
MANY = 3_500
SLICE = 1_000
"""How many small packets one input handles."""


class Connection:
    """A connected client on one transport."""

    def __init__(self, transport: str) -> None:
        self.client = ClientProtocol(
            "http://localhost", ClientOptions(transports=[transport], reconnection=False), random=Random(1)
        )
        self.socket = self.client.namespace("/")
        self._transport = transport
        self.stream = 1
        self.socket.connect(0)
        self.client.stream_opened(1, 0)
        requests = [bytes(output.data) for output in self.outputs() if isinstance(output, Send)]
        if transport == "websocket":
            self.client.data_received(1, switching(requests[0]), 0)
        self.receive(HANDSHAKE)
        self.outputs()
        if transport == "polling":
            self.stream = 2
            self.client.stream_opened(2, 0)
            self.outputs()
        self.receive(b'40{"sid":"x"}')
        if transport == "websocket":
            self.client.data_sent(1, 0)
        else:
            self.client.data_received(1, http_response(b"ok"), 0)
        outputs = self.outputs()
        assert any(isinstance(output, Connected) for output in outputs)
        if transport == "polling":
            [self.stream] = [each.stream for each in outputs if isinstance(each, Send) and each.data[:3] == b"GET"]
        self.client.tick(0)
        self.outputs()

    def outputs(self) -> list[Output]:
        return list(iter(self.client.next_output, None))

    def receive(self, *packets: bytes, now: float = 0.0) -> None:
        """Feed packets in one input."""
        if self._transport == "websocket":
            data = b"".join([frame(TEXT, packet) for packet in packets])
        else:
            data = http_response(b"\x1e".join(packets))
        self.client.data_received(self.stream, data, now)

    def burst(self, count: int = MANY) -> None:
        self.receive(*[b'42["n",%d]' % number for number in range(count)])


@pytest.fixture(params=["websocket", "polling"])
def connection(request: pytest.FixtureRequest) -> Connection:
    return Connection(request.param)


def numbers(outputs: list[Output]) -> list[int]:
    return [output.args[1] for output in outputs if isinstance(output, EventReceived)]


def test_an_input_handles_a_thousand_small_packets_and_requests_a_tick(connection: Connection) -> None:
    client = connection.client
    connection.burst()
    outputs = connection.outputs()
    assert numbers(outputs) == list(range(SLICE))
    assert outputs[-1] == SetTimer(0.0)
    assert client.is_behind
    assert connection.outputs() == []
    seen = numbers(outputs)
    for moment in (1, 2, 3):
        client.tick(moment)
        outputs = connection.outputs()
        seen += numbers(outputs)
        assert (outputs[-1] == SetTimer(moment)) == client.is_behind
    assert not client.is_behind
    assert seen == list(range(MANY))


def test_packets_without_outputs_are_counted(connection: Connection) -> None:
    connection.receive(*[b"431[]"] * MANY)
    before = connection.client.statistics().packets_received
    assert connection.outputs() == [SetTimer(0.0)]
    assert connection.client.statistics().packets_received == before + SLICE


def test_a_large_packet_counts_as_many_small_ones(connection: Connection) -> None:
    assert [packet_cost(size) for size in (0, 1023, 1024, 1 << 20)] == [1, 1, 2, 1025]
    large = b'42["n",%d,"' + b"x" * (400 << 10) + b'"]'
    connection.receive(*[large % number for number in range(5)])
    assert numbers(connection.outputs()) == [0, 1, 2]
    connection.client.tick(1)
    assert numbers(connection.outputs()) == [3, 4]


def test_commands_do_not_wait_for_the_packets_beyond_the_allowance(connection: Connection) -> None:
    connection.burst()
    assert numbers(connection.outputs()) == list(range(SLICE))
    connection.socket.emit(["question"], 0)
    assert any(isinstance(output, Send | OpenStream) for output in connection.outputs())
    connection.socket.disconnect(0)
    outputs = connection.outputs()
    assert any(isinstance(output, Disconnected) for output in outputs)
    assert numbers(outputs) == []


def test_a_command_between_two_outputs_handles_only_what_its_input_may_handle(connection: Connection) -> None:
    connection.burst()
    assert isinstance(connection.client.next_output(), EventReceived)
    connection.socket.emit(["question"], 0)
    assert len(connection.client.outbox.outputs) <= SLICE + 10
    assert numbers(connection.outputs()) == list(range(1, SLICE))


def test_timers_do_not_wait_for_the_packets_beyond_the_allowance(connection: Connection) -> None:
    connection.socket.emit(["question"], 0, ack=True, timeout=5)
    connection.outputs()
    connection.receive(*[b'42["n",1]'] * MANY, b"430[]")
    connection.outputs()
    connection.client.tick(5)
    assert [type(output).__name__ for output in connection.outputs()].count("AckFailed") == 1


@pytest.mark.parametrize("end", ["closed", "broken"])
def test_the_end_of_a_stream_waits_for_the_packets_before_it(connection: Connection, end: str) -> None:
    client = connection.client
    connection.burst()
    outputs = connection.outputs()
    client.stream_closed(connection.stream, None if end == "closed" else OSError("reset"), 0)
    before = connection.outputs()
    assert numbers(before) == []
    assert not any(isinstance(output, Send) and output.stream == connection.stream for output in before)
    outputs += before
    while client.is_behind:
        client.tick(0)
        outputs += connection.outputs()
    assert numbers(outputs) == list(range(MANY))
    assert client.is_open == (connection.stream == 2), "a WebSocket ends; another poll is sent on another stream"


def test_nothing_is_sent_on_a_stream_that_has_ended() -> None:
    connection = Connection("websocket")
    client = connection.client
    connection.receive(*[b'42["n",1]'] * MANY, b"2")
    connection.outputs()
    client.stream_closed(connection.stream, None, 0)
    connection.socket.emit(["lost"], 0)
    bytes_sent = client.statistics().bytes_sent
    outputs = connection.outputs()
    while client.is_behind:
        client.tick(0)
        outputs += connection.outputs()
    assert any(isinstance(output, Pinged) for output in outputs), "the ping was handled, the pong dropped"
    assert not any(isinstance(output, Send) for output in outputs)
    assert client.statistics().bytes_sent == bytes_sent
    assert client.idle


def test_data_waits_for_the_packets_before_it() -> None:
    connection = Connection("websocket")
    client = connection.client
    connection.burst(MANY)
    buffer = bytearray(frame(TEXT, b'42["n",%d]' % MANY))
    outputs = connection.outputs()
    client.data_received(1, buffer, 0)
    buffer[:] = bytes(len(buffer))  # the caller may reuse it
    client.data_received(1, frame(PING_FRAME, b"?") + frame(CLOSE_FRAME, b"\x03\xe8"), 0)
    outputs += connection.outputs()
    while client.is_behind:
        client.tick(0)
        outputs += connection.outputs()
    assert numbers(outputs) == list(range(MANY + 1))
    assert not client.is_open


def test_abort_discards_a_stream_that_has_ended() -> None:
    connection = Connection("websocket")
    connection.burst()
    connection.outputs()
    connection.client.stream_closed(1, None, 0)
    connection.client.abort(0)
    assert numbers(connection.outputs()) == []
    assert connection.client.idle


def test_a_paused_machine_keeps_packets(connection: Connection) -> None:
    client = connection.client
    client.paused = True
    connection.receive(b'42["n",1]')
    assert connection.outputs() == []
    client.tick(1)
    assert numbers(connection.outputs()) == []
    assert client.is_behind
    connection.socket.emit(["x"], 1)
    assert any(isinstance(output, Send | OpenStream) for output in connection.outputs())
    client.paused = False
    client.tick(1)
    assert numbers(connection.outputs()) == [1]
    assert not client.is_behind


@pytest.mark.parametrize("command", ["emit", "tick", "data_sent"])
def test_when_outputs_are_taken_has_no_influence(connection: Connection, command: str) -> None:
    """What an input may handle is handled before the next input or command, whether its outputs were taken or not."""

    def run(connection: Connection, *, takes_outputs: bool) -> list[str]:
        client, taken = connection.client, list[Output]()
        commands: dict[str, Callable[[], object]] = {
            "emit": lambda: connection.socket.emit(["x"], 1, ack=True),
            "tick": lambda: client.tick(1),
            "data_sent": lambda: client.data_sent(connection.stream, 1),
        }
        connection.burst()
        for _ in range(2):
            if takes_outputs:
                taken += connection.outputs()
            commands[command]()
        taken += connection.outputs()
        return [repr(output) for output in taken if not isinstance(output, SetTimer | Send)]

    assert run(connection, takes_outputs=True) == run(Connection(connection._transport), takes_outputs=False)
