"""The directive `option-table`: what a TypedDict of options holds, a row for each, from the docstrings in the code.

    .. option-table:: sansio_socketio.client.IOOptions sansio_socketio.client.Options

The second name, if there is one, is that of a TypedDict whose options are left out.

Rules of this file:

- Nothing is written twice. The type is the TypedDict's; the default is that of the dataclass that has the option; what it
  says stands in the docstring of either, under "Keys" or "Attributes".
- An option that nobody explains, or that has no default, is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from inspect import getdoc
from pydoc import locate
from typing import Any, Final

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sansio_socketio.client import options as client_options
from sansio_socketio.protocol.options import ClientOptions, EngineOptions, NamespaceOptions

EXPLAINED_BY: Final = [
    client_options.IOOptions,
    client_options.ManagerOptions,
    client_options.SocketOptions,
    NamespaceOptions,
    ClientOptions,
    EngineOptions,
]
"""Where an option may be explained; the first one counts."""

DEFAULTS: Final[dict[str, Any]] = {"force_new": False, "multiplex": True}
"""Those of options that no dataclass has."""

MIB: Final = 1024 * 1024


class OptionTable(SphinxDirective):
    """A table of the options that a TypedDict has; where a second one is named, without those of that one."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[Any]:
        kind, *others = (locate(name) for name in self.arguments)
        lines = [".. list-table::", "   :header-rows: 1", "   :class: options", ""]
        lines += row("Option", "Type", "Default", "Description")
        for name, takes in options_of(kind).items():
            if any(name in options_of(other) for other in others):
                continue
            lines += row(f"`{name}`", f"`{takes}`", default_of(name), explanation_of(name))
        return self.parse_text_to_nodes("\n".join(lines))


def options_of(kind: Any) -> dict[str, str]:
    """What each option takes, as it stands in the code."""
    return {name: takes.__forward_arg__ for name, takes in kind.__annotations__.items()}


def row(*cells: str) -> Iterator[str]:
    """A row of a list-table."""
    for index, cell in enumerate(cells):
        yield f"   {'* -' if index == 0 else '  -'} {cell}"


def default_of(name: str) -> str:
    """The default, from the dataclass that has the option."""
    for kind in (ClientOptions, NamespaceOptions, client_options.LocalOptions):
        for option in fields(kind):
            if option.name == name:
                return shown(option.default if option.default_factory is MISSING else option.default_factory())
    return shown(DEFAULTS[name])


def shown(value: Any) -> str:
    """A default as a reader wants to see it."""
    if value == math.inf:
        return "no limit"
    if isinstance(value, int) and value >= MIB and not value % MIB:
        return f"{value // MIB} MiB"
    return f"`{value!r}`"


def explanation_of(name: str) -> str:
    """What an option does, from the first docstring that says so."""
    for kind in EXPLAINED_BY:
        for names, text in explanations(getdoc(kind) or ""):
            if name in names:
                return text
    raise KeyError(f"nobody explains the option {name}")


def explanations(docstring: str) -> Iterator[tuple[list[str], str]]:
    """What stands under "Keys:" or "Attributes:", with the names that it is about."""
    section = re.search(r"^(?:Keys|Attributes):\n((?: {4}.*\n?|\n)+)", docstring, re.MULTILINE)
    for entry in re.split(r"^ {4}(?=\S)", section[1], flags=re.MULTILINE)[1:] if section else []:
        names, _, text = entry.partition(":")
        yield re.findall(r"\w+", names), " ".join(text.split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("option-table", OptionTable)
    return {"parallel_read_safe": True}
