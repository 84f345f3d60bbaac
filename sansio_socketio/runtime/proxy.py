"""HTTP proxies: choose a proxy, and open a tunnel through it (CONNECT, RFC 9110, section 9.3.6).

Rules of this file:

- A proxy's password never appears in a message, log or repr: the repr of a `Proxy` omits it, and messages omit a URL that
  cannot be parsed.
- `opened` is called when the proxy has accepted the request. From then on bytes are passed on unchanged, including those
  that arrived together with the proxy's response.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

import h11

from ..protocol.errors import OptionError, TransportError, message_of, parser_message
from .interface import Stream, StreamOpener, StreamReceiver
from .streams import StackedStream

_EXPECTED: Final = "a URL such as 'http://user:password@host:8080' or 'https://host'"

_USER_AGENT: Final = b"sansio-socketio"
_MAX_RESPONSE: Final = 16 * 1024  # the maximum number of bytes of a response that are read; h11 bounds nothing below it
_MAX_BODY: Final = 4096  # the maximum number of bytes of a refusal's body in the error

_HOST: Final = re.compile(r"[A-Za-z0-9_.-]{1,253}\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%[!-~]+)?")
_SECURE: Final = {"http": False, "https": True}
_HINTS: Final = {
    True: "; it rejected the user and password in the URL of the proxy",
    False: "; it requires a user and a password: pass proxy='http://user:password@host:port'",
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        secure: Whether the connection to the proxy uses TLS.
        host: Its host name or IP address.
        port: Its TCP port.
        credentials: The value of Proxy-Authorization.
    """

    secure: bool
    host: str
    port: int
    credentials: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{_authority(self.host, self.port)}"


def check_proxy(value: object) -> None:
    """Raise OptionError unless the value is valid for the option `proxy`. The message omits the value."""
    if isinstance(value, str):
        parse_proxy(value)
    elif value is not None and value is not True:
        raise OptionError(
            f"proxy takes {_EXPECTED}, True for the proxies of the environment, or None, not this {type(value).__name__}"
        )


def parse_proxy(text: str, what: str = "proxy") -> Proxy:
    """Parse the URL of a proxy. The default scheme is http.

    Args:
        text: The URL. User and password are percent-decoded.
        what: The source of the URL, for the error message.

    Raises:
        OptionError: The URL is invalid. The message omits the URL.
    """
    invalid = OptionError(f"{what} is not a valid URL of a proxy: it must be {_EXPECTED}")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        raise invalid from None
    is_bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    # A password that contains one of "/?#" is cut off there, and the user then is the host.
    if not is_bare or port == 0 or not _HOST.fullmatch(host) or not text.isprintable() or " " in text:
        raise invalid
    if parts.scheme not in _SECURE:
        raise OptionError(
            f"{what} has the scheme {parts.scheme!r}, but only http and https are supported: "
            "use open_stream= to open streams in any other way"
        )
    secure, credentials = _SECURE[parts.scheme], None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = b"Basic " + b64encode(pair.encode())
    return Proxy(secure, host, (443 if secure else 80) if port is None else port, credentials)


def environment_proxy(host: str, port: int, *, tls: bool) -> Proxy | None:
    """Return the environment's proxy for a server: HTTPS_PROXY (with TLS) or HTTP_PROXY, otherwise ALL_PROXY.

    As in `urllib.request`, variables in lower case take precedence, and NO_PROXY lists hosts and domains without a proxy.
    The loopback host never has a proxy.

    Raises:
        OptionError: The variable's value is invalid. The message names the variable.
    """
    if _is_loopback(host) or not any(name[-6:].lower() == "_proxy" for name in os.environ):
        return None
    from urllib.request import getproxies_environment  # noqa: PLC0415  # importing it is slow, and rarely needed

    proxies = getproxies_environment()
    scheme = next((scheme for scheme in ("https" if tls else "http", "all") if proxies.get(scheme)), None)
    if scheme is None or _is_exempt(host, port):
        return None
    try:
        return parse_proxy(proxies[scheme], f"the environment variable {_spelled(f'{scheme}_proxy')}")
    except OptionError as error:
        raise OptionError(f"{error}; pass proxy=None to connect without a proxy") from None


def through(proxy: Proxy, opener: StreamOpener) -> StreamOpener:
    """Return an opener of streams through a proxy. `opener` opens the streams to the proxy."""

    def open_tunnel(host: str, port: int, receiver: StreamReceiver) -> Stream:
        tunnel = TunnelStream(receiver, proxy, host, port)
        tunnel.attach(opener(proxy.host, proxy.port, tunnel))
        return tunnel

    return open_tunnel


