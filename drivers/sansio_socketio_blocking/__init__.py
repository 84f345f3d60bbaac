"""Socket.IO for plain threads."""
