"""The wire formats, as pure functions and small codecs.

- `engineio`: Engine.IO protocol 4: packets as WebSocket messages and as HTTP bodies, and the handshake.
- `socketio`: Socket.IO protocol 5: packets with their binary attachments, and the interface of a parser of one's own.
- `msgpack`: the same packets in MessagePack. It needs a library of its own, and so nothing here imports it.
"""
