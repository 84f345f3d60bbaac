"""The options of handlers, and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, Literal, TypeVar, cast

from ..protocol.errors import OptionError

ErrorPolicy = Literal["log", "raise"] | Callable[..., Any]
"""What to do with an exception in a handler: see `ManagerOptions.on_handler_error`."""

F = TypeVar("F", bound=Callable[..., Any])


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_policy(value: object) -> bool:
    return callable(value) or value in ("log", "raise")


INBOX_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "on_handler_error": (_is_policy, "'log', 'raise', or a callable that takes the exception and the event's name"),
    "inbox_events": (_is_count, "a whole number of at least 1"),
    "inbox_bytes": (_is_count, "a whole number of at least 1"),
}
"""What the options of handlers accept."""


def check_by(checks: Mapping[str, tuple[Callable[[Any], bool], str]], name: str, value: object) -> None:
    """Raise OptionError unless the check of an option accepts the value."""
    accepts, takes = checks[name]
    if not accepts(value):
        raise OptionError(f"{name} takes {takes}, not {value!r}")


def options_by_name(function: F) -> F:
    """Return a function whose TypeError for surplus arguments says that options are keyword arguments."""
    limit = function.__code__.co_argcount

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if len(args) > limit:
            raise TypeError(
                "options are keyword arguments, such as reconnection_delay=2; pass those in a dict as **options"
            )
        return function(*args, **options)

    return cast("F", checked)
