"""Socket.IO for trio."""
