"""Scenarios and deliberate differences: the files, and which parts of an outcome are compared.

A file in scenarios/ has the scenarios of one topic by name, and what they have in common:

    about       what they are about
    scenarios   name -> {steps, and any of these:}
    transports  any of "websocket", "polling" and "upgrade" (polling first); the scenario is run with each
    options     the client's options, under their JavaScript names, times in milliseconds
    server      the configuration of server.js's `Future`
    watch       what is logged besides the sockets' events: "manager"; "engine", with it "packets" and "flow"
    quiet       true: of the server's events only those are logged that a step listens to
    apart       true: sockets, Managers and acknowledgements are compared separately: there is no order among them
    active      false: whether sockets are active is not logged; it is the state when the handler is called
    threads     false: not run with the blocking driver, where the network thread may run between two steps
    uncompared  what of the sessions' records is not compared, because it depends on timing: "closed", "probe", "upgrade"
    alone       true: the JavaScript client has global state that other scenarios must not touch meanwhile
    differs     the id of a deliberate difference

A step is a list: what to do, and its arguments. ours.py lists the steps.

The deliberate differences are in differences.json, a list of rows, which a page can show as a table:

    id          its name in scenarios
    javascript  what the JavaScript client does, in words
    python      what we do
    why         the reason
    seen        {"javascript": [...], "python": [...]}: the lines of the outcome that only one of them has, sorted

An outcome is compared as lines: what the application saw (apart from it, what it asked for), and what the server got,
in order. A scenario that names no difference must give equal lines; one that does must give just those that the row
has, so that a row is removed with its cause.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
TRANSPORTS: Final = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
DEFAULTS: Final = {"reconnectionDelay": 150, "randomizationFactor": 0}
"""Reconnecting always takes the same time: short, but long enough to keep the events apart on a busy machine."""

_INHERITED: Final = (
    "transports",
    "options",
    "server",
    "watch",
    "quiet",
    "apart",
    "active",
    "threads",
    "uncompared",
    "alone",
)
_PACKET: Final = re.compile(r"(\d)(?:(\d+)-)?(?:(/[^,]*),)?(\d+)?(.*)", re.DOTALL)

_EXACT: Final = 2**53

Scenario = Mapping[str, Any]
Outcome = Mapping[str, Any]


def load() -> dict[str, Scenario]:
    """Return all scenarios by the names of their tests."""
    return {name: scenario for path in sorted(HERE.glob("scenarios/*.json")) for name, scenario in _theme(path)}


def deliberate() -> dict[str, dict[str, Any]]:
    """Return the rows of deliberate differences by id."""
    rows = json.loads((HERE / "differences.json").read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def _theme(path: Path) -> Iterator[tuple[str, Scenario]]:
    theme = json.loads(path.read_text(encoding="utf-8"))
    common = {key: theme[key] for key in _INHERITED if key in theme}
    for name, own in theme["scenarios"].items():
        scenario = {**common, **own}
        transports = scenario.get("transports", ["websocket"])
        for transport in transports:
            chosen = {"transports": TRANSPORTS[transport]} if transport in TRANSPORTS else {}
            full = {
                **scenario,
                "server": {**common.get("server", {}), **own.get("server", {})},
                "options": {**DEFAULTS, **chosen, **common.get("options", {}), **own.get("options", {})},
            }
            suffix = f" [{transport}]" if len(transports) > 1 else ""
            yield f"{path.stem}: {name}{suffix}", full


# ---------------------------------------------------------------------------------------------------------------------
# Comparison


def lines(scenario: Scenario, outcome: Outcome, *, apart: bool = False) -> list[str]:
    """Return an outcome as lines, with ids replaced by labels. `apart` overrides the option of the scenario."""
    log = _ordered(outcome["saw"], apart=apart or scenario.get("apart", False))
    saw = [f"saw {_text(entry)}" for entry in log]
    requests = [f"request {_text(request)}" for request in outcome["requests"]]
    packets = [
        f"session {number} {_text([_packet(part) for part in entry])}"
        for number, session in enumerate(outcome["sessions"], 1)
        for entry in session["packets"]
        if entry[0] not in scenario.get("uncompared", ())
    ]
    return [_relabelled(line, outcome["ids"]) for line in saw + requests + packets]


def difference(javascript: list[str], python: list[str]) -> dict[str, list[str]]:
    """Return the lines that only one side has, in the form of `seen` in differences.json."""
    matcher = SequenceMatcher(None, javascript, python, autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    return {
        "javascript": sorted(line for _, start, stop, _, _ in changes for line in javascript[start:stop]),
        "python": sorted(line for _, _, _, start, stop in changes for line in python[start:stop]),
    }


def _ordered(log: list[list[Any]], *, apart: bool) -> list[list[Any]]:
    """Return the log in the order that is compared."""
    return sorted(log, key=lambda entry: _sequence(entry, apart=apart))


def _sequence(entry: list[Any], *, apart: bool) -> str:
    """Return the sequence that an entry belongs to: what a scenario asks for itself is not ordered with the handlers."""
    if entry[0] == "answer" or entry[1:2] == ["is"]:
        return "asked"
    return str(entry[:2] if entry[0] == "ack" else entry[:1]) if apart else "events"


def _packet(part: Any) -> Any:
    """Return a packet's text with its JSON parsed, since the order of keys has no meaning."""
    match = _PACKET.fullmatch(part) if isinstance(part, str) else None
    if match is None:
        return part
    try:
        payload = [json.loads(match[5])] if match[5] else []
    except ValueError:
        return part
    return [*(group for group in match.groups()[:4] if group is not None), *payload]


def _text(value: Any) -> str:
    return json.dumps(_number(value), sort_keys=True, ensure_ascii=False)


def _number(value: Any) -> Any:
    """Return a number as in JavaScript: 1.0 is 1, and more than 53 bits are rounded."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if abs(value) <= _EXACT and value == int(value) else float(value)
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, dict):
        return {key: _number(item) for key, item in value.items()}
    return value


def _relabelled(line: str, ids: Mapping[str, str]) -> str:
    for value, label in sorted(ids.items(), key=lambda item: -len(item[0])):  # one may be the beginning of another
        line = line.replace(value, label)
    return line
