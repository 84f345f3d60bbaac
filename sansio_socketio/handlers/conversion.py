"""Access to the conversion of values, which needs pydantic."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..protocol.errors import OptionError


def conversions(option: str) -> ModuleType:
    """Return the module `typed`. Raise OptionError, which names the option that needs it, if pydantic is not installed."""
    try:
        return import_module(f"{__package__}.typed")  # now, because pydantic is optional and slow to import
    except ImportError as error:
        raise OptionError(f"{option} needs pydantic: pip install 'sansio-socketio[typed]'") from error
