"""The cookies of one origin (RFC 6265), for `with_credentials`.

Rules of this file:

- A jar serves one scheme, host and port. Its cookies are never sent elsewhere, so their `Domain` is ignored.
- The machine has no wall clock. `Expires` is interpreted relative to the `Date` of its response, and the age of a cookie
  is measured with `now`.
- Invalid cookies are ignored, as RFC 6265 requires. The number and the size of cookies are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

MAX_COOKIES = 100
"""The maximum number of cookies. Beyond it, a new cookie replaces the oldest."""
MAX_COOKIE_SIZE = 4096
"""The maximum size of a cookie in bytes: its name and its value together."""
MAX_PATH_SIZE = 1024
"""The maximum size of a cookie's path in bytes. A longer one is ignored."""

_LONGEST_DATE = 64


@dataclass(slots=True)
class _Cookie:
    value: bytes = field(repr=False)
    path: bytes
    secure: bool
    expires: float

    def is_for(self, path: bytes, *, secure: bool) -> bool:
        """Return whether the cookie is sent with a request for `path` (section 5.4)."""
        below = path.startswith(self.path) and (self.path.endswith(b"/") or path[len(self.path) :][:1] in {b"", b"/"})
        return below and (secure or not self.secure)


class CookieJar:
    """The cookies of one origin."""

    __slots__ = ("_cookies",)

    def __init__(self) -> None:
        self._cookies: dict[tuple[bytes, bytes], _Cookie] = {}

    def update(self, headers: Iterable[tuple[bytes, bytes]], target: str, now: float) -> None:
        """Store the cookies of a response to a request for `target`. Header names are in lower case."""
        fields = list(headers)
        date = next((_seconds(value) for name, value in fields if name == b"date"), None)
        for name, value in fields:
            if name == b"set-cookie":
                self._set(value, _path_of(target), date or 0, now)

    def header(self, target: str, now: float, *, secure: bool) -> bytes:
        """Return the value of the Cookie header of a request for `target`, or b"". `secure`: the request uses TLS."""
        for key in [key for key, cookie in self._cookies.items() if cookie.expires <= now]:
            del self._cookies[key]
        path = _path_of(target)
        matches = [(name, cookie) for (name, _), cookie in self._cookies.items() if cookie.is_for(path, secure=secure)]
        # Section 5.4: longer paths first, then older cookies first (the dict is in order of age, the sort is stable).
        matches.sort(key=lambda match: -len(match[1].path))
        return b"; ".join(name + b"=" + cookie.value for name, cookie in matches)

    def _set(self, text: bytes, request_path: bytes, date: float, now: float) -> None:
        pair, *rest = text.split(b";")
        name, equals, value = (part.strip() for part in pair.partition(b"="))
        if not equals or not name or len(name) + len(value) > MAX_COOKIE_SIZE:
            return
        # If an attribute occurs several times, the last one counts.
        parts = (part.partition(b"=") for part in rest)
        attributes = {key.strip().lower(): setting.strip() for key, _, setting in parts}
        path = attributes.get(b"path", b"")
        cookie = _Cookie(
            value=value,
            path=path if path.startswith(b"/") and len(path) <= MAX_PATH_SIZE else _default_path(request_path),
            secure=b"secure" in attributes,
            expires=now + _age(attributes, date),
        )
        key = (name, cookie.path)
        if key not in self._cookies and len(self._cookies) >= MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[key] = cookie


def _path_of(target: str) -> bytes:
    return target.partition("?")[0].encode("ascii")


def _default_path(path: bytes) -> bytes:
    """Return the request's path up to its last slash (section 5.1.4)."""
    return path[: path.rfind(b"/")] or b"/"


def _age(attributes: dict[bytes, bytes], date: float) -> float:
    """Return the seconds until a cookie expires. If the response has no Date, `Expires` is relative to 1970."""
    max_age = attributes.get(b"max-age", b"")
    if max_age.removeprefix(b"-").isdigit():
        return -1 if max_age.startswith(b"-") else float(max_age)
    expires = _seconds(attributes.get(b"expires", b""))
    return inf if expires is None else expires - date


def _seconds(date: bytes) -> float | None:
    """Parse a date in any format of HTTP. Return the seconds since 1970, or None if it is invalid."""
    if len(date) > _LONGEST_DATE:
        return None
    from calendar import timegm  # noqa: PLC0415  # importing these is slow, and rarely needed
    from email.utils import parsedate_tz  # noqa: PLC0415

    try:
        parts = parsedate_tz(date.decode("latin-1"))
        return None if parts is None else timegm(parts[:6]) - (parts[9] or 0)
    except (ValueError, IndexError, TypeError, OverflowError):  # raised for invalid dates
        return None
