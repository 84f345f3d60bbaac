"""This library's state machine alone, in this process and without I/O, over WebSocket."""

from __future__ import annotations

import json
from random import Random
from typing import NoReturn

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from sansio_socketio.protocol import ClientOptions, ClientProtocol
from sansio_socketio.protocol.actions import OpenStream, Send
from sansio_socketio.protocol.events import EventReceived
from tests.benchmarks.task import Measurement, Task, task_from_arguments

_ANSWERS = {"": '0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}', "40": '40{"sid":"s"}'}
_EVENTS_PER_READ = 500


class Connection:
    """A machine that is connected to a scripted server."""

    def __init__(self) -> None:
        self.machine = ClientProtocol("http://localhost", ClientOptions(transports=["websocket"]), random=Random(1))
        self.namespace = self.machine.namespace("/")
        self.server = WSConnection(ConnectionType.SERVER)
        self.stream = 0
        self.namespace.connect(0.0)
        while sent := self.drain():
            self.server.receive_data(sent)
            for event in self.server.events():
                if isinstance(event, Request):
                    self._receive(self.server.send(AcceptConnection()) + self._message(""))
                elif isinstance(event, TextMessage):
                    self._receive(self._message(event.data))
        assert self.namespace.connected

    def drain(self) -> bytes:
        """Carry out the outputs as a driver does, and return what is sent."""
        sent = b""
        while (output := self.machine.next_output()) is not None:
            if isinstance(output, OpenStream):
                self.stream = output.stream
                self.machine.stream_opened(self.stream, 0.0)
            elif isinstance(output, Send):
                sent += output.data
        if sent:
            self.machine.data_sent(self.stream, 0.0)
        return sent

    def _receive(self, data: bytes) -> None:
        self.machine.data_received(self.stream, data, 0.0)

    def _message(self, received: str) -> bytes:
        return self.server.send(TextMessage(_ANSWERS[received]))


def receive(connection: Connection, task: Task, count: int) -> None:
    """Receive events, many per read."""
    machine, stream = connection.machine, connection.stream
    text = "42" + json.dumps(["n", task.payload], separators=(",", ":"))
    data = connection.server.send(TextMessage(text)) * _EVENTS_PER_READ
    received = 0
    for _ in range(count // _EVENTS_PER_READ):
        machine.data_received(stream, data, 0.0)
        while (output := machine.next_output()) is not None:
            received += type(output) is EventReceived
    assert received == count // _EVENTS_PER_READ * _EVENTS_PER_READ


def emit(connection: Connection, task: Task, count: int) -> None:
    """Emit events, each of which is sent at once."""
    machine, stream, args = connection.machine, connection.stream, ["n", task.payload]
    emit, next_output = connection.namespace.emit, machine.next_output
    sent = 0
    for _ in range(count):
        emit(args, 0.0)
        while (output := next_output()) is not None:
            sent += type(output) is Send
        machine.data_sent(stream, 0.0)
    assert sent == count


SCENARIOS = {"receive": receive, "emit": emit}


def main() -> NoReturn:
    task = task_from_arguments()
    work, connection = SCENARIOS[task.scenario], Connection()
    work(connection, task, task.warmup)
    measurement = Measurement(task)
    work(connection, task, task.count)
    measurement.finish()


if __name__ == "__main__":
    main()
