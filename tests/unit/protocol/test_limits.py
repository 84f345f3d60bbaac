"""The limits of a server: an event above one fails alone, or is named when the server closes the connection."""

from __future__ import annotations

from typing import Any

import pytest

from sansio_socketio.protocol.errors import DisconnectedError, PacketError, TransportError
from sansio_socketio.protocol.events import (
    AckFailed,
    Connected,
    Disconnected,
    EngineClosed,
    EventDropped,
    EventReceived,
    MachineEvent,
)
from sansio_socketio.protocol.limits import LimitExceeded
from sansio_socketio.protocol.namespace import Namespace
from sansio_socketio.protocol.packets import engineio
from sansio_socketio.protocol.packets.socketio import EVENT
from tests.support.fake_server import FakeServer

Serve = type[FakeServer]

LIMIT = 1000
LARGE = "x" * LIMIT
LARGE_SIZE = len(f'42["large","{LARGE}"]')
MANY = [b"x"] * 11


def begin(server: FakeServer, *names: str, **options: Any) -> list[Namespace]:
    """Return namespaces that are connected to a server with a limit."""
    sockets = [server.socket(name, **options) for name in names or ["/"]]
    for socket in sockets:
        socket.connect(server.now)
    resume(server, *sockets)
    server.events()
    server.sent()
    return sockets


def resume(server: FakeServer, *sockets: Namespace) -> None:
    server.accept(max_payload=LIMIT)
    for socket in sockets:
        server.join(socket.name)


def close(server: FakeServer, code: int | None) -> None:
    server.lose(TransportError(f"the server closed it with code {code}", transport="websocket", close_code=code))


def emitted(server: FakeServer) -> list[Any]:
    return [packet.data[0] for packet in server.sent() if packet.type == EVENT]


def of(kind: type[MachineEvent], server: FakeServer) -> list[Any]:
    return [event for event in server.events() if type(event) is kind]


@pytest.mark.row("difference.max_payload")
@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize(
    ("fits", "large", "size"),
    [
        ("x" * 980, LARGE, LARGE_SIZE),
        ("€" * 325, "€" * 330, len('42["large",""]') + 3 * 330),
        (b"x" * 747, b"x" * 750, 4 * 250 + 1),  # base64
    ],
    ids=["text", "UTF-8", "binary"],
)
def test_over_polling_an_event_above_max_payload_is_an_error_of_the_emit(
    serve: Serve, retries: int, fits: Any, large: Any, size: int
) -> None:
    server = serve()
    [socket] = begin(server, retries=retries)
    with pytest.raises(
        PacketError, match=rf"^event 'large' has a message of {size} bytes; the server's limit is 1000 \("
    ):
        socket.emit(["large", large], server.now)
    socket.emit(["e", fits], server.now, ack=True)
    assert emitted(server) == ["e"]
    assert server.client.statistics().queued_events == retries // 3
    assert server.events() == []


@pytest.mark.parametrize("ack", [False, True])
def test_over_polling_a_buffered_event_above_max_payload_fails_alone(serve: Serve, ack: bool) -> None:
    server = serve()
    socket = server.socket()
    for name, value in (("first", 1), ("large", LARGE), ("last", 2)):
        socket.emit([name, value], server.now, ack=ack)
    socket.connect(server.now)
    resume(server, socket)
    assert emitted(server) == ["first", "last"]
    events = server.events()
    [failed] = [event for event in events if isinstance(event, AckFailed if ack else EventDropped)]
    assert isinstance(failed.error, PacketError)
    assert "event 'large' has a message of" in str(failed.error)
    assert isinstance(events[-1], Connected)
    assert server.client.statistics().queued_events == 0


@pytest.mark.parametrize("ack", [False, True])
def test_over_polling_a_queued_event_above_max_payload_fails_alone(serve: Serve, ack: bool) -> None:
    server = serve()
    socket = server.socket(retries=20)
    for name, value in (("large", LARGE), ("next", 1)):
        socket.emit([name, value], server.now, ack=ack)
    socket.connect(server.now)
    resume(server, socket)
    assert emitted(server) == ["next"]
    [failed] = of(AckFailed if ack else EventDropped, server)
    assert "event 'large' has a message of" in str(failed.error)


@pytest.mark.parametrize("ack", [False, True])
def test_over_websocket_it_is_sent_and_fails_alone_if_the_server_refuses_it(serve: Serve, ack: bool) -> None:
    server = serve(transports=["websocket"])
    socket, other = begin(server, "/", "/other", retries=20)
    for name, value in (("large", LARGE), ("next", 1)):
        socket.emit([name, value], server.now, ack=ack)
    other.emit(["other"], server.now, ack=ack)
    assert emitted(server) == ["large", "other"]
    close(server, 1009)
    server.advance(2)
    resume(server, socket, other)
    assert emitted(server) == ["next", "other"]
    events = server.events()
    for each in [event for event in events if isinstance(event, Disconnected)]:
        assert str(each.details) == (
            f"the server closed it with code 1009: event 'large' has a message of {LARGE_SIZE + 1} bytes; the "
            "server's limit is 1000 (maxPayload, the option maxHttpBufferSize or max_http_buffer_size of the server)"
        )
        assert isinstance(each.details, TransportError)
        assert (each.details.close_code, each.details.transport) == (1009, "websocket")
    [failed] = [event for event in events if isinstance(event, AckFailed if ack else EventDropped)]
    assert isinstance(failed.error, PacketError)
    assert isinstance(failed.error.__cause__, DisconnectedError)
    assert server.client.statistics().queued_events == 2


