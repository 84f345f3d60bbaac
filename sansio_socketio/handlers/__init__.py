"""Handlers: registration, fitting of arguments, typed payloads.

- `registry`: which handlers are registered for which event, and the arguments that each one takes.
- `registration`: the methods with which applications register handlers (`on`, `once`, `off`, `on_any` and the others).
- `event_type`: the names of events, with types for type checkers.
- `typed`: converts the values of an event to the types of a handler's annotations, and acknowledgements. `conversion` imports
  it on first use, because it requires pydantic.
"""
