"""Fixtures of the differential tests: the outcomes of the scenarios with the JavaScript client and with each driver.

Scenarios mostly wait, so each side runs many concurrently: the JavaScript client once per test run, each driver before its
first test. Only the scenarios of selected tests are run.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

import pytest

from tests.differential import ours, scenarios
from tests.differential.scenarios import HERE, Outcome, Scenario
from tests.support.drivers import Driver
from tests.support.peers import Peer, node

JAVASCRIPT_TIMEOUT = 120.0


class Played(Protocol):
    def __call__(self, driver: Driver) -> Mapping[str, Outcome]: ...


@pytest.fixture(scope="session")
def selected(request: pytest.FixtureRequest) -> dict[str, Scenario]:
    """The scenarios of the selected tests."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    names = {call.params["scenario"] for call in calls if call is not None and "scenario" in call.params}
    return {name: scenario for name, scenario in scenarios.load().items() if name in names}


@pytest.fixture(scope="session")
def reference(selected: dict[str, Scenario]) -> dict[str, Any]:
    """The outcomes of the JavaScript client by the names of the scenarios."""
    done = subprocess.run(
        [*node(), str(HERE / "javascript.js")],
        input=json.dumps(selected),
        capture_output=True,
        encoding="utf-8",
        timeout=JAVASCRIPT_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="session")
def played(selected: dict[str, Scenario]) -> Iterator[Played]:
    """A function that returns the outcomes of a driver."""
    with Peer([*node(), str(HERE / "server.js")]) as peer:
        yield cache(lambda driver: ours.run_all(driver, peer, selected))
