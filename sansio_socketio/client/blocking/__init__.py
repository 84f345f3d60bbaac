"""The API for threads, without `await`. Each method runs the coroutine of the same name on the caller's thread.

- `entry`: how a thread enters code of the client, and when held-back handlers are called.
- `api`: the classes. Generated from the async ones by `scripts/generate_blocking.py`.
- `scopes`: `connect` and `open_io`.
"""

from __future__ import annotations

from .api import IO, Emitter, Engine, EventStream, Manager, Socket
from .scopes import Scopes

__all__ = ["IO", "Emitter", "Engine", "EventStream", "Manager", "Scopes", "Socket"]
