"""How the streams of a connection are opened: by the runtime or the user's hook, through a proxy, under TLS.

Rules of this file:

- Openers are put one upon the other: each opens its stream by the one beneath, and tells that it is open when all
  beneath it is. None of them knows what the others are.
- An explicit proxy always counts. The environment's counts for what the runtime itself opens, and is looked at anew for
  each stream.
- One TLS context serves all, also a proxy's own TLS.
"""

from __future__ import annotations

from functools import partial
from ssl import CERT_NONE, SSLContext

from ..protocol.actions import OpenStream
from ..protocol.errors import OptionError
from .options import Local
from .parts import Teller
from .proxy import Proxy, environment_proxy, parse_proxy, through
from .runtime import Opener, Runtime, Stream, StreamReceiver
from .tls import default_context, over_tls


class Opening:
    """Opens streams as a Manager's options say.

    The context for TLS is made when it is first needed: loading certificates takes a while.
    """

    def __init__(self, options: Local) -> None:
        self._options = options
        self._proxy = parse_proxy(options.proxy) if isinstance(options.proxy, str) else None
        self._context = options.ssl or None

    def open(self, runtime: Runtime, wanted: OpenStream, receiver: StreamReceiver) -> tuple[Stream, Proxy | None]:
        """Begin to open the stream that the machine wants; tell what proxy it goes through. Never raises."""
        try:
            proxy = self._proxy_for(wanted)
        except OptionError as error:
            return UnopenedStream(runtime, receiver, error), None
        hook = self._options.open_stream
        opener: Opener = runtime.open_stream if hook is None else partial(runtime.open_stream, hook=hook)
        if proxy is not None:
            opener = through(proxy, over_tls(opener, self.context) if proxy.secure else opener)
        if wanted.tls:
            opener = over_tls(opener, self.context, self._options.server_hostname)
        return opener(wanted.host, wanted.port, receiver), proxy

    @property
    def context(self) -> SSLContext:
        """The user's, or one that verifies the server, or not, as `ssl` says."""
        if self._context is None:
            self._context = default_context()
            if self._options.ssl is False:
                self._context.check_hostname = False
                self._context.verify_mode = CERT_NONE
        return self._context

    def _proxy_for(self, wanted: OpenStream) -> Proxy | None:
        if self._options.proxy is True and self._options.open_stream is None:
            return environment_proxy(wanted.host, wanted.port, tls=wanted.tls)
        return self._proxy


class UnopenedStream(Teller):
    """A stream that cannot be opened, for a reason that is known already."""

    def __init__(self, runtime: Runtime, receiver: StreamReceiver, error: Exception) -> None:
        super().__init__(receiver)
        runtime.call_soon(partial(self.tell_failed, error))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Never called: it is never open."""

    def close(self) -> None:
        """Tell nothing more."""
        self.receiver = None

    abort = close
