"""How many received packets an input handles, and what waits for the others."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_socketio.protocol import ClientOptions, ClientProtocol, machine
from sansio_socketio.protocol.actions import OpenStream, Output, Send, SetTimer, packet_cost
from sansio_socketio.protocol.events import Connected, Disconnected, EventReceived, MachineEvent, Pinged
from tests.unit.transports.rig import (
    BINARY,
    CLOSE_FRAME,
    CONTINUATION,
    PING_FRAME,
    PONG_FRAME,
    TEXT,
    frame,
    http_response,
    switching,
)

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

    def caught_up(self) -> list[Output]:
        """Return the outputs until nothing is left to handle."""
        outputs = self.outputs()
        while self.client.is_behind:
            self.client.tick(self.client.timers.now)
            outputs += self.outputs()
        return outputs

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


FRAMES_WITHOUT_A_MESSAGE = {
    "pongs": frame(PONG_FRAME) * MANY,
    "empty fragments": frame(TEXT, b"4", fin=False) + frame(CONTINUATION, fin=False) * MANY,
    "small fragments": frame(TEXT, b"4", fin=False) + frame(CONTINUATION, b"x", fin=False) * MANY,
}


@pytest.mark.parametrize("frames", FRAMES_WITHOUT_A_MESSAGE.values(), ids=FRAMES_WITHOUT_A_MESSAGE.keys())
def test_frames_without_a_message_are_counted(frames: bytes) -> None:
    connection = Connection("websocket")
    connection.client.data_received(1, frames + frame(PING_FRAME, b"?"), 0)
    for moment in (0, 1, 2):
        assert connection.outputs() == [SetTimer(moment)]
        connection.client.tick(moment + 1)
    assert any(isinstance(output, Send) for output in connection.outputs()), "the pong"


def test_messages_that_are_discarded_are_counted() -> None:
    connection = Connection("websocket")
    connection.client.close(0)
    connection.outputs()
    connection.client.data_sent(1, 0)
    connection.outputs()
    connection.burst()
    connection.outputs()
    assert connection.client.is_behind


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


def test_data_follows_the_packets_before_it() -> None:
    connection = Connection("websocket")
    client = connection.client
    connection.burst(MANY)
    buffer = bytearray(frame(TEXT, b'42["n",%d]' % MANY))
    outputs = connection.outputs()
    client.data_received(1, buffer, 0)
    buffer[:] = bytes(len(buffer))  # the caller may reuse it
    client.data_received(1, frame(PING_FRAME, b"?") + frame(CLOSE_FRAME, b"\x03\xe8"), 0)
    outputs += connection.caught_up()
    assert numbers(outputs) == list(range(MANY + 1))
    assert not client.is_open


@pytest.mark.parametrize("surplus", [None, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_an_idle_stream_that_ends_while_packets_wait_is_not_used_again(surplus: bytes | None) -> None:
    connection = Connection("polling")
    client = connection.client
    idle = 1 if connection.stream == 2 else 2
    connection.burst()
    connection.outputs()
    if surplus is None:
        client.stream_closed(idle, None, 0)
    else:
        client.data_received(idle, surplus, 0)
    client.stream_closed(connection.stream, None, 0)
    connection.socket.emit(["x"], 0)
    outputs = connection.caught_up()
    assert numbers(outputs)[-1] == MANY - 1
    assert len([output for output in outputs if isinstance(output, OpenStream)]) == 2, "for the POST and the next GET"
    assert client.is_open


@pytest.mark.parametrize("then", ["closed", "surplus"])
def test_a_post_that_succeeds_while_packets_wait_is_done_although_its_stream_ends(then: str) -> None:
    connection = Connection("polling")
    client = connection.client
    connection.socket.emit(["e"], 0)
    [post] = [each.stream for each in connection.outputs() if isinstance(each, Send) and each.data[:4] == b"POST"]
    connection.burst()
    connection.outputs()
    if then == "closed":
        client.data_received(post, http_response(b"ok", b"Connection: close"), 0)
        client.stream_closed(post, None, 0)
    else:
        client.data_received(post, http_response(b"ok"), 0)
        client.data_received(post, http_response(b"ok"), 0)
    connection.caught_up()
    assert client.state == "open"
    connection.socket.emit(["e"], 0)
    assert not any(isinstance(output, Send) and output.stream == post for output in connection.outputs())


@pytest.mark.parametrize("how", ["status", "broken", "closed", "invalid"])
def test_a_post_that_fails_while_packets_wait_fails_after_them(how: str) -> None:
    connection = Connection("polling")
    client = connection.client
    connection.socket.emit(["x"], 0)
    [post] = [each.stream for each in connection.outputs() if isinstance(each, Send) and each.data[:4] == b"POST"]
    connection.burst()
    outputs = connection.outputs()
    if how == "status":
        client.data_received(post, http_response(b"", status=b"400 Bad Request"), 0)
    elif how == "invalid":
        client.data_received(post, b"nonsense\r\n\r\n", 0)
    else:
        client.stream_closed(post, None if how == "closed" else OSError("reset"), 0)
    outputs += connection.caught_up()
    assert numbers(outputs) == list(range(MANY))
    assert isinstance(
        [output for output in outputs if isinstance(output, EventReceived | Disconnected)][-1], Disconnected
    )


@pytest.mark.parametrize("way", ["stream_opened", "data_sent"])
def test_inputs_of_a_stream_that_has_ended_are_ignored(connection: Connection, way: str) -> None:
    connection.burst()
    connection.outputs()
    connection.client.stream_closed(connection.stream, None, 0)
    getattr(connection.client, way)(connection.stream, 0)
    connection.client.data_received(connection.stream, b"late", 0)
    assert numbers(connection.caught_up())[-1] == MANY - 1


def test_closed_transports_leave_nothing_to_handle(connection: Connection) -> None:
    client = connection.client
    client.paused = True
    connection.burst()
    client.close(0)
    connection.outputs()
    client.tick(10)
    connection.outputs()
    assert client.idle
    assert not client.is_behind


def test_the_ping_timeout_waits_for_received_packets(connection: Connection) -> None:
    client = connection.client
    connection.receive(*[b'42["n",1]'] * MANY, b"2")
    connection.outputs()
    client.paused = True
    for now in (45, 90):
        client.tick(now)
        assert not any(isinstance(output, Disconnected) for output in connection.outputs())
    client.paused = False
    client.tick(100)
    assert any(isinstance(output, Pinged) for output in connection.caught_up())
    client.tick(100 + 44)
    connection.outputs()
    assert client.is_open
    client.tick(100 + 45)
    assert any(isinstance(output, Disconnected) for output in connection.outputs())


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


# ---------------------------------------------------------------------------------------------------------------------
# Against a machine that handles every input at once


def shown(outputs: list[Output]) -> list[str]:
    return [repr(output) for output in outputs if isinstance(output, MachineEvent)]


PACKETS = [
    b'42["n",1]',
    b'42["n",2]',
    b"2",
    b"6",
    b"431[]",
    b'451-["b",{"_placeholder":true,"num":0}]',
    b"bAAE=",
    b"41",
    b"?",
]


@given(
    transport=st.sampled_from(["websocket", "polling"]),
    allowance=st.integers(1, 5),
    packets=st.lists(st.sampled_from(PACKETS), min_size=1, max_size=20),
    chunk=st.integers(1, 200),
    end=st.sampled_from(["none", "closed", "broken"]),
    take=st.booleans(),
)
def test_slices_change_no_output(
    transport: str, allowance: int, packets: list[bytes], chunk: int, end: str, *, take: bool
) -> None:
    def play(most: int) -> list[str]:
        connection = Connection(transport)
        client, stream = connection.client, connection.stream
        if transport == "websocket":
            data = b"".join([frame(BINARY, b"\0\1") if each == b"bAAE=" else frame(TEXT, each) for each in packets])
        else:
            data = http_response(b"\x1e".join(packets))
        outputs: list[Output] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine, "_ALLOWANCE", most)
            for start in range(0, len(data), chunk):
                client.data_received(stream, data[start : start + chunk], 0)
                if take:
                    outputs += connection.outputs()
            if end != "none" and transport == "websocket":  # a poll that is slower is sent on another stream
                client.stream_closed(stream, None if end == "closed" else OSError("reset"), 0)
            outputs += connection.caught_up()
        return shown(outputs)

    assert play(allowance) == play(1_000_000)
