"""The durable objects behind the public API, which is the same for all drivers.

A `Manager`, `Socket` or `Engine` (with `await`, or the blocking one) is a face: signatures and docstrings over an object of
these modules. They outlive each run of the Manager, and reach the current one by a `Link`.

- `manager`: starting, stopping, options, sockets.
- `socket`: connecting, emitting.
- `io`: sockets by URL, which share connections.
"""
