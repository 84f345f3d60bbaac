"""No error of a call for an invalid URL or option shows a secret, in every driver."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sansio_socketio_anyio
import sansio_socketio_asyncio
import sansio_socketio_blocking
import sansio_socketio_trio
from sansio_socketio.protocol.errors import OptionError
from tests.support.fake_runtime import World

MODULES: list[Any] = [
    sansio_socketio_anyio,
    sansio_socketio_asyncio,
    sansio_socketio_blocking,
    sansio_socketio_trio,
]
URL = "http://localhost:3000"
SECRETS = st.text("/:@#?&=%4\\ \n\ud800é", max_size=4).map(lambda odd: f"{odd}s3cret{odd[::-1]}")
PARTS = st.sampled_from(
    ["", "http://", "ftp://", "//", "localhost", "localhost:3000", "[::1", "a..b", "\n", ":0", "?x"]
)


def shown_by(call: Callable[[], Any]) -> str:
    """Return all that is shown of the error of a call, or an empty string if it succeeds."""
    try:
        call()
    except OptionError as error:
        return "".join([*traceback.format_exception_only(error), repr(error), repr(error.__cause__)])
    return ""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@settings(deadline=None)
@given(secret=SECRETS, start=PARTS, end=PARTS)
@example(secret="/=?s3cret?=/", start="", end="")
def test_errors_of_invalid_urls_show_no_secrets(module: Any, secret: str, start: str, end: str) -> None:
    for url in (f"{start}ada:{secret}@{end}", f"{start}{secret}:pass@{end}", f"{start}{end}?t={secret}#{secret}"):
        for call in (module.connect, module.open_io, module.Manager):
            assert "s3cret" not in shown_by(partial(call, url)), url


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    "options",
    [
        {"query": {"token": ["s3cret"]}},
        {"query": {"token": "s3cret\ud800"}},
        {"query": "token=s3cret"},
        {"extra_headers": {"Authorization": "s3cret\r\n"}},
        {"extra_headers": {"Authorization": b"s3cret"}},
        {"extra_headers": {"Authorization: s3cret": ""}},
        {"extra_headers": [("Cookie", "s3cret")]},
        {"protocols": ["s3cret token"]},
        {"transport_options": {"polling": {"query": {"token": ["s3cret"]}}}},
        {"transport_options": {"polling": {"extra_headers": {"Cookie": "s3cret\n"}}}},
        {"transport_options": {"polling": {"protocols": ["s3cret\n"]}}},
        {"transport_options": {"polling": "s3cret"}},
        {"proxy": "http://ada:s3cret@proxy:port"},
        {"proxy": "http://s3cret@"},
        {"proxy": "http://ada:x/s3cret@proxy"},
        {"proxy": "http://s3cret:1/x@proxy"},
        {"proxy": "http://ada:s3cret\ud800@proxy"},
        {"proxy": b"http://ada:s3cret@proxy"},
        {"proxy": {"http": "http://ada:s3cret@proxy"}},
        {"auth": "s3cret"},
        {"auth": ["s3cret"]},
    ],
    ids=repr,
)
def test_errors_of_invalid_options_show_no_secrets(module: Any, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        module.connect(URL, **options)
    assert "s3cret" not in shown_by(lambda: module.connect(URL, **options))
    assert caught.value.__cause__ is None
    if "auth" not in options:
        assert "s3cret" not in shown_by(lambda: module.Manager(URL, **options))


@pytest.mark.parametrize(
    "url", ["http://ada:s3cret@localhost", "?token=s3cret", "http://localhost:x?token=s3cret", "/a,b?s3cret"]
)
def test_errors_of_io_show_no_secrets(world: World, url: str) -> None:
    async def main() -> None:
        async with world.scopes.open_io(URL) as io:
            text = shown_by(lambda: io(url))
            assert text
            assert "s3cret" not in text

    world.run(main)
