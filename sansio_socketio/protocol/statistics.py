"""What a client has done so far, in numbers.

Rules of this file:

- `Counters` is what every floor of the machine counts in, by nothing dearer than an addition.
- `Statistics` is what the application sees: a copy of the counters, and what can be looked up when it asks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What only ever grows, over all connections of a machine. `Statistics` says what each one counts."""

    bytes_received: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    packets_sent: int = 0
    events_received: int = 0
    events_sent: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What has been counted since the client was made, and how it is now.

    Attributes:
        bytes_received: Bytes that arrived, HTTP and WebSocket included, TLS not.
        bytes_sent: Bytes that were written, counted likewise.
        packets_received: Engine.IO packets that arrived: messages, pings and the others.
        packets_sent: Engine.IO packets that were sent.
        events_received: Events of the server's application, in all namespaces.
        events_sent: Events that were handed to the connection. One that is sent again is counted again.
        reconnects: How often a connection that was lost, or could not be opened, was opened after all.
        acks_pending: Acknowledgements that the application waits for.
        queued_events: Events that wait for the connection or, with `retries`, to be acknowledged (see the option
            `max_buffered_events`).
        queued_bytes: About the number of bytes of these, and of all else that waits to leave (see
            `max_buffered_bytes`).
        waiting_events: Events that wait for their handlers. The machine keeps none.
        transport: The name of the transport in use; None while there is none.
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
