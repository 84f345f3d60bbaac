"""Report exceptions of handlers."""

from __future__ import annotations

import logging
from typing import Any

from ..handlers.registry import RegisteredHandler
from ..runtime.interface import Runtime

log = logging.getLogger("sansio_socketio.client.manager")


async def report_error(runtime: Runtime, policy: Any, error: Exception, event: str, source: str) -> None:
    """Call `policy` with an exception and the event's name if it is callable, otherwise log the exception.

    `source` is the handler that raised it, for a message.
    """
    if not callable(policy):
        log.error("exception in %s", source, exc_info=error)
        return
    try:
        await runtime.call(policy, *RegisteredHandler(policy).fit((error, event)))
    except Exception:
        log.exception("on_handler_error raised an exception; it was called for %r, raised by %s", error, source)
