"""The report: a table for each mode, the goals, and the file that a later run is compared with.

Rules of this file:

- A ratio is the median of the ratios of single rounds, because load on the machine affects the neighbours of one round alike.
  Its spread is from the first to the third quartile.
- In a comparison with an earlier run, the clients that cannot have changed show how much the machine has.
- Files hold plain values, so that they can be compared by any version of this benchmark that knows their modes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from textwrap import fill
from typing import Any, Self

from tests.benchmarks.modes import FACTORS, MODES, OTHERS, Goal, Mode
from tests.benchmarks.runner import Outcomes
from tests.benchmarks.task import Result


@dataclass(frozen=True)
class Summary:
    """The results of one row, in the unit of its mode."""

    values: list[float]
    system: float
    rate: float

    @classmethod
    def of(cls, mode: Mode, results: list[Result]) -> Self:
        factor = FACTORS[mode.unit]
        system, rate = (median(result[key] for result in results) for key in ("system", "rate"))
        return cls([factor * result["value"] for result in results], factor * system, rate)


@dataclass(frozen=True)
class Ratio:
    """A median, with the first and the third quartile."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Self:
        low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(median(values), low, high)

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Report:
    """The outcomes of a run by the names of the modes, and what they depend on."""

    versions: Mapping[str, str]
    scale: float
    outcomes: dict[str, Outcomes]

    def save(self, path: Path) -> None:
        modes = {
            name: {label: {"results": outcome.results, "error": outcome.error} for label, outcome in rows.items()}
            for name, rows in self.outcomes.items()
        }
        content = {"versions": self.versions, "scale": self.scale, "modes": modes}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def head(report: Report, base: Mapping[str, Any] | None) -> str:
    """Return the machine and the versions, and how they differ from those of the base."""
    lines = [fill(", ".join(f"{name} {version}" for name, version in report.versions.items()), width=110)]
    if report.scale != 1:
        lines.append(f"with {report.scale:g} times the number of messages: good for a quick look only")
    if base is not None:
        lines += [
            f"the base has {name} {base['versions'].get(name)}"
            for name, version in report.versions.items()
            if base["versions"].get(name) != version
        ]
        if base["scale"] != report.scale:
            lines.append(f"the base has {base['scale']:g} times the number of messages")
    return "\n".join(lines)


def table(mode: Mode, outcomes: Outcomes, base: Mapping[str, Any] | None) -> str:
    """Return the table of one mode. `base` has the outcomes of the same mode in another run."""
    summaries = {label: Summary.of(mode, outcome.results) for label, outcome in outcomes.items() if outcome.results}
    width = max(map(len, outcomes)) + 2
    first = next(iter(mode.rows))
    extra = _EXTRA[mode.rows[first].task.metric]
    titles = f"{mode.unit + ' median':>12}{'best':>9}{extra:>9}{'per s':>11}  {'÷ ' + first:20}"
    lines = [mode.title, f"  {'':{width}}{titles}{'' if base is None else '÷ base'}"]
    drift = _drift(mode, summaries, base)
    for label, outcome in outcomes.items():
        if label in summaries:
            lines.append(
                f"  {label:{width}}{_cells(label, summaries, first)}{_compared(mode, summaries[label], label, base, drift)}"
            )
        if outcome.error is not None:
            lines.append(f"  {label:{width}}{outcome.error}")
    return "\n".join(line.rstrip() for line in lines)


def goals(report: Report) -> str:
    """Return the table of the goals, of the modes and rows that were measured."""
    lines = [f"{'goal':<80}{'measured':>22}"]
    for name, outcomes in report.outcomes.items():
        mode = MODES[name]
        values = {
            label: Summary.of(mode, outcome.results).values for label, outcome in outcomes.items() if outcome.results
        }
        for goal in mode.goals:
            ratio = _measured(goal, values)
            if ratio is not None:
                verdict = "met" if ratio.middle <= goal.limit else "MISSED"
                lines.append(f"  {name + ': ' + _words(goal, mode):<78}{ratio!s:>22}  {verdict}")
    return "\n".join(lines)


_EXTRA = {"cpu": "system", "memory": "", "calls": "ours"}
"""What the second value of a counter is."""
_UNCHANGED = (*OTHERS, "floor")
"""The rows that a change of this library does not affect."""


def _cells(label: str, summaries: Mapping[str, Summary], first: str) -> str:
    summary = summaries[label]
    values = summary.values
    system = f"{_short(summary.system)}" if summary.system else ""
    ratio = Ratio.of(_ratios(values, summaries[first].values)) if first in summaries else ""
    return f"{_short(median(values)):>12}{_short(min(values)):>9}{system:>9}{summary.rate:>11,.0f}  {ratio!s:20}"


def _compared(mode: Mode, summary: Summary, label: str, base: Mapping[str, Any] | None, drift: float) -> str:
    """Return the ratio of the medians, divided by the drift; with a mark if even the quartiles do not overlap."""
    then = _base_values(mode, label, base)
    if not then:
        return ""
    now, before = Ratio.of([value / drift for value in summary.values]), Ratio.of(then)
    mark = " faster" if now.high < before.low else " slower" if now.low > before.high else ""
    return f"{now.middle / before.middle:.2f}{mark}"


def _drift(mode: Mode, summaries: Mapping[str, Summary], base: Mapping[str, Any] | None) -> float:
    """Return by what the other clients' values differ from the base: the machine has changed, they have not."""
    both = [(summaries[label].values, _base_values(mode, label, base)) for label in _UNCHANGED if label in summaries]
    return median([median(now) / median(then) for now, then in both if then] or [1.0])


def _base_values(mode: Mode, label: str, base: Mapping[str, Any] | None) -> list[float]:
    results = (base or {}).get(label, {}).get("results")
    return Summary.of(mode, results).values if results else []


def _measured(goal: Goal, values: Mapping[str, list[float]]) -> Ratio | None:
    if goal.row not in values:
        return None
    if goal.reference is None:
        return Ratio.of(values[goal.row])
    if goal.reference not in values:
        return None
    if goal.is_difference:
        return Ratio.of([a - b for a, b in zip(values[goal.row], values[goal.reference], strict=False)])
    return Ratio.of(_ratios(values[goal.row], values[goal.reference]))


def _words(goal: Goal, mode: Mode) -> str:
    if goal.reference is None:
        return f"{goal.row} ≤ {goal.limit:g} {mode.unit}"
    if goal.is_difference:
        return f"{goal.row} ≤ {goal.reference} + {goal.limit:g} {mode.unit}"
    return f"{goal.row} ≤ {goal.limit:g} · {goal.reference}"


def _ratios(values: list[float], references: list[float]) -> list[float]:
    return [value / reference for value, reference in zip(values, references, strict=False)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
