"""Scopes: connect, io and Manager, from their beginning to the ways in which they end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OptionError, StateError
from tests.support.fake_runtime import Cancelled, World

URL = "http://localhost:3000"


# ---------------------------------------------------------------------------------------------------------------------
# connect


def test_connect_waits_for_the_namespace_of_the_urls_path(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(f"{URL}/chat?token=1") as socket:
            assert (socket.nsp, socket.connected) == ("/chat", True)
            assert world.streams[0].address == ("localhost", 3000)
        assert not socket.connected

    world.run(main)


def test_connect_raises_when_the_first_attempt_fails(world: World) -> None:
    world.server.accepts = False

    async def main() -> None:
        async with world.scopes.connect(URL):
            raise AssertionError

    with pytest.raises(ConnectError, match="refused") as caught:
        world.run(main)
    assert type(caught.value) is ConnectError
    assert caught.value.__cause__ is not None
    assert world.server.connections == 1


def test_connect_raises_when_the_server_refuses(world: World) -> None:
    world.server.refusal["/"] = {"message": "not you", "data": 1}

    async def main() -> None:
        async with world.scopes.connect(URL, retry=True):
            raise AssertionError

    with pytest.raises(ConnectError, match="not you") as caught:
        world.run(main)
    assert caught.value.data == 1


def test_connect_raises_when_nobody_answers_in_time(world: World) -> None:
    world.server.accepts = None

    async def main() -> None:
        async with world.scopes.connect(URL, timeout=3):
            raise AssertionError

    with pytest.raises(ConnectError, match="3 seconds") as caught:
        world.run(main)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert world.time == 1003


def test_connect_raises_when_the_connection_is_lost_before_the_namespace_is_joined(world: World) -> None:
    world.server.joins = False
    world.call_at(world.time + 1, world.server.lose)

    async def main() -> None:
        async with world.scopes.connect(URL):
            raise AssertionError

    with pytest.raises(ConnectError, match="transport close: the stream ended"):
        world.run(main)


def test_connect_may_retry(world: World) -> None:
    world.server.accepts = False
    world.call_at(world.time + 10, lambda: setattr(world.server, "accepts", True))

    async def main() -> None:
        async with world.scopes.connect(URL, retry=True) as socket:
            assert socket.connected

    world.run(main)
    assert world.server.connections > 2


def test_connect_may_retry_for_so_many_times(world: World) -> None:
    world.server.accepts = False

    async def main() -> None:
        async with world.scopes.connect(URL, retry=True, reconnection_attempts=2):
            raise AssertionError

    with pytest.raises(ConnectError, match="refused"):
        world.run(main)
    assert world.server.connections == 3


def test_a_cancelled_connect_leaves_nothing(world: World) -> None:
    world.server.accepts = None

    async def main() -> None:
        world.cancel_main_at(1)
        async with world.scopes.connect(URL):
            raise AssertionError

    with pytest.raises(Cancelled):
        world.run(main)
    assert world.time == 1001
    assert world.tasks == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda scopes: scopes.connect("ftp://localhost"), "ftp"),
        (lambda scopes: scopes.connect(URL, reconection=True), "did you mean 'reconnection'"),
        (lambda scopes: scopes.connect(URL, timeout="5"), "timeout takes"),
        (lambda scopes: scopes.connect(URL, retries=-1), "retries takes"),
        (lambda scopes: scopes.connect(URL, auto_connect=False), "connect\\(\\) always connects"),
        (lambda scopes: scopes.connect(URL, force_new=True), "no option 'force_new'"),
        (lambda scopes: scopes.connect(URL, retry=3), "retry takes True or False, not 3"),
        (lambda scopes: scopes.connect(URL, parser=dict), "parser takes an object with the methods"),
    ],
)
def test_mistakes_are_errors_at_the_call(world: World, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call(world.scopes)


# ---------------------------------------------------------------------------------------------------------------------
# The end


class _Stop(BaseException):
    pass


def test_a_scope_that_ends_says_goodbye(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:
            await socket.emit("last", 1)

    world.run(main)
    assert world.server.events() == [["last", 1]]
    assert world.server.got[-1].type == 1  # DISCONNECT
    assert world.tasks == []


def test_an_exception_of_the_body_comes_out_bare_after_the_goodbye(world: World) -> None:
    error = KeyError("mine")

    async def main() -> None:
        async with world.scopes.connect(URL):
            raise error

    with pytest.raises(KeyError) as caught:
        world.run(main)
    assert caught.value is error
    assert world.server.got[-1].type == 1  # DISCONNECT


@pytest.mark.parametrize("error", [_Stop(), KeyboardInterrupt(), Cancelled()])
def test_a_scope_that_is_cancelled_ends_at_once(world: World, error: BaseException) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:
            socket.on("e", lambda: world.sleep(100))
            world.server.emit("e")
            await world.settle()
            world.server.is_reading = False
            await socket.emit("unsent")
            raise error

    with pytest.raises(type(error)):
        world.run(main)
    assert world.time == 1000
    assert world.server.events() == []
    assert world.tasks == []


def test_a_scope_that_is_cancelled_while_it_ends_ends_at_once(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, close_timeout=100) as socket:
            socket.on("e", lambda: world.sleep(1000))
            await world.settle()
            world.server.emit("e")
            world.cancel_main_at(5)

    with pytest.raises(Cancelled):
        world.run(main)
    assert world.time == 1005
    assert world.tasks == []


def test_a_server_that_does_not_let_go_is_left_after_close_timeout(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, close_timeout=2):
            world.server.is_reading = False

    world.run(main)
    assert world.time == 1002


def test_a_scope_ends_as_soon_as_the_connection_is_closed(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, close_timeout=5):
            world.server.is_reading = False
            world.call_at(world.time + 1, world.server.read_on)

    world.run(main)
    assert world.time == 1001


def test_a_handler_that_connects_again_does_not_hold_up_the_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, close_timeout=50) as socket:
            socket.on("disconnect", socket.connect)
            await world.settle()
            world.server.kick()
            await world.settle()
            await socket.wait_connected()

    world.run(main)
    assert world.time == 1000
    assert world.server.connections == 2
    assert caplog.records == []


def test_a_mistake_of_ours_in_the_machine_hangs_nothing_and_hides_nothing(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []

    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            def mistake(*_: Any) -> None:
                raise ZeroDivisionError("ours")

            await world.settle()
            monkeypatch.setattr(socket.io._connection.machine, "data_received", mistake)
            world.call_at(world.time + 1, lambda: world.server.emit("e"))
            async with socket.events() as events:
                async for _ in events:
                    raise AssertionError
            woken.append("stream")
            await socket.wait_closed()
            woken.append("closed")
            with pytest.raises(DisconnectedError):
                await socket.emit("e")

    with pytest.raises(ZeroDivisionError, match="ours"):
        world.run(main)
    assert woken == ["stream", "closed"]
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "please report it" in record.getMessage()


def test_a_mistake_of_ours_while_actions_are_carried_out_is_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            def mistake(*_: Any) -> None:
                raise ZeroDivisionError("ours")

            monkeypatch.setattr(socket, "_route", mistake)
            world.call_at(world.time + 1, lambda: world.server.emit("e"))
            with pytest.raises(DisconnectedError) as caught:
                await socket.emit_with_ack("question")
            assert isinstance(caught.value.__cause__, ZeroDivisionError)

    with pytest.raises(ZeroDivisionError, match="ours"):
        world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# io


def play_io(world: World, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with world.scopes.open_io() as io:
            await body(io)

    world.run(main)
    assert world.tasks == []


def test_sockets_of_one_server_share_a_connection(world: World) -> None:
    async def body(io: Any) -> None:
        seen: list[str] = []
        news = io(f"{URL}/news")
        chat = io(f"{URL}/chat", auth={"token": 1})
        news.on("connect", lambda: seen.append("news"))
        chat.on("connect", lambda: seen.append("chat"))
        assert not news.connected
        await news.wait_connected()
        await chat.wait_connected()
        await world.settle()
        assert news.io is chat.io
        assert seen == ["news", "chat"]

    play_io(world, body)
    assert world.server.connections == 1
    assert world.server.payloads() == [None, {"token": 1}]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://localhost:3000/a", "http://localhost:3001/b"),
        ("http://localhost:3000/a", "http://127.0.0.1:3000/b"),
        ("http://localhost:3000/a", "ws://localhost:3000/b"),
    ],
)
def test_sockets_of_other_servers_do_not(world: World, first: str, second: str) -> None:
    async def body(io: Any) -> None:
        assert io(first).io is not io(second).io

    play_io(world, body)


def test_other_paths_forced_or_repeated_namespaces_have_a_manager_of_their_own(world: World) -> None:
    async def body(io: Any) -> None:
        first = io(f"{URL}/a")
        assert io(f"{URL}/b", path="/other").io is not first.io
        assert io(f"{URL}/b", force_new=True).io is not first.io
        assert io(f"{URL}/b", multiplex=False).io is not first.io
        again = io(f"{URL}/a")
        assert again.io is not first.io
        assert io(f"{URL}/c").io is first.io

    play_io(world, body)


def test_a_manager_that_is_forced_is_not_shared_later(world: World) -> None:
    async def body(io: Any) -> None:
        forced = io(f"{URL}/a", force_new=True)
        assert io(f"{URL}/b").io is not forced.io

    play_io(world, body)


def test_options_that_a_shared_manager_ignores_are_warned_of(world: World) -> None:
    async def body(io: Any) -> None:
        io(f"{URL}/a", reconnection_delay=2, path="/socket.io")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            io(f"{URL}/b", reconnection_delay=2)
        with pytest.warns(UserWarning, match="keeps its options; ignored: reconnection_delay, timeout"):
            io(f"{URL}/c", reconnection_delay=3, timeout=1)

    play_io(world, body)


def test_io_may_leave_connecting_to_the_user(world: World) -> None:
    async def body(io: Any) -> None:
        socket = io(URL, auto_connect=False)
        await world.sleep(1)
        assert world.server.connections == 0
        await socket.connect()
        assert socket.connected

    play_io(world, body)


@pytest.mark.parametrize("options", [{"force_new": 1}, {"multiplex": "no"}, {"nonsense": 1}])
def test_mistakes_of_io_are_errors(world: World, options: dict[str, Any]) -> None:
    async def body(io: Any) -> None:
        with pytest.raises(OptionError, match=next(iter(options))):
            io(URL, **options)

    play_io(world, body)


def test_a_scope_of_several_connections_ends_them_all_together(world: World) -> None:
    async def body(io: Any) -> None:
        for number in range(3):
            await io(f"http://host{number}/", close_timeout=4).wait_connected()
        world.server.is_reading = False

    play_io(world, body)
    assert world.time == 1004


def test_the_server_of_io(world: World) -> None:
    async def main() -> None:
        async with world.scopes.open_io(URL) as io:
            main_one, chat, other = io(), io("/chat"), io("//other:1/chat")
            assert (main_one.nsp, chat.nsp, other.nsp) == ("/", "/chat", "/chat")
            assert main_one.io is chat.io
            assert main_one.io is not other.io
            assert other.io.url == "http://other:1/chat"
            assert io.connect("/news").io is chat.io

    world.run(main)


@pytest.mark.row("difference.server_url")
@pytest.mark.parametrize("url", [f"{URL}/chat", f"{URL}/?token=1", "ftp://localhost"])
def test_the_server_of_io_is_a_server(world: World, url: str) -> None:
    with pytest.raises(OptionError, match=r"give those to io\(\)|scheme must be http"):
        world.scopes.open_io(url)


def test_without_a_server_io_needs_a_whole_url(world: World) -> None:
    async def body(io: Any) -> None:
        for call in (io, lambda: io("/chat")):
            with pytest.raises(OptionError, match=r"pass the server.s URL to io\(\) or to open_io\(\)"):
                call()

    play_io(world, body)


def test_what_else_io_has(world: World) -> None:
    async def body(io: Any) -> None:
        assert (io.protocol, io.Manager, io.Socket) == (5, type(io(URL).io), Socket)

    play_io(world, body)


def test_a_query_that_a_shared_manager_ignores_is_warned_of(world: World) -> None:
    async def body(io: Any) -> None:
        io(f"{URL}/a?token=1", query={"token": "ignored, too"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            io(f"{URL}/b?token=1")
            io(f"{URL}/c", query={"token": "1"})
            io(f"{URL}/d")
        with pytest.warns(UserWarning, match="keeps its options; ignored: query"):
            io(f"{URL}/e?token=2")

    play_io(world, body)


def test_a_scope_is_entered_once(world: World) -> None:
    async def main() -> None:
        for scope, call in ((world.scopes.connect(URL), "connect"), (world.scopes.open_io(), "open_io")):
            async with scope:
                with pytest.raises(StateError, match=rf"entered once; call {call}\(\) again"):
                    await scope.__aenter__()
            with pytest.raises(StateError, match="entered once"):
                async with scope:
                    raise AssertionError

    world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# Manager


def play_manager(world: World, body: Callable[[Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        async with world.manager_class(URL, **options) as manager:
            await body(manager)

    world.run(main)
    assert world.tasks == []


def test_a_manager_opens_and_has_sockets(world: World) -> None:
    async def body(manager: Any) -> None:
        await world.settle()
        assert manager.engine.id == "e1"
        admin = manager.socket("/admin", auth={"token": 1})
        await admin.wait_connected()
        assert manager.socket("/admin") is admin
        with pytest.warns(UserWarning, match="the socket of /admin exists already .* ignored: auth"):
            manager.socket("/admin", auth={"token": 2})
        await admin.disconnect()
        assert manager.socket("/admin") is admin
        await admin.wait_connected()
        assert manager.socket("plain").nsp == "/plain"

    play_manager(world, body)


def test_a_manager_that_does_not_connect_by_itself(world: World) -> None:
    async def body(manager: Any) -> None:
        socket = manager.socket("/")
        await world.sleep(1)
        assert world.server.connections == 0
        assert await manager.open() is manager
        assert world.server.connections == 1
        await manager.connect()
        await socket.connect()

    play_manager(world, body, auto_connect=False)


@pytest.mark.row("difference.awaited")
def test_awaiting_open_tells_the_failure_and_starts_no_reconnection(world: World) -> None:
    async def body(manager: Any) -> None:
        world.server.accepts = False
        with pytest.raises(ConnectError, match="refused"):
            await manager.open()
        await world.sleep(100)
        assert world.server.connections == 1

    play_manager(world, body, auto_connect=False)


@pytest.mark.parametrize("eager", [False, True])
def test_awaiting_open_tells_of_a_failed_question(world: World, eager: bool) -> None:
    world.eager = eager

    async def body(manager: Any) -> None:
        with pytest.raises(ConnectError, match="the function for query raised ZeroDivisionError"):
            await manager.open()

    play_manager(world, body, auto_connect=False, query=lambda: 1 / 0)


def test_awaiting_open_is_told_of_a_close(world: World) -> None:
    async def body(manager: Any) -> None:
        world.server.accepts = None
        world.call_at(world.time + 1, lambda: manager._connection.hub.feed(manager._connection.machine.close))
        with pytest.raises(DisconnectedError, match="forced close"):
            await manager.open()

    play_manager(world, body, auto_connect=False)


def test_close_waits_until_all_has_left_and_open_opens_again(world: World) -> None:
    story: list[Any] = []

    async def body(manager: Any) -> None:
        socket = manager.socket("/")
        manager.on("close", story.append)
        socket.on("disconnect", lambda reason: story.append(("socket", reason)))
        await socket.wait_connected()
        await socket.emit("last")
        await manager.close()
        assert world.server.events() == [["last"]]
        assert manager.engine is None
        await socket.wait_closed()
        await manager.close()
        await socket.connect()
        assert socket.connected

    play_manager(world, body)
    assert story[:2] == ["forced close", ("socket", "forced close")]


def test_close_does_not_wait_for_the_end_of_a_connection_that_is_opened_meanwhile(world: World) -> None:
    async def body(manager: Any) -> None:
        socket = await manager.socket("/").connect()
        socket.once("disconnect", socket.connect)
        world.server.is_reading = False
        world.call_at(world.time + 1, world.server.read_on)
        began = world.time
        await manager.close()
        assert world.time == began
        await socket.wait_connected()
        assert world.server.connections == 2

    play_manager(world, body)


def test_the_events_of_a_manager_in_their_order(world: World) -> None:
    story: list[Any] = []

    async def body(manager: Any) -> None:
        for name in ("open", "ping", "reconnect", "reconnect_attempt", "reconnect_failed", "close"):
            manager.on(name, lambda *values, name=name: story.append((name, *values)))
        for name in ("error", "reconnect_error"):
            manager.on(name, lambda error, name=name: story.append((name, type(error).__name__)))
        socket = manager.socket("/")
        socket.on("connect", lambda: story.append("socket connect"))
        socket.on("connect_error", lambda: story.append("socket connect_error"))
        socket.on("disconnect", lambda: story.append("socket disconnect"))
        await socket.wait_connected()
        world.server.ping()
        await world.settle()
        world.server.accepts = False
        world.server.lose()
        world.call_at(world.time + 2, lambda: setattr(world.server, "accepts", True))
        await socket.wait_connected()
        await world.settle()
        story.append("---")
        world.server.accepts = False
        world.server.lose()
        await world.sleep(100)

    play_manager(world, body, reconnection_attempts=2, randomization_factor=0)
    failed_attempt = [("error", "TransportError"), ("reconnect_error", "TransportError"), "socket connect_error"]
    lost = [story[story.index("socket disconnect") - 1], "socket disconnect"]
    assert lost[0][:2] == ("close", "transport close")
    assert story[: story.index("---")] == [
        ("open",),
        "socket connect",
        ("ping",),
        *lost,
        ("reconnect_attempt", 1),
        *failed_attempt,
        ("reconnect_attempt", 2),
        ("open",),
        ("reconnect", 2),
        "socket connect",
    ]
    assert [item[0] for item in story[story.index("---") + 1 :] if isinstance(item, tuple)] == [
        "close",
        "reconnect_attempt",
        "error",
        "reconnect_error",
        "reconnect_attempt",
        "error",
        "reconnect_failed",
        "reconnect_error",
    ]


def test_the_options_that_may_be_set_while_running(world: World) -> None:
    async def body(manager: Any) -> None:
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
            assert getattr(manager._connection.machine, name) == value
            with pytest.raises(OptionError, match=name):
                setattr(manager, name, "nonsense")

    play_manager(world, body)


def test_a_manager_outside_of_its_scope(world: World) -> None:
    manager = world.manager_class(URL)
    manager.reconnection = False
    assert manager.engine is None
    assert repr(manager) == f"<Manager of {URL}, closed>"
    seen: list[str] = []
    manager.on("open", lambda: seen.append("open"))

    async def main() -> None:
        async with manager:
            await manager.socket("/").wait_connected()
            await world.settle()

    world.run(main)
    assert seen == ["open"]


@pytest.mark.row("manager.event.packet")
def test_an_unknown_event_of_a_manager_is_an_error(world: World) -> None:
    manager = world.manager_class(URL)
    with pytest.raises(OptionError, match="no event 'reconnected'; there are close, error, open"):
        manager.on("reconnected", print)


def test_an_unverified_server_is_warned_of(world: World) -> None:
    with pytest.warns(UserWarning, match="not verified"):
        world.manager_class(URL, ssl=False)


def test_the_socket_is_the_same_type_for_all(world: World) -> None:
    async def body(manager: Any) -> None:
        assert isinstance(manager.socket("/"), Socket)

    play_manager(world, body)
