"""A Manager is opened, run, closed, cancelled and disconnected in any order: nothing is left, and it can be started again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import SocketIOError
from tests.support.fake_runtime import Cancelled, FakeTask, World
from tests.support.fake_server import wires

URL = "http://localhost:3000"


class Program:
    """A Manager, a socket of it, and the tasks that use them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: list[FakeTask] = []
        self.manager: Any = world.manager_class(URL, close_timeout=2, reconnection_delay=0.5)
        self.socket = self.manager.socket("/")
        self.socket.on("quit", self.manager.close)
        self.socket.on("quit concurrently", self.manager.close, concurrency=2)

    def spawn(self, function: Callable[[], Awaitable[Any]]) -> None:
        self.tasks.append(self.world.spawn(function))

    async def scope(self) -> None:
        async with self.manager:
            await self.world.sleep(1)

    def cancel(self) -> None:
        for task in self.tasks[-1:]:
            task.cancel()

    def server_emits(self, event: str, *, times: int = 1) -> None:
        for _ in range(times if self.socket.connected else 0):
            self.world.server.emit(event)

    def lose(self) -> None:
        if self.world.server.stream is not None:
            self.world.server.stream.lose()

    def accept(self, accepts: bool | None) -> None:
        self.world.server.accepts = accepts

    async def check(self) -> None:
        """Close it; check that nothing is left, and that it can be started again as if nothing had happened."""
        world, manager = self.world, self.manager
        self.accept(True)
        world.server.is_reading = True
        for _ in range(2):
            await manager.close()
            await world.sleep(5)
        running = [task for task in self.tasks if not task.done]
        assert not running, [task.name for task in running]
        for task in self.tasks:
            assert task.error is None or isinstance(task.error, (SocketIOError, Cancelled)), task.error
        assert world.tasks == [world.main]
        assert world.streams == []
        await manager.open()
        await self.socket.connect()
        await self.socket.emit("fine")
        await manager.close()
        assert world.server.events()[-1] == ["fine"]
        assert world.tasks == [world.main]
        assert world.streams == []


STEPS: Final[dict[str, Callable[[Program], Any]]] = {
    "open": lambda program: program.spawn(program.manager.open),
    "close": lambda program: program.spawn(program.manager.close),
    "run": lambda program: program.spawn(program.manager.run),
    "scope": lambda program: program.spawn(program.scope),
    "cancel": lambda program: program.cancel(),
    "connect": lambda program: program.spawn(program.socket.connect),
    "disconnect": lambda program: program.spawn(program.socket.disconnect),
    "socket": lambda program: program.manager.socket("/another"),
    "question": lambda program: program.spawn(lambda: program.socket.timeout(1).emit_with_ack("question")),
    "quit": lambda program: program.server_emits("quit"),
    "quit twice": lambda program: program.server_emits("quit concurrently", times=2),
    "lose": lambda program: program.lose(),
    "refuse": lambda program: program.accept(False),
    "hang": lambda program: program.accept(None),
    "accept": lambda program: program.accept(True),
}


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from(["open", "run", "scope", "accept"]),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from([0, 0.01, 0.3, 1.5])), max_size=8),
    eager=st.booleans(),
)
def test_a_manager_is_started_and_stopped_in_any_order(start: str, steps: list[tuple[str, float]], eager: bool) -> None:
    with wires():
        world = World(eager=eager)

        async def main() -> None:
            program = Program(world)
            for name, pause in [(start, 0.01), *steps]:
                STEPS[name](program)
                await world.sleep(pause)
            await program.check()

        world.run(main)
