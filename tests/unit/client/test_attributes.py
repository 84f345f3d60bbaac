"""Unknown attributes of the public classes: errors that say what to use."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

import pytest

from sansio_socketio_asyncio import Manager
from tests.support.fake_runtime import URL, World

HINTS = [
    ("Socket", "sendBuffer", "drop_buffered() drops the events that have not been sent"),
    ("Socket", "receiveBuffer", "cannot be dropped"),
    ("Socket", "opts", "`socket.io.transports`"),
    ("Socket", "reconnectionDelay", "use socket.io.reconnection_delay"),
    ("Socket", "transports", "use socket.io.transports"),
    ("Socket", "ackTimeout", "the option ack_timeout is passed once"),
    ("Socket", "emitWithAck", "use emit_with_ack"),
    ("Socket", "closereason", "did you mean 'close_reason'?"),
    ("Socket", "hasListeners", "use listeners(event)"),
    ("Socket", "forceNew", "the option force_new is passed once, to io()"),
    ("Socket", "event", "use on('name')"),
    ("Socket", "wait", "use wait_closed()"),
    ("Socket", "receive", "iterate over events()"),
    ("Socket", "call", "use timeout(60).emit_with_ack(event, ...)"),
    ("Socket", "transport", "use socket.io.engine.transport.name"),
    ("Socket", "get_sid", "use socket.id"),
    ("Socket", "sid", "use socket.id"),
    ("Socket", "shutdown", "use disconnect() of the Socket"),
    ("Socket", "register_namespace", "register methods with on()"),
    ("Socket", "namespaces", "manager.socket(nsp)"),
    ("Manager", "opts", "such as `manager.transports`"),
    ("Manager", "reconnectionDelay", "use reconnection_delay"),
    ("Manager", "autoConnect", "the option auto_connect is passed once"),
    ("Manager", "ssl", "the option ssl is passed once"),
    ("Manager", "auth", "it belongs to a Socket: socket.auth"),
    ("Engine", "readyState", "use the `state` of the Engine"),
]


def public(world: World, kind: str) -> Any:
    manager: Any = Manager(URL)  # that of the world is a subclass outside of the package
    if kind == "Engine":
        manager = world.manager_class(URL)

        async def main() -> Any:
            await manager.open()
            await manager.close()

        world.run(main)
        return manager.engine
    return manager if kind == "Manager" else manager.socket("/")


@pytest.mark.row("difference.attributes", "manager.opts")
@pytest.mark.parametrize(("kind", "name", "hint"), HINTS)
def test_an_unknown_attribute_is_an_error_that_says_what_to_use(world: World, kind: str, name: str, hint: str) -> None:
    owner = public(world, kind)
    message = rf"^'{kind}' object has no attribute '{name}': .*{re.escape(hint)}"
    with pytest.raises(AttributeError, match=message):
        getattr(owner, name)
    with pytest.raises(AttributeError, match=message):
        setattr(owner, name, [])


@pytest.mark.parametrize("kind", ["Socket", "Manager", "Engine"])
def test_attributes_cannot_be_added(world: World, kind: str) -> None:
    owner = public(world, kind)
    message = f"^'{kind}' object has no attribute 'xyzzy', and none can be added"
    with pytest.raises(AttributeError, match=message):
        owner.xyzzy = 1
    with pytest.raises(AttributeError, match=f"^'{kind}' object has no attribute 'xyzzy'$"):
        _ = owner.xyzzy
    with pytest.raises(AttributeError, match="has no setter"):
        public(world, "Socket").connected = True
    with mock.patch.object(owner, "off"):  # a method can be replaced in tests
        owner.off()


def test_a_subclass_of_the_application_may_have_attributes(world: World) -> None:
    class Mine(world.manager_class):  # type: ignore[name-defined, misc]
        def __init__(self, url: str, rooms: list[str]) -> None:
            super().__init__(url)
            self.rooms = rooms

    manager: Any = Mine(URL, ["a"])
    manager.users = 5
    manager.reconnection_delay = 3
    assert (manager.rooms, manager.users, manager.reconnection_delay) == (["a"], 5, 3)
    with pytest.raises(AttributeError, match="no attribute 'reconnectionDelay': use reconnection_delay"):
        _ = manager.reconnectionDelay


def test_the_io_of_a_socket_cannot_be_replaced(world: World) -> None:
    socket = public(world, "Socket")
    manager = socket.io
    with pytest.raises(AttributeError):
        socket.io = None
    assert socket.io is manager