def test_an_event_that_awaits_its_acknowledgement_fails_with_the_size(serve: Serve) -> None:
    server = serve(transports=["websocket"])
    [socket] = begin(server)
    for name, value in (("large", LARGE), ("small", 1)):
        socket.emit([name, value], server.now, ack=True)
    close(server, 1009)
    assert [type(event.error) for event in of(AckFailed, server)] == [PacketError, DisconnectedError]


def test_the_first_large_event_is_named(serve: Serve) -> None:
    server = serve(transports=["websocket"])
    [socket] = begin(server)
    for name, values in (("many", MANY), ("first", [LARGE]), ("second", [LARGE]), ("many", MANY)):
        socket.emit([name, *values], server.now)
    close(server, 1009)
    [lost] = of(Disconnected, server)
    assert isinstance(lost.details, LimitExceeded)
    assert "code 1009: event 'first' has a message of" in str(lost.details)
    server.advance(2)
    resume(server, socket)
    for name in ("many", "more"):
        socket.emit([name, *MANY], server.now)
    close(server, 1009)
    assert "; likely cause: event 'many' has 11 attachments" in str(of(Disconnected, server)[-1].details)


@pytest.mark.parametrize("code", [1006, 1001, None])
def test_over_websocket_it_is_sent_again_after_another_end(serve: Serve, code: int | None) -> None:
    server = serve(transports=["websocket"])
    [socket] = begin(server, retries=20)
    socket.emit(["large", LARGE], server.now)
    close(server, code)
    server.advance(2)
    [lost] = of(Disconnected, server)
    assert str(lost.details) == f"the server closed it with code {code}"
    resume(server, socket)
    assert emitted(server) == ["large", "large"]


def test_the_limit_of_an_earlier_session_does_not_count(serve: Serve) -> None:
    server = serve(transports=["websocket"])
    [socket] = begin(server, retries=20)
    socket.emit(["large", LARGE], server.now, ack=True)
    close(server, 1006)
    server.advance(2)
    server.accept(max_payload=100 * LIMIT)
    server.join()
    close(server, 1009)
    server.advance(2)
    resume(server, socket)
    assert of(AckFailed, server) == []
    assert emitted(server) == ["large"] * 3


@pytest.mark.parametrize("code", [None, 1000, 1005])
def test_many_attachments_are_named_as_the_likely_cause(serve: Serve, code: int | None) -> None:
    server = serve()
    [socket] = begin(server)
    socket.emit(["many", *MANY], server.now)
    close(server, code)
    [lost] = of(Disconnected, server)
    assert str(lost.details) == (
        f"the server closed it with code {code}; likely cause: event 'many' has 11 attachments; servers accept at most "
        "10 by default (maxAttachments of socket.io-parser 4.2.6 and later)"
    )
    [closed] = [event for event in server.engine_events if isinstance(event, EngineClosed)]
    assert closed.details is lost.details


@pytest.mark.parametrize(("attachments", "code"), [(10, 1005), (11, 1006), (11, 1001)])
def test_attachments_do_not_explain_another_end(serve: Serve, attachments: int, code: int) -> None:
    server = serve()
    [socket] = begin(server)
    socket.emit(["many", *MANY[:attachments]], server.now)
    close(server, code)
    [lost] = of(Disconnected, server)
    assert str(lost.details) == f"the server closed it with code {code}"


def test_attachments_of_buffered_and_queued_events_count_when_they_are_sent(serve: Serve) -> None:
    server = serve()
    socket = server.socket(retries=3)
    socket.emit(["first"], server.now)
    socket.emit(["many", *MANY], server.now)
    socket.connect(server.now)
    resume(server, socket)
    close(server, None)
    server.advance(2)
    resume(server, socket)
    server.ack()
    close(server, None)
    first, second = of(Disconnected, server)
    assert "attachments" not in str(first.details)
    assert "likely cause: event 'many' has 11 attachments" in str(second.details)


def test_an_event_that_the_server_has_received_explains_nothing(serve: Serve) -> None:
    server = serve()
    [socket] = begin(server)
    server.is_reading = False
    socket.emit(["many", *MANY], server.now)
    server.feed(engineio.Packet(engineio.PING))
    server.run()
    assert server.client.limits.explain("transport close", TransportError("end")) is not None
    server.is_reading = True
    server.feed(engineio.Packet(engineio.PING))
    close(server, None)
    [lost] = of(Disconnected, server)
    assert str(lost.details) == "the server closed it with code None"


def test_a_server_without_max_payload_has_no_limit(serve: Serve) -> None:
    server = serve()
    socket = server.joined()
    socket.emit(["large", LARGE * 1000], server.now)
    server.emit("e")
    assert emitted(server) == ["large"]
    assert of(EventReceived, server)
