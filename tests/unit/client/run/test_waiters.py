"""Callers that wait: all are woken, with an error or without, and one that is cancelled leaves nothing."""

from __future__ import annotations

import pytest

from sansio_socketio.running.waiters import Waiters
from tests.support.fake_runtime import Cancelled, FakeRuntime, World


def test_all_waiting_callers_are_woken(world: World) -> None:
    waiters = Waiters(FakeRuntime(world))

    async def main() -> None:
        tasks = [world.spawn(waiters.wait) for _ in range(2)]
        await world.settle()
        assert len(waiters) == 2
        waiters.wake()
        assert len(waiters) == 0
        for task in tasks:
            await world.join(task)

    world.run(main)


def test_all_waiting_callers_raise_the_error(world: World) -> None:
    waiters = Waiters(FakeRuntime(world))

    async def main() -> None:
        tasks = [world.spawn(waiters.wait) for _ in range(2)]
        await world.settle()
        waiters.fail(KeyError("why"))
        assert len(waiters) == 0
        for task in tasks:
            with pytest.raises(KeyError, match="why"):
                await world.join(task)

    world.run(main)


def test_a_cancelled_caller_leaves_nothing(world: World) -> None:
    waiters = Waiters(FakeRuntime(world))

    async def main() -> None:
        task = world.spawn(waiters.wait)
        await world.settle()
        task.cancel()
        with pytest.raises(Cancelled):
            await world.join(task)
        assert len(waiters) == 0

    world.run(main)
