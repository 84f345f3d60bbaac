"""The objects of one run of a Manager, created at the start and discarded at the end.

- `blueprint`: the state machine, the options and the handlers of a Manager, which outlive its runs.
- `link`: gives the persistent objects access to the current run; `state`: the states of a run.
- `run`: one run, which routes each event of the state machine to queues, waiting callers and namespaces.
- `pump`: feeds the state machine from streams and the timer, and carries out its actions.
- `lifecycle`: the queue of the handlers of the Manager and the Engine.
- `namespace`, `dispatcher`, `replies`, `event_stream`, `expected`: one namespace in a run, from its events to their handlers.
- `scope`: a runtime and its runs, from start to stop.
- `tasks`, `waiters`, `watchdog`: the tasks that call handlers, the waiting callers, the detection of slow handlers.

These modules do not import the public API.
"""
