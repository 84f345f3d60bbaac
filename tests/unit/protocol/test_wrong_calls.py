"""Calls of the machine with arguments of a wrong type: a clear error, and the state is unchanged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from random import Random
from typing import Any

import pytest

from sansio_socketio.protocol.client import ClientProtocol
from sansio_socketio.protocol.engine_protocol import EngineProtocol
from sansio_socketio.protocol.options import ClientOptions, EngineOptions

URL = "http://localhost"
Call = Callable[[ClientProtocol], Any]


def started() -> ClientProtocol:
    """Return a machine whose first attempt has begun, with a buffered event."""
    machine = ClientProtocol(URL, ClientOptions(transports=["polling"]), random=Random(1))
    machine.namespace("/").connect(1.0)
    machine.namespace("/").emit(["first"], 1.0, ack=True, timeout=3.0)
    while machine.next_output() is not None:
        pass
    return machine


def rest(machine: ClientProtocol) -> list[str]:
    """Return what the machine does from now on."""
    shown = [repr(machine.statistics())]
    for now, feed in ((2.0, machine.tick), (3.0, machine.tick), (5.0, machine.tick)):
        feed(now)
        shown.extend(repr(output) for output in iter(machine.next_output, None))
    machine.stream_failed(1, OSError("refused"), 6.0)
    return [*shown, *(repr(output) for output in iter(machine.next_output, None))]


WRONG: dict[str, tuple[Call, type[Exception], str]] = {
    "the error of a failure is a str": (
        lambda machine: machine.stream_failed(1, "boom", 2.0),  # type: ignore[arg-type]
        TypeError,
        "^error must be of type Exception, not str$",
    ),
    "the error of a failure is None": (
        lambda machine: machine.stream_failed(1, None, 2.0),  # type: ignore[arg-type]
        TypeError,
        "^error must be of type Exception, not NoneType$",
    ),
    "the error of a lost stream is a str": (
        lambda machine: machine.stream_closed(1, "boom", 2.0),  # type: ignore[arg-type]
        TypeError,
        "^error must be of type Exception, not str$",
    ),
    "an event is a str": (
        lambda machine: machine.namespace("/").emit("hello", 2.0),
        TypeError,
        r"^args must be a list of the event's name and its values, not a str: write \['hello'\]$",
    ),
    "an acknowledgement is a str": (
        lambda machine: machine.namespace("/").acknowledge((0, 1), "yes", 2.0),
        TypeError,
        r"^args must be a list of values, not a str: write \['yes'\]$",
    ),
    "no acknowledgement is requested": (
        lambda machine: machine.namespace("/").acknowledge(None, [1], 2.0),  # type: ignore[arg-type]
        TypeError,
        "^ack_id must be that of an EventReceived that requests an acknowledgement, not None$",
    ),
    "the options of a namespace are a dict": (
        lambda machine: machine.namespace("/other", {}),  # type: ignore[arg-type]
        TypeError,
        "^options must be of type NamespaceOptions, not dict$",
    ),
    "the time is nan": (
        lambda machine: machine.tick(nan),
        ValueError,
        "^now must be a finite number of seconds, not nan$",
    ),
    "the time is infinite": (
        lambda machine: machine.tick(inf),
        ValueError,
        "^now must be a finite number of seconds, not inf$",
    ),
    "the time is None": (
        lambda machine: machine.namespace("/").emit(["e"], None),  # type: ignore[arg-type]
        TypeError,
        "^now must be a number of seconds, not None$",
    ),
    "the time is a str": (
        lambda machine: machine.data_received(1, b"x", "1"),  # type: ignore[arg-type]
        TypeError,
        "^now must be a number of seconds, not '1'$",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_raises_and_changes_nothing(case: str) -> None:
    call, kind, message = WRONG[case]
    machine = started()
    with pytest.raises(kind, match=message):
        call(machine)
    assert rest(machine) == rest(started())


def test_wrong_arguments_of_the_machines_raise() -> None:
    for create, options in ((ClientProtocol, ClientOptions), (EngineProtocol, EngineOptions)):
        make: Any = create
        with pytest.raises(TypeError, match=f"^options must be of type {options.__name__}, not dict$"):
            make(URL, {}, random=Random(1))
        with pytest.raises(TypeError, match=r"^random must be of type Random, not NoneType$"):
            make(URL, random=None)
