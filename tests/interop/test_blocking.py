"""The blocking driver as its users use it: plain calls, several threads, a timeout for each call, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import sansio_socketio_blocking
from sansio_socketio.protocol.errors import AckTimeout, DisconnectedError
from sansio_socketio_blocking import Manager, connect, open_io
from tests.conftest import PeerFactory
from tests.support.peers import Peer

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if not thread.name.startswith("peer")} - before
    assert not left


def test_a_program_exchanges_events_and_acknowledgements(node_server: Peer) -> None:
    welcomes: SimpleQueue[Any] = SimpleQueue()
    with connect(f"{node_server.url}/chat", auth={"token": "abc"}) as socket:

        @socket.on("welcome")
        def welcome(news: dict[str, Any]) -> None:
            welcomes.put(news["auth"])

        @socket.on("question")
        def answer(value: int) -> int:
            return value * 2

        socket.emit("echo", {"a": 1}, b"\x00\x01")
        assert socket.timeout(5).emit_with_ack("echo_ack", 42) == 42
        assert welcomes.get(timeout=PATIENCE) == {"token": "abc"}
        with socket.events(timeout=PATIENCE) as events:
            socket.emit("ask", "question", 21)
            names = []
            for event in events:
                names.append(event.name)
                if event.name == "answered":
                    assert event.args == (42,)
                    break
        assert names[-2:] == ["question", "answered"]
        socket.disconnect()
        assert not socket.connected


@pytest.mark.row("socket.start_handlers")
def test_start_handlers_starts_the_handlers(node_server: Peer) -> None:
    welcomes: SimpleQueue[Any] = SimpleQueue()
    with Manager(node_server.url) as manager:
        socket = manager.socket("/chat").on("welcome", welcomes.put)
        assert socket.start_handlers() is socket
        assert welcomes.get(timeout=PATIENCE)
        assert manager.start_handlers() is manager


def test_handlers_run_without_a_blocking_call(node_server: Peer) -> None:
    welcomes: SimpleQueue[Any] = SimpleQueue()
    with connect(node_server.url) as socket:
        socket.on("welcome", welcomes.put)
        assert welcomes.get(timeout=PATIENCE)["sid"] == socket.id


def test_several_threads_can_use_one_socket(node_server: Peer) -> None:
    answers: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    with connect(node_server.url) as socket:

        def ask(number: int) -> None:
            for turn in range(20):
                answers.put((number * 100 + turn, socket.emit_with_ack("echo_ack", number * 100 + turn)))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        received = [answers.get() for _ in range(8 * 20)]
        assert all(asked == answered for asked, answered in received)
        assert len({asked for asked, _ in received}) == 8 * 20


def test_every_call_accepts_a_timeout(node_server: Peer) -> None:
    with connect(node_server.url) as socket:
        with pytest.raises(AckTimeout):
            socket.emit_with_ack("silent", timeout=0.05)
        with pytest.raises(TimeoutError):
            socket.wait_closed(timeout=0.05)
        with socket.events(timeout=0.05) as events:
            with pytest.raises(TimeoutError):
                next(events)
            socket.emit("echo", "now")
            assert next(events).args[0] == "now"
        assert socket.connected


def test_sockets_of_a_manager_and_of_open_io_connect(node_server: Peer) -> None:
    with Manager(node_server.url) as manager:
        admitted = manager.socket("/auth", auth=lambda: {"token": "secret"})
        admitted.wait_connected(timeout=PATIENCE)
        assert admitted.emit_with_ack("echo_ack", 1) == 1
    with open_io() as io:
        main, chat = io(node_server.url), io(f"{node_server.url}/chat")
        assert main.io is chat.io
        main.wait_connected(timeout=PATIENCE)
        chat.wait_connected(timeout=PATIENCE)


def test_the_end_of_the_block_wakes_waiting_threads(node_server: Peer) -> None:
    raised: SimpleQueue[BaseException] = SimpleQueue()

    def wait(socket: sansio_socketio_blocking.Socket) -> None:
        waiting.set()
        try:
            socket.emit_with_ack("silent")
        except DisconnectedError as error:
            raised.put(error)

    waiting = threading.Event()
    with connect(node_server.url) as socket:
        thread = threading.Thread(target=wait, args=(socket,))
        thread.start()
        waiting.wait()
        socket.emit_with_ack("echo_ack", 1)
    assert isinstance(raised.get(timeout=PATIENCE), DisconnectedError)
    thread.join()


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send a signal to one thread")
def test_ctrl_c_closes_the_connection(fresh_node_server: PeerFactory) -> None:
    peer = fresh_node_server()
    main = threading.main_thread().ident
    assert main is not None

    def wait_for_ever() -> None:
        with connect(peer.url) as socket:
            socket.emit_with_ack("echo_ack", 1)
            threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
            socket.emit_with_ack("silent")

    with pytest.raises(KeyboardInterrupt):
        wait_for_ever()
    while peer.control("stats")["sockets"]:
        pass
