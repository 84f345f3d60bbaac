"""Checks that concern several Engine.IO options, and the options of one transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import isabstract
from typing import Final

from .errors import OptionError
from .options import ASK, TRANSPORTS, EngineOptions, check_name, describe, option_error, takes_value
from .transports import TRANSPORT_CLASSES
from .transports.base import Transport
from .transports.requests import check_headers
from .url import URL

_PER_TRANSPORT_MAPPINGS: Final = ("query", "extra_headers")
_OF_THE_SESSION: Final = frozenset(
    {"transports", "upgrade", "remember_upgrade", "try_all_transports", "transport_options"}
)
"""Options that cannot be set for one transport."""


def transport_classes(options: EngineOptions) -> dict[str, type[Transport]]:
    """Return the transport classes by name, in the order in which to try them. Raise OptionError if one is invalid."""
    classes: dict[str, type[Transport]] = {}
    for transport in options.transports:
        if isinstance(transport, str):
            classes[transport] = TRANSPORT_CLASSES[transport]
        elif issubclass(transport, Transport) and not isabstract(transport):
            classes[transport.name] = transport
        else:
            raise option_error("transports", options.transports)
    return classes


def check_engine_options(options: EngineOptions) -> None:
    """Check combinations of options and the contents of mappings. Raise OptionError if they are invalid."""
    classes = transport_classes(options)
    known = dict.fromkeys([*TRANSPORTS, *classes])
    is_stamped = "polling" in classes if options.timestamp_requests is None else options.timestamp_requests
    if is_stamped and options.query is not ASK and options.timestamp_param in options.query:
        raise OptionError(
            f"query contains {options.timestamp_param!r}, which the timestamp of the requests would replace: set "
            "timestamp_param to another name, or timestamp_requests to False"
        )
    check_headers({} if options.extra_headers is ASK else options.extra_headers)
    for name in options.transport_options:
        if name not in known:
            names = ", ".join(map(repr, known))
            raise OptionError(
                f"transport_options takes a mapping from the names of transports ({names}); {name!r} is not one of them"
            )
        try:
            transport_options(options, name)
        except OptionError as error:
            raise OptionError(f"transport_options[{name!r}]: {error}") from None


def transport_options(options: EngineOptions, name: str) -> EngineOptions:
    """Return the options of one transport: its `transport_options` override the common ones. Raise OptionError."""
    own = options.transport_options.get(name)
    if not own:
        return options
    common = {field.name: getattr(options, field.name) for field in fields(EngineOptions)}
    mappings = {key: own[key] for key in _PER_TRANSPORT_MAPPINGS if key in own}
    for key in own:
        check_name(key, common.keys() - _OF_THE_SESSION)
    for key, value in mappings.items():
        if not takes_value(key, value):
            raise OptionError(
                f"{key} takes a mapping of str to str without unpaired surrogates here, not {describe(key, value)}"
            )
    check_headers(mappings.get("extra_headers", {}))
    return EngineOptions(**{**common, **{key: value for key, value in own.items() if key not in mappings}})


def request_query(url: URL, options: EngineOptions, answered: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return the application's query parameters: those of the URL, else those of the answer, else those of the option."""
    if url.query:
        return dict(url.query)
    if answered is not None:
        return answered
    return {} if options.query is ASK else options.query
