"""The objects of one run of a Manager, created at the start and discarded at the end.

- `blueprint`: the state machine, the options and the handlers of a Manager, which outlive its runs.
- `link`: gives the persistent objects access to the current run; `state`: the states of a run.
- `run`: one run, which routes each event of the state machine to queues, waiting callers and namespaces.
- `lifecycle`: the queue of the handlers of the Manager and the Engine.
- `namespace`: one namespace in a run.
- `scope`: a runtime and its runs, from start to stop.

These modules do not import the public API.
"""