class TunnelStream(StackedStream):
    """A tunnel through an HTTP proxy. It is open when the proxy has accepted the CONNECT request."""

    __slots__ = ("_body", "_http", "_proxy", "_size", "_status", "_target")

    def __init__(self, receiver: StreamReceiver, proxy: Proxy, host: str, port: int) -> None:
        super().__init__(receiver)
        self._proxy = proxy
        self._target = _authority(host, port)
        self._http = h11.Connection(h11.CLIENT)
        self._status: int | None = None  # of the response, if the proxy refuses the tunnel
        self._body = bytearray()
        self._size = 0  # of what was read of the response

    # The stream, for the layer above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes."""
        self._plain.write(data)

    # The receiver, for the stream to the proxy

    def opened(self) -> None:
        """Request the tunnel: the stream to the proxy is open."""
        headers = [(b"Host", self._target.encode()), (b"User-Agent", _USER_AGENT)]
        if self._proxy.credentials is not None:
            headers.append((b"Proxy-Authorization", self._proxy.credentials))
        self._receiver.progress(f"the proxy {self._proxy} did not respond to CONNECT {self._target}")
        request = h11.Request(method="CONNECT", target=self._target, headers=headers)
        self._plain.write(self._http.send(request) or b"")
        self._http.send(h11.EndOfMessage())

    def failed(self, error: Exception) -> None:
        """Report that the connection to the proxy could not be opened."""
        failure = TransportError(f"could not connect to the proxy {self._proxy}: {message_of(error)}")
        failure.__cause__ = error
        self._receiver.failed(failure)

    def received(self, data: bytes | bytearray | memoryview) -> None:
        """Pass the server's bytes on, or parse the proxy's response."""
        if self._open:
            self._receiver.received(data)
        elif len(data):  # h11 regards empty data as the end of the stream
            self._parse(bytes(data))

    def sent(self) -> None:
        """Report `sent` for the bytes of the layer above."""
        if self._open:
            self._receiver.sent()

    def closed(self, error: Exception | None) -> None:
        """Report that the stream to the proxy was closed or broke."""
        if self._open:
            self._receiver.closed(error)
        elif self._status is not None:
            self._receiver.failed(self._refusal(self._status))  # with the received part of the body
        else:
            end = "closed the connection" if error is None else f"broke the connection ({error})"
            self._receiver.failed(TransportError(f"the proxy {self._proxy} {end} before it responded to CONNECT"))

    # The proxy's response

    def _parse(self, data: bytes) -> None:
        head, rest = data[: _MAX_RESPONSE - self._size], data[_MAX_RESPONSE - self._size :]
        self._size += len(head)
        try:
            self._http.receive_data(head)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    if self._http.their_state is h11.SWITCHED_PROTOCOL:
                        self._begin(rest)
                        return
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += event.data
                if self._status is not None and (isinstance(event, h11.EndOfMessage) or len(self._body) > _MAX_BODY):
                    self._fail(self._refusal(self._status))
                    return
            why = f"it is longer than {_MAX_RESPONSE} bytes" if self._size == _MAX_RESPONSE else ""
        except h11.RemoteProtocolError as error:
            why = parser_message(error)
        if why:
            self._fail(TransportError(f"the proxy {self._proxy} sent an invalid response to CONNECT: {why}"))

    def _begin(self, rest: bytes) -> None:
        self._open = True
        early = self._http.trailing_data[0] + rest
        self._receiver.opened()
        if early and not self._over:
            self._receiver.received(early)

    def _fail(self, error: TransportError) -> None:
        self._over = True
        self._plain.abort()
        self._receiver.failed(error)

    def _refusal(self, status: int) -> TransportError:
        hint = _HINTS[self._proxy.credentials is not None] if status == 407 else ""
        return TransportError(
            f"the proxy {self._proxy} responded to CONNECT {self._target} with HTTP status {status}{hint}",
            status=status,
            body=self._body[:_MAX_BODY].decode("utf-8", "replace"),
        )


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_exempt(host: str, port: int) -> bool:
    """Return whether NO_PROXY lists the host, with or without port, with or without brackets around IPv6."""
    from urllib.request import proxy_bypass  # noqa: PLC0415

    return any(proxy_bypass(name) for name in (host, _authority(host, port)))


def _spelled(variable: str) -> str:
    """Return the name of the variable in the case in which the environment has it."""
    return variable if os.environ.get(variable) else variable.upper()
