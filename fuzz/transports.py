r"""The properties of an Engine.IO session whose server sends arbitrary data, over polling and over WebSocket.

An input is a script, so that it contains the bytes of a server unchanged: a byte that selects the options, then steps.
A step is `\n--`, a letter and an argument:

| Letter | Step |
| --- | --- |
| `1`, `2` | the first or the second open stream receives the argument |
| `a` | the server accepts the WebSocket handshake; the argument is added to its header |
| `e`, `E` | the peer closes the first or the last stream |
| `b`, `B` | the first or the last stream breaks |
| `f` | the stream that is opening cannot be opened |
| `u` | the network stops or resumes accepting what is sent |
| `s`, `S` | the application sends the argument as text or as bytes |
| `c` | the application closes the session |
| `j`, `t` | time passes until the next deadline, which is not fired or fired |
"""

from __future__ import annotations

import re
from functools import partial
from random import Random
from typing import Any, Final

from fuzz.driver import Driver, Split, Stream, check_scenario
from fuzz.peer import accept_websocket
from sansio_socketio.protocol import EngineOptions, EngineProtocol
from sansio_socketio.protocol.errors import PacketError

_STEP: Final = re.compile(rb"\n--([12aeEbBfusScjt])")
_CLOSE_TIMEOUT: Final = 5.0
_OPTIONS: Final[list[dict[str, Any]]] = [
    {},
    {"with_credentials": True, "max_message_size": 200},
    {"per_message_deflate": False, "force_base64": True},
    {"protocols": ["chat"], "per_message_deflate": 1, "max_message_size": 200},
]


def check_polling(data: bytes) -> None:
    """Check that nothing is raised and the session ends cleanly, whatever an HTTP server sends, in every chunking."""
    check_scenario(partial(_play, "polling", data))


def check_websocket(data: bytes) -> None:
    """Check that nothing is raised and the session ends cleanly, whatever a WebSocket server sends, in every chunking."""
    check_scenario(partial(_play, "websocket", data))


def _play(transport: str, data: bytes, split: Split) -> Driver:
    head, *steps = _STEP.split(data)
    chosen = _OPTIONS[head[0] % len(_OPTIONS)] if head else {}
    options = EngineOptions(transports=[transport], close_timeout=_CLOSE_TIMEOUT, **chosen)
    machine = EngineProtocol("http://localhost:3000", options, random=Random(1))
    session = _Session(machine, Driver(machine, split))
    for letter, argument in zip(steps[::2], steps[1::2], strict=True):
        session.step(letter.decode(), argument)
    session.finish()
    return session.driver


class _Session:
    """A session of a script."""

    def __init__(self, machine: EngineProtocol, driver: Driver) -> None:
        self.machine = machine
        self.driver = driver
        self._is_reading = True
        machine.report_packets = True
        machine.open(driver.now)
        driver.run()

    def step(self, letter: str, argument: bytes) -> None:
        driver = self.driver
        if letter != "f":
            for stream in [stream for stream in driver.streams.values() if not stream.is_open]:
                driver.open(stream)
        self._perform(letter, argument)
        if self._is_reading:
            for stream in list(driver.streams.values()):
                driver.flush(stream)
        self._check_liveness()

    def finish(self) -> None:
        """Close the session and abort it. No stream and no timer may be left."""
        machine, driver = self.machine, self.driver
        self._check_pongs()
        machine.close(driver.now)
        driver.run()
        self._check_liveness()
        driver.advance(_CLOSE_TIMEOUT)
        driver.tick()
        assert machine.idle, "the session is not closed after close_timeout"
        assert not driver.streams
        assert driver.deadline is None, "a deadline is left after the end"
        machine.abort(driver.now)
        driver.run()

    def _perform(self, letter: str, argument: bytes) -> None:
        machine, driver = self.machine, self.driver
        streams = list(driver.streams.values())
        if letter in "sS":
            self._send(argument.decode(errors="replace") if letter == "s" else argument)
        elif letter == "c":
            machine.close(driver.now)
            driver.run()
        elif letter == "u":
            self._is_reading = not self._is_reading
        elif letter in "jt":
            if driver.deadline is not None:
                driver.jump(max(driver.deadline - driver.now, 0))
            if letter == "t":
                driver.tick()
        elif streams:
            self._perform_on_stream(letter, argument, streams)

    def _perform_on_stream(self, letter: str, argument: bytes, streams: list[Stream]) -> None:
        driver, stream = self.driver, streams[-1 if letter in "2EBf" else 0]
        if letter == "f":
            if not stream.is_open:
                driver.fail(stream, OSError("refused"))
        elif letter == "a":
            driver.receive(stream, accept_websocket(stream.received, *filter(None, argument.split(b"\r\n"))))
        elif letter in "12":
            driver.receive(stream, argument)
        else:
            driver.end(stream, None if letter in "eE" else ConnectionResetError("reset"))
            driver.feed_stale(stream.number)

    def _send(self, message: str | bytes) -> None:
        try:
            self.machine.send(message, self.driver.now)
        except PacketError:
            assert isinstance(message, str)
            assert "\x1e" in message, "only a separator makes a text invalid"
        self.driver.run()

    def _check_pongs(self) -> None:
        """Check that a second ping is answered if the first one is (otherwise the script has left half a frame)."""
        for stream in list(self.driver.streams.values()):
            if stream.is_open and stream.transport == "websocket" and self._is_reading:
                for payload in (b"first ping", b"second ping"):
                    self.driver.receive(stream, bytes([0x89, len(payload)]) + payload)
                    self.driver.flush(stream)
                is_answered = b"first ping" in stream.received  # masked with zeros
                assert not is_answered or b"second ping" in stream.received, "a pong stays in flight"

    def _check_liveness(self) -> None:
        assert self.machine.idle or self.driver.deadline is not None, "nothing ends the session"
