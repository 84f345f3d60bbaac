"""A Socket.IO server over WebSocket, as the script of a `LoopbackServer`, for tests of the drivers with real sockets."""

from __future__ import annotations

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from tests.support.runtimes import Connection


def serve(connection: Connection) -> None:
    """Accept a client, acknowledge its events, and send it an event for each. Ignore the event "silent"."""
    websocket = WSConnection(ConnectionType.SERVER)

    def send(*texts: str) -> None:
        connection.sock.sendall(b"".join([websocket.send(TextMessage(text)) for text in texts]))

    try:
        while data := connection.sock.recv(1 << 16):
            websocket.receive_data(data)
            for event in websocket.events():
                if isinstance(event, Request):
                    connection.sock.sendall(websocket.send(AcceptConnection()))
                    send('0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
                elif isinstance(event, TextMessage) and event.data == "40":
                    send('40{"sid":"s"}')
                elif isinstance(event, TextMessage) and event.data.startswith("42") and "silent" not in event.data:
                    number = event.data[2:].partition("[")[0]
                    send('42["n",1]', *([f"43{number}[]"] if number else []))
                elif isinstance(event, CloseConnection):
                    connection.sock.sendall(websocket.send(event.response()))
                assert not isinstance(event, BytesMessage)
    except ConnectionError:
        pass  # the client was interrupted
