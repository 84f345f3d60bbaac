"""The machine: Socket.IO 5 over Engine.IO 4 without input, output, clock or entropy of its own."""
