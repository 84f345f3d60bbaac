"""How the byte streams of a connection are opened: by the runtime or the application's hook, through a proxy, under TLS.

Rules of this file:

- Openers are stacked: each opens its stream through the one below, and reports `opened` when everything below is open.
  None of them knows what the others are.
- An explicit proxy always applies. The environment's applies only to streams that the runtime itself opens; it is looked
  up anew for each stream.
- One TLS context serves all streams, also the TLS connection to a proxy.
"""

from __future__ import annotations

from functools import partial
from ssl import CERT_NONE, SSLContext
from typing import Literal

from ..protocol.errors import OptionError
from .interface import Runtime, Stream, StreamHook, StreamOpener, StreamReceiver
from .proxy import Proxy, check_proxy, environment_proxy, parse_proxy, through
from .streams import BaseStream
from .tls import default_context, over_tls


class Connector:
    """Opens byte streams as the options of a connection say.

    The TLS context is made when it is first needed, because loading certificates takes a while.

    Args:
        ssl: The TLS context; None for one that verifies the server, False for one that does not.
        server_hostname: The name that the server's certificate must be for; None for the host that is opened.
        proxy: The URL of an HTTP proxy; True for the environment's; None for no proxy.
        open_stream: A function of the application that opens the streams instead of the runtime.

    Raises:
        OptionError: The URL of the proxy is invalid.
    """

    def __init__(
        self,
        *,
        ssl: SSLContext | Literal[False] | None = None,
        server_hostname: str | None = None,
        proxy: str | Literal[True] | None = True,
        open_stream: StreamHook | None = None,
    ) -> None:
        check_proxy(proxy)
        self._proxy = parse_proxy(proxy) if isinstance(proxy, str) else None
        self._uses_environment = proxy is True and open_stream is None
        self._server_hostname = server_hostname
        self._hook = open_stream
        self._verifies = ssl is not False
        self._context = ssl or None

    def open(
        self, runtime: Runtime, host: str, port: int, receiver: StreamReceiver, *, tls: bool
    ) -> tuple[Stream, Proxy | None]:
        """Start to open a stream, and return it together with the proxy that it goes through.

        Never raises: errors are reported to `receiver.failed`.
        """
        try:
            proxy = environment_proxy(host, port, tls=tls) if self._uses_environment else self._proxy
        except OptionError as error:
            return _FailedStream(runtime, receiver, error), None
        hook = self._hook
        opener: StreamOpener = runtime.open_stream if hook is None else partial(runtime.open_stream, hook=hook)
        if proxy is not None:
            opener = through(proxy, over_tls(opener, self.context) if proxy.secure else opener)
        if tls:
            opener = over_tls(opener, self.context, self._server_hostname)
        return opener(host, port, receiver), proxy

    @property
    def context(self) -> SSLContext:
        """The TLS context: the application's, or one that was made for the option `ssl`."""
        if self._context is None:
            self._context = default_context()
            if not self._verifies:
                self._context.check_hostname = False
                self._context.verify_mode = CERT_NONE
        return self._context


class _FailedStream(BaseStream):
    """A stream that cannot be opened, for a reason that is known already."""

    def __init__(self, runtime: Runtime, receiver: StreamReceiver, error: Exception) -> None:
        super().__init__(receiver)
        runtime.call_soon(partial(self.notify_failed, error))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Do nothing. Never called, since the stream is never open."""

    def close(self) -> None:
        """Stop notifying."""
        self.receiver = None

    abort = close
