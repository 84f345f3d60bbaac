"""`make bench`: what a message costs this client, and what it costs others.

    make bench                                        every mode, 7 rounds
    make bench MODES=websocket-*,connect CLIENTS=asyncio,node ROUNDS=3 SCALE=0.2    a quick look
    make bench BASE=build/before.json                 compared with an earlier run

modes.py has the table of modes, clients/ the clients, runner.py runs them, report.py and plot.py show the results. The page
docs/performance.md describes the method.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.benchmarks import report, runner
from tests.benchmarks.modes import CLIENTS, MODES, OURS, Mode
from tests.benchmarks.plot import svg
from tests.benchmarks.runner import Outcomes


def arguments(values: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure what a message costs.",
        epilog=f"modes: {', '.join(MODES)}",
    )
    parser.add_argument("--modes", default="*", help="names of modes, which may have *, separated by commas")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="names of clients, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="how often to measure each client")
    parser.add_argument("--scale", type=float, default=1.0, help="by what to multiply the number of messages")
    parser.add_argument("--base", type=Path, help="the JSON file of an earlier run, to compare with")
    parser.add_argument("--out", type=Path, default=Path("build/benchmark"), help="the files to write, without suffix")
    return parser.parse_args(values)


def selected(patterns: str, clients: str, scale: float) -> dict[str, Mode]:
    """Return the modes that were asked for, with the clients that were asked for."""
    wanted = clients.split(",")
    unknown = [name for name in wanted if name not in CLIENTS]
    unknown += [pattern for pattern in patterns.split(",") if not any(fnmatch(name, pattern) for name in MODES)]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}\nmodes: {', '.join(MODES)}\nclients: {', '.join(CLIENTS)}")
    modes = {
        name: replace(mode, rows={label: row for label, row in mode.rows.items() if row.client in wanted}).scaled(scale)
        for name, mode in MODES.items()
        if any(fnmatch(name, pattern) for pattern in patterns.split(","))
    }
    return {name: mode for name, mode in modes.items() if mode.rows}


def main(values: Sequence[str]) -> int:
    """Measure, print and write. Return the exit status: 1 if a client of this library failed."""
    options = arguments(values)
    modes = selected(options.modes, options.clients, options.scale)
    base: Mapping[str, Any] | None = None if options.base is None else json.loads(options.base.read_text("utf-8"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = report.Report(runner.versions(), options.scale, {})
    print(report.head(result, base))
    with runner.node_server() as server:
        for name, mode in modes.items():
            result.outcomes[name] = runner.measure(mode, options.rounds, server, _progress)
            _progress("")
            print("\n" + report.table(mode, result.outcomes[name], base and base["modes"].get(name)), flush=True)
            result.save(options.out.with_suffix(".json"))
    print("\n" + report.goals(result))
    options.out.with_suffix(".svg").write_text(svg(result.outcomes), "utf-8")
    print(f"\nwritten: {options.out}.json, {options.out}.svg")
    return 1 if any(_ours_failed(mode, result.outcomes[name]) for name, mode in modes.items()) else 0


def _ours_failed(mode: Mode, outcomes: Outcomes) -> bool:
    return any(row.client in OURS and outcomes[label].error for label, row in mode.rows.items())


def _progress(text: str) -> None:
    """Show on a terminal what is running, in a line that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
