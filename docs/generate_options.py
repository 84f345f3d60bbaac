"""Generate the tables of options in docs/reference/. With --check, only fail if a page is stale.

A comment on a page names the TypedDict of each table, and after "without" a second one whose options are omitted:

    <!-- options of IOOptions without Options -->

Rules of this file:

- The type of an option is from the TypedDict, the default from the dataclass that has the option, the description from the
  docstring of either, under "Keys" or "Attributes".
- An option without a description or a default is an error.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from sansio_socketio.client import options as client_options
from sansio_socketio.protocol.options import ClientOptions, EngineOptions, NamespaceOptions
from sansio_socketio.protocol.server.options import EngineServerOptions, ServerOptions
from sansio_socketio.server import options as server_options

REFERENCE: Final = Path(__file__).parent / "reference"
PAGE = REFERENCE / "options.md"
SERVER_PAGE: Final = REFERENCE / "server.md"
TABLE: Final = re.compile(
    r"(<!-- options of (\w+)(?: without (\w+))? -->\n\n).*?(\n<!-- end of the options -->)", re.DOTALL
)

CLIENT: Final = [
    client_options.IOOptions,
    client_options.ManagerOptions,
    client_options.SocketOptions,
    NamespaceOptions,
    ClientOptions,
    EngineOptions,
    client_options.LocalOptions,
]
SERVER: Final = [
    server_options.ServeOptions,
    ServerOptions,
    EngineServerOptions,
    server_options.LocalServerOptions,
]
"""The classes that have the options of a client or a server: docstrings and defaults. The first one is used."""

DEFAULTS: Final[dict[str, Any]] = {"force_new": False, "multiplex": True}
"""The defaults of options that are not in a dataclass."""

MIB: Final = 1024 * 1024


def options_of(kind: Any) -> dict[str, str]:
    """Return the type of each option, as in the source."""
    return {name: takes.__forward_arg__ for name, takes in kind.__annotations__.items()}


def typed_dict(name: str) -> Any:
    """Return the TypedDict of a name."""
    return getattr(server_options if name == "ServeOptions" else client_options, name)


def default_of(name: str, kinds: list[Any]) -> str:
    """Return the default of an option, from the dataclass that has it."""
    for kind in kinds:
        for option in fields(kind) if is_dataclass(kind) else ():
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


def explanation_of(name: str, kinds: list[Any]) -> str:
    """Return the description of an option, from the first docstring that has one."""
    for kind in kinds:
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


def page(text: str) -> str:
    """Return the page with new tables."""
    return TABLE.sub(lambda match: f"{match[1]}{table(match[2], match[3])}{match[4]}", text)


def table(name: str, omitted: str | None) -> str:
    """Return the table of the options of a TypedDict, without those of an optional second TypedDict."""
    others = options_of(typed_dict(omitted)) if omitted else {}
    kinds = SERVER if name == "ServeOptions" else CLIENT
    lines = ["| Option | Type | Default | Description |", "| --- | --- | --- | --- |"]
    for option, takes in options_of(typed_dict(name)).items():
        if option not in others:
            cells = (f"`{option}`", f"`{takes}`", default_of(option, kinds), explanation_of(option, kinds))
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> None:
    """Write the pages, or with --check compare them with the files."""
    for path in (PAGE, SERVER_PAGE):
        text = path.read_text(encoding="utf-8")
        if arguments != ["--check"]:
            path.write_text(page(text), encoding="utf-8")
        elif text != page(text):
            sys.exit(f"{path.name} is stale: run python docs/generate_options.py")


if __name__ == "__main__":
    main(sys.argv[1:])
