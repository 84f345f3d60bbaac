"""The API without `await`: the same behaviour, timeouts of calls, and when held-back handlers are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import Context
from functools import partial
from typing import Any

import pytest

from sansio_socketio import client
from sansio_socketio.client import blocking
from sansio_socketio.client.blocking import IO, Manager, Scopes, Socket
from sansio_socketio.client.blocking.entry import SETTLED, drive
from sansio_socketio.protocol.client import HIGH_WATER
from sansio_socketio.protocol.errors import (
    AckTimeout,
    ConnectError,
    DisconnectedError,
    OptionError,
    StateError,
    TransportError,
)
from tests.support.fake_runtime import World

URL = "http://localhost:3000"


@pytest.fixture
def manager_class(threads_world: World) -> type[Manager]:
    return threads_world.blocking_manager_class


@pytest.fixture
def scopes(manager_class: type[Manager]) -> Scopes:
    return Scopes(manager_class)


@pytest.fixture
def world(threads_world: World) -> Iterator[World]:
    yield threads_world
    assert threads_world.tasks == []


def test_a_block_connects_exchanges_events_and_disconnects(world: World, scopes: Scopes) -> None:
    log: list[Any] = []
    world.server.greets = ["welcome", 1]
    with scopes.connect(f"{URL}/chat", auth={"token": 1}) as socket:
        socket.on("connect", lambda: log.append("connect"))

        @socket.on("welcome")
        def welcome(value: int) -> str:
            log.append(value)
            return "thanks"

        socket.once("disconnect", log.append)
        world.server.acknowledge_with(5)
        assert socket.emit_with_ack("question") == 5
        assert log == ["connect", 1]
        socket.emit("a", ack=log.append)
        socket.send("b")
        socket.emit_nowait("c")
        socket.compress(False).emit("d")
        socket.timeout(5).emit("e", ack=lambda error, value: log.append((error, value)))
        assert socket.emit_with_ack("last") == 5
        socket.volatile.emit("f")
        world.server.emit("welcome", 2, namespace="/chat", id=9)
        assert socket.emit_with_ack("last") == 5
        assert (socket.nsp, socket.connected, socket.disconnected, socket.active) == ("/chat", True, False, True)
        assert (socket.id, socket.recovered, socket.auth) == ("s1/chat", False, {"token": 1})
        assert repr(socket) == "<Socket /chat of http://localhost:3000/chat, connected>"
        assert socket.io.engine is not None
        assert socket.io.engine.id == "e1"
        assert socket.io.url == f"{URL}/chat"
    assert log == ["connect", 1, 5, (None, 5), 2, "io client disconnect"]
    assert world.server.acks() == [(9, ["thanks"])]
    sent = [["question"], ["a"], ["message", "b"], ["c"], ["d"], ["e"], ["last"], ["f"], ["last"]]
    assert world.server.events() == sent


def test_waiting_for_an_event_and_typed_acknowledgements(world: World, scopes: Scopes) -> None:
    with scopes.connect(URL) as socket:
        world.server.on_event = lambda packet: world.server.ack(packet, "5")
        assert socket.emit_with_ack("e", result=int) == 5
        world.call_at(world.time + 1, lambda: world.server.emit("news", 1))
        assert socket.wait_for("news", timeout=2).args == (1,)
        with pytest.raises(TimeoutError, match="'news' did not arrive within 2 seconds"):
            socket.wait_for("news", timeout=2)
        with pytest.raises(OptionError, match="timeout takes"):
            socket.wait_for("news", timeout=-1)
        socket.disconnect()
        socket.emit("dropped")
        assert socket.drop_buffered() == 1
        with pytest.raises(DisconnectedError, match="call connect"):
            socket.wait_for("news")


async def get_token() -> dict[str, Any]:
    return {}


def test_an_async_function_as_an_option_is_refused_by_the_call(
    world: World, scopes: Scopes, manager_class: type[Manager]
) -> None:
    manager = manager_class(URL)
    with scopes.open_io() as io:
        calls: list[tuple[str, Any]] = [
            ("auth", lambda: scopes.connect(URL, auth=get_token)),
            ("query", lambda: scopes.connect(URL, query=get_token)),
            ("extra_headers", lambda: manager_class(URL, extra_headers=get_token)),
            ("auth", lambda: io(URL, auth=get_token)),
            ("auth", lambda: manager.socket("/", auth=partial(get_token))),
            ("auth", lambda: setattr(manager.socket("/"), "auth", get_token)),
            ("query", lambda: setattr(manager, "query", get_token)),
        ]
        for name, call in calls:
            with pytest.raises(
                OptionError, match=f"^{name} takes a plain function, not the async function .*get_token"
            ):
                call()
    assert manager.query == {}
    assert world.server.payloads() == []


def test_handlers_are_held_back_until_the_first_blocking_call(world: World, scopes: Scopes) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    with scopes.connect(URL) as socket:
        world.block(100)
        socket.on("welcome", lambda: seen.append("welcome"))
        socket.io.on("open", lambda: seen.append("open"))
        socket.emit_nowait("e")
        world.block(SETTLED / 2)
        assert seen == []
        socket.emit("e")
        world.block(0)
        assert seen == ["open", "welcome"]


def test_handlers_are_not_held_back_for_long_if_the_thread_makes_no_blocking_call(world: World, scopes: Scopes) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    with scopes.connect(URL) as socket:
        socket.on("connect", lambda: seen.append("connect"))
        world.block(SETTLED * 0.9)
        socket.on("welcome", lambda: seen.append("welcome"))
        world.block(SETTLED * 0.9)
        assert seen == []
        world.block(SETTLED * 0.2)
        assert seen == ["connect", "welcome"]
        socket.on("late", lambda: seen.append("late"))
        world.server.emit("late")
        world.block(0)
        assert seen == ["connect", "welcome", "late"]


def test_start_handlers_releases_the_handlers(world: World, manager_class: type[Manager]) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    manager = manager_class(URL)
    main, chat = manager.socket(), manager.socket("/chat")
    for start in (manager.start_handlers, main.start_handlers):
        with pytest.raises(StateError, match="is not running"):
            start()
    with manager:
        manager.on("open", lambda: seen.append("open"))
        main.on("welcome", lambda: seen.append("main"))
        chat.on("welcome", lambda: seen.append("chat"))
        world.block(SETTLED / 2)
        assert seen == []
        assert main.start_handlers() is main
        world.block(0)
        assert seen == ["open", "main"]
        assert manager.start_handlers() is manager
        world.block(0)
        assert seen == ["open", "main", "chat"]
    with pytest.raises(DisconnectedError):
        manager.start_handlers()


def test_handlers_are_called_at_the_latest_when_the_scope_ends(world: World, scopes: Scopes) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    with scopes.connect(URL) as socket:
        socket.on("welcome", lambda: seen.append("welcome"))
    assert seen == ["welcome"]


def test_a_blocking_call_releases_the_handlers_of_everything_that_its_thread_has_made(
    world: World, scopes: Scopes
) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    with scopes.open_io() as io:
        news, chat = io(f"{URL}/news"), io(f"{URL}/chat")
        world.block(10)
        news.on("welcome", lambda: seen.append("news"))
        chat.on("welcome", lambda: seen.append("chat"))
        chat.wait_connected()
        world.block(0)
        assert sorted(seen) == ["chat", "news"]


def test_a_blocking_call_through_a_socket_releases_its_handlers_from_any_thread(world: World, scopes: Scopes) -> None:
    seen: list[str] = []
    world.server.greets = ["welcome"]
    with scopes.connect(URL) as socket:
        socket.on("welcome", lambda: seen.append("welcome"))
        Context().run(socket.emit, "e")  # an empty context, as that of another thread
        world.block(0)
        assert seen == ["welcome"]


def test_scopes_that_have_ended_do_not_affect_later_calls(world: World, scopes: Scopes) -> None:
    with scopes.connect(URL):
        pass
    with scopes.connect(URL) as socket:
        socket.emit("e")
        world.block(0)
        assert socket.connected


def test_a_handler_may_call_anything(world: World, scopes: Scopes) -> None:
    seen: list[Any] = []
    world.server.acknowledge_with("answer")
    with scopes.connect(URL) as socket:

        @socket.on("e")
        def handle() -> None:
            seen.append(socket.emit_with_ack("question"))
            socket.disconnect()
            socket.wait_closed()
            socket.connect()
            seen.append(socket.connected)
            other = socket.io.socket("/other")
            other.wait_connected()
            seen.append(other.id)

        world.server.emit("e")
        socket.emit("begin")
        world.block(1)
        assert seen == ["answer", True, "s2/other"]


def test_a_call_that_times_out_raises_timeout_error(world: World, scopes: Scopes) -> None:
    with scopes.connect(URL) as socket:
        start = world.time
        with pytest.raises(AckTimeout, match="'e' was not acknowledged within the timeout of the call"):
            socket.emit_with_ack("e", timeout=2)
        with pytest.raises(AckTimeout, match="within 1 seconds"):
            socket.timeout(1).emit_with_ack("e", timeout=2)
        with pytest.raises(TimeoutError):
            socket.wait_closed(3)
        with socket.events(timeout=4) as events, pytest.raises(TimeoutError):
            next(events)
        assert world.time == start + 2 + 1 + 3 + 4
        world.server.is_reading = False
        socket.emit_nowait("big", "x" * (HIGH_WATER + 1))
        with pytest.raises(TimeoutError):
            socket.emit("unsent", timeout=5)
        with pytest.raises(TimeoutError):
            socket.send("unsent", timeout=5)
        world.server.read_on()
    assert [name for name, *_ in world.server.events()] == ["e", "e", "big"]


def test_a_connect_that_times_out_continues_in_the_background(world: World, scopes: Scopes) -> None:
    with scopes.connect(URL) as socket:
        world.server.accepts = False
        world.server.lose()
        why = r"^the call did not complete within its timeout; / is not connected: "
        with pytest.raises(TimeoutError, match=rf"{why}it was disconnected: transport close") as caught:
            socket.wait_connected(timeout=0.1)
        assert isinstance(caught.value.__cause__, TransportError)
        failed = "the last attempt failed: could not connect: .*refused"
        with pytest.raises(TimeoutError, match=rf"{why}{failed}") as caught:
            socket.wait_connected(timeout=3)
        assert isinstance(caught.value.__cause__, ConnectError)
        with pytest.raises(TimeoutError, match=f"{why}(it was disconnected|{failed})"):
            socket.connect(timeout=3)
        with socket.events(timeout=3) as events, pytest.raises(TimeoutError) as caught:
            next(events)
        assert str(caught.value).startswith(
            "no event of / arrived within the timeout of the stream; / is not connected: the last attempt failed: "
        )
        assert isinstance(caught.value.__cause__, ConnectError)
        with pytest.raises(AckTimeout, match="within the timeout of the call; / is not connected: the last attempt"):
            socket.emit_with_ack("e", timeout=3)
        world.server.accepts = True
        socket.wait_connected()
        assert socket.connected


def test_events_yields_the_received_events(world: World, scopes: Scopes) -> None:
    world.server.greets = ["welcome", 0]
    with scopes.connect(URL) as socket, socket.events() as events:
        world.server.emit("e", 1, id=1)
        world.server.kick()
        got = []
        for _ in range(2):
            event = next(events)
            got.append((event.name, event.args))
            if event.wants_ack:
                event.ack("too late")
        with pytest.raises(DisconnectedError, match="/ was disconnected: io server disconnect"):
            next(events)
        assert got == [("welcome", (0,)), ("e", (1,))]


def test_connect_raises_when_the_first_attempt_fails(world: World, scopes: Scopes) -> None:
    world.server.accepts = False
    with pytest.raises(ConnectError, match="refused"), scopes.connect(URL):
        raise AssertionError


def test_invalid_arguments_are_errors_at_the_call(world: World, scopes: Scopes) -> None:
    with pytest.raises(OptionError, match="did you mean 'path'"):
        scopes.connect(URL, pat="/")  # type: ignore[call-arg]  # that is the point


def test_an_exception_of_the_body_is_raised_unchanged(world: World, scopes: Scopes) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught, scopes.connect(URL):
        raise error
    assert caught.value is error


def test_an_interrupt_ends_the_scope_at_once(world: World, scopes: Scopes) -> None:
    def body() -> None:
        with scopes.connect(URL):
            world.server.is_reading = False
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert world.time == 1000


def test_off_and_chained_calls(world: World, scopes: Scopes) -> None:
    seen: list[str] = []
    with scopes.connect(URL) as socket:

        def handler() -> None:
            seen.append("called")

        assert socket.on("e", handler).off("e", handler).on("e", handler).off("e").on("f", handler).off() is socket
        world.server.emit("e")
        world.server.emit("f")
        assert socket.disconnect().connect() is socket
        assert socket.close().open() is socket
        socket.auth = {"token": 2}
        assert socket.auth == {"token": 2}
    assert seen == []


def test_connect_nowait_and_disconnect_nowait(world: World, scopes: Scopes) -> None:
    log: list[str] = []
    with scopes.connect(URL) as socket:
        socket.on("connect", lambda: log.append("connect"))
        socket.on("leave", socket.disconnect_nowait)
        socket.once("disconnect", socket.connect_nowait)
        world.server.emit("leave")
        socket.emit("e")
        world.block(1)
        assert log == ["connect", "connect"]
        assert socket.disconnect_nowait().connect_nowait() is socket
        assert (socket.active, socket.connected) == (True, False)
        socket.wait_connected()


def test_compress_accepts_only_a_bool(world: World, scopes: Scopes) -> None:
    with scopes.connect(URL) as socket, pytest.raises(OptionError, match="compress takes True or False, not 1"):
        socket.compress(1)  # type: ignore[arg-type]  # that is the point


def test_the_base_class_of_manager_cannot_be_instantiated(world: World) -> None:
    with pytest.raises(NotImplementedError):
        Manager(URL)


def test_a_run_that_is_interrupted_while_handlers_are_held_back(world: World, manager_class: type[Manager]) -> None:
    seen: list[str] = []
    manager = manager_class(URL)
    manager.on("open", lambda: seen.append("open"))

    def body() -> None:
        with manager:
            world.block(SETTLED / 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    world.block(SETTLED)
    with manager:
        world.block(SETTLED * 1.1)
        assert seen == ["open"]


def test_io_returns_the_same_objects_each_time(world: World, scopes: Scopes) -> None:
    with scopes.open_io() as io:
        assert isinstance(io, IO)
        news, chat = io(f"{URL}/news"), io(f"{URL}/chat", multiplex=True)
        assert isinstance(news, Socket)
        assert news.io is chat.io
        assert news.io.socket("/news") is news
        assert io(f"{URL}/news").io is not news.io


def test_the_other_attributes_of_io(world: World, scopes: Scopes, manager_class: type[Manager]) -> None:
    with scopes.open_io(URL) as io:
        assert (io.protocol, io.Manager, io.Socket) == (5, manager_class, Socket)
        main, chat = io(), io.connect("/chat")
        assert (main.nsp, chat.nsp) == ("/", "/chat")
        assert main.io is chat.io
        with pytest.raises(OptionError, match="only a query"):
            io("?token=1")


def test_wrong_ways_to_enter_a_context_manager(world: World, scopes: Scopes, manager_class: type[Manager]) -> None:
    async def enter(scope: Any) -> None:
        async with scope:
            raise AssertionError

    async def wait(scope: Any) -> None:
        await scope

    managers: list[tuple[Any, str]] = [
        (scopes.connect(URL), "connect(url)"),
        (scopes.open_io(), "open_io(url)"),
        (manager_class(URL), "Manager(url)"),
    ]
    for manager, call in managers:
        with pytest.raises(TypeError, match=re.escape(f"{call} of the blocking driver cannot be awaited")):
            world.run(partial(wait, manager))
        with pytest.raises(TypeError, match=re.escape(f"{call} of the blocking driver needs `with`, not `async with`")):
            world.run(partial(enter, manager))
    for manager, call in managers[:2]:
        assert repr(manager) == f"<context manager of {call}>"
        with pytest.raises(AttributeError, match=re.escape(f"{call} returns a context manager, which has no 'on'")):
            manager.on("hello", print)
        with pytest.raises(TypeError, match=r"which cannot be called: write `with .* as io:`, and in it io\('/chat'\)"):
            manager("/chat")


@pytest.mark.parametrize("timeout", ["x", b"1", [], float("nan"), 10**400, -1, True])
def test_an_invalid_time_limit_of_a_call(world: World, manager_class: type[Manager], timeout: Any) -> None:
    with manager_class(URL) as manager:
        socket = manager.socket()
        socket.wait_connected()
        engine = manager.engine
        assert engine is not None
        for call in (
            manager.connect,
            manager.close,
            engine.close,
            socket.connect,
            socket.wait_connected,
            socket.wait_closed,
            socket.events,
            partial(socket.emit, "e"),
            socket.send,
            partial(socket.emit_with_ack, "e"),
        ):
            with pytest.raises(OptionError, match=r"^timeout takes a number from 0 to 1e"):
                call(timeout=timeout)
        assert socket.connected


def test_an_async_handler_is_refused_at_registration(world: World, manager_class: type[Manager]) -> None:
    async def handler() -> None: ...

    with manager_class(URL) as manager:
        engine = manager.connect().engine
        assert engine is not None
        socket = manager.socket()
        for register in (
            lambda: manager.on("open", handler),
            lambda: manager.once("open")(handler),
            lambda: engine.on("packet", handler),
            lambda: socket.on("hello", handler),
            lambda: socket.on("hello")(handler),
            lambda: socket.on_any(handler),
            lambda: socket.prepend_any_outgoing(handler),
        ):
            with pytest.raises(OptionError, match=r"handler .*handler is an async function, .*: use a plain function"):
                register()
        assert socket.listeners("hello") == []


def test_a_scope_is_entered_once(world: World, scopes: Scopes) -> None:
    scope = scopes.connect(URL)
    with scope, pytest.raises(StateError, match=r"connect\(url\) can be entered only once; call it again"):
        scope.__enter__()
    with pytest.raises(StateError, match="entered only once"), scope:
        raise AssertionError


def test_the_methods_that_return_the_object(world: World, manager_class: type[Manager]) -> None:
    with manager_class(URL) as manager:
        assert manager.connect().open().close().open() is manager
        assert manager.on("open", print).once("open", print).off("open") is manager
        socket = manager.socket("/")
        assert socket.connect().open().disconnect().close().open() is socket
        assert socket.on("e", print).once("e", print).off("e").off_any().off_any_outgoing() is socket


def test_a_manager_from_open_to_close(world: World, manager_class: type[Manager]) -> None:
    log: list[Any] = []
    world.server.greets = ["welcome"]
    manager = manager_class(URL)
    socket = manager.socket("/chat")
    manager.on("open", lambda: log.append("open"))
    socket.on("welcome", lambda: log.append("welcome"))
    socket.auth = {"token": 1}
    with pytest.raises(StateError, match="is not running"):
        socket.emit("e")
    with pytest.raises(StateError, match="is not running"):
        socket.emit_nowait("e")
    assert manager.close() is manager
    for _ in range(2):
        assert manager.open() is manager
        socket.wait_connected()
        world.block(0)
        socket.emit("last")
        assert manager.close().close() is manager
        assert (world.tasks, world.streams) == ([], [])
        with pytest.raises(DisconnectedError, match="has been stopped"):
            socket.emit("e")
    assert log == ["open", "welcome"] * 2
    assert world.server.events() == [["last"], ["last"]]
    assert world.server.payloads() == [{"token": 1}] * 2


def test_an_open_that_fails_or_times_out_leaves_nothing(world: World, manager_class: type[Manager]) -> None:
    log: list[Any] = []
    manager = manager_class(URL)
    manager.on("error", lambda error: log.append("error"))
    world.server.accepts = False
    with pytest.raises(ConnectError):
        manager.open()
    assert (world.tasks, world.streams, log) == ([], [], ["error"])
    world.server.accepts = None
    with pytest.raises(TimeoutError) as caught:
        manager.open(timeout=3)
    late = "the connection to http://localhost:3000 was not open within the timeout of the call: the name of the host was not "
    assert str(caught.value).startswith(late)
    assert (world.tasks, world.streams) == ([], [])
    world.server.accepts = True
    manager.open().close()


def test_a_close_that_times_out_ends_the_run_at_once(world: World, manager_class: type[Manager]) -> None:
    manager = manager_class(URL, close_timeout=50)
    manager.open()
    world.server.is_reading = False
    with pytest.raises(TimeoutError):
        manager.close(timeout=3)
    assert (world.tasks, world.streams) == ([], [])
    assert world.time == 1003


def test_a_manager_in_a_block(world: World, manager_class: type[Manager]) -> None:
    log: list[Any] = []
    manager = manager_class(URL, reconnection_delay=2)
    manager.on("open", lambda: log.append("open"))
    with manager as entered:
        assert entered is manager
        manager.on("close", log.append).once("error", print).off("error")
        admin = manager.socket("/admin", auth={"token": 1})
        admin.wait_connected()
        assert isinstance(admin.io, manager_class)
        assert manager.socket("/admin") is admin
        assert repr(manager) == f"<Manager of {URL}, open>"
        assert manager.close() is manager
        assert manager.open().connect() is manager
    assert log == ["open", "forced close", "open", "forced close"]
    with pytest.raises(DisconnectedError):
        admin.emit("e")


def test_handlers_registered_before_the_block_are_not_held_back_for_long(
    world: World, manager_class: type[Manager]
) -> None:
    manager = manager_class(URL)
    opened: list[str] = []
    manager.on("open", lambda: opened.append("open"))
    with manager:
        world.block(SETTLED * 0.9)
        assert opened == []
        world.block(SETTLED * 0.2)
        assert opened == ["open"]


def test_the_calls_of_a_manager_time_out(world: World, manager_class: type[Manager]) -> None:
    with manager_class(URL, auto_connect=False) as manager:
        world.server.accepts = None
        with pytest.raises(TimeoutError):
            manager.open(timeout=1)
        world.server.accepts = True
        manager.close()
        manager.open()
        world.server.is_reading = False
        with pytest.raises(TimeoutError):
            manager.close(timeout=1)


def test_the_options_that_may_be_set_while_running(world: World, manager_class: type[Manager]) -> None:
    with manager_class(URL) as manager:
        for name, value in {
            "reconnection_attempts": 3,
            "reconnection_delay": 0.5,
            "reconnection_delay_max": 7,
            "randomization_factor": 0.1,
            "timeout": 9,
            "reconnection": False,
        }.items():
            setattr(manager, name, value)
            assert getattr(manager, name) == value


def test_errors_of_handlers_may_end_the_scope(world: World, scopes: Scopes) -> None:
    def body() -> None:
        with scopes.connect(URL, on_handler_error="raise") as socket:
            socket.on("e", lambda: 1 / 0)
            world.server.emit("e")
            socket.wait_closed()

    with pytest.raises(ZeroDivisionError):
        body()


def test_a_runtime_that_suspends_a_coroutine_is_an_error(world: World) -> None:
    world.threads = False
    with pytest.raises(RuntimeError, match="suspended"):
        drive(world.sleep(1))


# ---------------------------------------------------------------------------------------------------------------------
# The Engine, and statistics


def test_the_engine_is_one_object_for_a_session(world: World, manager_class: type[Manager]) -> None:
    seen: list[Any] = []
    manager = manager_class(URL, reconnection_delay=1, randomization_factor=0)
    assert manager.engine is None
    assert manager.statistics().packets_sent == 0
    with manager:
        first = manager.engine
        assert first is not None
        assert manager.engine is first
        for name in ("open", "close"):
            first.once(name, lambda *args: seen.append(args))
        first.on("packet", lambda packet: seen.append(packet.type))
        manager.socket().connect()
        world.block(0)
        assert seen == ["open", (), "message"]
        assert (first.id, first.transport.name) == ("e1", "polling")
        assert repr(first) == "<Engine e1, open, by polling>"
        assert first.close() is first
        assert manager.engine is first
        assert repr(first) == "<Engine None, closed, by polling>"
        world.block(2)
        assert seen[3:] == [("forced close", None)]
        second = manager.engine
        assert second is not None
        assert second is not first
        assert second.id == "e1"
        assert manager.statistics().reconnects == 1


def test_closing_an_engine_may_take_too_long(world: World, manager_class: type[Manager]) -> None:
    with manager_class(URL, close_timeout=5) as manager:
        manager.connect()
        world.server.is_reading = False
        manager.socket().emit("never leaves")
        engine = manager.engine
        assert engine is not None
        with pytest.raises(TimeoutError):
            engine.close(timeout=1)
        assert manager.engine is engine
        engine.close()
        assert manager.engine is engine
        assert engine.state == "closed"


def test_handlers_of_an_engine_are_not_held_back_for_long(world: World, manager_class: type[Manager]) -> None:
    seen: list[str] = []
    with manager_class(URL) as manager:
        engine = manager.engine
        assert engine is not None
        engine.on("open", lambda: seen.append("open"))
        world.block(SETTLED / 2)
        assert seen == []
        world.block(SETTLED)
        assert seen == ["open"]


# ---------------------------------------------------------------------------------------------------------------------
# The same names


def _public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Socket", "Manager", "IO", "Scopes", "Emitter", "Engine", "EventStream"])
def test_the_blocking_api_has_the_same_names_as_the_async_api(name: str) -> None:
    inner = {
        "Manager": {
            "can_be_held",  # threads belong to no scope
            "run",  # and to no nursery
            "runtime_scope",
        },
    }
    missing = _public(getattr(client, name)) - _public(getattr(blocking, name)) - inner.get(name, set())
    assert missing == set()


def test_handlers_of_any_event_received_or_sent(world: World, scopes: Scopes) -> None:
    log: list[Any] = []
    with scopes.connect(URL) as socket:

        @socket.on_any
        def received(event: str, *values: Any) -> None:
            log.append(("received", event, *values))

        @socket.on_any_outgoing
        def sent(event: str, *values: Any) -> None:
            log.append(("sent", event, *values))

        socket.emit("a", 1)
        world.block(0)
        world.server.emit("b", 2)
        world.block(0)
        assert socket.listeners_any() == [received]
        assert socket.listeners_any_outgoing() == [sent]
        socket.off_any(received).off_any_outgoing(sent)
        socket.emit("c")
        world.server.emit("d")
        world.block(0)
    assert log == [("sent", "a", 1), ("received", "b", 2)]
