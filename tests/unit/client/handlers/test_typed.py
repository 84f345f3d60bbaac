"""Typed handlers: how an event's values are converted to annotations, and the errors when they cannot be."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from sansio_socketio.client import Socket
from sansio_socketio.client.registration import HandlerRegistration
from sansio_socketio.handlers.registry import HandlerRegistry
from sansio_socketio.protocol.errors import OptionError, PayloadError
from tests.support.fake_runtime import World

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Point:
    x: float
    y: float = 0


class Colour(Enum):
    RED = "red"


class Options(TypedDict, total=False):
    depth: int


class Picture(BaseModel):
    taken: datetime
    content: bytes
    by_whom: str = Field("nobody", alias="byWhom")
    points: list[Point] = []


class Later(BaseModel):
    never: NeverDefined  # type: ignore[name-defined]  # noqa: F821  # on purpose


class Registry(HandlerRegistration):
    def __init__(self, known: frozenset[str] | None = None) -> None:
        self._handlers = HandlerRegistry(known)

    def call(self, event: str, *values: Any) -> Any:
        """Call the handler as the dispatcher does."""
        (registered,) = self._handlers.get(event)
        return registered.call(*registered.fit(values))


@pytest.fixture
def registry() -> Registry:
    return Registry()


def everything(*values: Any) -> tuple[Any, ...]:
    return values


def taking(annotation: Any) -> Callable[[Any], Any]:
    """Return a handler with one parameter of this annotation, which returns its argument."""

    def handler(value: Any) -> Any:
        return value

    handler.__annotations__["value"] = annotation
    return handler


TAKEN = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotation", "value", "converted"),
    [
        (Point, {"x": 1}, Point(1.0, 0)),
        ("Point", {"x": 1, "y": 2}, Point(1, 2)),
        ("list[Point]", [{"x": 1}, {"x": 2}], [Point(1), Point(2)]),
        (Point | None, None, None),
        ("Point | None", {"x": 3}, Point(3)),
        (Options, {"depth": 3}, {"depth": 3}),
        (Literal["on", "off"], "off", "off"),
        (Annotated[int, Field(gt=3)], 4, 4),
        (Colour, "red", Colour.RED),
        (date, "2024-05-01", date(2024, 5, 1)),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[int], [1, 1], {1}),
        (bytes, b"\xff\x00", b"\xff\x00"),
        (
            Picture,
            {"taken": "2024-05-01T12:30:00Z", "content": b"\xff", "byWhom": "Ada", "points": [{"x": 1}]},
            Picture(taken=TAKEN, content=b"\xff", byWhom="Ada", points=[Point(1)]),
        ),
        (Any, {"x": 1}, {"x": 1}),
        (None, None, None),
    ],
)
def test_a_value_is_converted_to_the_annotation(
    registry: Registry, annotation: Any, value: Any, converted: Any
) -> None:
    registry.on("e", taking(annotation), typed=True)
    result = registry.call("e", value)
    assert result == converted
    assert type(result) is type(converted)


def test_without_typed_nothing_is_converted(registry: Registry) -> None:
    registry.on("e", taking(Point))
    assert registry.call("e", {"x": 1}) == {"x": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of handlers


class Handlers:
    def method(self, point: Point, colour: Colour = Colour.RED) -> Any:
        return point, colour

    @classmethod
    def of_the_class(cls, point: Point) -> Any:
        return (point,)

    @staticmethod
    def static(point: Point) -> Any:
        return (point,)

    def __call__(self, point: Point) -> Any:
        return (point,)


class Made:
    def __init__(self, point: Point) -> None:
        self.point = point

    def __iter__(self) -> Any:
        return iter((self.point,))


def named(name: str, point: Point, number: int = 0) -> Any:
    return name, point, number


def logged(function: Any) -> Any:
    @wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@pytest.mark.parametrize(
    ("handler", "values", "result"),
    [
        (Handlers().method, [{"x": 1}, "red"], (Point(1), Colour.RED)),
        (Handlers().method, [{"x": 1}], (Point(1), Colour.RED)),
        (Handlers.of_the_class, [{"x": 1}], (Point(1),)),
        (Handlers.static, [{"x": 1}], (Point(1),)),
        (Handlers(), [{"x": 1}], (Point(1),)),
        (Made, [{"x": 1}], (Point(1),)),
        (partial(named, "n"), [{"x": 1}, "5"], ("n", Point(1), 5)),
        (partial(Handlers()), [{"x": 1}], (Point(1),)),
        (logged(named), ["n", {"x": 1}, "5"], ("n", Point(1), 5)),
        (logged(partial(named, "n")), [{"x": 1}], ("n", Point(1), 0)),
    ],
)
def test_any_callable_can_be_a_typed_handler(registry: Registry, handler: Any, values: list[Any], result: Any) -> None:
    registry.on("e", handler, typed=True)
    assert tuple(registry.call("e", *values)) == result
    assert registry.listeners("e") == [handler]
    assert registry.off("e", handler).listeners("e") == []


def test_missing_or_surplus_values_are_an_error_or_ignored(registry: Registry) -> None:
    def handler(point: Point, plain, colour: Colour | None = None) -> Any:  # type: ignore[no-untyped-def]
        return point, plain, colour

    registry.on("e", handler, typed=True)
    assert registry.call("e", {"x": 1}, "as it is") == (Point(1), "as it is", None)
    assert registry.call("e", {"x": 1}, {"x": 1}, "red", "offset") == (Point(1), {"x": 1}, Colour.RED)
    with pytest.raises(TypeError, match="requires 2, the event has 1"):
        registry.call("e", {"x": 1})


def test_variable_parameters_are_converted(registry: Registry) -> None:
    def handler(colour: Colour, *points: Point, **_: int) -> Any:
        return colour, points

    registry.on("e", handler, typed=True)
    assert registry.call("e", "red") == (Colour.RED, ())
    assert registry.call("e", "red", {"x": 1}, {"x": 2}) == (Colour.RED, (Point(1), Point(2)))
    with pytest.raises(PayloadError, match=r"^event 'e', points\[1\].x: Field required$"):
        registry.call("e", "red", {"x": 1}, {})


def test_the_function_that_acknowledges_is_not_converted(registry: Registry) -> None:
    def one(point: Point, ack: NeverDefined) -> Any:  # type: ignore[name-defined]  # noqa: F821  # and not looked at
        return point, ack

    def some(*points: Point) -> Any:
        return points

    registry.on("one", one, manual_ack=True, typed=True).on("some", some, manual_ack=True, typed=True)
    for name, values in (("one", [{"x": 1}]), ("some", [{"x": 1}, {"x": 2}])):
        (registered,) = registry._handlers.get(name)
        result: Any = registered.call(*registered.fit(values), print)
        *points, ack = result
        assert points == [Point(value["x"]) for value in values]
        assert ack is print


# ---------------------------------------------------------------------------------------------------------------------
# Invalid registrations


def local_name(value: Decimal) -> None: ...


def no_such_name(value: list[NoSuchName]) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # on purpose


def no_type(value: Annotated[()]) -> None: ...  # type: ignore[valid-type]  # on purpose


def strange(value: Registry) -> None: ...


def later(value: Later) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (local_name, "annotation of the parameter value of handler local_name: name 'Decimal' is not defined"),
        (no_such_name, "name 'NoSuchName' is not defined"),
        (no_type, "annotation of the parameter value"),
        (strange, "Unable to generate pydantic-core schema"),
        (later, "not fully defined|NeverDefined"),
        (dict, "typed needs a handler with a signature; dict has none"),
    ],
)
def test_an_unsupported_annotation_is_an_error_at_registration(registry: Registry, handler: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        registry.on("e", handler, typed=True)
    assert "\n" not in str(caught.value)
    assert registry.listeners("e") == []


def test_events_for_which_typed_and_manual_ack_are_errors(registry: Registry) -> None:
    for name in ("connect", "connect_error", "disconnect"):
        with pytest.raises(
            OptionError, match=f"typed does not apply to '{name}': the server's application does not emit it"
        ):
            registry.on(name, everything, typed=True)
    with pytest.raises(OptionError, match="typed does not apply to 'open'"):
        Registry(frozenset({"open"})).once("open", everything, typed=True)
    with pytest.raises(OptionError, match="manual_ack does not apply to 'open': it is not acknowledged"):
        Registry(frozenset({"open"})).once("open", everything, manual_ack=True)
    with pytest.raises(OptionError, match="typed takes True or False, not <class"):
        registry.on("e", typed=Point)  # type: ignore[call-overload]


def test_without_pydantic_the_error_says_what_to_install(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sansio_socketio.handlers.typed", raising=False)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(OptionError, match=r"pip install 'sansio-socketio\[typed\]'"):

        @registry.on("e", typed=True)
        def handler(point: Point) -> None: ...


# ---------------------------------------------------------------------------------------------------------------------
# Values that do not match


def mismatch(registry: Registry, annotation: Any, value: Any) -> PayloadError:
    registry.off("e").on("e", taking(annotation), typed=True)
    with pytest.raises(PayloadError) as caught:
        registry.call("e", value)
    return caught.value


@pytest.mark.parametrize(
    ("annotation", "value", "path", "message"),
    [
        (int, "many", "value", "event 'e', value: Input should be a valid integer"),
        (Point, {"x": "left"}, "value.x", "event 'e', value.x: Input should be a valid number"),
        (list[Point], [{"x": 1}, {"y": 1}], "value[1].x", r"event 'e', value\[1\].x: Field required$"),
        (dict[str, list[int]], {"a": [1, "b"]}, "value.…[1]", r"event 'e', value.…\[1\]: Input"),
        (Literal["on"], "off", "value", "event 'e', value: Input should be 'on'$"),
        (list[int], ["a", 1, "b", "c"], "value[0]", r"unable to parse string as an integer \(and 2 more\)$"),
    ],
)
def test_a_payload_error_says_where_the_mismatch_is_and_what_is_expected(
    registry: Registry, annotation: Any, value: Any, path: str, message: str
) -> None:
    error = mismatch(registry, annotation, value)
    assert (error.event, error.path) == ("e", path)
    assert re.search(message, str(error))
    cause = error.__cause__
    assert isinstance(cause, ValidationError)
    assert cause.errors()[0]["loc"][0] == "value"


def test_a_payload_error_shows_no_value_and_is_short(registry: Registry) -> None:
    secret, long = "secret" * 10, "k" * 100_000

    def shown(error: BaseException) -> str:
        assert error.__cause__ is not None
        return f"{error}\n{error.__cause__}"

    assert "secret" not in shown(mismatch(registry, int, secret))
    assert "secret" not in shown(mismatch(registry, Picture, {"token": secret}))
    assert len(shown(mismatch(registry, list[int], ["a"] * 10_000))) < 2000
    assert len(shown(mismatch(registry, dict[str, int], {long: "a"}))) < 2000
    error = mismatch(registry, dict[str, dict[str, dict[str, int]]], {long: {long: {long: "a"}}})
    assert len(shown(error)) < 2000
    assert len(str(error)) < 400


class Checked(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, number: int) -> int:
        if number == 0:
            raise PydanticCustomError("zero", "no {what} {{please}}", {"what": "zero"})
        if number % 2:
            raise ValueError("number must be even {sic}")
        return number


def test_the_message_of_a_validator_of_the_application_is_for_programs(registry: Registry) -> None:
    for number, kind, message in ((1, "Value error", "Value error, number must be even {sic}"), (0, "zero", "no zero")):
        error = mismatch(registry, Checked, {"number": number})
        assert error.path == "value.number"
        assert kind in str(error)
        assert message not in str(error)
        assert isinstance(error.__cause__, ValidationError)
        [each] = error.__cause__.errors()
        assert message in each.get("ctx", {})["message"]


SECRET: Final = "s3cret"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: int = 0
    nested: dict[str, int] = {}
    aliased: int = Field(0, validation_alias=AliasChoices("first", AliasPath("second", 0)))


class A(BaseModel):
    kind: Literal["a"]
    count: int = 0


class B(BaseModel):
    kind: Literal["b"]


def refuse(value: Any) -> Any:
    raise ValueError(f"invalid: {value!r}")


@pytest.mark.parametrize(
    ("annotation", "value", "shown"),
    [
        (int, SECRET, "value: Input should be a valid integer, unable to parse string as an integer"),
        (UUID, SECRET, "value: Input should be a valid UUID"),
        (datetime, SECRET, "value: Input should be a valid datetime or date"),
        (AnyUrl, SECRET, "value: Input should be a valid URL"),
        (Json[int], SECRET, "value: Invalid JSON"),
        (Annotated[int, AfterValidator(refuse)], 53, "value: Value error"),
        (Annotated[str, AfterValidator(refuse)], SECRET, "value: Value error"),
        (
            Annotated[list[int], Field(min_length=2)],
            [1],
            "value: List should have at least 2 items after validation, not 1",
        ),
        (
            dict[str, int],
            {SECRET: "x"},
            "value.…: Input should be a valid integer, unable to parse string as an integer",
        ),
        (dict[int, int], {SECRET: 1}, "value.….[key]: Input should be a valid integer, unable to parse"),
        (Strict, {SECRET: 1}, "value.…: Extra inputs are not permitted"),
        (Strict, {"nested": {SECRET: "x"}}, "value.nested.…: Input should be a valid integer, unable to parse"),
        (Strict, {"second": ["x"]}, "value.second[0]: Input should be a valid integer, unable to parse"),
        (A | B, {"kind": SECRET}, "value.A.kind: Input should be 'a' (and 1 more)"),
        (
            Annotated[A | B, Field(discriminator="kind")],
            {"kind": SECRET},
            "value: 'kind' should be one of the expected tags: 'a', 'b'",
        ),
        (
            Annotated[A | B, Field(discriminator="kind")],
            {"kind": "a", "count": SECRET},
            "value.a.count: Input should be",
        ),
        (tuple[int, int], [1], "value[1]: Field required"),
        (list[Strict], [{}, {"name": SECRET}], "value[1].name: Input should be a valid integer, unable to parse"),
    ],
)
def test_a_payload_error_shows_nothing_of_the_value(
    registry: Registry, annotation: Any, value: Any, shown: str
) -> None:
    error = mismatch(registry, annotation, value)
    assert str(error).startswith(f"event 'e', {shown}")
    whole = "".join(traceback.format_exception(error.with_traceback(None)))
    assert SECRET not in whole.replace(__file__, "")
    assert "53" not in whole.rpartition("pydantic_core")[2]
    assert error.path is not None
    assert SECRET not in error.path


# ---------------------------------------------------------------------------------------------------------------------
# On a socket


def test_a_typed_handler_gets_converted_values_and_returns_the_acknowledgement(world: World) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("move", typed=True)
        async def move(point: Point) -> Point:
            return Point(point.x + 1, point.y)

        @socket.once("look", typed=True)
        def look(at: datetime) -> Picture:
            return Picture(taken=at, content=b"\xff", byWhom="Ada", points=[Point(1)])

        @socket.on("concurrent", concurrency=2, typed=True)
        def concurrent(colour: Colour) -> tuple[Colour, int]:
            return colour, 7

        @socket.on("later", manual_ack=True, typed=True)
        def later(point: Point, ack: Callable[..., None]) -> None:
            ack([point])

        world.server.emit("move", {"x": 1}, "offset", id=1)
        world.server.emit("look", "2024-05-01T12:30:00Z", id=2)
        world.server.emit("concurrent", "red", id=3)
        world.server.emit("later", {"x": 5}, id=4)
        await world.settle()

    world.run_connected(body)
    assert sorted(world.server.acks()) == [
        (1, [{"x": 2.0, "y": 0}]),
        (2, [{"taken": TAKEN.isoformat(), "content": b"\xff", "byWhom": "Ada", "points": [{"x": 1.0, "y": 0}]}]),
        (3, ["red", 7]),
        (4, [[{"x": 5.0, "y": 0}]]),
    ]


def test_a_mismatch_is_reported_like_an_error_of_the_handler(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(socket: Socket) -> None:
        @socket.on("move", typed=True)
        def move(position: Point) -> Any:
            raise AssertionError

        world.server.emit("move", {"x": "north"}, id=1)
        await world.settle()
        assert socket.connected

    world.run_connected(body)
    assert world.server.acks() == []
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith("exception in handler ")
    assert record.getMessage().endswith(" of 'move' in /")
    assert "event 'move', position.x: Input should be a valid number" in caplog.text
    assert "north" not in caplog.text


def test_a_mismatch_may_be_passed_to_on_handler_error(world: World) -> None:
    reported: list[Any] = []

    async def body(socket: Socket) -> None:
        socket.on("move", taking(Point), typed=True)
        world.server.emit("move", None)
        await world.settle()

    world.run_connected(body, on_handler_error=lambda error, event: reported.append((type(error), event)))
    assert reported == [(PayloadError, "move")]


# ---------------------------------------------------------------------------------------------------------------------
# Acknowledgements


@pytest.mark.parametrize(
    ("values", "result", "expected"),
    [
        (({"x": "1"},), Point, Point(1.0)),
        (({"depth": "3"},), Options, {"depth": 3}),
        (("red",), Colour, Colour.RED),
        ((1, "2"), tuple[int, float], (1, 2.0)),
        ((), int | None, None),
        ((["1", 2],), list[int], [1, 2]),
        ((5,), Annotated[int, Field(gt=1), []], 5),  # cannot be hashed
    ],
)
def test_an_acknowledgement_is_converted_to_the_type(
    world: World, values: tuple[Any, ...], result: Any, expected: Any
) -> None:
    async def body(socket: Socket) -> None:
        world.server.acknowledge_with(*values)
        for _ in range(2):
            assert await socket.emit_with_ack("e", result=result) == expected

    world.run_connected(body)


def test_an_acknowledgement_that_does_not_match_is_an_error_that_says_where(world: World) -> None:
    async def body(socket: Socket) -> None:
        world.server.acknowledge_with({"x": "secret"})
        with pytest.raises(PayloadError) as caught:
            await socket.emit_with_ack("where", result=Point)
        error = caught.value
        assert str(error).startswith("acknowledgement of event 'where', result.x: Input should be a valid number")
        assert (error.event, error.path) == ("where", "result.x")
        assert isinstance(error.__cause__, ValidationError)
        assert "secret" not in f"{error}{error.__cause__}"
        world.server.acknowledge_with()
        with pytest.raises(PayloadError, match=r"^acknowledgement of event '5', result: Input should be a valid int"):
            await socket.timeout(5).emit_with_ack(5, result=int)

    world.run_connected(body)


@pytest.mark.parametrize("result", [World, "NeverDefined", Later, 5])
def test_a_type_that_pydantic_does_not_support_is_an_error_before_the_event_is_sent(world: World, result: Any) -> None:
    async def body(socket: Socket) -> None:
        with pytest.raises(OptionError, match="result takes a type that pydantic supports, not "):
            await socket.emit_with_ack("e", result=result)

    world.run_connected(body)
    assert world.server.events() == []


def test_without_pydantic_a_typed_acknowledgement_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sansio_socketio.handlers.typed", raising=False)
    monkeypatch.setitem(sys.modules, "pydantic", None)

    async def body(socket: Socket) -> None:
        with pytest.raises(OptionError, match="result needs pydantic"):
            await socket.emit_with_ack("e", result=int)

    world.run_connected(body)
