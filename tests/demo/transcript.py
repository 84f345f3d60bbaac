"""The output of the demo: one line per event that was sent or received, with the time since the start."""

from __future__ import annotations

import threading
import time
from typing import Any

IN, OUT, NOTE = "<-", "->", "  "


class Transcript:
    """Print the lines of one driver. Thread-safe."""

    def __init__(self, driver: str) -> None:
        self._driver = driver
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def title(self, text: str) -> None:
        print(f"\n{text}")

    def sent(self, event: str, *values: Any) -> None:
        self._line(OUT, event, values)

    def received(self, event: str, *values: Any) -> None:
        self._line(IN, event, values)

    def note(self, text: str) -> None:
        self._line(NOTE, text, ())

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start

    def _line(self, direction: str, text: str, values: tuple[Any, ...]) -> None:
        shown = ", ".join(_short(value) for value in values)
        with self._lock:
            print(
                f"  {self.elapsed():7.3f}  {self._driver:9}{direction} {text}{' ' if shown else ''}{shown}", flush=True
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 72 else f"{text[:69]}..."
