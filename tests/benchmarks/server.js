/*
 * The Socket.IO server of the benchmark. It has the default settings, except for a larger maximum message.
 *
 * It prints its port when it listens, and ends when its stdin does.
 */

"use strict";

const http = require("node:http");
const { Server } = require("socket.io");

const server = http.createServer();
const io = new Server(server, { maxHttpBufferSize: 2_000_000 });

function welcome(socket) {
  let counted = 0;
  socket.on("echo_ack", (value, ack) => ack(value));
  socket.on("silent", () => {});
  // "burst" sends many events; "n" receives them, and "count" returns how many arrived since the last call.
  socket.on("burst", ([count, value]) => {
    for (let i = 0; i < count; i++) socket.emit("n", value);
  });
  socket.on("n", () => (counted += 1));
  socket.on("count", (_, ack) => {
    ack(counted);
    counted = 0;
  });
}

io.on("connection", welcome);
io.of(/^\/\d+$/).on("connection", welcome);
process.stdin.on("end", () => process.exit(0)).resume();
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
