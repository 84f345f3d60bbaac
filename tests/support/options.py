"""Valid and invalid values of each option of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any

from sansio_socketio.protocol.options import ASK
from sansio_socketio.protocol.packets.socketio import JSONParser

PARSER = JSONParser()

BOOLS = (
    "add_trailing_slash",
    "upgrade",
    "remember_upgrade",
    "try_all_transports",
    "force_base64",
    "with_credentials",
    "reconnection",
)
SECONDS = ("close_timeout", "reconnection_delay", "reconnection_delay_max")
SECONDS_OR_NONE = ("timeout", "ack_timeout")
COUNTS = ("max_message_size", "max_payload_packets", "max_buffered_events", "max_buffered_bytes")

GOOD: dict[str, Sequence[Any]] = {
    **dict.fromkeys(BOOLS, (True, False)),
    **dict.fromkeys(SECONDS, (0, 0.5, 1e9)),
    **dict.fromkeys(SECONDS_OR_NONE, (None, 0, 0.5, 1e9)),
    **dict.fromkeys(COUNTS, (1, 10**12)),
    "path": ["/socket.io", ""],
    "transports": [["polling"], ("websocket", "polling")],
    "query": [{}, {"a": "b"}, ASK],
    "extra_headers": [{}, {"A": "b"}, ASK],
    "timestamp_requests": [None, True, False],
    "timestamp_param": ["t"],
    "protocols": [[], ["a", "b"], ("a",)],
    "transport_options": [{}, {"polling": {"path": "/x"}}],
    "per_message_deflate": [True, False, 0, 1024],
    "reconnection_attempts": [0, 3, inf],
    "randomization_factor": [0, 0.5, 1],
    "max_attachments": [0, 5],
    "auth": [None, {"token": 1}, ASK],
    "retries": [0, 3],
    "parser": [None, PARSER],
}
BAD: dict[str, Sequence[Any]] = {
    **dict.fromkeys(BOOLS, (None, 1, "yes")),
    **dict.fromkeys(SECONDS, (None, -1, nan, inf, "1", True, 10**400)),
    **dict.fromkeys(SECONDS_OR_NONE, (-1, nan, inf, "1", True, 10**400)),
    **dict.fromkeys(COUNTS, (None, 0, -1, 1.5, True, inf)),
    "path": [None, b"/x", "/\ud800"],
    "transports": [None, [], "polling", ["polling", "polling"], ["carrier pigeon"], {"polling"}, [["polling"]], [None]],
    "query": [None, {"a": 1}, {1: "a"}, "a=b", [("a", "b")], {"a": "\ud800"}, {"\udfff": ""}, {"sid": "x", "a": "b"}],
    "extra_headers": [None, {"a": 1}, {1: "a"}, "a: b"],
    "timestamp_requests": [1, "t"],
    "timestamp_param": [None, "", "\ud800", "EIO"],
    "protocols": [None, "abc", [""], [1], ["a b"], ["a,b"], ["a\r\nX: 1"], ["é"]],
    "transport_options": [None, [], {"polling": None}, {1: {}}],
    "per_message_deflate": [None, -1, 0.5, {"threshold": 1}],
    "reconnection_attempts": [None, -1, 1.5, -inf, nan, True],
    "randomization_factor": [None, -0.1, 1.1, nan, True],
    "max_attachments": [None, -1, 0.5],
    "auth": ["token", 1, []],
    "retries": [None, -1, 0.5, inf],
    "parser": [3, "json", object(), JSONParser],
}


def cases(table: dict[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    """Each option with each of its values."""
    return [(name, value) for name, values in table.items() for value in values]
