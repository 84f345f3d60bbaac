"""The benchmark: CPU time of the client's process per message, compared with python-socketio in one run.

    make bench                 five rounds
    make bench ROUNDS=9        more of them

Rules of this file:

- The libraries take turns against one Node server, and each measurement runs in its own process, so that other load on
  the machine affects both. The best of the rounds counts, since noise only adds time.
- Compare ratios: microseconds depend on the machine. The benchmark fails where this library needs more time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.clients import LIBRARIES, MODES
from tests.support.peers import node_server

ROOT = Path(__file__).parents[2]


def microseconds(library: str, mode: str, url: str) -> float:
    """Return the CPU time per message of one run of a mode."""
    command = [sys.executable, "-m", "tests.benchmarks.clients", library, mode, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=180, check=False)
    if done.returncode:
        raise SystemExit(f"{library}, {mode} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    return 1e6 * float(result["seconds"]) / float(result["messages"])


def main(rounds: int) -> int:
    """Measure and print. Return the exit status."""
    worse = []
    print(f"CPU of the client, microseconds per message, best of {rounds} rounds\n")
    print(f"{'':42}{'ours':>10}{'python-socketio':>18}{'ratio':>8}")
    with node_server() as server:
        for name, mode in MODES.items():
            runs = [{library: microseconds(library, name, server.url) for library in LIBRARIES} for _ in range(rounds)]
            ours, theirs = (min(run[library] for run in runs) for library in LIBRARIES)
            print(f"{(mode.__doc__ or name):42}{ours:10.1f}{theirs:18.1f}{ours / theirs:8.2f}", flush=True)
            if ours >= theirs:
                worse.append(name)
    if worse:
        print(f"\nours costs more in: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
