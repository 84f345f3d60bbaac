"""Counters and statistics.

Rules of this file:

- Every layer of the machine increments `Counters`. An increment is a plain addition.
- The application gets `Statistics`: a copy of the counters, and values that are computed on request.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """The counters of a machine over all its connections. `Statistics` documents them."""

    bytes_received: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    events_received: int = 0
    events_sent: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The counters since the Manager was created, and the current sizes of its queues.

    Attributes:
        bytes_received: Bytes received, including the overhead of HTTP and WebSocket, without that of TLS.
        bytes_sent: Bytes sent, counted likewise.
        packets_received: Engine.IO packets received: messages, pings and others.
        packets_sent: Engine.IO packets sent.
        events_received: Events received, in all namespaces.
        events_sent: Events sent, in all namespaces. With `retries`, each try is counted.
        reconnects: Successful reconnections.
        acks_pending: Acknowledgements that are awaited.
        queued_events: Events that are buffered until the namespace is connected or, with `retries`, until they are
            acknowledged (see the option `max_buffered_events`).
        queued_bytes: Approximate size of `queued_events` and of the write buffer, in bytes (see `max_buffered_bytes`).
        waiting_events: Received events that are queued for their handlers. Always 0 from `ClientProtocol.statistics`.
        transport: The name of the transport in use, or None.
    """

    bytes_received: int
    bytes_sent: int
    packets_received: int
    packets_sent: int
    events_received: int
    events_sent: int
    reconnects: int
    acks_pending: int
    queued_events: int
    queued_bytes: int
    waiting_events: int = 0
    transport: str | None = None
