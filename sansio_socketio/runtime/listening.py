"""Sockets that listen: the common part of the drivers that can accept streams."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Any, Final

_ATTEMPTS: Final = 10
"""How many ports of the operating system are tried, because a port that is free on one address may be in use on another."""


def bind(addresses: Sequence[Any]) -> list[socket.socket]:
    """Return sockets that listen on addresses of one host, all of them on the same port. They do not block.

    Addresses that the machine does not have, such as those of IPv6, are left out.

    Args:
        addresses: What `getaddrinfo` returned for the host and the port, with the flag AI_PASSIVE.

    Raises:
        OSError: The port is not available, or the machine has none of the addresses.
    """
    port = addresses[0][4][1]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _bind(addresses, port)
        except OSError as error:
            if port != 0 or error.errno != EADDRINUSE or attempt == _ATTEMPTS:
                raise
    raise AssertionError


def _bind(addresses: Sequence[Any], port: int) -> list[socket.socket]:
    sockets = list[socket.socket]()
    missing: OSError | None = None
    with ExitStack() as stack:
        for family, _, _, _, (host, _, *scope) in addresses:
            try:
                sock = stack.enter_context(socket.create_server((host, port, *scope), family=family))
            except OSError as error:
                if error.errno not in {EADDRNOTAVAIL, EAFNOSUPPORT}:
                    raise
                missing = error
            else:
                sock.setblocking(False)
                sockets.append(sock)
                port = sock.getsockname()[1]
        if missing is not None and not sockets:
            raise missing
        stack.pop_all()
    return sockets


def peer_name(address: Any) -> str:
    """Return the address of a peer as text, such as "127.0.0.1:50000" or "[::1]:50000"."""
    if not isinstance(address, tuple) or len(address) < 2:  # the peer has closed the stream already
        return ""
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
