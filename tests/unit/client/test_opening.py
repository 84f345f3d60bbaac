"""How streams are put one upon the other: the runtime or a hook beneath, then a proxy, then TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from sansio_socketio.client.opening import Opening
from sansio_socketio.client.options import Local
from sansio_socketio.client.proxy import TunnelStream
from sansio_socketio.client.runtime import Runtime, Stream, StreamReceiver
from sansio_socketio.client.tls import TLSStream
from sansio_socketio.protocol.actions import OpenStream
from sansio_socketio.protocol.errors import OptionError
from tests.support.doubles import PlainStream, Receiver


class FakeRuntime:
    """Opens streams that are doubles, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.soon: list[Callable[[], None]] = []
        self.plain = PlainStream()

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: Any = None) -> PlainStream:
        self.asked.append((host, port, hook))
        return self.plain

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)


def opened(runtime: FakeRuntime, options: Local, *, tls: bool = False) -> tuple[Stream, Receiver]:
    receiver = Receiver()
    wanted = OpenStream(1, "far.test", 443, tls, "polling")
    stream, _ = Opening(options).open(cast("Runtime", runtime), wanted, receiver)
    return stream, receiver


@pytest.fixture(autouse=True)
def proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://one.test:3128")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def hook(*args: Any) -> None: ...


CONTEXT = ssl.create_default_context()
EXPLICIT = "https://other.test"


@pytest.mark.parametrize(
    ("options", "tls", "asked", "kind"),
    [
        (Local(proxy=None), False, ("far.test", 443, None), PlainStream),
        (Local(proxy=None), True, ("far.test", 443, None), TLSStream),
        (Local(), False, ("one.test", 3128, None), TunnelStream),
        (Local(ssl=CONTEXT), True, ("one.test", 3128, None), TLSStream),
        (Local(ssl=CONTEXT, proxy=EXPLICIT), False, ("other.test", 443, None), TunnelStream),
        (Local(ssl=CONTEXT, proxy=EXPLICIT), True, ("other.test", 443, None), TLSStream),
        (Local(open_stream=hook), False, ("far.test", 443, hook), PlainStream),
        (Local(open_stream=hook, ssl=CONTEXT), True, ("far.test", 443, hook), TLSStream),
        (Local(open_stream=hook, ssl=CONTEXT, proxy=EXPLICIT), False, ("other.test", 443, hook), TunnelStream),
    ],
)
def test_what_is_put_upon_what(options: Local, tls: bool, asked: tuple[Any, ...], kind: type) -> None:
    runtime = FakeRuntime()
    stream, _ = opened(runtime, options, tls=tls)
    assert runtime.asked == [asked]
    assert type(stream) is kind
    beneath = getattr(stream, "_plain", None)
    if tls and asked[0] != "far.test":
        assert isinstance(beneath, TunnelStream)
        beneath = beneath._plain
    if asked[0] == "other.test":
        assert isinstance(beneath, TLSStream)
        assert beneath._hostname == "other.test"


def test_the_environment_is_looked_at_for_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, opening = FakeRuntime(), Opening(Local())
    open_one = partial(opening.open, cast("Runtime", runtime), OpenStream(1, "far.test", 80, False, "polling"))
    _, first = open_one(Receiver())
    monkeypatch.setenv("no_proxy", "far.test")
    _, second = open_one(Receiver())
    assert (str(first), second) == ("http://one.test:3128", None)


@pytest.mark.parametrize("way", [None, "close", "abort"])
def test_what_the_environment_names_and_cannot_be_used_is_a_failure_of_the_attempt(
    way: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "socks5://one.test")
    runtime = FakeRuntime()
    stream, receiver = opened(runtime, Local())
    assert receiver.log == []
    if way is not None:
        getattr(stream, way)()
    runtime.soon.pop()()
    assert receiver.log == ([] if way else ["failed"])
    assert way or isinstance(receiver.error, OptionError)
    assert runtime.asked == []
