"""The server that a scenario connects to, and the transport that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.conftest import TLS
from tests.support.drivers import Driver
from tests.support.peers import Peer

TRANSPORTS: Final = {
    "polling": ("polling",),
    "websocket": ("websocket",),
    "upgrade": ("polling", "websocket"),
}


@dataclass(frozen=True)
class Target:
    """A server and the options by which it is reached."""

    peer: Peer
    transport: str
    tls: TLS | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def options(self) -> dict[str, Any]:
        """Keywords for `connect`, `io` and `Manager`. Reconnecting is quick, so that tests are."""
        options: dict[str, Any] = {"transports": TRANSPORTS[self.transport], "reconnection_delay": 0.02}
        if self.tls is not None:
            options["ssl"] = self.tls.context
        return {**options, **self.extra}

    @property
    def settled(self) -> str:
        """The transport that the session ends up with."""
        return TRANSPORTS[self.transport][-1]

    def url(self, namespace: str = "/") -> str:
        return self.peer.url + namespace

    def connect(self, driver: Driver, namespace: str = "/", **options: Any) -> Any:
        return driver.connect(self.url(namespace), **{**self.options, **options})

    async def settle(self, driver: Driver, socket: Any) -> None:
        """Wait until the namespace is joined, and the session has upgraded if it is to."""
        await socket.wait_connected()
        await driver.until(lambda: socket.io.engine is not None and socket.io.engine.transport.name == self.settled)
