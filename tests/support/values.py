"""Values that no parser can send."""

from __future__ import annotations

from typing import Any


def contains_itself() -> list[Any]:
    value: list[Any] = [b"0"]
    value.append(value)
    return value


def maps_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


def released() -> memoryview:
    view = memoryview(b"0")
    view.release()
    return view
