"""The benchmark runs: one tiny round of one mode, the comparison with an earlier run, and clients that fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.modes import CLIENTS, MODES, Row
from tests.benchmarks.report import Ratio, Report, goals, head, table
from tests.benchmarks.runner import HERE, Outcome, measure, node_server, run_client
from tests.benchmarks.task import Result, Task

pytest.importorskip("resource", reason="the benchmark does not run on Windows")

QUICK = ["--modes", "websocket-ack", "--clients", "asyncio", "--rounds", "1", "--scale", "0.005"]


def results(*values: float) -> Outcome:
    return Outcome([Result(value=value / 1e6, system=0.0, rate=1000.0) for value in values])


def test_a_run_prints_a_table_and_writes_json_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--out", str(tmp_path / "first")]) == 0
    printed = capsys.readouterr().out
    assert "WebSocket: emit_with_ack, one at a time" in printed
    assert "\n  asyncio  " in printed
    assert "÷ base" not in printed

    saved = json.loads((tmp_path / "first.json").read_text("utf-8"))
    (result,) = saved["modes"]["websocket-ack"]["asyncio"]["results"]
    assert result["value"] > 0
    assert saved["versions"]["Python"]
    plot = ET.parse(tmp_path / "first.svg").getroot()
    assert "asyncio" in [text.text for text in plot.iter("{http://www.w3.org/2000/svg}text")]

    assert main([*QUICK, "--out", str(tmp_path / "second"), "--base", str(tmp_path / "first.json")]) == 0
    assert "÷ base" in capsys.readouterr().out


def test_a_client_that_takes_too_long_or_fails_is_reported_and_the_others_are_measured() -> None:
    task = Task("ack", count=1, warmup=1)
    mode = replace(
        MODES["websocket-ack"],
        rows={"good": Row("asyncio", task), "bad": Row("asyncio", replace(task, scenario="unknown"))},
    )
    with node_server() as server:
        outcomes = measure(mode, 2, server, lambda _: None)
        assert run_client(mode.rows["good"], server.url, timeout=0.01) == "no result within 0.01 s"
    assert len(outcomes["good"].results) == 2
    assert outcomes["bad"] == Outcome([], "KeyError: 'unknown'")
    assert "KeyError: 'unknown'" in table(mode, outcomes, None)


def test_the_end_of_the_server_ends_the_run() -> None:
    with node_server() as server:
        server.process.kill()
        server.process.wait(10)
        with pytest.raises(RuntimeError, match="the server ended"):
            measure(replace(MODES["websocket-ack"], timeout=0.01), 1, server, lambda _: None)


def test_ratios_are_those_of_neighbours_in_a_round() -> None:
    outcomes = {"asyncio": results(10, 20, 40), "node": results(20, 40, 80), "floor": Outcome(error="it hung")}
    report = Report({}, 1.0, {"websocket-ack": outcomes})
    lines = goals(report).splitlines()
    assert [line.split() for line in lines if "node" in line] == [
        ["websocket-ack:", "asyncio", "≤", "0.8", "·", "node", "0.50", "(0.50-0.50)", "met"]
    ]
    assert not [line for line in lines if "floor" in line]


def test_a_difference_from_the_base_is_marked_if_the_quartiles_do_not_overlap() -> None:
    base = {"asyncio": {"results": results(10, 11, 12).results}}
    mode = MODES["websocket-ack"]
    assert table(mode, {"asyncio": results(5, 5.5, 6)}, base).endswith("0.50 faster")
    assert table(mode, {"asyncio": results(20, 22, 24)}, base).endswith("2.00 slower")
    assert table(mode, {"asyncio": results(9, 11, 13)}, base).endswith("1.00")


def test_a_machine_that_is_slower_than_that_of_the_base_does_not_count() -> None:
    base = {"asyncio": {"results": results(10, 11, 12).results}, "node": {"results": results(20, 20, 20).results}}
    lines = table(MODES["websocket-ack"], {"asyncio": results(20, 22, 24), "node": results(40, 40, 40)}, base)
    assert [line.split()[-1] for line in lines.splitlines()[2:]] == ["1.00", "1.00"]


def test_the_head_says_how_the_base_differs() -> None:
    report = Report({"Python": "3.13", "Node": "20"}, 0.5, {})
    base = {"versions": {"Python": "3.11", "Node": "20"}, "scale": 1.0}
    assert head(report, base).splitlines() == [
        "Python 3.13, Node 20",
        "with 0.5 times the number of messages: good for a quick look only",
        "the base has Python 3.11",
        "the base has 1 times the number of messages",
    ]


def test_quartiles() -> None:
    assert str(Ratio.of([1.0, 2.0, 3.0, 4.0, 5.0])) == "3.00 (2.00-4.00)"
    assert str(Ratio.of([1.0])) == "1.00 (1.00-1.00)"


@pytest.mark.parametrize("name", MODES)
def test_rows_have_clients_and_goals_have_rows(name: str) -> None:
    mode = MODES[name]
    for row in mode.rows.values():
        assert (HERE / "clients" / CLIENTS[row.client]).is_file()
    for goal in mode.goals:
        assert goal.row in mode.rows
        assert goal.reference is None or goal.reference in mode.rows


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("scale", [0.0001, 0.3, 2.0])
def test_scaled_numbers_can_be_divided(name: str, scale: float) -> None:
    for row in MODES[name].scaled(scale).rows.values():
        for number in (row.task.count, row.task.warmup):
            assert number >= row.task.in_flight
            assert number % row.task.in_flight == 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit, match="unknown: apples, bananas\n"):
        main(["--clients", "apples", "--modes", "bananas"])
