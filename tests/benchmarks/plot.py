"""The plot: horizontal bars for each mode, as SVG.

It is written by hand, because a library for plots would be the largest dependency of the benchmark, for forty lines. The
colours are readable on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from xml.sax.saxutils import escape

from tests.benchmarks.modes import FACTORS, MODES
from tests.benchmarks.runner import Outcomes

_WIDTH, _LEFT, _LINE, _BAR, _LONGEST = 760, 190, 17, 12, 480
_TEXT = "#808080"
_COLOURS = {"python-socketio": "#d08770", "python-socketio-threads": "#d08770", "node": "#8fa86f", "floor": "#9a9a9a"}
_OURS = "#5b8dc9"


def svg(modes: Mapping[str, Outcomes]) -> str:
    """Return the plot of the medians, of the modes that compare clients. The longest bar of each has the same length."""
    lines: list[str] = []
    y = 0
    for name, outcomes in modes.items():
        if "python-socketio" not in MODES[name].rows:
            continue
        y += 2 * _LINE
        lines.append(_text(0, y, f"{MODES[name].title} ({MODES[name].unit})", weight="bold"))
        for label, value, length in _bars(name, outcomes):
            y += _LINE
            colour = _COLOURS.get(label, _OURS)
            lines += [
                _text(_LEFT - 8, y, label, anchor="end"),
                f'<rect x="{_LEFT}" y="{y - _BAR + 2}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
                _text(_LEFT + length + 6, y, value),
            ]
    style = "font-family:system-ui,sans-serif;font-size:12px"
    box = f'viewBox="0 0 {_WIDTH} {y + _LINE}" width="{_WIDTH}" height="{y + _LINE}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box} style="{style}">', *lines, "</svg>", ""])


def _bars(name: str, outcomes: Outcomes) -> Iterator[tuple[str, str, float]]:
    """Yield label, value and length of each bar."""
    factor = FACTORS[MODES[name].unit]
    medians = {
        label: factor * median(result["value"] for result in outcome.results) if outcome.results else None
        for label, outcome in outcomes.items()
    }
    longest = max((value for value in medians.values() if value is not None), default=0.0) or 1.0
    for label, value in medians.items():
        if value is None:
            yield label, outcomes[label].error or "", 0.0
        else:
            yield label, f"{value:.3g}" if value < 1000 else f"{value:,.0f}", max(value, 0.0) / longest * _LONGEST


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{_TEXT}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
