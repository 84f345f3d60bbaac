"""The fuzz targets by name. Each takes bytes, and raises if a property does not hold for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha1
from pathlib import Path
from typing import Final

from fuzz.client import check_client
from fuzz.codecs import (
    check_engineio_handshake,
    check_engineio_packet,
    check_engineio_payload,
    check_msgpack,
    check_socketio,
)
from fuzz.transports import check_polling, check_websocket

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "engineio_packet": check_engineio_packet,
    "engineio_payload": check_engineio_payload,
    "engineio_handshake": check_engineio_handshake,
    "socketio": check_socketio,
    "msgpack": check_msgpack,
    "polling": check_polling,
    "websocket": check_websocket,
    "client": check_client,
}
FOLDER: Final = Path(__file__).parent
CORPUS: Final = FOLDER / "corpus"
"""The minimised corpora, which are committed: a folder for each target."""
WORK: Final = FOLDER / "work"
"""The files that runs write, which are not committed: the inputs that reached new code, and those that failed."""


def corpus(target: str) -> list[Path]:
    """Return the files of a target's minimised corpus."""
    return sorted((CORPUS / target).iterdir())


def file_name(data: bytes) -> str:
    """Return the name of the file of an input in a corpus."""
    return sha1(data, usedforsecurity=False).hexdigest()[:16]
