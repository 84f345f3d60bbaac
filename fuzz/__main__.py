"""Run a fuzz target with atheris: `python -m fuzz TARGET SECONDS`, or `make fuzz TARGET=… SECONDS=…`.

The run ends after so many seconds with the number of executions and the coverage, or at the first input for which a
property does not hold. That input is stored in `fuzz/work/`; `python -m fuzz TARGET FILE` runs the target on it alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")  # which has no types, and is not installed where types are checked

with atheris.instrument_imports(include=["sansio_socketio", "h11", "wsproto"]):
    from fuzz.targets import CORPUS, TARGETS, WORK


def main(arguments: list[str]) -> None:
    """Run a target on one file, or with atheris. See the docstring of the module."""
    if len(arguments) != 2 or arguments[0] not in TARGETS:
        sys.exit(f"usage: python -m fuzz TARGET SECONDS\nTARGET is one of {', '.join(TARGETS)}")
    name, limit = arguments
    found = WORK / name
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-artifact_prefix={found.parent}/{name}-", "-timeout=30", "-rss_limit_mb=2048"]
    if limit.isdigit():
        options += [
            f"-max_total_time={limit}",
            "-max_len=4096",
            "-len_control=10",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        inputs = [str(found), str(CORPUS / name)]
    else:
        inputs = [str(Path(limit))]
    atheris.Setup([sys.argv[0], *options, *inputs], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
