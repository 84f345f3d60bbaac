"""How the streams of a connection are stacked: the runtime or a hook at the bottom, then a proxy, then TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.runtime.connect import Connector
from sansio_socketio.runtime.interface import Runtime, Stream, StreamReceiver
from sansio_socketio.runtime.proxy import TunnelStream
from sansio_socketio.runtime.tls import TLSStream
from tests.support.doubles import PlainStream, Receiver


class RecordingRuntime:
    """Opens doubles of streams, and records the calls."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.soon: list[Callable[[], None]] = []
        self.plain = PlainStream()

    def open_stream(self, host: str, port: int, receiver: StreamReceiver, hook: Any = None) -> PlainStream:
        self.opened.append((host, port, hook))
        return self.plain

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)


def opened(runtime: RecordingRuntime, connector: Connector, *, tls: bool = False) -> tuple[Stream, Receiver]:
    receiver = Receiver()
    stream, _ = connector.open(cast("Runtime", runtime), "far.test", 443, receiver, tls=tls)
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
    ("connector", "tls", "asked", "kind"),
    [
        (Connector(proxy=None), False, ("far.test", 443, None), PlainStream),
        (Connector(proxy=None), True, ("far.test", 443, None), TLSStream),
        (Connector(), False, ("one.test", 3128, None), TunnelStream),
        (Connector(ssl=CONTEXT), True, ("one.test", 3128, None), TLSStream),
        (Connector(ssl=CONTEXT, proxy=EXPLICIT), False, ("other.test", 443, None), TunnelStream),
        (Connector(ssl=CONTEXT, proxy=EXPLICIT), True, ("other.test", 443, None), TLSStream),
        (Connector(open_stream=hook), False, ("far.test", 443, hook), PlainStream),
        (Connector(open_stream=hook, ssl=CONTEXT), True, ("far.test", 443, hook), TLSStream),
        (Connector(open_stream=hook, ssl=CONTEXT, proxy=EXPLICIT), False, ("other.test", 443, hook), TunnelStream),
    ],
)
def test_how_streams_are_stacked(connector: Connector, tls: bool, asked: tuple[Any, ...], kind: type) -> None:
    runtime = RecordingRuntime()
    stream, _ = opened(runtime, connector, tls=tls)
    assert runtime.opened == [asked]
    assert type(stream) is kind
    plain = getattr(stream, "_plain", None)
    if tls and asked[0] != "far.test":
        assert isinstance(plain, TunnelStream)
        plain = plain._plain
    if asked[0] == "other.test":
        assert isinstance(plain, TLSStream)
        assert plain._hostname == "other.test"


def test_the_environment_is_read_for_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, connector = RecordingRuntime(), Connector()
    open_one = partial(connector.open, cast("Runtime", runtime), "far.test", 80, tls=False)
    _, first = open_one(Receiver())
    monkeypatch.setenv("no_proxy", "far.test")
    _, second = open_one(Receiver())
    assert (str(first), second) == ("http://one.test:3128", None)


@pytest.mark.parametrize("way", [None, "close", "abort"])
def test_an_invalid_proxy_of_the_environment_fails_the_stream(way: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://one.test")
    runtime = RecordingRuntime()
    stream, receiver = opened(runtime, Connector())
    assert receiver.log == []
    stream.pause_reading()
    stream.resume_reading()
    if way is not None:
        getattr(stream, way)()
    runtime.soon.pop()()
    assert receiver.log == ([] if way else ["failed"])
    assert way or isinstance(receiver.error, OptionError)
    assert runtime.opened == []


def test_the_tls_context_verifies_the_server_unless_ssl_is_false() -> None:
    assert Connector(ssl=CONTEXT).context is CONTEXT
    connector = Connector()
    assert connector.context.verify_mode is ssl.CERT_REQUIRED
    assert connector.context is connector.context
    unverified = Connector(ssl=False).context
    assert unverified.verify_mode is ssl.CERT_NONE
    assert not unverified.check_hostname
