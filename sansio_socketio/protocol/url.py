"""Parse the URLs that applications pass, and encode the query strings of requests.

Rules of this file:

- The schemes are `http`, `https`, `ws` and `wss`; the default is `https`, as in the JavaScript client outside a browser.
- A query is a mapping of str to str. It is encoded and decoded as by JavaScript's `encodeURIComponent` and
  `decodeURIComponent`, so a plus sign is not decoded as a space.
- An invalid URL raises an OptionError that quotes the URL. Neither that nor any other message, log or repr shows the user,
  the password or the values of the query, which may be secret: see `redacted`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from .errors import OptionError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_UNESCAPED = "-_.!~*'()"
_USER = re.compile(r"^([^/?#]*//)?[^?#]*@")  # greedy: a password may contain a slash or an "@"
_QUERY_VALUE = re.compile(r"(=)[^&#]*")


@dataclass(frozen=True, slots=True)
class URL:
    """A parsed URL. `host` has no brackets, `path` starts with a slash, `query` may be empty."""

    scheme: str
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...]

    @property
    def secure(self) -> bool:
        """Whether connections use TLS."""
        return _SECURE[self.scheme]

    @property
    def authority(self) -> str:
        """The value of the Host header: the host, in brackets if IPv6, and the port unless it is the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port(secure=self.secure) else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """The origin, as the key of cookies and remembered upgrades."""
        return (self.secure, self.host, self.port)


def default_port(*, secure: bool) -> int:
    """Return the default port: 443 with TLS, 80 without."""
    return 443 if secure else 80


def parse_url(text: str) -> URL:
    """Parse a URL that the application has passed. Raise OptionError if it is invalid."""
    if not isinstance(text, str):
        raise OptionError(f"url must be a str, not {type(text).__name__}")
    if any(ord(character) <= 0x20 or character == "\x7f" for character in text):
        raise OptionError(f"invalid URL {redacted(text)!r}: it contains a space or a control character")
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"https://{text.removeprefix('//')}")
        port = parts.port
    except ValueError:  # its message may quote a part of the password
        raise OptionError(f"invalid URL {redacted(text)!r}: the host or the port is invalid") from None
    if parts.scheme not in _SECURE:
        raise OptionError(f"invalid URL {redacted(text)!r}: the scheme must be http, https, ws or wss")
    if parts.username is not None or parts.password is not None:
        raise OptionError("invalid URL: it contains a user or a password; pass credentials in auth or extra_headers")
    host = _ascii_host(parts.hostname or "", text)
    return URL(
        scheme=parts.scheme,
        host=host,
        port=default_port(secure=_SECURE[parts.scheme]) if port is None else port,
        path=parts.path or "/",
        query=_parse_query(parts.query),
    )


def redacted(text: str) -> str:
    """Return a URL for a message: without user and password, and without the values of the query."""
    address, mark, query = _USER.sub(lambda match: f"{match[1] or ''}***@", text).partition("?")
    return address + mark + _QUERY_VALUE.sub(r"\1***", query)


def resolve_url(text: str | None, base: URL | None) -> str:
    """Resolve a relative URL against `base`, as a browser does with the URL of the page.

    None stands for the server of `base`. A URL that begins with a slash is a path on that server. A URL without a scheme
    gets the scheme of `base`.

    Raises:
        OptionError: The URL is relative and `base` is None.
    """
    if text is not None and not isinstance(text, str):
        raise OptionError(f"url must be a str, not {type(text).__name__}")
    if text is not None and text.startswith("?"):
        raise OptionError(
            f"invalid URL {redacted(text)!r}: it is only a query; for the server of open_io(), pass '/?…'"
        )
    if text is None or (text.startswith("/") and not text.startswith("//")):
        if base is None:
            given = "no URL" if text is None else f"only the path {redacted(text)!r}"
            raise OptionError(f"io() was given {given}; pass the server's URL to io() or to open_io()")
        return f"{base.scheme}://{base.authority}{text or '/'}"
    if base is None or _SCHEME.match(text):
        return text
    return f"{base.scheme}://{text.removeprefix('//')}"


def encode_query(query: Mapping[str, str]) -> str:
    """Return the query string of a request, without the question mark."""
    return "&".join(f"{quote(key, _UNESCAPED)}={quote(value, _UNESCAPED)}" for key, value in query.items())


def _parse_query(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    return tuple((unquote(key), unquote(value)) for key, _, value in pairs)


def _ascii_host(host: str, text: str) -> str:
    if not host:
        raise OptionError(f"invalid URL {redacted(text)!r}: it has no host")
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise OptionError(f"invalid URL {redacted(text)!r}: the host name cannot be encoded: {error}") from None
