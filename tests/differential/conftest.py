"""What the differential tests share: what the reference and each driver made of the scenarios.

Waiting is most of what a scenario does, so each side plays many at a time: the reference once for a test run, and each
driver when its first test is due. Only the scenarios of tests that were selected are played.
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

THE_REFERENCE_MAY_TAKE = 120.0


class Played(Protocol):
    def __call__(self, driver: Driver) -> Mapping[str, Outcome]: ...


@pytest.fixture(scope="session")
def selected(request: pytest.FixtureRequest) -> dict[str, Scenario]:
    """The scenarios of the tests that are run."""
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    names = {call.params["scenario"] for call in calls if call is not None and "scenario" in call.params}
    return {name: scenario for name, scenario in scenarios.load().items() if name in names}


@pytest.fixture(scope="session")
def reference(selected: dict[str, Scenario]) -> dict[str, Any]:
    """The outcomes of the reference by the scenarios' names."""
    done = subprocess.run(
        [*node(), str(HERE / "reference.js")],
        input=json.dumps(selected),
        capture_output=True,
        encoding="utf-8",
        timeout=THE_REFERENCE_MAY_TAKE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="session")
def played(selected: dict[str, Scenario]) -> Iterator[Played]:
    """Gives the outcomes of a driver."""
    with Peer([*node(), str(HERE / "server.js")]) as peer:
        yield cache(lambda driver: ours.play_all(driver, peer, selected))
