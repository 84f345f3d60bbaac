"""Socket.IO for anyio."""
