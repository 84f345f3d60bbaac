"""The targets and headers of HTTP requests, for both transports.

Rules of this file:

- The application's query and headers override the defaults, but not what the protocols require: the parameters `EIO`,
  `transport` and `sid`, the headers of HTTP framing and of the WebSocket handshake.
- An invalid header of the application raises an OptionError that names the header.
- A header is a pair of bytes, as in h11.

See https://socket.io/docs/v4/engine-io-protocol/, "HTTP long-polling" and "WebSocket".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Final
from urllib.parse import quote

from ..errors import OptionError
from ..packets.engineio import PROTOCOL
from ..url import encode_query
from .base import Endpoint

Headers = list[tuple[bytes, bytes]]

USER_AGENT: Final = b"sansio-socketio"
_RESERVED: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[ \t]*[\x21-\x7e\x80-\xff])*)?")
_PATH: Final = "/:@!$&'()*+,;=~%"
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise OptionError unless all of `extra_headers` are valid (RFC 9110, section 5)."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            # The message omits what follows an invalid character: a name such as "Authorization: Bearer …" has a value in it.
            shown = _NAME.match(name)
            raise OptionError(
                f"invalid name {f'{shown[0]}…' if shown else '…'!r} in extra_headers: it is empty or contains a character "
                "that is not allowed in a header name"
            )
        if name.lower() in _RESERVED:
            raise OptionError(f"extra_headers must not contain {name!r}: the transport sets this header")
        if not _VALUE.fullmatch(value.strip(" \t")):
            # The message omits the value, which may be a secret.
            raise OptionError(
                f"invalid value of {name!r} in extra_headers: it contains a character that is not allowed in a header; "
                "encode the value, for example as base64"
            )


class Requests:
    """Creates the targets and headers of one transport's requests."""

    __slots__ = ("_base", "_counter", "_endpoint", "_stamp", "_transport")

    def __init__(self, endpoint: Endpoint, transport: str, *, stamped: bool) -> None:
        """`stamped` is the default of the option `timestamp_requests` for this transport."""
        wanted = endpoint.options.timestamp_requests
        self._endpoint = endpoint
        self._transport = transport
        self._counter = count()
        self._base: tuple[str | None, bool, str] | None = (
            None  # what a target depends on, and the target without a timestamp
        )
        self._stamp = _base36(endpoint.random.getrandbits(40)) if (stamped if wanted is None else wanted) else ""

    def target(self, *, base64: bool) -> str:
        """Return the target of the next request. `base64`: ask the server to send binary data as text. Raise ValueError."""
        base = self._base
        if base is None or base[:2] != (self._endpoint.sid, base64):
            base = self._base = (self._endpoint.sid, base64, self._without_value(base64=base64))
        return f"{base[2]}{self._stamp}{_base36(next(self._counter))}" if self._stamp else base[2]

    def _without_value(self, *, base64: bool) -> str:
        """Return the target, without the value of the timestamp at its end."""
        endpoint = self._endpoint
        query = {**endpoint.query, "EIO": str(PROTOCOL), "transport": self._transport}
        if endpoint.sid is not None:
            query["sid"] = endpoint.sid
        if base64:
            query["b64"] = "1"
        if self._stamp:
            query.pop(endpoint.options.timestamp_param, None)
            query[endpoint.options.timestamp_param] = ""
        return f"{self._path()}?{encode_query(query)}"

    def headers(self, target: str, now: float, defaults: Mapping[str, bytes]) -> Headers:
        """Return the headers of a request: the defaults, the application's, and the cookies. Raise OptionError."""
        endpoint = self._endpoint
        check_headers(endpoint.headers)
        named = {name.lower(): (name.encode(), value) for name, value in defaults.items()}
        for name, value in endpoint.headers.items():
            named[name.lower()] = (name.encode(), value.strip(" \t").encode("latin-1"))
        if endpoint.cookies is not None:
            kept = endpoint.cookies.header(target, now, secure=endpoint.url.secure)
            _, own = named.get("cookie", (b"", b""))
            if kept:
                named["cookie"] = (b"Cookie", own + b"; " + kept if own else kept)
        return list(named.values())

    def _path(self) -> str:
        options = self._endpoint.options
        path = quote(options.path, _PATH).removesuffix("/") + ("/" if options.add_trailing_slash else "")
        return path if path.startswith("/") else f"/{path}"


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
