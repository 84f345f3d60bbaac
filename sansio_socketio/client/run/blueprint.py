"""The state machine, the options and the handlers of a Manager, which outlive its runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...handlers.registry import HandlerRegistry
from ...protocol.client import ClientProtocol
from ...protocol.namespace import Namespace
from ...protocol.options import ASK
from ...runtime.connect import Connector
from ..options import CALLABLE_OPTIONS, Auth, LocalOptions, check_askable
from .disconnection import Disconnection

log = logging.getLogger("sansio_socketio.client.socket")


class NamespaceSpec:
    """The persistent part of a namespace for which the Manager has a socket.

    Args:
        namespace: The namespace of the state machine.
        options: The options with which the socket was created.
        ack_timeout: The option `ack_timeout`.

    Attributes:
        name: The namespace's name.
        handlers: The handlers of the socket.
        auth: The credentials to send when joining, or the function that returns them.
        wanted: Whether to connect the namespace when the next run opens its connection.
        disconnection: How the namespace was disconnected. None while it is connected, or connects for the first time.
    """

    def __init__(self, namespace: Namespace, options: Mapping[str, Any], ack_timeout: float | None) -> None:
        self.name = namespace.name
        self.namespace = namespace
        self.options = options
        self.ack_timeout = ack_timeout
        self.auth: Auth = options.get("auth")
        self.wanted = False
        self.disconnection: Disconnection | None = None
        self.handlers = HandlerRegistry(changed=self.choose_reports)

    def choose_reports(self) -> None:
        """Let the state machine report sent events only if a handler or the log needs it, because reporting costs time."""
        self.namespace.report_sent = bool(self.handlers.outgoing.registered) or log.isEnabledFor(logging.DEBUG)


@dataclass(slots=True)
class Blueprint:
    """The persistent part of a Manager, from which each run is created.

    Attributes:
        url: The server's URL, for messages: without what may be secret.
        machine: The state machine. Its buffers, cookies and recovery state outlive a run.
        options: The options of the client.
        connector: Opens the streams.
        functions: The functions that return `query` or `extra_headers`, by the option's name.
        handlers: The handlers of the Manager.
        namespaces: The namespaces by name.
        is_broken: Whether an internal error left the state machine unusable.
    """

    url: str
    machine: ClientProtocol
    options: LocalOptions
    connector: Connector
    functions: dict[str, Callable[[], Any]]
    handlers: HandlerRegistry
    namespaces: dict[str, NamespaceSpec] = field(default_factory=dict)
    is_broken: bool = False

    def option(self, name: str) -> Any:
        """Return an option that can be set while running."""
        return self.functions.get(name) or getattr(self.machine, name)

    def set_option(self, name: str, value: Any) -> None:
        """Set an option that can be set while running. Raise OptionError if the value is invalid."""
        is_function = name in CALLABLE_OPTIONS and callable(value)
        if name in CALLABLE_OPTIONS:
            check_askable(name, value)
        setattr(self.machine, name, ASK if is_function else value)
        self.functions.pop(name, None)
        if is_function:
            self.functions[name] = value
