"""`serve`: handlers, events both ways, namespaces, questions."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sansio_socketio import AckTimeout, ConnectError, DisconnectedError, OptionError, PacketError
from sansio_socketio.protocol.server.protocol import ServerProtocol
from sansio_socketio.server import Recovery, RemoteClient, Server, SessionRequest
from tests.unit.protocol.server.rig import request
from tests.unit.server.world import ServerWorld

POLLING = request("GET", "EIO=4&transport=polling", path="/socket.io/")


# Handlers


def test_handlers_are_called_with_the_client_and_values_in_order(world: ServerWorld) -> None:
    calls: list[Any] = []

    async def body(server: Server) -> None:
        @server.on("connect")
        async def connect(client: RemoteClient) -> None:
            await world.sleep(1)
            calls.append(("connect", client.id))

        @server.on("hello")
        def hello(client: RemoteClient, *values: Any) -> None:
            calls.append(("hello", client.id, *values))

        @server.on("disconnect")
        def disconnect(client: RemoteClient, reason: str, details: object) -> None:
            calls.append(("disconnect", client.id, reason, details, client.connected))

        wire = await world.client()
        client_id = wire.joined()["sid"]
        assert [client.id for client in server.clients] == [client_id]
        assert server.clients[0].connected
        wire.say('2["hello",1,{"a":2}]', '2["hello"]', '2["other"]', "1")
        await world.sleep(2)
        assert calls == [
            ("connect", client_id),
            ("hello", client_id, 1, {"a": 2}),
            ("hello", client_id),
            ("disconnect", client_id, "client namespace disconnect", None, False),
        ]
        assert not server.clients

    world.run_server(body)


def test_what_handlers_return_is_the_acknowledgement(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        server.on("one", lambda _, value: value).on("two", lambda _: (1, 2)).on("none", lambda: None)

        @server.on("manual", manual_ack=True)
        def manual(client: RemoteClient, value: int, ack: Any) -> None:
            ack(client.id, value)

        wire = await world.client()
        client_id = wire.joined()["sid"]
        wire.say('21["one","x"]', '22["two"]', '23["none"]', '24["manual",5]', '25["unknown"]')
        await world.settle()
        assert wire.heard() == ['31["x"]', "32[1,2]", "33[]", f'34["{client_id}",5]']

    world.run_server(body)


def test_a_slow_handler_does_not_delay_other_clients(world: ServerWorld) -> None:
    calls: list[str] = []

    async def body(server: Server) -> None:
        @server.on("work")
        async def work(_: RemoteClient, name: str) -> None:
            if name == "slow":
                await world.sleep(10)
            calls.append(name)

        first, second = await world.client(), await world.client()
        first.say('2["work","slow"]', '2["work","after"]')
        second.say('2["work","quick"]')
        await world.settle()
        assert calls == ["quick"]
        await world.sleep(10)
        assert calls == ["quick", "slow", "after"]

    world.run_server(body)


def test_handlers_may_run_concurrently_once_or_be_removed(world: ServerWorld) -> None:
    calls: list[str] = []

    async def body(server: Server) -> None:
        @server.on("both", concurrency=2)
        async def both(_: RemoteClient, name: str) -> None:
            calls.append(f"{name} starts")
            await world.sleep(1)

        @server.once("both")
        def once() -> None:
            calls.append("once")

        def removed() -> None:
            raise AssertionError

        server.on("both", removed).off("both", removed)
        assert server.listeners("both") == [both, once]
        wire = await world.client()
        wire.say('2["both","a"]', '2["both","b"]')
        await world.settle()
        assert sorted(calls) == ["a starts", "b starts", "once"]

    world.run_server(body)


@pytest.mark.parametrize("event", ["connect_error", "connection"])
def test_events_that_servers_do_not_have_are_refused(event: str) -> None:
    world = ServerWorld()

    async def body(server: Server) -> None:
        with pytest.raises(OptionError, match=f"servers have no event '{event}'"):
            server.on(event)
        with pytest.raises(OptionError, match=f"servers have no event '{event}'"):
            server.once(event, print)

    world.run_server(body)


def test_an_exception_in_a_handler_is_logged(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server) -> None:
        @server.on("fail")
        def fail(_: RemoteClient) -> None:
            raise ValueError("in the handler")

        server.on("work", lambda _: "works")
        wire = await world.client()
        wire.joined()
        wire.say('21["fail"]', '22["work"]')
        await world.settle()
        assert wire.heard() == ['32["works"]']

    world.run_server(body)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "fail of 'fail' in / (client " in record.getMessage()


def test_an_exception_in_a_handler_is_passed_to_a_function(world: ServerWorld) -> None:
    errors: list[tuple[str, str]] = []

    async def body(server: Server) -> None:
        server.on("fail", lambda _: 1 / 0)
        (await world.client()).say('2["fail"]')
        await world.settle()

    world.run_server(body, on_handler_error=lambda error, event: errors.append((type(error).__name__, event)))
    assert errors == [("ZeroDivisionError", "fail")]


def test_an_exception_in_a_handler_may_stop_the_server(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server) -> None:
        server.on("fail", lambda _: 1 / 0)
        (await world.client()).say('2["fail"]')
        await server.serve_forever()

    with pytest.raises(ZeroDivisionError):
        world.run_server(body, on_handler_error="raise")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    async def sleeping_body(server: Server) -> None:
        server.on("fail", lambda _: 1 / 0)
        (await world.client()).say('2["fail"]')
        await world.sleep(1)

    with pytest.raises(ZeroDivisionError):
        world.run_server(sleeping_body, on_handler_error="raise")


# Emitting


def test_events_are_emitted_to_one_client_or_to_all(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        first, second = await world.client(), await world.client()
        for wire in (first, second):
            wire.joined()
        one, two = server.clients
        await one.emit("a", 1)
        two.emit_nowait("b")
        await two.volatile.emit("c")
        server.broadcast("d", 1)
        server.broadcast("e", except_=[one])
        await world.settle()
        assert first.heard() == ['2["a",1]', '2["d",1]']
        # The volatile event is dropped, because the one before it has not been sent.
        assert second.heard() == ['2["b"]', '2["d",1]', '2["e"]']
        await world.settle()
        await two.volatile.emit("c")
        assert second.heard() == ['2["c"]']
        await world.settle()
        server.broadcast("f", volatile=True)
        assert [first.heard(), second.heard()] == [['2["f"]']] * 2

    world.run_server(body)


def test_acknowledgements_of_a_client(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        wire = await world.client()
        wire.joined()
        (client,) = server.clients
        tasks = [
            world.spawn(lambda: client.emit_with_ack("a")),
            world.spawn(lambda: client.timeout(None).emit_with_ack("b")),
            world.spawn(lambda: client.emit_with_ack("c")),
            world.spawn(lambda: client.timeout(1).emit_with_ack("d")),
        ]
        await world.settle()
        assert wire.heard() == ['21["a"]', '22["b"]', '23["c"]', '24["d"]']
        wire.say("31[5]", "32[]", "33[6,7]", "39[]")
        assert [await world.join(task) for task in tasks[:3]] == [5, None, (6, 7)]
        with pytest.raises(AckTimeout, match=r"event 'd' was not acknowledged within 1 seconds"):
            await world.join(tasks[3])
        wire.say("34[]")  # late

        leaving = world.spawn(lambda: client.emit_with_ack("e"))
        cancelled = world.spawn(lambda: client.emit_with_ack("f"))
        await world.settle()
        cancelled.cancel()
        await world.settle()
        wire.say("36[]", "1")
        with pytest.raises(DisconnectedError, match="client namespace disconnect"):
            await world.join(leaving)
        with pytest.raises(DisconnectedError, match="the client is not connected"):
            await client.emit_with_ack("g")
        await client.emit("g")

    world.run_server(body)


def test_what_cannot_be_emitted_is_an_error(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        await world.client()
        (client,) = server.clients
        with pytest.raises(OptionError, match="reserved"):
            await client.emit("connect")
        with pytest.raises(PacketError):
            client.emit_nowait("a", object())
        with pytest.raises(PacketError):
            server.broadcast("a", object())
        with pytest.raises(OptionError, match="timeout takes"):
            client.timeout(-1)

    world.run_server(body)


def test_emit_waits_for_a_slow_client_until_it_reads_or_leaves(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        wires = [await world.client(), await world.client()]
        for wire in wires:
            wire.stream.is_reading = False
        slow, gone = server.clients
        tasks = []
        for client in (slow, gone):
            client.emit_nowait("large", "x" * 70_000)
            tasks.append(world.spawn(lambda client=client: client.emit("small")))  # type: ignore[misc]
        await world.settle()
        assert not any(task.done for task in tasks)
        await slow.volatile.emit("dropped")
        wires[0].stream.is_reading = True
        wires[0].stream.flush()
        wires[1].stream.lose()
        for task in tasks:
            await world.join(task)
        assert [event[:8] for event in wires[0].heard()] == ['2["large', '2["small']

    world.run_server(body)


# Clients


def test_what_is_known_about_a_client(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        await world.client('0{"token":1}', b"X-A: b\r\n")
        (client,) = server.clients
        assert client.auth == {"token": 1}
        assert client.request.headers["x-a"] == "b"
        assert client.request.query["a"] == "b"
        assert (client.request.transport, client.request.peer) == ("websocket", "192.0.2.1:1")
        assert (client.transport, client.namespace, client.recovered) == ("websocket", "/", False)
        assert repr(client) == f"<RemoteClient {client.id} of />"
        client.data["name"] = "x"
        assert server.clients[0].data == {"name": "x"}
        assert repr(client.request) == "SessionRequest(transport='websocket', peer='192.0.2.1:1')"

    world.run_server(body)


def test_a_client_is_disconnected_from_a_namespace_or_from_all(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        chat = server.of("chat")
        assert chat is server.of("/chat")
        assert chat.name == "/chat"
        assert server.of("/") is server
        wire = await world.client()
        wire.say("0/chat,")
        await world.settle()
        assert len(chat.clients) == 1
        wire.heard()
        chat.clients[0].disconnect()
        assert wire.heard() == ["1/chat,"]
        assert (len(chat.clients), len(server.clients)) == (0, 1)
        wire.say("0/chat,")
        await world.settle()
        (client,) = chat.clients
        client.disconnect(close=True)
        client.disconnect()
        assert (len(chat.clients), len(server.clients)) == (0, 0)
        await world.settle()
        wire.stream.lose()

    world.run_server(body)


def test_a_namespace_that_does_not_exist_is_refused(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        wire = await world.client("0/chat,")
        assert wire.heard() == ['4/chat,{"message":"Invalid namespace"}']
        with pytest.raises(PacketError):
            server.of("/a,b")

    world.run_server(body)


def test_a_client_recovers(world: ServerWorld) -> None:
    calls: list[Any] = []

    async def body(server: Server) -> None:
        server.on("connect", lambda client: calls.append((client.id, client.recovered)))
        wire = await world.client()
        joined = wire.joined()
        server.broadcast("first")
        (event,) = wire.heard()
        offset = event.split('"')[-2]
        wire.stream.lose()
        server.broadcast("missed")
        await world.settle()
        again = await world.client(f'0{{"pid":"{joined["pid"]}","offset":"{offset}"}}')
        assert [event[:9] for event in again.heard()] == ['2["missed']
        assert calls == [(joined["sid"], False), (joined["sid"], True)]

    world.run_server(body, recovery=Recovery())


def test_a_client_that_floods_its_inbox_is_disconnected(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server) -> None:
        @server.on("work")
        async def work(_: RemoteClient) -> None:
            await world.sleep(100)

        wire, other = await world.client(), await world.client()
        wire.say(*['2["work"]'] * 20)
        await world.settle()
        assert len(server.clients) == 1
        other.say('2["work"]')

    world.run_server(body, inbox_events=10, close_timeout=1)
    assert "disconnecting client" in caplog.text
    assert "inbox_events (10)" in caplog.text


# Questions


def test_functions_are_asked_in_order_whether_a_client_may_join(world: ServerWorld) -> None:
    asked: list[Any] = []

    async def body(server: Server) -> None:
        @server.use
        async def first(client: RemoteClient) -> None:
            asked.append((client.auth, client.connected, client.transport))
            client.data["first"] = True
            await world.sleep(1)
            if client.auth.get("token") != 1:
                raise ConnectError("wrong token", {"code": 5})

        @server.use
        def second(client: RemoteClient) -> None:
            asked.append(client.data)

        right = await world.client('0{"token":1}')
        wrong = await world.client()
        assert not server.clients
        await world.sleep(1)
        (client,) = server.clients
        assert client.data == {"first": True}
        assert client.id == right.joined()["sid"]
        assert wrong.heard() == ['4{"message":"wrong token","data":{"code":5}}']
        assert asked == [
            ({"token": 1}, False, "websocket"),
            ({}, False, "websocket"),
            {"first": True},
        ]
        with pytest.raises(OptionError, match="use"):
            server.use(5)  # type: ignore[type-var]

    world.run_server(body)


def test_other_exceptions_refuse_without_an_explanation(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server) -> None:
        @server.use
        def fail(_: RemoteClient) -> None:
            raise ValueError("a secret")

        @server.of("/data").use
        def unencodable(_: RemoteClient) -> None:
            raise ConnectError("no", object())

        wire = await world.client()
        wire.say("0/data,")
        await world.settle()
        assert wire.heard() == ['4{"message":"Forbidden"}', '4/data,{"message":"Forbidden"}']

    world.run_server(body)
    reported = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(reported) == 2
    assert "fail (use)" in reported[0]
    assert "the data of a ConnectError" in reported[1]


def test_a_client_whose_question_is_not_answered_in_time_is_refused(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        chat = server.of("/chat")

        @chat.use
        async def slow(_: RemoteClient) -> None:
            await world.sleep(100)

        wire = await world.client()
        wire.joined()
        wire.say("0/chat,")
        await world.sleep(5)
        assert "not answered in time" in wire.heard()[0]
        await world.sleep(10)
        wire.say("1")
        await world.sleep(90)
        assert not chat.clients
        assert not server._run._asking

    world.run_server(body, connect_timeout=5)


def test_only_so_many_questions_are_answered_at_once(world: ServerWorld) -> None:
    ended: list[str] = []

    async def body(server: Server) -> None:
        @server.use
        async def slow(client: RemoteClient) -> None:
            try:
                await world.sleep(100)
            finally:
                ended.append(client.auth["name"])

        wire = await world.client('0{"name":"first"}')
        for number in range(3):
            wire.stream.lose()
            wire = await world.client(f'0{{"name":"{number}"}}')
        await world.settle()
        assert ended == ["first", "0"]
        assert len(server._run._asking) == 2

    world.run_server(body, max_sessions=2)


def test_a_function_is_asked_before_a_session_is_opened(world: ServerWorld) -> None:
    requests: list[SessionRequest] = []

    async def allow(asked: SessionRequest) -> None:
        requests.append(asked)
        await world.sleep(1)
        if asked.headers.get("x-token") != "1":
            raise ConnectError("wrong token")

    async def body(_: Server) -> None:
        right = world.accept()
        wrong = world.accept()
        for stream, headers in ((right, b"X-Token: 1\r\n"), (wrong, b"")):
            assert stream.receiver is not None
            stream.receiver.received(request("GET", "EIO=4&transport=polling", headers=headers, path="/socket.io/"))
        await world.settle()
        assert not right.written
        await world.sleep(1)
        assert b" 200 " in right.written
        assert b" 403 " in wrong.written
        assert b"wrong token" in wrong.written
        assert [request.transport for request in requests] == ["polling", "polling"]

    world.run_server(body, allow_request=allow)


# From start to end


def test_other_paths_are_not_found(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def body(_: Server) -> None:
        reply = world.ask(request("GET", path="/"))
        assert reply is not None
        assert reply.status == 404

    world.run_server(body)
    assert "rejected a request with status 404" in caplog.text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:5000"),
        ("127.0.0.1", "http://127.0.0.1:5000"),
        ("::1", "http://[::1]:5000"),
        ("", "http://localhost:5000"),
        ("0.0.0.0", "http://localhost:5000"),
        ("::", "http://localhost:5000"),
    ],
)
def test_the_url_of_the_server(host: str, url: str) -> None:
    world = ServerWorld()

    async def body(server: Server) -> None:
        assert server.url == url
        assert server.port == 5000
        assert world.listener.host == host

    world.run_server(body, host=host)


def test_the_end_disconnects_clients_and_handles_their_events(world: ServerWorld) -> None:
    calls: list[Any] = []

    async def body(server: Server) -> None:
        @server.on("work")
        async def work(client: RemoteClient) -> None:
            await world.sleep(1)
            calls.append(client.connected)
            with pytest.raises(DisconnectedError):
                await client.emit_with_ack("a")

        server.on("disconnect", lambda _, reason: calls.append(reason))
        wire = await world.client()
        wire.say('2["work"]')
        await world.settle()

    world.run_server(body)
    assert calls == [False, "server shutting down"]


def test_close_ends_serve_forever(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        wire = await world.client()
        task = world.spawn(server.serve_forever)
        await world.settle()
        assert not task.done
        server.close()
        server.close()
        await world.join(task)
        assert world.listener.is_closed
        assert wire.stream.end is not None or world.accepted

    world.run_server(body)


def test_the_end_takes_at_most_twice_close_timeout(world: ServerWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def body(server: Server) -> None:
        @server.on("stuck")
        async def stuck(client: RemoteClient) -> None:
            await client.emit_with_ack("never")

        @server.on("disconnect")
        async def disconnect(_: RemoteClient) -> None:
            await world.sleep(1_000_000)

        server.on("connect", lambda _: None)
        wire = await world.client()
        wire.say('2["stuck"]')
        wire.stream.is_reading = False
        await world.settle()

    start = world.time
    world.run_server(body, close_timeout=3)
    assert world.time == start + 6
    assert "handlers are still running when the server ends" in caplog.text
    assert not world.tasks


@pytest.mark.parametrize("close_timeout", [0, 5])
def test_a_cancelled_server_ends_at_once(world: ServerWorld, close_timeout: float) -> None:
    async def body(server: Server) -> None:
        @server.on("stuck")
        async def stuck(client: RemoteClient) -> None:
            await client.emit_with_ack("never")

        (await world.client()).say('2["stuck"]')
        await world.settle()
        world.cancel_main_at(0)
        await server.serve_forever()

    start = world.time
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # the runtime's cancellation
        world.run_server(body, close_timeout=close_timeout)
    assert type(caught.value).__name__ == "Cancelled"
    assert world.time == start
    assert not world.accepted


def test_an_exception_of_the_block_is_raised_after_a_graceful_end(world: ServerWorld) -> None:
    calls: list[Any] = []

    async def body(server: Server) -> None:
        server.on("disconnect", lambda _, reason: calls.append(reason))
        await world.client()
        raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        world.run_server(body)
    assert calls == ["server shutting down"]


def test_only_so_many_clients_that_have_left_are_handled(world: ServerWorld) -> None:
    ended: list[str] = []

    async def body(server: Server) -> None:
        @server.on("work")
        async def work(_: RemoteClient, name: str) -> None:
            try:
                await world.sleep(100)
            finally:
                ended.append(name)

        for number in range(4):
            wire = await world.client()
            wire.say(f'2["work","{number}"]')
            await world.settle()
            wire.stream.lose()
        await world.settle()
        assert ended == ["0", "1"]

    world.run_server(body, max_sessions=2, close_timeout=1)


def test_an_internal_error_ends_the_server(
    world: ServerWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ArithmeticError("internal")

    async def body(server: Server) -> None:
        wire = await world.client()
        (client,) = server.clients
        waiting = world.spawn(lambda: client.emit_with_ack("a"))
        await world.settle()
        monkeypatch.setattr(ServerProtocol, "stream_accepted", fail)
        world.accept()
        with pytest.raises(DisconnectedError, match="the server has been stopped"):
            await world.join(waiting)
        with pytest.raises(DisconnectedError, match="the server has been stopped"):
            await client.emit_with_ack("b")
        client.emit_nowait("c")
        assert wire.stream.end == "aborted"
        late = world.accept()
        await world.settle()
        assert late.end == "aborted"
        await server.serve_forever()

    with pytest.raises(ArithmeticError):
        world.run_server(body)
    assert "please report it" in caplog.text


def test_a_failure_of_the_runtime_ends_the_server(world: ServerWorld) -> None:
    async def body(server: Server) -> None:
        await world.client()
        server._run.runtime.failed(ArithmeticError("in a task"))
        await server.serve_forever()

    with pytest.raises(ArithmeticError):
        world.run_server(body)


def test_a_port_that_is_not_available_is_raised(world: ServerWorld) -> None:
    world.listen_error = OSError("in use")

    async def body(_: Server) -> None:
        raise AssertionError

    with pytest.raises(OSError, match="in use"):
        world.run_server(body)
    assert not world.tasks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": None}, "host takes a host name"),
        ({"port": "80"}, "port takes a whole number from 0 to 65535, not '80'"),
        ({"port": True}, "port takes"),
        ({"port": 65536}, "port takes"),
        ({"pings": 5}, "unknown option 'pings'"),
        ({"ping_interval": 0}, "ping_interval takes"),
        ({"inbox_events": 0}, "inbox_events takes a whole number of at least 1, not 0"),
        ({"inbox_bytes": 0}, "inbox_bytes takes"),
        ({"on_handler_error": 5}, "on_handler_error takes"),
        ({"allow_request": 5}, "allow_request takes a function"),
    ],
)
def test_invalid_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ServerWorld().serve(**options)
