"""The implementation of `open_io`: sockets by URL, which share connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...protocol.url import URL, resolve_url
from ..options import IO_OPTIONS, Auth, check_flag, socket_settings, split_options, warn_about_ignored
from ..run.scope import Scope
from .manager import ManagerCore
from .socket import SocketCore, url_namespace


class IOCore:
    """The Managers of one `open_io` block, by server.

    Args:
        scope: The scope in which the Managers run.
        base: The base of relative URLs, or None.
        make: Creates a Manager from a URL and options.

    Attributes:
        managers: All Managers that were started in the scope.
    """

    def __init__(self, scope: Scope, base: URL | None, make: Callable[[str, Mapping[str, Any]], ManagerCore]) -> None:
        self._scope = scope
        self._base = base
        self._make = make
        self.managers: list[ManagerCore] = []
        self._shared: dict[tuple[str, str, int, str], ManagerCore] = {}

    def socket(self, url: str | None, options: Mapping[str, Any]) -> tuple[ManagerCore, SocketCore]:
        """Return the Manager and the socket of a URL. Create them if necessary."""
        force_new, multiplex = options.get("force_new", False), options.get("multiplex", True)
        check_flag("force_new", force_new)
        check_flag("multiplex", multiplex)
        manager_options, socket_options = split_options(options, IO_OPTIONS)
        socket_settings(socket_options)  # check the options before a Manager is started
        whole = resolve_url(url, self._base)
        nsp = url_namespace(whole, manager_options)
        with self._scope.runtime.lock:
            auth = socket_options.get("auth")
            manager = self._manager(whole, manager_options, nsp, auth=auth, share=multiplex and not force_new)
            return manager, manager.socket(nsp, socket_options)

    def _manager(self, url: str, options: Mapping[str, Any], nsp: str, *, auth: Auth, share: bool) -> ManagerCore:
        new = self._make(url, options)
        new.link.check_function("auth", auth)
        place = new.blueprint.machine.url
        key = (place.scheme, place.host, place.port, new.blueprint.machine.options.path)
        manager = self._shared.get(key)
        if share and manager is not None and nsp not in manager.blueprint.namespaces:
            kept = _with_query(manager.blueprint.machine.url, manager.options)
            server = f"{place.scheme}://{place.authority}"  # the Manager's URL names the namespace of its first socket
            warn_about_ignored(f"the Manager of {server}", _with_query(place, options), kept)
            return manager
        run = new.start_on(self._scope, held=False)
        self.managers.append(new)
        new.begin(run)
        if share and manager is None:
            self._shared[key] = new
        return new


def _with_query(url: URL, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options with `query` replaced by the query of the URL, if it has one."""
    return {**options, "query": dict(url.query)} if url.query else options
