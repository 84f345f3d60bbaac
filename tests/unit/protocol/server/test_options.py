"""Every option of a server accepts what its error message says, and nothing else."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sansio_socketio.protocol.errors import OptionError
from sansio_socketio.protocol.server import EngineServerOptions, Recovery, ServerOptions
from sansio_socketio.protocol.server.options import CHECKS

BAD: dict[str, list[Any]] = {
    "path": ["x", 5, "/\ud800"],
    "transports": [[], ["x"], ["polling", "polling"], "polling"],
    "cors": ["http://a", [5], None],
    "parser": [5],
    "recovery": [True],
    "ping_interval": [0, "1"],
    "ping_timeout": [0],
    **{
        name: [-1, None]
        for name in ("upgrade_timeout", "request_timeout", "close_timeout", "connect_timeout", "max_age")
    },
    **{name: [0, 1.5] for name in CHECKS if name.startswith("max_") and name not in {"max_age", "max_attachments"}},
    **{name: [-1, 1.5] for name in ("max_attachments", "max_packets", "max_bytes")},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_invalid_values_raise_an_error_that_names_the_option(name: str, value: Any) -> None:
    kind = Recovery if name in {field.name for field in fields(Recovery)} else ServerOptions
    with pytest.raises(OptionError, match=f"^{name} takes "):
        kind(**{name: value})


def test_every_option_is_checked() -> None:
    names = {field.name for kind in (ServerOptions, Recovery) for field in fields(kind)}
    assert names == set(CHECKS) == set(BAD)


def test_the_options_of_a_socket_io_server_are_those_of_an_engine_io_server_and_more() -> None:
    engine, server = EngineServerOptions(cors=["http://a"]), ServerOptions(cors="*", recovery=Recovery(max_age=0))
    assert (engine.path, server.path) == ("/engine.io", "/socket.io")
    for field in fields(EngineServerOptions):
        assert field.name in {"path", "cors"} or getattr(engine, field.name) == getattr(server, field.name)
