"""Parse the URLs that applications pass, and encode the query strings of requests.

Rules of this file:

- The schemes are `http`, `https`, `ws` and `wss`; the default is `https`, as in the JavaScript client outside a browser.
- A query is a mapping of str to str. It is encoded and decoded as by JavaScript's `encodeURIComponent` and
  `decodeURIComponent`, so a plus sign is not decoded as a space.
- An invalid URL raises an OptionError that quotes the URL. Neither that nor any other message, log or repr shows the user,
  the password or the values of the query, which may be secret: see `redacted`.
- A host must be one that can exist: an IP address, or a name of valid DNS labels (RFC 1035, section 2.3.4; underscores are
  accepted, because they occur). Otherwise the client would try to connect to it again and again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from .errors import OptionError

_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
_UNESCAPED = "-_.!~*'()"
_PARTS = re.compile(r"((?:[^/?#@:]*:)?//)?([^/?#]*)([^?#]*)([^#]*)(.*)", re.DOTALL)
_AT = re.compile(r".*(?:@|%40)", re.DOTALL)  # greedy: a password may contain a slash or an "@"
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_MAX_HOST_NAME = 253


PROTOCOL_PARAMETERS: Final = frozenset({"EIO", "sid", "transport"})
"""The query parameters that the protocol defines. An application cannot set them."""


@dataclass(frozen=True, slots=True)
class URL:
    """A parsed URL. `host` has no brackets, `path` starts with a slash, `query` may be empty."""

    scheme: str
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def secure(self) -> bool:
        """Whether connections use TLS."""
        return _SECURE[self.scheme]

    @property
    def authority(self) -> str:
        """The value of the Host header: the host, in brackets if IPv6, and the port unless it is the default.

        The zone of an IPv6 address is left out: it has a meaning on this machine only (RFC 6874, section 4).
        """
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if self.port == default_port(secure=self.secure) else f"{host}:{self.port}"

    @property
    def address(self) -> str:
        """The host, in brackets if IPv6, and the port, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

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
    return _parse(text)


@lru_cache(maxsize=8)  # connecting needs several parts of the same URL
def _parse(text: str) -> URL:
    if _CONTROL.search(text):
        raise _invalid(text, "it contains a space or a control character")
    if not is_encodable(text):
        raise _invalid(text, "it contains an unpaired surrogate")
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"https://{text.removeprefix('//')}")
        port = parts.port
    except ValueError:  # its message may quote a part of the password
        hint = (
            "; an IPv6 address needs brackets, as in http://[::1]:3000" if "::" in text or text.count(":") > 2 else ""
        )
        raise _invalid(text, f"the host or the port is invalid{hint}") from None
    if parts.scheme not in _SECURE:
        raise _invalid(text, "the scheme must be http, https, ws or wss")
    if parts.username is not None or parts.password is not None:
        raise OptionError("invalid URL: it contains a user or a password; pass credentials in auth or extra_headers")
    if port == 0:
        raise _invalid(text, "the port must be a number from 1 to 65535")
    if not parts.hostname:
        raise _invalid(text, "it has no host")
    host = ascii_host(parts.hostname)
    if host is None or ("[" in parts.netloc) is not (":" in host):
        raise _invalid(
            text,
            "the host must be an IP address, or a name of at most 253 characters whose labels have 1 to 63 letters, digits, "
            "hyphens or underscores",
        )
    try:
        query = _parse_query(parts.query)
    except UnicodeDecodeError:
        raise _invalid(text, "its query is not percent-encoded UTF-8") from None
    if not PROTOCOL_PARAMETERS.isdisjoint(dict(query)):
        raise _invalid(
            text, f"its query contains a parameter of the protocol ({', '.join(sorted(PROTOCOL_PARAMETERS))})"
        )
    return URL(
        scheme=parts.scheme,
        host=host,
        port=default_port(secure=_SECURE[parts.scheme]) if port is None else port,
        path=parts.path or "/",
        query=query,
    )


def ascii_host(host: str) -> str | None:
    """Return a host for the resolver: an IP address (IPv6 without brackets) or the ASCII form of a name. None if invalid."""
    if ":" in host:
        address, _, zone = host.partition("%")
        host = f"{address}%{zone.removeprefix('25')}" if zone else address  # RFC 6874: "%" is written as "%25"
        try:
            IPv6Address(host)
        except AddressValueError:
            return None
        return host if host.isascii() else None
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    name = host.removesuffix(".")
    if len(name) > _MAX_HOST_NAME or not _HOST_NAME.fullmatch(name):
        return None
    if _NUMBERS.fullmatch(name) and max(map(int, name.split("."))) > 255:
        return None
    return host


def is_encodable(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8: it has no unpaired surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def redacted(text: str, *, is_valid: bool = True) -> str:
    """Return a URL for a message: without user and password, without the values of the query and without the fragment.

    Args:
        text: The URL.
        is_valid: False if the URL is invalid, so that any part of it may belong to a password.
    """
    match = _PARTS.match(text)
    assert match is not None, "it matches any text"
    scheme, authority, path, query, fragment = (part or "" for part in match.groups())
    place, count = _AT.subn("***@", authority + path)
    if _AT.match(query + fragment) and (count or not is_valid):
        return f"{scheme}***"  # the password may contain a "?" or "#"
    values = "&".join(map(_without_value, query[1:].split("&")))
    return f"{scheme}{place}{query[:1]}{values}{'#***' if fragment[1:] else fragment}"


def _without_value(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}=***" if equals else "***" if name else ""


def _invalid(text: str, why: str) -> OptionError:
    return OptionError(f"invalid URL {redacted(text, is_valid=False)!r}: {why}")


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
        raise _invalid(text, "it is only a query; for the server of open_io(), pass '/?…'")
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
    """Decode a query. Raise UnicodeDecodeError if it is not percent-encoded UTF-8."""
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    return tuple((unquote(key, errors="strict"), unquote(value, errors="strict")) for key, _, value in pairs)
