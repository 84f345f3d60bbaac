"""What a client and a server run on.

- `pump`: feeds the state machine from streams and the timer, and carries out its actions.
- `dispatcher`, `replies`, `event_stream`, `expected`, `backpressure`: from received events to their handlers.
- `tasks`, `waiters`, `watchdog`, `unawaited`, `reporting`: the tasks that call handlers, the waiting callers, slow handlers and
  other mistakes in them.
- `ending`: the end of a runtime and what runs on it. `context`: the context managers of the API.
- `flags`, `options`, `entry_points`: small parts of both APIs.
"""
