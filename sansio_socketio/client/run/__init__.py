"""One run of a Manager: what exists only while it is started. Made at the start, discarded at the end.

- `blueprint`: what every run is made from. It outlives the runs.
- `link`: the way from the durable objects to the current run; `state`: the states of a run.
- `run`: one run: its queues, waiters and namespaces, and what is done for each event of the state machine.
- `pump`: feeds the state machine from streams and the timer, and carries out its actions.
- `lifecycle`: the queue of the handlers of the Manager and the Engine.
- `namespace`, `dispatcher`, `replies`, `event_stream`: one namespace, from its events to their handlers.
- `scope`: a runtime and the runs on it, from start to stop.
- `tasks`, `waiters`, `watchdog`: tasks that run handlers, waiting callers, warnings about slow handlers.

Nothing here imports the public API.
"""
