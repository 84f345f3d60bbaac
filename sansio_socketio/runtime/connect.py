"""Open the byte streams of a connection: with the runtime or the application's hook, through a proxy, with TLS.

Rules of this file:

- Openers are stacked: each opens its stream over a stream of the opener below, and reports `opened` when everything below
  is open. Openers are independent of each other.
- An explicit proxy always applies. The proxies of the environment apply only to streams that the runtime itself opens, and
  are looked up for each stream.
- All streams use the same TLS context, including the TLS connection to a proxy.
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
    """Opens byte streams according to the options of a Manager.

    The TLS context is created on first use, because loading certificates is slow.

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
        """Start to open a stream. Return the stream and its proxy, if any.

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
        """The TLS context: the application's, or one that was created for the option `ssl`."""
        if self._context is None:
            self._context = default_context()
            if not self._verifies:
                self._context.check_hostname = False
                self._context.verify_mode = CERT_NONE
        return self._context


class _FailedStream(BaseStream):
    """A stream that fails with a known error, without an attempt to open it."""

    def __init__(self, runtime: Runtime, receiver: StreamReceiver, error: Exception) -> None:
        super().__init__(receiver)
        runtime.call_soon(partial(self.notify_failed, error))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Do nothing. Never called, because the stream never opens."""

    def pause_reading(self) -> None:
        """Do nothing, as for `write`."""

    def resume_reading(self) -> None:
        """Do nothing, as for `write`."""

    def close(self) -> None:
        """Stop notifying."""
        self.receiver = None

    abort = close
