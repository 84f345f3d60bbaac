"""The tables of docs/from-javascript.md, the API and the tests are complete: each row has an entry in all three.

Rules of this file:

- The tables define the rows: `<a id="key"></a>` at the start of a row is its key. The second column has the Python names in
  backticks, or a dash if Python has no counterpart.
- JAVASCRIPT_API has the entries of the JavaScript client's documentation. The declarations in its packages are compared
  with the tables as well.
- `@pytest.mark.row("key", ...)` links a test to rows. The markers are read from the source, not collected, so that this also
  works for a run of a part of the tests.
- Each row has a test against the real server for Node, on every driver. For the rows of ONCE, differences and dashes one
  test anywhere is enough. A difference that a scenario of tests/differential shows has its test there.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sansio_socketio.client.core.manager import MANAGER_EVENTS
from sansio_socketio.client.options import IOOptions
from sansio_socketio.client.run.session import ENGINE_EVENTS
from sansio_socketio.handlers.registry import LIFECYCLE_EVENTS
from sansio_socketio.protocol.errors import OptionError
from tests.support.drivers import DRIVERS, Driver
from tests.support.peers import PEERS

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs" / "from-javascript.md"
DIFFERENCES: Final = ROOT / "tests" / "differential" / "differences.json"
ROW: Final = re.compile(r'^\| <a id="(?P<key>[^"]*)"></a>(?P<javascript>.*?) \| (?P<python>.*?) \| (?P<note>.*?) ?\|$')
CODE: Final = re.compile(r"`([^`]+)`")
NONE: Final = "—"

# What the documentation of the JavaScript client lists: key -> the name that its row must show.
JAVASCRIPT_API: Final = {
    # io
    "io": "io(url, options)",
    "io.protocol": "io.protocol",
    # Manager
    "manager": "new Manager(url, options)",
    "manager.event.open": "open",
    "manager.event.error": "error",
    "manager.event.ping": "ping",
    "manager.event.close": "close",
    "manager.event.reconnect": "reconnect",
    "manager.event.reconnect_attempt": "reconnect_attempt",
    "manager.event.reconnect_error": "reconnect_error",
    "manager.event.reconnect_failed": "reconnect_failed",
    "manager.connect": "manager.connect(callback)",
    "manager.open": "manager.open(callback)",
    "manager.close": "manager._close()",
    "manager.reconnection": "manager.reconnection(value)",
    "manager.reconnection_attempts": "manager.reconnectionAttempts(value)",
    "manager.reconnection_delay": "manager.reconnectionDelay(value)",
    "manager.reconnection_delay_max": "manager.reconnectionDelayMax(value)",
    "manager.randomization_factor": "manager.randomizationFactor(value)",
    "manager.timeout": "manager.timeout(value)",
    "manager.socket": "manager.socket(nsp, options)",
    "manager.engine": "manager.engine",
    # Engine
    "engine.id": "engine.id",
    "engine.transport": "engine.transport.name",
    "engine.close": "engine.close()",
    "engine.event.open": "open",
    "engine.event.upgrading": "upgrading",
    "engine.event.upgrade": "upgrade",
    "engine.event.upgrade_error": "upgradeError",
    "engine.event.packet": "packet",
    "engine.event.packet_create": "packetCreate",
    "engine.event.flush": "flush",
    "engine.event.drain": "drain",
    "engine.event.close": "close",
    # Socket
    "socket.event.connect": "connect",
    "socket.event.connect_error": "connect_error",
    "socket.event.disconnect": "disconnect",
    "reason.io_server_disconnect": "io server disconnect",
    "reason.io_client_disconnect": "io client disconnect",
    "reason.ping_timeout": "ping timeout",
    "reason.transport_close": "transport close",
    "reason.transport_error": "transport error",
    "reason.parse_error": "parse error",
    "socket.active": "socket.active",
    "socket.connected": "socket.connected",
    "socket.disconnected": "socket.disconnected",
    "socket.id": "socket.id",
    "socket.io": "socket.io",
    "socket.recovered": "socket.recovered",
    "socket.auth": "socket.auth",
    "socket.nsp": "socket.nsp",
    "socket.close": "socket.close()",
    "socket.compress": "socket.compress(value)",
    "socket.connect": "socket.connect()",
    "socket.disconnect": "socket.disconnect()",
    "socket.emit": "socket.emit(event, ...args)",
    "socket.emit.ack": "socket.emit(event, ...args, callback)",
    "socket.emit_with_ack": "socket.emitWithAck(event, ...args)",
    "socket.listeners": "socket.listeners(event)",
    "socket.listeners_any": "socket.listenersAny()",
    "socket.listeners_any_outgoing": "socket.listenersAnyOutgoing()",
    "socket.off": "socket.off(event, listener)",
    "socket.off_any": "socket.offAny(listener)",
    "socket.off_any_outgoing": "socket.offAnyOutgoing(listener)",
    "socket.on": "socket.on(event, callback)",
    "socket.on_any": "socket.onAny(callback)",
    "socket.on_any_outgoing": "socket.onAnyOutgoing(callback)",
    "socket.once": "socket.once(event, callback)",
    "socket.open": "socket.open()",
    "socket.prepend_any": "socket.prependAny(callback)",
    "socket.prepend_any_outgoing": "socket.prependAnyOutgoing(callback)",
    "socket.send": "socket.send(...args)",
    "socket.timeout": "socket.timeout(value)",
    "socket.volatile": "socket.volatile",
    # Options
    "option.force_new": "forceNew",
    "option.multiplex": "multiplex",
    "option.add_trailing_slash": "addTrailingSlash",
    "option.auto_unref": "autoUnref",
    "option.close_on_beforeunload": "closeOnBeforeunload",
    "option.extra_headers": "extraHeaders",
    "option.force_base64": "forceBase64",
    "option.path": "path",
    "option.protocols": "protocols",
    "option.query": "query",
    "option.remember_upgrade": "rememberUpgrade",
    "option.timestamp_param": "timestampParam",
    "option.timestamp_requests": "timestampRequests",
    "option.transport_options": "transportOptions",
    "option.transports": "transports",
    "option.try_all_transports": "tryAllTransports",
    "option.upgrade": "upgrade",
    "option.with_credentials": "withCredentials",
    "option.agent": "agent",
    "option.ssl": "rejectUnauthorized",
    "option.auto_connect": "autoConnect",
    "option.parser": "parser",
    "option.randomization_factor": "randomizationFactor",
    "option.reconnection": "reconnection",
    "option.reconnection_attempts": "reconnectionAttempts",
    "option.reconnection_delay": "reconnectionDelay",
    "option.reconnection_delay_max": "reconnectionDelayMax",
    "option.timeout": "timeout",
    "option.ack_timeout": "ackTimeout",
    "option.auth": "auth",
    "option.retries": "retries",
}

# Rows without a name in that documentation.
ALSO: Final = {
    "io.default_url",
    "io.multiplexing",
    "io.namespace",
    "io.url_query",
    "io.same_namespace",
    "io.websocket_url",
    "io.no_scheme",
    "io.ipv6",
    "manager.without_context_manager",
    "socket.chaining",
    "recovery.recovered",
    "recovery.missed_events",
    "recovery.offset",
    "beyond.connect",
    "beyond.async_callables",
    "beyond.concurrency",
    "beyond.manual_ack",
    "beyond.typed",
    "beyond.typed_acknowledgements",
    "beyond.event_types",
    "beyond.message_pack",
    "beyond.transport_classes",
    "beyond.option_errors",
    "beyond.threads",
}

# Rows without input or output, or of one driver: one test anywhere is enough.
ONCE: Final = {
    "io.protocol",
    "io.connect",
    "io.Manager",
    "io.Socket",
    "io.no_scheme",
    "manager.url",
    "socket.listeners",
    "socket.listeners_any",
    "socket.listeners_any_outgoing",
    "socket.chaining",
    "socket.nsp",
    "socket.start_handlers",
    "beyond.option_errors",
}

# A test with one of these fixtures runs against the real server for Node.
NODE_FIXTURES: Final = {
    "named_server",
    "recorded",
    "recorders",
    "unix_server",
    "target",
    "plain_target",
    "fresh",
    "plain_fresh",
    "node_server",
    "node_server_tls",
    "fresh_node_server",
}


@dataclass(frozen=True)
class Row:
    key: str
    javascript: str
    python: str

    @property
    def names(self) -> list[str]:
        """The code in the Python column."""
        return CODE.findall(self.python)

    @property
    def absent(self) -> bool:
        return self.python == NONE

    @property
    def anywhere(self) -> bool:
        """Whether one test anywhere is enough."""
        return self.absent or self.key in ONCE or self.key.startswith("difference.")


@dataclass(frozen=True)
class Proof:
    """A test that is linked to a row."""

    place: str
    parameters: frozenset[str]


def read_rows() -> dict[str, Row]:
    lines = PAGE.read_text("utf-8").splitlines()
    found: dict[str, Row] = {}
    for line in lines:
        if "<a id=" in line:
            match = ROW.match(line)
            assert match is not None, f"invalid row: {line}"
            assert match["key"] not in found, f"two rows have the key {match['key']}"
            found[match["key"]] = Row(match["key"], match["javascript"], match["python"])
    return found


def read_proofs() -> dict[str, list[Proof]]:
    """Return the linked tests by key."""
    found: defaultdict[str, list[Proof]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "node_modules" not in path.parts:
            for key, proof in proofs_in(path):
                found[key].append(proof)
    return found


def proofs_in(path: Path) -> Iterator[tuple[str, Proof]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            parameters = frozenset(each.arg for each in [*arguments.args, *arguments.kwonlyargs])
            proof = Proof(f"{path.relative_to(ROOT)}:{node.lineno}", parameters)
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.row":
                    yield from ((ast.literal_eval(key), proof) for key in decorator.args)


def read_seen() -> list[str]:
    """Return the keys of the differences that the scenarios of tests/differential show."""
    differences = json.loads(DIFFERENCES.read_text("utf-8"))
    return [f"difference.{each['id'].replace('-', '_')}" for each in differences]


ROWS: Final = read_rows()
PROOFS: Final = read_proofs()
SEEN: Final = read_seen()

# ---------------------------------------------------------------------------------------------------------------------
# The tables and the JavaScript client


@pytest.mark.parametrize(("key", "name"), JAVASCRIPT_API.items(), ids=JAVASCRIPT_API)
def test_every_entry_of_the_javascript_api_has_a_row(key: str, name: str) -> None:
    assert name in CODE.findall(ROWS[key].javascript)


def test_entries_without_a_javascript_name_have_a_row() -> None:
    assert ROWS.keys() >= ALSO


DECLARED: Final = {
    "engine.io-client/build/esm/socket.d.ts": ["SocketOptions"],
    "socket.io-client/build/esm/manager.d.ts": ["ManagerOptions", "ManagerReservedEvents", "Manager"],
    "socket.io-client/build/esm/socket.d.ts": ["SocketOptions", "SocketReservedEvents", "Socket"],
}
"""The files of the JavaScript packages that declare the public API, and the names there."""


def declared_members(source: str, name: str) -> set[str]:
    """Return the public members of an interface or a class in a file of declarations."""
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    body = re.search(rf"^export (?:interface|declare class) {name}\b.*?{{\n(.*?)^}}", source, re.DOTALL | re.MULTILINE)
    assert body is not None, name
    members = re.findall(r"^ {4}(?:readonly |get )?(\w+)[?<(:]", body[1], re.MULTILINE)
    return {member for member in members if not member.startswith("_")} - {"constructor"}


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in DECLARED.items() for name in names], ids=lambda value: value
)
def test_every_declaration_of_the_javascript_packages_has_a_row(path: str, name: str) -> None:
    shown = {
        word for row in ROWS.values() for code in CODE.findall(row.javascript) for word in re.findall(r"\w+", code)
    }
    members = declared_members((PEERS / "node_modules" / path).read_text("utf-8"), name)

    assert len(members) > 2
    assert members <= shown


def test_every_difference_that_a_scenario_shows_has_a_row() -> None:
    assert set(SEEN) <= ROWS.keys()


# ---------------------------------------------------------------------------------------------------------------------
# The tables and the API

MEMBER: Final = re.compile(r"\b(io|manager|engine|socket)\.(\w+)")
EVENT: Final = re.compile(r'\b(manager|engine|socket)\.on\("(\w+)"')
HOLDERS: Final = {"io": "IO", "manager": "Manager", "engine": "Engine", "socket": "Socket"}
OPTIONS: Final = IOOptions.__optional_keys__
NOT_FOR_USERS: Final = {"can_be_held", "counterpart", "make_lock", "runtime_scope", "shield"}
"""Public members for authors of drivers."""


def shown_members() -> set[tuple[str, str]]:
    """Return the members that the tables name, as pairs such as ("socket", "emit")."""
    return {pair for row in ROWS.values() for code in row.names for pair in MEMBER.findall(code)}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_every_member_that_a_row_names_exists(driver: Driver) -> None:
    missing = {
        f"{holder}.{name}"
        for holder, name in shown_members()
        if not hasattr(getattr(driver.module, HOLDERS[holder]), name)
    }

    of_instances = {"io.Manager", "io.Socket"}
    of_others = {"manager.run"} if driver.name == "blocking" else {"manager.start_handlers", "socket.start_handlers"}
    assert missing == of_instances | of_others


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("holder", HOLDERS)
def test_every_public_member_has_a_row(holder: str, driver: Driver) -> None:
    public = {name for name in dir(getattr(driver.module, HOLDERS[holder])) if not name.startswith("_")}

    assert public - NOT_FOR_USERS <= {name for shown, name in shown_members() if shown == holder}


def test_every_option_that_a_row_names_exists() -> None:
    for key, row in ROWS.items():
        if key.startswith("option.") and not row.absent:
            assert set(row.names) <= OPTIONS, key


def test_every_option_has_a_row() -> None:
    assert {f"option.{name}" for name in OPTIONS} <= ROWS.keys()


def test_every_event_that_a_row_names_exists() -> None:
    for row in ROWS.values():
        for holder, event in {pair for code in row.names for pair in EVENT.findall(code)}:
            assert event in events_of(holder), row.key


def events_of(holder: str) -> frozenset[str]:
    return {"manager": MANAGER_EVENTS, "engine": ENGINE_EVENTS, "socket": frozenset(LIFECYCLE_EVENTS)}[holder]


@pytest.mark.row("option.auto_unref", "option.close_on_beforeunload", "option.url_parts", "option.request_timeout")
@pytest.mark.row("option.use_native_timers")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize(
    "name", ["auto_unref", "close_on_beforeunload", "host", "port", "secure", "request_timeout", "use_native_timers"]
)
def test_options_without_a_python_counterpart_raise(name: str, driver: Driver) -> None:
    with pytest.raises(OptionError, match=name):
        driver.module.Manager("http://localhost", **{name: True})


@pytest.mark.row("manager.event.packet", "manager.opts", "socket.buffers", "socket.hasListeners", "engine.event.other")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_members_and_events_without_a_python_counterpart_do_not_exist(driver: Driver) -> None:
    absent = {
        "Manager": ["opts"],
        "Socket": ["receive_buffer", "has_listeners", "remove_listener", "remove_all_listeners"],
    }
    there = [
        f"{holder}.{name}"
        for holder in absent
        for name in absent[holder]
        if hasattr(getattr(driver.module, holder), name)
    ]

    assert not there
    assert not {"handshake", "data", "message", "heartbeat", "ping", "pong", "error"} & ENGINE_EVENTS
    with pytest.raises(OptionError, match="packet"):
        driver.module.Manager("http://localhost").on("packet", print)


@pytest.mark.row("manager.url")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_a_manager_has_the_url_of_its_server(driver: Driver) -> None:
    assert driver.module.Manager("http://localhost:3000").url == "http://localhost:3000"


# ---------------------------------------------------------------------------------------------------------------------
# The tables and the tests


def test_every_marker_names_an_existing_row() -> None:
    unknown = {key: [proof.place for proof in PROOFS[key]] for key in PROOFS.keys() - ROWS.keys()}

    assert not unknown


@pytest.mark.parametrize("key", [key for key in ROWS if key not in SEEN])
def test_every_row_has_a_test(key: str) -> None:
    proofs = PROOFS.get(key, [])
    needed: Any = set() if ROWS[key].anywhere else {"driver"}

    assert any(needed <= proof.parameters and (not needed or proof.parameters & NODE_FIXTURES) for proof in proofs), (
        f"{key} has no test, or none on every driver against the server for Node: {[proof.place for proof in proofs]}"
    )
