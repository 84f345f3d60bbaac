"""What `connect` does, with and without `await`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...protocol.client import namespace_name
from ...protocol.errors import OptionError
from ...protocol.url import URL, parse_url
from ..options import CONNECT_OPTIONS, check_flag, socket_settings, split_options
from ..run.run import Run
from ..run.scope import Scope
from .manager import ManagerCore
from .socket import SocketCore


class Connection:
    """A Manager with one socket, for `connect`.

    Args:
        url: The server's URL; its path is the namespace.
        retry: Whether to keep trying when the first attempt fails.
        options: The options of the Manager and of the socket.
        make: Makes the Manager of the URL and its options.

    Raises:
        OptionError: The URL or an option is invalid.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        make: Callable[[str, Mapping[str, Any]], ManagerCore],
        *,
        retry: bool,
    ) -> None:
        check_flag("retry", retry)
        manager_options, self._socket_options = split_options(options, CONNECT_OPTIONS)
        if "auto_connect" in manager_options:
            raise OptionError("auto_connect is an option of Manager and io(); connect() always connects")
        socket_settings(self._socket_options)
        self._nsp = namespace_name(parse_url(url).path)
        self._retry = retry
        self.manager = make(url, manager_options)

    async def start(self, scope: Scope) -> tuple[SocketCore, Run]:
        """Start the Manager in a scope, and wait until the server has accepted. The handlers are held back.

        Raises:
            ConnectError: The first attempt failed and is not to be repeated, or the server refused.
        """
        with scope.runtime.lock:
            run = self.manager.start_on(scope, held=True)
            socket = self.manager.socket(self._nsp, self._socket_options)
            await (socket.wait_connected() if self._retry else socket.wait_first_attempt())
        return socket, run


def server_url(url: str) -> URL:
    """Return the URL of a server. Raises OptionError if it has a path or a query."""
    place = parse_url(url)
    if place.path != "/" or place.query:
        raise OptionError(f"open_io takes a server's URL, and {url!r} has a path or a query: pass those to io()")
    return place
