"""Calling the application's code."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest

from sansio_socketio.protocol.errors import StateError
from sansio_socketio.runtime import call_in_task, call_in_thread, cancelled_inside, name_of
from sansio_socketio.runtime.calls import place_of


def handler() -> str:
    return "plain"


async def async_handler() -> str:
    return "async"


def test_in_a_task_an_awaitable_result_is_awaited() -> None:
    for function, result in ((handler, "plain"), (async_handler, "async")):
        with pytest.raises(StopIteration) as stopped:
            call_in_task(function).send(None)
        assert stopped.value.value == result


def test_in_a_thread_a_coroutine_is_refused() -> None:
    assert call_in_thread(handler) == "plain"
    with pytest.raises(TypeError, match="async_handler is an async function"):
        call_in_thread(async_handler)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_an_exception_that_would_end_a_thread_is_an_ordinary_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(StateError, match="cannot end the program from this thread") as caught:
        call_in_thread(fail)
    assert caught.value.__cause__ is error


def test_a_cancellation_from_inside_names_the_function() -> None:
    error = cancelled_inside(handler)
    assert isinstance(error, StateError)
    assert "handler was cancelled from inside" in str(error)


def test_a_function_is_shown_by_its_name() -> None:
    assert name_of(handler) == "handler"
    assert name_of(partial(handler)).startswith("functools.partial(")


def test_a_function_without_a_name_of_its_own_is_shown_with_its_place() -> None:
    unnamed = lambda: 0  # noqa: E731

    def _() -> None: ...

    for function, name in ((unnamed, "<lambda>"), (_, "_")):
        place = f"({__file__}:{function.__code__.co_firstlineno})"
        assert name_of(function).endswith(f".<locals>.{name} {place}")
    assert name_of(partial(unnamed)).endswith(f"({__file__}:{unnamed.__code__.co_firstlineno})")


class Failing:
    def __call__(self) -> None:
        raise LookupError

    def method(self) -> None:
        self()


@wraps(Failing.method)
def wrapped(*args: Any) -> None:
    Failing.method(Failing())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Failing(), ".*Failing object at .*"),
        (Failing().method, r"Failing\.method"),
        (partial(Failing()), r"functools\.partial\(.*"),
        (wrapped, r"Failing\.method"),
    ],
)
def test_the_place_of_an_error_is_the_innermost_line_in_the_file_of_the_function(
    function: Callable[[], None], name: str
) -> None:
    line = Failing.__call__.__code__.co_firstlineno + 1
    with pytest.raises(LookupError) as caught:
        function()
    assert re.fullmatch(rf"{name}, {re.escape(__file__)}:{line}", place_of(function, caught.value))


def test_the_place_of_an_error_without_a_line_is_the_function() -> None:
    line = handler.__code__.co_firstlineno
    assert place_of(handler, TypeError()) == f"handler, {__file__}:{line}"
    assert place_of(int, ValueError()) == "int"
