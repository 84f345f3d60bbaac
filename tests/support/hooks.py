"""Functions for the option `open_stream`, for each driver.

A `Hook` opens all streams to one place, and records which host and port the client asked for.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import trio

Place = str | tuple[str, int]
"""The path of a Unix domain socket, or a host and a port."""


class Hook(ABC):
    """A function for `open_stream` that a test controls.

    Attributes:
        wanted: The hosts and ports that the client asked for.
        before, after: Called before a stream is opened, and with the stream. The hook returns the result of `after`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.wanted: list[tuple[str, int]] = []
        self.before: Callable[[], Any] = lambda: None
        self.after: Callable[[Any], Any] = lambda stream: stream

    def _begin(self, host: str, port: int) -> None:
        self.wanted.append((host, port))
        self.before()

    @property
    @abstractmethod
    def option(self) -> Callable[..., Any]:
        """The function for the option."""


class AsyncioHook(Hook):
    @property
    def option(self) -> Callable[..., Any]:
        async def open_stream(factory: Callable[[], asyncio.Protocol], host: str, port: int) -> Any:
            self._begin(host, port)
            loop = asyncio.get_running_loop()
            if isinstance(self.place, str):
                return self.after(await loop.create_unix_connection(factory, self.place))
            return self.after(await loop.create_connection(factory, *self.place))

        return open_stream


class StreamsHook(Hook):
    @property
    def option(self) -> Callable[..., Any]:
        async def open_stream(host: str, port: int) -> Any:
            self._begin(host, port)
            if isinstance(self.place, str):
                return self.after(await asyncio.open_unix_connection(self.place))
            return self.after(await asyncio.open_connection(*self.place))

        return open_stream


class TrioHook(Hook):
    @property
    def option(self) -> Callable[..., Any]:
        async def open_stream(host: str, port: int) -> Any:
            self._begin(host, port)
            if isinstance(self.place, str):
                return self.after(await trio.open_unix_socket(self.place))
            return self.after(await trio.open_tcp_stream(*self.place))

        return open_stream


class AnyioHook(Hook):
    @property
    def option(self) -> Callable[..., Any]:
        async def open_stream(host: str, port: int) -> Any:
            self._begin(host, port)
            if isinstance(self.place, str):
                return self.after(await anyio.connect_unix(self.place))
            return self.after(await anyio.connect_tcp(*self.place))

        return open_stream


class BlockingHook(Hook):
    @property
    def option(self) -> Callable[..., Any]:
        def open_stream(host: str, port: int) -> Any:
            self._begin(host, port)
            sock = socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
            try:
                sock.connect(self.place)
            except OSError:
                sock.close()
                raise
            return self.after(sock)

        return open_stream


HOOKS: dict[str, type[Hook]] = {
    "asyncio": AsyncioHook,
    "trio": TrioHook,
    "anyio-asyncio": AnyioHook,
    "anyio-trio": AnyioHook,
    "blocking": BlockingHook,
    "threads": BlockingHook,
    "streams": StreamsHook,
}


class Named(Protocol):
    """A driver, or the backend of a driver."""

    @property
    def name(self) -> str: ...


def hook_to(driver: Named, place: Place) -> Hook:
    """Make a hook for a driver, or for its runtime."""
    return HOOKS[driver.name](place)
