"""The wire formats: pure functions and small codecs.

- `engineio`: Engine.IO protocol 4: packets as WebSocket messages and as HTTP bodies, and the handshake.
- `socketio`: Socket.IO protocol 5: packets with binary attachments, and the interface of a custom parser.
- `msgpack`: the same packets in MessagePack. It requires the library `msgpack`, so no module here imports it.
"""
