"""Runtimes with a nursery or task group only: exceptions and groups."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from sansio_socketio.runtime import Runtime
from tests.support.runtimes import BACKENDS, Backend, iterations

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.parametrize(
        "backend",
        [backend for backend in BACKENDS if backend.name in {"trio", "anyio-asyncio", "anyio-trio"}],
        ids=lambda backend: backend.name,
    ),
]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_interrupt_in_a_task_is_raised_without_a_group(backend: Backend, error: BaseException) -> None:
    async def scenario(runtime: Runtime) -> None:
        async def interrupted() -> None:
            raise error

        runtime.spawn(interrupted, "interrupted")
        await runtime.wait(runtime.future())

    with pytest.raises(type(error)) as caught:
        backend.play(scenario)
    assert caught.value is error


def test_errors_of_several_tasks_are_raised_as_a_group(backend: Backend) -> None:
    async def scenario(runtime: Runtime) -> None:
        async def fail() -> None:
            raise LookupError("a mistake")

        runtime.spawn(fail, "one")
        runtime.spawn(fail, "other")
        await runtime.wait(runtime.future())

    with pytest.raises(ExceptionGroup) as caught:
        backend.play(scenario)
    assert [type(error) for error in caught.value.exceptions] == [LookupError] * 2


@asynccontextmanager
async def _shielded_task(runtime: Runtime, may_end: anyio.Event) -> AsyncGenerator[None, None]:
    async def cleans_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await may_end.wait()

    runtime.spawn(cleans_up, "cleans up")
    await iterations(runtime, 3)
    yield


def test_an_exception_is_raised_without_a_group_though_the_scope_is_cancelled(backend: Backend) -> None:
    async def main() -> None:
        may_end = anyio.Event()

        async def body() -> None:
            async with backend.open_runtime() as runtime, _shielded_task(runtime, may_end):
                raise LookupError("of the body")

        async def cancel_meanwhile() -> None:
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.lowlevel.cancel_shielded_checkpoint()
            may_end.set()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_meanwhile)
                with pytest.raises(LookupError):
                    await body()

    backend.run(main)


def test_an_exception_of_the_body_in_a_cancelled_scope_is_raised(backend: Backend) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with backend.open_runtime() as runtime:
                runtime.spawn(anyio.sleep_forever, "sleeps")
                scope.cancel()
                try:
                    await anyio.sleep_forever()
                finally:
                    raise LookupError("of the body")

    with pytest.raises(LookupError, match="of the body"):
        backend.run(main)


def test_a_cancellation_during_the_end_is_raised_without_a_group(backend: Backend) -> None:
    caught: list[BaseException] = []

    async def main() -> None:
        may_end = anyio.Event()

        async def cancel_meanwhile() -> None:
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.lowlevel.cancel_shielded_checkpoint()
            may_end.set()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_meanwhile)
                try:
                    async with backend.open_runtime() as runtime, _shielded_task(runtime, may_end):
                        pass
                    await anyio.lowlevel.checkpoint()
                except BaseException as error:
                    caught.append(error)
                    raise
        assert isinstance(caught[0], anyio.get_cancelled_exc_class())

    backend.run(main)


def test_an_interrupt_in_a_nested_nursery_is_raised_without_groups(backend: Backend) -> None:
    """For example in the nursery in which trio connects to the addresses of a host."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def connect() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(interrupted)

    async def scenario(runtime: Runtime) -> None:
        runtime.spawn(connect, "connect")
        await runtime.wait(runtime.future())

    with pytest.raises(KeyboardInterrupt):
        backend.play(scenario)
