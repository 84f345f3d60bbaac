"""The API for threads, without `await`. Each method runs the coroutine of the same name on the caller's thread.

- `entry`: calls into client code from any thread, and the decision when handlers are called first.
- `api`: the classes, generated from the async classes by `scripts/generate_blocking.py`.
- `scopes`: `connect` and `open_io`.
"""

from __future__ import annotations

from .api import IO, Emitter, Engine, EventStream, Manager, Socket
from .scopes import Scopes

__all__ = ["IO", "Emitter", "Engine", "EventStream", "Manager", "Scopes", "Socket"]
