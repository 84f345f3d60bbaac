"""Select the corpus of a target from the inputs that its runs have found: `python -m fuzz.minimise TARGET…`.

The seeds stay in it, and of the other inputs in the work folder and in the corpus the smallest that execute branches
of `sansio_socketio` that the seeds do not execute. Inputs for which a property does not hold are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import sansio_socketio
from fuzz.seeds import seeds
from fuzz.targets import CORPUS, TARGETS, WORK, file_name

_MEASURED: Final = str(Path(sansio_socketio.__file__).parent)

Branch = tuple[str, int, int]
"""A file and two of its lines, of which the second was executed after the first in the same call."""


def branches(target: Callable[[bytes], None], data: bytes) -> frozenset[Branch] | None:
    """Return the branches that an input executes, or None if a property does not hold for it."""
    found: set[Branch] = set()

    def trace(frame: FrameType, *_: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if not file.startswith(_MEASURED):
            return None
        last = -frame.f_code.co_firstlineno

        def trace_lines(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                found.add((file, last, frame.f_lineno))
                last = frame.f_lineno
            return trace_lines

        return trace_lines

    sys.settrace(trace)
    try:
        target(data)
    except Exception:
        return None
    finally:
        sys.settrace(None)
    return frozenset(found)


def minimise(name: str) -> list[bytes]:
    """Return the seeds of a target, and the smallest inputs that execute all other branches that any input executes."""
    target = TARGETS[name]
    kept = list(seeds(name))
    seen = frozenset().union(*(branches(target, seed) or () for seed in kept))
    files = [file for folder in (CORPUS / name, WORK / name) if folder.is_dir() for file in folder.iterdir()]
    added: dict[bytes, frozenset[Branch]] = {}
    for data in sorted({file.read_bytes() for file in files}, key=_order):
        executed = (branches(target, data) or frozenset()) - seen
        if executed:
            added[data] = executed
            seen |= executed
    return kept + list(added)


def _order(data: bytes) -> tuple[int, bytes]:
    return len(data), data


def main(names: list[str]) -> None:
    """Replace the corpora of these targets, or of all."""
    for name in names or TARGETS:
        inputs = minimise(name)
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        for data in inputs:
            (folder / file_name(data)).write_bytes(data)
        print(f"{name}: {len(inputs)} inputs, {sum(map(len, inputs))} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
