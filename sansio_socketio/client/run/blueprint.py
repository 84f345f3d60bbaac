"""What every run of a Manager is made from. It outlives the runs, with the state machine and the handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...protocol.client import ClientProtocol
from ...protocol.namespace import Namespace
from ...runtime.connect import Connector
from ..handlers.registry import HandlerRegistry
from ..options import Auth, LocalOptions


class NamespaceSpec:
    """A namespace that the Manager has a socket for.

    Args:
        namespace: The namespace of the state machine.
        options: The options that the socket was made with.
        ack_timeout: The option of this name.

    Attributes:
        name: The namespace's name.
        handlers: The handlers of the socket.
        auth: What is sent when joining, or the function that returns it.
        wanted: Whether it is to be connected when a connection is opened.
    """

    def __init__(self, namespace: Namespace, options: Mapping[str, Any], ack_timeout: float | None) -> None:
        self.name = namespace.name
        self.namespace = namespace
        self.options = options
        self.ack_timeout = ack_timeout
        self.auth: Auth = options.get("auth")
        self.wanted = False
        self.handlers = HandlerRegistry(changed=self._handlers_changed)

    def _handlers_changed(self) -> None:
        self.namespace.report_sent = bool(self.handlers.outgoing.registered)  # otherwise it costs nothing


@dataclass(slots=True)
class Blueprint:
    """A Manager without a run.

    Attributes:
        url: The server's URL.
        machine: The state machine. Its buffers, cookies and recovery state outlive a run.
        options: The options that do not concern the state machine.
        connector: How streams are opened.
        functions: The functions that return `query` or `extra_headers`, by the option's name.
        handlers: The handlers of the Manager.
        namespaces: The namespaces by name.
        is_broken: Whether an internal error left the state machine unusable.
    """

    url: str
    machine: ClientProtocol
    options: LocalOptions
    connector: Connector
    functions: Mapping[str, Callable[[], Any]]
    handlers: HandlerRegistry
    namespaces: dict[str, NamespaceSpec] = field(default_factory=dict)
    is_broken: bool = False
