"""The runtime for trio only: protection of client code from KeyboardInterrupt."""

from __future__ import annotations

import pytest
import trio
from trio.lowlevel import currently_ki_protected

from sansio_socketio_trio import Manager
from sansio_socketio_trio._runtime import open_runtime
from tests.support.runtimes import LoopbackServer, Recorder, echo

pytestmark = pytest.mark.timeout(60)


def test_client_code_is_protected_from_interrupts_and_the_applications_is_not() -> None:
    seen: dict[str, bool] = {}

    def look(where: str) -> None:
        seen[where] = currently_ki_protected()

    class Looking(Recorder):
        def opened(self) -> None:
            look("a stream's opening")
            super().opened()

        def received(self, data: bytes | bytearray | memoryview) -> None:
            look("a stream's reading")
            super().received(data)

        def sent(self) -> None:
            look("a stream's writing")
            super().sent()

    async def main() -> None:
        async with open_runtime() as runtime:
            done = runtime.future()

            async def task() -> None:
                look("a task")
                await runtime.call(look, "application")
                runtime.call_soon(lambda: look("a callback"))
                timer.set(runtime.now())

            def fired() -> None:
                look("a timer")
                done.resolve()

            timer = runtime.timer(fired)
            runtime.spawn(task, "task")
            await runtime.wait(done)
            with LoopbackServer(echo) as server:
                recorder = Looking(runtime)
                stream = runtime.open_stream(server.host, server.port, recorder)
                await recorder.until_notified("opened")
                stream.write(b"x")
                await recorder.until(lambda: bool(recorder.data) and "sent" in recorder.log)
        manager = Manager("http://localhost", auto_connect=False)
        manager._core.link.on_start.append(lambda: look("a method of the API"))
        async with manager:
            pass

    trio.run(main)
    assert not seen.pop("application")
    assert len(seen) == 7
    assert all(seen.values()), seen
