"""Socket.IO for asyncio."""
