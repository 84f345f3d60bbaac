"""Handlers: how they are registered, which arguments they are called with, and typed payloads.

- `registry`: which handlers are registered for which event, and the arguments that each one takes.
- `registration`: the methods by which users register them (`on`, `once`, `off`, `on_any` and the others).
- `typed`: converts an event's values to what a handler's annotations say. It needs pydantic, so nothing here imports it.
"""
