"""The persistent objects behind the public API, shared by the async and the blocking classes.

The public classes `Manager`, `Socket` and `IO` have signatures and docstrings, and delegate to the objects of these
modules. These objects outlive the runs of a Manager. They access the current run through a `Link`.

- `manager`: starting, stopping, options, sockets.
- `socket`: connecting, emitting.
- `io`: sockets by URL, which share connections.
"""
