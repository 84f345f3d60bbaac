"""A Manager that is opened, run, closed, cut off and lost in whatever order: nothing is left, and it can live again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_socketio.protocol.errors import SocketIOError
from tests.support.fake_runtime import Cancelled, FakeTask, World
from tests.support.fake_server import wires

URL = "http://localhost:3000"


class Play:
    """A Manager, a socket of it, and the tasks that use them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: list[FakeTask] = []
        self.manager: Any = world.manager_class(URL, close_timeout=2, reconnection_delay=0.5)
        self.socket = self.manager.socket("/")
        self.socket.on("quit", self.manager.close)
        self.socket.on("quit beside", self.manager.close, concurrency=2)

    def begin(self, function: Callable[[], Awaitable[Any]]) -> None:
        async def main() -> None:
            await function()

        task = FakeTask(self.world, main(), copy_context(), "a step")
        task.is_watched = True
        self.tasks.append(task)
        self.world.call_soon(task.step)

    async def scope(self) -> None:
        async with self.manager:
            await self.world.sleep(1)

    def cancel(self) -> None:
        for task in self.tasks[-1:]:
            task.cancel()

    def server_says(self, event: str, *, times: int = 1) -> None:
        for _ in range(times if self.socket.connected else 0):
            self.world.server.emit(event)

    def lose(self) -> None:
        if self.world.server.stream is not None:
            self.world.server.stream.lose()

    def accept(self, accepts: bool | None) -> None:
        self.world.server.accepts = accepts

    async def check(self) -> None:
        """Close it, and see that nothing is left; and that it lives again, as if nothing had been."""
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


STEPS: Final[dict[str, Callable[[Play], Any]]] = {
    "open": lambda play: play.begin(play.manager.open),
    "close": lambda play: play.begin(play.manager.close),
    "run": lambda play: play.begin(play.manager.run),
    "scope": lambda play: play.begin(play.scope),
    "cancel": lambda play: play.cancel(),
    "connect": lambda play: play.begin(play.socket.connect),
    "disconnect": lambda play: play.begin(play.socket.disconnect),
    "socket": lambda play: play.manager.socket("/another"),
    "question": lambda play: play.begin(lambda: play.socket.timeout(1).emit_with_ack("question")),
    "quit": lambda play: play.server_says("quit"),
    "quit twice": lambda play: play.server_says("quit beside", times=2),
    "lose": lambda play: play.lose(),
    "refuse": lambda play: play.accept(False),
    "hang": lambda play: play.accept(None),
    "accept": lambda play: play.accept(True),
}


@settings(max_examples=300, deadline=None)
@given(
    beginning=st.sampled_from(["open", "run", "scope", "accept"]),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from([0, 0.01, 0.3, 1.5])), max_size=8),
    eager=st.booleans(),
)
def test_a_manager_lives_and_ends_in_any_order(beginning: str, steps: list[tuple[str, float]], eager: bool) -> None:
    with wires():
        world = World(eager=eager)

        async def main() -> None:
            play = Play(world)
            for name, pause in [(beginning, 0.01), *steps]:
                STEPS[name](play)
                await world.sleep(pause)
            await play.check()

        world.run(main)
