"""Changes of a dispatcher while its task is suspended, as with threads: every change at every suspension.

The `wait` and `call` of this runtime do not suspend. Instead, they let other threads run: they run the tasks that were spawned,
and at one suspension, which the test chooses, they change the dispatcher.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sansio_socketio.client.run.socket_state import SocketState
from sansio_socketio.handlers.registry import HandlerRegistry, RegisteredHandler
from sansio_socketio.protocol.events import EventReceived, EventSent
from sansio_socketio.running.dispatcher import AckCallback, Dispatcher, EndStreams, Failure, Lifecycle, Limits
from sansio_socketio.running.event_stream import EventBuffer
from sansio_socketio.runtime import Runtime, log_failure
from tests.support.fake_runtime import FakeFuture, FakeTimer, World

STATE = SocketState(connected=True, active=True, id="s", recovered=False, close_reason=None, transport="polling")
EVENTS = 15
BATCH = 4


class SteppingRuntime:
    """A runtime that calls `change` at one suspension, and counts the suspensions."""

    lock = nullcontext()

    def __init__(self, at: int, change: Callable[[], object]) -> None:
        self.failed: Callable[[BaseException], None] = log_failure
        self.suspensions = 0
        self.idle: Callable[[], None] = lambda: None
        self._at = at
        self._change = change
        self._soon: deque[Callable[[], None]] = deque()
        self._spawned: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()

    def now(self) -> float:
        return 0.0

    def timer(self, callback: Callable[[], None]) -> Any:
        return FakeTimer(World(), callback)

    def future(self, *, outlives_runtime: bool = False) -> Any:
        return FakeFuture(World())

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def open_stream(self, host: str, port: int, receiver: Any, hook: Any = None) -> Any:
        raise NotImplementedError

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
        self._spawned.append(function)
        return self

    def cancel(self) -> None:
        """Cancel a task: nothing happens, because it is a thread."""

    async def wait(self, future: Any) -> Any:
        self._suspend()
        while self._soon:
            self._soon.popleft()()
        if not future.done:
            self.idle()
        assert future.done
        return future.result()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        self._suspend()  # as if during the call
        return result

    def run(self) -> None:
        """Run all tasks that were spawned."""
        while self._spawned:
            coroutine = self._spawned.popleft()()
            with pytest.raises(StopIteration):
                coroutine.send(None)

    def _suspend(self) -> None:
        self.suspensions += 1
        if self.suspensions == self._at:
            self._change()
        if self.suspensions % 3 == 0:
            self.run()


class Scenario:
    """A dispatcher with items of every kind, and the calls of handlers before and after it was cancelled."""

    def __init__(self, at: int, change: Callable[[Scenario], object]) -> None:
        self.broken: list[Exception] = []
        self.reported: list[Exception] = []
        self.is_cancelled = False
        self.called_after_cancel: list[str] = []
        self.runtime = SteppingRuntime(at, lambda: change(self))
        self.handlers = HandlerRegistry()
        for number, concurrency in enumerate((None, 1, None, 2)):
            self.handlers.add("e", RegisteredHandler(self._handler(f"e{number}"), concurrency=concurrency))
        self.handlers.add("connect", RegisteredHandler(self._handler("connect")))
        self.handlers.outgoing.add(RegisteredHandler(self._handler("outgoing")), first=False)
        self.handlers.any.add(RegisteredHandler(self._handler("any")), first=False)
        self.dispatcher = Dispatcher(
            "/",
            cast("Runtime", self.runtime),  # the dispatcher opens no streams
            self.handlers,
            Limits(events=10_000, size=1_000_000, slow=None),
            held=True,
            reading=self,
            report=self._report,
            acknowledge=lambda ack_id, values: None,
            overflowed=self.reported.append,
            finished=lambda: None,
            broken=self.broken.append,
        )
        self.stream = EventBuffer(cast("Any", SimpleNamespace(dispatcher=self.dispatcher)), "")
        self.dispatcher.attach(self.stream)
        self.fill(EVENTS)
        self.dispatcher.release()

    def fill(self, count: int) -> None:
        for number in range(count):
            self.dispatcher.received(EventReceived("/", ["e", number], (1, number), 10))
            if number % 5 == 0:
                self.dispatcher.sent(EventSent("/", ["x"], 10))
                self.dispatcher.put(Lifecycle("connect", (), STATE, None))
                self.dispatcher.put(AckCallback("a", RegisteredHandler(self._handler("ack")), []))
                self.dispatcher.put(Failure("f", LookupError("a failure")))
        self.dispatcher.put(EndStreams())

    def cancel(self) -> None:
        self.dispatcher.cancel()
        self.is_cancelled = True

    def finish_and_cancel(self) -> None:
        self.dispatcher.finish()
        self.cancel()

    def run(self) -> None:
        self.runtime.idle = self.cancel
        self.runtime.run()

    def _handler(self, name: str) -> Callable[..., None]:
        def handle(*args: Any) -> None:
            if self.is_cancelled:
                self.called_after_cancel.append(name)

        return handle

    def pause_reading(self, holder: object) -> None: ...

    def resume_reading(self, holder: object) -> None: ...

    async def _report(self, error: Exception, event: str, source: str) -> None:
        assert isinstance(error, LookupError), error
        await self.runtime.call(lambda: None)


CHANGES: dict[str, Callable[[Scenario], object]] = {
    "cancel": Scenario.cancel,
    "finish": lambda scenario: scenario.dispatcher.finish(),
    "finish and cancel": Scenario.finish_and_cancel,
    "more events": lambda scenario: scenario.fill(5),
    "no handlers": lambda scenario: scenario.handlers.remove(None, None),
    "no stream": lambda scenario: scenario.dispatcher.detach(scenario.stream),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_dispatcher_may_be_changed_whenever_its_task_is_suspended(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Scenario], object]
) -> None:
    monkeypatch.setattr("sansio_socketio.running.dispatcher._BATCH", BATCH)
    undisturbed = Scenario(0, lambda _: None)
    undisturbed.run()
    for at in range(1, undisturbed.runtime.suspensions + 1):
        scenario = Scenario(at, change)
        scenario.run()
        assert scenario.broken == [], f"at suspension {at}"
        assert scenario.reported == []
        assert scenario.called_after_cancel == [], f"at suspension {at}"
        assert scenario.dispatcher.done
        assert scenario.dispatcher.waiting_events == (len(scenario.stream) if scenario.dispatcher.has_streams else 0)
