"""URLs: what the application writes, and what goes into a request.

Rules of this file:

- `http`, `https`, `ws` and `wss`; without a scheme `https`, as in the reference outside a browser.
- A query is a dict of str to str; it is written and read as by JavaScript's `encodeURIComponent` and its inverse, to
  which a plus sign is a plus sign.
- Whatever cannot be a URL is an OptionError that quotes it.
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


@dataclass(frozen=True, slots=True)
class URL:
    """A parsed URL. `host` has no brackets, `path` starts with a slash, `query` is empty where there was none."""

    scheme: str
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...]

    @property
    def secure(self) -> bool:
        """Whether connections are under TLS."""
        return _SECURE[self.scheme]

    @property
    def authority(self) -> str:
        """The value of a Host header: brackets around IPv6, the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port(secure=self.secure) else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What cookies and remembered upgrades are kept by."""
        return (self.secure, self.host, self.port)


def default_port(*, secure: bool) -> int:
    """443 under TLS, 80 without."""
    return 443 if secure else 80


def parse_url(text: str) -> URL:
    """Parse what an application wrote. Raises OptionError."""
    if not isinstance(text, str):
        raise OptionError(f"url must be a str, not {type(text).__name__}")
    if any(ord(character) <= 0x20 or character == "\x7f" for character in text):
        raise OptionError(f"url {text!r} has a space or a control character in it")
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"https://{text.removeprefix('//')}")
        port = parts.port
    except ValueError as error:
        raise OptionError(f"url {text!r} is no URL: {error}") from None
    if parts.scheme not in _SECURE:
        raise OptionError(f"url {text!r} must start with http, https, ws or wss")
    if parts.username is not None or parts.password is not None:
        raise OptionError("url must not hold a user or a password; put credentials into auth or extra_headers")
    host = _ascii_host(parts.hostname or "", text)
    return URL(
        scheme=parts.scheme,
        host=host,
        port=default_port(secure=_SECURE[parts.scheme]) if port is None else port,
        path=parts.path or "/",
        query=_parse_query(parts.query),
    )


def resolve_url(text: str | None, base: URL | None) -> str:
    """The whole of what an application wrote, as a browser completes it whose page is from the server `base`.

    None is that server itself. A path begins with a slash. What has no scheme gets the base's.

    Raises:
        OptionError: There is no base that could complete it.
    """
    if text is not None and not isinstance(text, str):
        raise OptionError(f"url must be a str, not {type(text).__name__}")
    if text is not None and text.startswith("?"):
        raise OptionError(f"url {text!r} is a query alone; write '/{text}' for the server of open_io()")
    if text is None or (text.startswith("/") and not text.startswith("//")):
        if base is None:
            given = "no URL" if text is None else f"only the path {text!r}"
            raise OptionError(f"io() was given {given}; give it the server's URL, too, or give that to open_io()")
        return f"{base.scheme}://{base.authority}{text or '/'}"
    if base is None or _SCHEME.match(text):
        return text
    return f"{base.scheme}://{text.removeprefix('//')}"


def encode_query(query: Mapping[str, str]) -> str:
    """The query string of a request, without the question mark."""
    return "&".join(f"{quote(key, _UNESCAPED)}={quote(value, _UNESCAPED)}" for key, value in query.items())


def _parse_query(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    return tuple((unquote(key), unquote(value)) for key, _, value in pairs)


def _ascii_host(host: str, text: str) -> str:
    if not host:
        raise OptionError(f"url {text!r} names no host")
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise OptionError(f"url {text!r} has an impossible host name: {error}") from None
