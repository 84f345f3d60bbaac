"""The directive `option-table`: a table of the options of a TypedDict, generated from docstrings.

    .. option-table:: sansio_socketio.client.IOOptions sansio_socketio.client.Options

The optional second name is that of a TypedDict whose options are omitted.

Rules of this file:

- The type of an option is from the TypedDict, the default from the dataclass that has the option, the description from the
  docstring of either, under "Keys" or "Attributes".
- An option without a description or a default is an error.
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
"""The classes whose docstrings describe options. The first description is used."""

DEFAULTS: Final[dict[str, Any]] = {"force_new": False, "multiplex": True}
"""The defaults of options that are not in a dataclass."""

MIB: Final = 1024 * 1024


class OptionTable(SphinxDirective):
    """A table of the options of a TypedDict, without those of an optional second TypedDict."""

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
    """Return the type of each option, as in the source."""
    return {name: takes.__forward_arg__ for name, takes in kind.__annotations__.items()}


def row(*cells: str) -> Iterator[str]:
    """Yield the lines of a row of a list-table."""
    for index, cell in enumerate(cells):
        yield f"   {'* -' if index == 0 else '  -'} {cell}"


def default_of(name: str) -> str:
    """Return the default of an option, from the dataclass that has it."""
    for kind in (ClientOptions, NamespaceOptions, client_options.LocalOptions):
        for option in fields(kind):
            if option.name == name:
                return shown(option.default if option.default_factory is MISSING else option.default_factory())
    return shown(DEFAULTS[name])


def shown(value: Any) -> str:
    """Return a default value in a readable form."""
    if value == math.inf:
        return "no limit"
    if isinstance(value, int) and value >= MIB and not value % MIB:
        return f"{value // MIB} MiB"
    return f"`{value!r}`"


def explanation_of(name: str) -> str:
    """Return the description of an option, from the first docstring that has one."""
    for kind in EXPLAINED_BY:
        for names, text in explanations(getdoc(kind) or ""):
            if name in names:
                return text
    raise KeyError(f"no docstring describes the option {name}")


def explanations(docstring: str) -> Iterator[tuple[list[str], str]]:
    """Yield the entries under "Keys:" or "Attributes:": their names and their text."""
    section = re.search(r"^(?:Keys|Attributes):\n((?: {4}.*\n?|\n)+)", docstring, re.MULTILINE)
    for entry in re.split(r"^ {4}(?=\S)", section[1], flags=re.MULTILINE)[1:] if section else []:
        names, _, text = entry.partition(":")
        yield re.findall(r"\w+", names), " ".join(text.split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("option-table", OptionTable)
    return {"parallel_read_safe": True}
