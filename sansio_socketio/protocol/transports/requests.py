"""The requests of both transports: their targets and their headers.

Rules of this file:

- The application's query and headers win over our defaults, but never over what the protocol needs: `EIO`,
  `transport` and `sid`, the framing of a message, the WebSocket handshake.
- What the application wrote wrong is an OptionError that names it.
- Headers are pairs of bytes, as h11 and wsproto take them.

See https://socket.io/docs/v4/engine-io-protocol/, "HTTP long-polling" and "WebSocket".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Final
from urllib.parse import quote

from ..errors import OptionError
from ..url import encode_query
from .base import Endpoint

Headers = list[tuple[bytes, bytes]]

USER_AGENT: Final = b"sansio-socketio"

_PROTOCOL_VERSION = "4"
_OURS: Final = frozenset(("EIO", "transport", "sid"))
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
    """Raise OptionError unless all of `extra_headers` can be sent."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise OptionError(f"extra_headers has {name!r}, which cannot be the name of a header")
        if name.lower() in _RESERVED:
            raise OptionError(f"extra_headers must not have {name!r}: the transport itself writes that header")
        if not _VALUE.fullmatch(value.strip(" \t")):
            # The value may be a secret: it is not shown.
            raise OptionError(
                f"the value of {name!r} in extra_headers has a character that no header can carry; "
                "encode it, for instance as base64 or percent-encoded"
            )


class Requests:
    """Writes the targets and the headers of one transport's requests."""

    __slots__ = ("_counter", "_endpoint", "_stamp", "_transport")

    def __init__(self, endpoint: Endpoint, transport: str, *, stamped: bool) -> None:
        """`stamped`: whether requests carry a timestamp where the options leave that to the transport."""
        wanted = endpoint.options.timestamp_requests
        self._endpoint = endpoint
        self._transport = transport
        self._counter = count()
        self._stamp = _base36(endpoint.random.getrandbits(40)) if (stamped if wanted is None else wanted) else ""

    def target(self, *, base64: bool) -> str:
        """The target of the next request; `base64` asks the server to send no bytes. Raises ValueError."""
        endpoint = self._endpoint
        query = {key: value for key, value in endpoint.query.items() if key not in _OURS}
        if self._stamp:
            query[endpoint.options.timestamp_param] = f"{self._stamp}{_base36(next(self._counter))}"
        query |= {"EIO": _PROTOCOL_VERSION, "transport": self._transport}
        if endpoint.sid is not None:
            query["sid"] = endpoint.sid
        if base64:
            query["b64"] = "1"
        return f"{self._path()}?{encode_query(query)}"

    def headers(self, target: str, now: float, defaults: Mapping[str, bytes]) -> Headers:
        """The headers of a request: the defaults, replaced by the application's, and the cookies. Raises OptionError."""
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
