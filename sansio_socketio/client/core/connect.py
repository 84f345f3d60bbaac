"""The implementation of `connect`, for the async and the blocking API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...protocol.errors import OptionError
from ...protocol.url import URL, parse_url, redacted
from ..options import CONNECT_OPTIONS, check_flag, socket_settings, split_options
from ..run.run import Run
from ..run.scope import Scope
from .manager import ManagerCore
from .socket import SocketCore, url_namespace


class Connection:
    """A Manager with one socket, as `connect` creates it.

    Args:
        url: The server's URL; its path is the namespace.
        retry: Whether to retry if the first attempt fails.
        options: The options of the Manager and of the socket.
        make: Creates the Manager from the URL and the options.

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
        self._nsp = url_namespace(url, manager_options)
        self._retry = retry
        self.manager = make(url, manager_options)
        self.manager.link.check_function("auth", options.get("auth"))

    async def start(self, scope: Scope) -> tuple[SocketCore, Run]:
        """Start the Manager in a scope, and wait until the socket is connected. Handlers are held back until then.

        Raises:
            ConnectError: The server refused the namespace, or the first attempt failed and `retry` is False.
        """
        with scope.runtime.lock:
            run = self.manager.start_on(scope, held=True)
            socket = self.manager.socket(self._nsp, self._socket_options)
            await (socket.wait_connected() if self._retry else socket.wait_first_attempt())
        return socket, run


def server_url(url: str) -> URL:
    """Parse the URL of a server. Raise OptionError if it is invalid, or has a path or a query."""
    place = parse_url(url)
    if place.path != "/" or place.query:
        raise OptionError(
            f"open_io takes a URL without path and query, not {redacted(url, is_valid=False)!r}; pass path and query to io()"
        )
    return place
