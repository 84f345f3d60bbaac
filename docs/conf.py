"""Configuration of Sphinx. The build needs no network."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from sansio_socketio import __version__

project = "sansio-socketio"
author = "The sansio-socketio authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"  # the role of `backticks` in docstrings
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Keys", "params_style")]  # the keys of a TypedDict
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"{project} {version}"

_NOT_MADE_BY_USERS = {
    *{"IO", "Emitter", "Engine", "EngineTransport", "Event", "EventStream", "Namespace", "Socket", "Statistics"},
    *{"Decoder", "Encoder", "Parser", "Session"},
}
_ATTRIBUTES = {"attribute", "property"}


def _hide_signature(_app: Sphinx, what: str, name: str, *_: Any) -> tuple[str, None] | None:
    """Hide the signature of classes that applications do not create, and of interfaces."""
    is_contract = name.startswith("sansio_socketio.runtime.interface.") or name.endswith("PollingRuntime")
    if what == "class" and (is_contract or name.rpartition(".")[2] in _NOT_MADE_BY_USERS):
        return "", None
    return None


class _Whole:
    """Restores the docstrings of properties, in which napoleon takes the text before a colon for a type."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def keep(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        self._lines = list(lines)

    def restore(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        if what in _ATTRIBUTES:
            lines[:] = self._lines


def setup(app: Sphinx) -> None:
    """Hook into autodoc, before and after napoleon (whose priority is 500)."""
    whole = _Whole()
    app.connect("autodoc-process-signature", _hide_signature)
    app.connect("autodoc-process-docstring", whole.keep, priority=400)
    app.connect("autodoc-process-docstring", whole.restore, priority=600)
