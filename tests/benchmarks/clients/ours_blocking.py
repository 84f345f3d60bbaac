"""This library's blocking driver."""

from __future__ import annotations

from sansio_socketio_blocking import open_io
from tests.benchmarks.clients.threads import Socket, run
from tests.benchmarks.task import task_from_arguments


def main() -> None:
    task = task_from_arguments()
    with open_io() as io:

        def open_() -> Socket:
            socket = io(task.url, force_new=True, transports=[task.transport])
            socket.wait_connected()
            return Socket(socket.emit, socket.emit_with_ack, socket.on)

        run(open_, task)


if __name__ == "__main__":
    main()
