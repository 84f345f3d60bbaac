"""The flags with which an event is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ..protocol.emit import UNSET, Unset


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags with which an event is sent."""

    timeout: float | Literal[Unset.UNSET] | None = UNSET
    volatile: bool = False
    compress: bool = True

    def replace(self, **changes: Any) -> Flags:
        """Return a copy of the flags with changes."""
        return replace(self, **changes)


PLAIN: Final = Flags()
