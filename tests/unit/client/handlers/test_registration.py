"""Registering and removing handlers, and with how many arguments they are called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from math import inf, nan
from typing import Any

import pytest

from sansio_socketio.client.registration import HandlerRegistration
from sansio_socketio.handlers.registry import HandlerRegistry, RegisteredHandler
from sansio_socketio.protocol.errors import OptionError


class Registry(HandlerRegistration):
    def __init__(self) -> None:
        self._handlers = HandlerRegistry()

    def handlers(self, event: str) -> list[Any]:
        return [registered.handler for registered in self._handlers.get(event)]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.mark.row("difference.on_any", "socket.chaining")
def test_handlers_are_registered_by_methods_and_decorators(registry: Registry) -> None:
    def first() -> None: ...

    assert registry.on("e", first) is registry

    @registry.on("e", concurrency=2)
    def second() -> None: ...

    @registry.once("e")
    def third() -> None: ...

    assert registry.once("e", first) is registry
    assert callable(second)
    assert registry.handlers("e") == registry.listeners("e") == [first, second, third, first]


@pytest.mark.row("socket.listeners", "socket.listeners_any")
def test_off_removes_one_registration_all_of_an_event_or_all(registry: Registry) -> None:
    def first() -> None: ...
    def second() -> None: ...

    registry.on("e", first).on("e", second).on("e", first).on("f", first)
    registry.off("e", first)
    assert registry.handlers("e") == [second, first]
    registry.off("e", print).off("unknown", print).off("unknown")
    assert registry.handlers("e") == [second, first]
    registry.off("e", first).off("e", second)
    assert registry.handlers("e") == []
    registry.on("e", first).on("e", second).off("e")
    assert registry.handlers("e") == []
    registry.on("e", first).off()
    assert registry.handlers("e") == registry.handlers("f") == []


def test_off_accepts_bound_methods_and_names_that_are_numbers(registry: Registry) -> None:
    class Handlers:
        def handle(self) -> None: ...

    handlers = Handlers()
    registry.on(1, handlers.handle).off("1", handlers.handle)
    assert registry.handlers("1") == []
    registry.on(1.5, handlers.handle).off(1.5)
    assert registry.handlers("1.5") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (-1.5, "-1.5"),
        (2**53, "9007199254740992"),
        (2**60, "1152921504606847000"),
        (1e20, "100000000000000000000"),
        (10**21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (inf, "Infinity"),
        (nan, "NaN"),
    ],
)
def test_a_name_that_is_a_number_equals_its_text_in_javascript(registry: Registry, name: float, text: str) -> None:
    registry.on(name, print)
    assert registry.listeners(text) == registry.listeners(name) == [print]
    registry.off(name)
    assert registry.handlers(text) == []


def generator(value: Any) -> Iterator[Any]:
    yield value


async def async_generator(value: Any) -> AsyncIterator[Any]:
    yield value


@pytest.mark.row("difference.wildcard")
@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda registry: registry.on(None, print), "the name of an event must be a str or a number"),
        (lambda registry: registry.on(True), "the name of an event must be a str or a number"),
        (
            lambda registry: registry.on(print),
            r"the event's name comes first, not the function print: write `@socket\.on",
        ),
        (lambda registry: registry.on("*", print), r"'\*' is no wildcard: register the handler with on_any\(\)"),
        (lambda registry: registry.once("*")(print), r"'\*' is no wildcard"),
        (lambda registry: registry.on("e", 5), "a handler must be callable; 5 is not"),
        (lambda registry: registry.on("e", generator), "handler generator is a generator function"),
        (lambda registry: registry.on("e", async_generator), "handler async_generator is a generator function"),
        (lambda registry: registry.on("e", print, manual_ack=1), "manual_ack takes True or False, not 1"),
        (lambda registry: registry.on("e", print, concurrency=0), "concurrency takes a whole number of at least 1"),
        (lambda registry: registry.on("e", print, concurrency=True), "concurrency takes a whole number"),
        (
            lambda registry: registry.on("e", lambda *, key: key),
            "requires the keyword argument key, which handlers do not receive",
        ),
        (lambda registry: registry.off(None, print), "with a handler needs its event"),
    ],
)
def test_invalid_registrations_are_errors_at_the_call(
    registry: Registry, register: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        register(registry)


@pytest.mark.parametrize(
    ("handler", "fitted"),
    [
        (lambda: None, []),
        (lambda a, /: a, [1]),
        (lambda a, b=0, *, c=0: a, [1, 2]),
        (lambda *a: a, [1, 2, 3]),
        (lambda a, *b, **c: a, [1, 2, 3]),
        (partial(lambda a, b: a, 0), [1]),
        ([].append, [1]),
        (int, [1, 2, 3]),
    ],
)
def test_a_handler_is_called_with_as_many_values_as_it_accepts(handler: Callable[..., Any], fitted: list[int]) -> None:
    assert list(RegisteredHandler(handler).fit([1, 2, 3])) == fitted


def test_a_handler_that_requires_more_values_is_an_error_that_names_it() -> None:
    def needs_three(a: int, b: int, c: int) -> None: ...

    with pytest.raises(TypeError, match=r"too few values for handler .*needs_three: it requires 3, the event has 2"):
        RegisteredHandler(needs_three).fit([1, 2])
    with pytest.raises(TypeError, match=r"partial.*: it requires 2"):
        RegisteredHandler(partial(needs_three, 1)).fit([1])


def test_with_manual_ack_the_last_argument_is_reserved() -> None:
    assert list(RegisteredHandler(lambda a, ack: a, manual_ack=True).fit([1, 2, 3])) == [1]
    assert list(RegisteredHandler(lambda *a: a, manual_ack=True).fit([1, 2, 3])) == [1, 2, 3]
