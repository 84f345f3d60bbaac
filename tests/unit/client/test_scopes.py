"""The scopes of `connect` and `open_io`: the exceptions on entering them, and every way in which they end."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from sansio_socketio.client import Socket
from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.errors import ConnectError, DisconnectedError, OptionError, StateError
from sansio_socketio.running.dispatcher import Dispatcher
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


@pytest.mark.parametrize("eager", [False, True])
def test_connect_raises_when_a_function_fails(world: World, eager: bool) -> None:
    world.eager = eager

    async def main() -> None:
        async with world.scopes.connect(URL, query=lambda: 1 / 0):  # type: ignore[arg-type, return-value]
            raise AssertionError

    with pytest.raises(ConnectError, match="the function for query raised ZeroDivisionError"):
        world.run(main)
    assert world.time == 1000


def test_connect_raises_when_the_server_refuses(world: World) -> None:
    world.server.refusal["/"] = {"message": "not you", "data": 1}

    async def main() -> None:
        async with world.scopes.connect(URL, retry=True):
            raise AssertionError

    with pytest.raises(ConnectError, match="not you") as caught:
        world.run(main)
    assert caught.value.data == 1


@pytest.mark.parametrize("accepts", [None, True], ids=["the stream does not open", "CONNECT is not answered"])
def test_connect_raises_when_there_is_no_response_in_time(world: World, accepts: bool | None) -> None:
    world.server.accepts = accepts
    world.server.joins = False

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


def test_connect_retries_as_often_as_the_options_say(world: World) -> None:
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
        (lambda scopes: scopes.connect(URL, force_new=True), "unknown option 'force_new'"),
        (lambda scopes: scopes.connect(URL, retry=3), "retry takes True or False, not 3"),
        (lambda scopes: scopes.connect(URL, parser=dict), "parser takes an object with the methods"),
    ],
)
def test_invalid_arguments_are_errors_at_the_call(world: World, call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call(world.scopes)


# ---------------------------------------------------------------------------------------------------------------------
# The end


class _Stop(BaseException):
    pass


def test_a_scope_that_ends_sends_what_was_emitted_and_disconnects(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:
            await socket.emit("last", 1)

    world.run(main)
    assert world.server.events() == [["last", 1]]
    assert world.server.got[-1].type == 1  # DISCONNECT
    assert world.tasks == []


def test_an_exception_of_the_body_is_raised_unchanged_after_disconnecting(world: World) -> None:
    error = KeyError("mine")

    async def main() -> None:
        async with world.scopes.connect(URL):
            raise error

    with pytest.raises(KeyError) as caught:
        world.run(main)
    assert caught.value is error
    assert world.server.got[-1].type == 1  # DISCONNECT


def test_a_cancellation_during_the_end_does_not_replace_the_exception_of_the_body(world: World) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL, close_timeout=100) as socket:
            socket.on("e", lambda: world.sleep(1000))
            await world.settle()
            world.server.emit("e")
            world.cancel_main_at(5)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        world.run(main)
    assert world.tasks == []


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


def test_the_end_takes_at_most_close_timeout(world: World) -> None:
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


def test_a_handler_that_connects_again_does_not_delay_the_end(world: World, caplog: pytest.LogCaptureFixture) -> None:
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
    [message] = [record.getMessage() for record in caplog.records]
    assert message == "/: disconnected, and does not reconnect: io server disconnect"


def test_an_internal_error_ends_every_wait_and_is_raised_by_the_scope(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []

    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            def fail(*_: Any) -> None:
                raise ZeroDivisionError("internal")

            await world.settle()
            monkeypatch.setattr(ClientProtocol, "data_received", fail)
            world.call_at(world.time + 1, lambda: world.server.emit("e"))
            closing = world.spawn(socket.wait_closed)
            async with socket.events() as events:
                with pytest.raises(DisconnectedError) as caught:
                    await anext(events)
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            woken.append("stream")
            with pytest.raises(DisconnectedError, match="/ was disconnected: forced close: internal"):
                await world.join(closing)
            with pytest.raises(DisconnectedError, match="/ was disconnected: forced close: internal"):
                await socket.wait_closed()
            woken.append("closed")
            with pytest.raises(DisconnectedError):
                await socket.emit("e")

    with pytest.raises(ZeroDivisionError, match="internal"):
        world.run(main)
    assert woken == ["stream", "closed"]
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "please report it" in record.getMessage()


def test_an_internal_error_behind_the_state_machine_ends_every_wait_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with world.scopes.connect(URL) as socket:

            def fail(*_: Any) -> None:
                raise ZeroDivisionError("internal")

            monkeypatch.setattr(Dispatcher, "received", fail)
            world.call_at(world.time + 1, lambda: world.server.emit("e"))
            with pytest.raises(DisconnectedError) as caught:
                await socket.emit_with_ack("question")
            assert isinstance(caught.value.__cause__, ZeroDivisionError)

    with pytest.raises(ZeroDivisionError, match="internal"):
        world.run(main)


# ---------------------------------------------------------------------------------------------------------------------
# io


def run_io(world: World, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
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

    run_io(world, body)
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
def test_sockets_of_different_servers_do_not_share_a_connection(world: World, first: str, second: str) -> None:
    async def body(io: Any) -> None:
        assert io(first).io is not io(second).io

    run_io(world, body)


def test_another_path_force_new_or_a_repeated_namespace_makes_another_manager(world: World) -> None:
    async def body(io: Any) -> None:
        first = io(f"{URL}/a")
        assert io(f"{URL}/b", path="/other").io is not first.io
        assert io(f"{URL}/b", force_new=True).io is not first.io
        assert io(f"{URL}/b", multiplex=False).io is not first.io
        again = io(f"{URL}/a")
        assert again.io is not first.io
        assert io(f"{URL}/c").io is first.io

    run_io(world, body)


def test_a_manager_made_by_force_new_is_not_shared_later(world: World) -> None:
    async def body(io: Any) -> None:
        forced = io(f"{URL}/a", force_new=True)
        assert io(f"{URL}/b").io is not forced.io

    run_io(world, body)


def test_ignored_options_of_a_shared_manager_warn(world: World) -> None:
    async def body(io: Any) -> None:
        io(f"{URL}/a", reconnection_delay=2, path="/socket.io")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            io(f"{URL}/b", reconnection_delay=2)
        message = f"^the Manager of {URL} already exists and keeps its options; ignored: reconnection_delay, timeout"
        with pytest.warns(UserWarning, match=message):
            io(f"{URL}/c", reconnection_delay=3, timeout=1)

    run_io(world, body)


def test_io_without_auto_connect_does_not_connect(world: World) -> None:
    async def body(io: Any) -> None:
        socket = io(URL, auto_connect=False)
        await world.sleep(1)
        assert world.server.connections == 0
        await socket.connect()
        assert socket.connected

    run_io(world, body)


@pytest.mark.parametrize("options", [{"force_new": 1}, {"multiplex": "no"}, {"nonsense": 1}])
def test_invalid_options_of_io_raise(world: World, options: dict[str, Any]) -> None:
    async def body(io: Any) -> None:
        with pytest.raises(OptionError, match=next(iter(options))):
            io(URL, **options)

    run_io(world, body)


def test_io_starts_nothing_when_its_block_has_ended(world: World) -> None:
    errors: list[Exception] = []

    async def main() -> None:
        async with world.scopes.open_io(URL) as io:

            def connect_elsewhere() -> None:
                with pytest.raises(DisconnectedError, match=r"cannot be started: its scope has ended") as caught:
                    io("/chat", force_new=True)
                errors.append(caught.value)

            socket = io("/")
            socket.on("disconnect", connect_elsewhere)
            await socket.connect()
        connect_elsewhere()
        assert world.streams == []

    world.run(main)
    assert len(errors) == 2


def test_a_scope_of_several_connections_ends_them_all_together(world: World) -> None:
    async def body(io: Any) -> None:
        for number in range(3):
            await io(f"http://host{number}/", close_timeout=4).wait_connected()
        world.server.is_reading = False

    run_io(world, body)
    assert world.time == 1004


def test_io_uses_the_url_of_open_io(world: World) -> None:
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
@pytest.mark.parametrize("url", [f"{URL}/chat", f"{URL}/?token=s3cret", "ftp://localhost"])
def test_a_path_in_the_url_of_open_io_raises(world: World, url: str) -> None:
    with pytest.raises(OptionError, match=r"without path and query, not|scheme must be http") as caught:
        world.scopes.open_io(url)
    assert "s3cret" not in str(caught.value)


def test_without_a_url_in_open_io_io_requires_a_full_url(world: World) -> None:
    async def body(io: Any) -> None:
        for call in (io, lambda: io("/chat")):
            with pytest.raises(OptionError, match=r"pass the server.s URL to io\(\) or to open_io\(\)"):
                call()

    run_io(world, body)


def test_the_other_attributes_of_io(world: World) -> None:
    async def body(io: Any) -> None:
        assert (io.protocol, io.Manager, io.Socket) == (5, type(io(URL).io), Socket)

    run_io(world, body)


def test_an_ignored_query_of_a_shared_manager_warns(world: World) -> None:
    async def body(io: Any) -> None:
        io(f"{URL}/a?token=1", query={"token": "ignored, too"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            io(f"{URL}/b?token=1")
            io(f"{URL}/c", query={"token": "1"})
            io(f"{URL}/d")
        with pytest.warns(UserWarning, match="keeps its options; ignored: query"):
            io(f"{URL}/e?token=2")

    run_io(world, body)


def test_wrong_ways_to_enter_a_context_manager(world: World) -> None:
    async def wait(awaitable: Any) -> None:
        await awaitable

    scopes: list[tuple[Any, str]] = [
        (world.scopes.connect(URL), "connect(url)"),
        (world.scopes.open_io(), "open_io(url)"),
        (world.manager_class(URL), "Manager(url)"),
    ]
    for scope, call in scopes:
        with pytest.raises(TypeError, match=re.escape(f"{call} cannot be awaited: write `async with {call} as ...`")):
            world.run(partial(wait, scope))
        with (
            pytest.raises(TypeError, match=re.escape(f"{call} of an async driver needs `async with`, not `with`")),
            scope,
        ):
            raise AssertionError
    for scope, call in scopes[:2]:
        assert repr(scope) == f"<context manager of {call}>"
        with pytest.raises(AttributeError, match=re.escape(f"{call} returns a context manager, which has no 'on'")):
            scope.on("hello", print)
        with pytest.raises(
            TypeError, match=r"which cannot be called: write `async with .* as io:`, and in it io\('/chat'\)"
        ):
            scope("/chat")


@pytest.mark.parametrize("url", [f"{URL}/socket.io", f"{URL}/socket.io/?token=1"])
def test_a_url_that_contains_the_path_of_the_endpoint_raises(world: World, url: str) -> None:
    message = (
        "the path of 'http://.*/(socket.io|other).*' is the server's endpoint; in this URL the path names a namespace"
    )
    with pytest.raises(OptionError, match=message):
        world.scopes.connect(url)
    with pytest.raises(OptionError, match=message):
        world.scopes.connect(url.replace("socket.io", "other"), path="/other/")
    world.scopes.connect(url, path="/other")  # in which case it may be a namespace

    async def body(io: Any) -> None:
        with pytest.raises(OptionError, match=message):
            io(url)

    run_io(world, body)


def test_a_scope_is_entered_once(world: World) -> None:
    async def main() -> None:
        for scope, call in ((world.scopes.connect(URL), "connect"), (world.scopes.open_io(), "open_io")):
            async with scope:
                with pytest.raises(StateError, match=rf"{call}\(url\) can be entered only once; call it again"):
                    await scope.__aenter__()
            with pytest.raises(StateError, match="entered only once"):
                async with scope:
                    raise AssertionError

    world.run(main)
