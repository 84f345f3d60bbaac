"""The pump of a server, which takes the streams that the runtime has accepted."""

from __future__ import annotations

import logging

from ..protocol.server.engine_protocol import ServerMachine
from ..running.pump import Pump, StreamInput
from ..runtime.interface import Stream


class ServerPump(Pump):
    """A pump whose machine is that of a server."""

    log = logging.getLogger("sansio_socketio.server.streams")
    _machine: ServerMachine

    def accept(self, stream: Stream, peer: str) -> StreamInput:
        """Give an accepted stream to the machine, and return its receiver. This is a `StreamAcceptor`."""
        number = 0
        try:
            if not self.ended:
                number = self._machine.stream_accepted(self.now(), peer=peer)
        except Exception as error:
            self._break(error)
        if number:
            self._streams[number] = stream
        else:  # the server has ended
            self._runtime.call_soon(stream.abort)
        return StreamInput(self, self._machine, number)
