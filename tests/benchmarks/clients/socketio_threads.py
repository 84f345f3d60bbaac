"""python-socketio's client for threads."""

from __future__ import annotations

import socketio

from tests.benchmarks.clients.threads import Socket, run
from tests.benchmarks.task import task_from_arguments


def main() -> None:
    task = task_from_arguments()

    def open_() -> Socket:
        client = socketio.Client()
        client.connect(task.url, transports=[task.transport])
        return Socket(client.emit, client.call, client.on)

    run(open_, task)


if __name__ == "__main__":
    main()
