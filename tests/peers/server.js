/*
 * The Socket.IO server that the tests, the demo and the benchmark talk to.
 *
 *     node server.js '{"port": 0, "host": "127.0.0.1", "options": {"pingInterval": 300}}'
 *
 * Rules of this file:
 *
 * - One JSON line on stdout when it listens: {"port": N}. Then one line for each command that came as a JSON line on
 *   stdin (see COMMANDS). Information for failing tests is written to stderr.
 * - It ends when its stdin does, so that a test run that was killed leaves no server behind.
 * - The table BEHAVIOURS has the behaviours that a client can request. python_server.py has them in the same order.
 *
 * The configuration, all of it optional:
 *
 *     port, host    where to listen; port 0 picks a free one
 *     socket        the path of a Unix domain socket to listen on instead
 *     tls           {"cert": file, "key": file}: https instead of http; "ca": file: clients must show a certificate of it
 *     version       2: the old server, which speaks Engine.IO 3 and Socket.IO 4
 *     parser        a name in PARSERS
 *     names         {"tunnel": "websocket"}: the transport websocket by a further name, to which polling may be upgraded
 *     record        true: remember the packets that clients send, for the command "log"
 *     requests      true: remember the HTTP requests and WebSocket messages of clients, for the command "requests"
 *     options       is passed to the Socket.IO server: transports, pingInterval, cookie, connectionStateRecovery, ...
 */

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const path = require("node:path");
const readline = require("node:readline");

const SECRET = "secret";

const PARSERS = {
  default: () => undefined,
  msgpack: () => require("socket.io-msgpack-parser"),
};

const config = JSON.parse(process.argv[2] || "{}");
const { server, sockets } = createHttpServer(config.tls);
const io = createSocketServer(server, config);
const records = {};
const seen = { connections: 0, disconnections: [], packets: [], requests: [], messages: [] };

// Behaviours that a client can request: name -> (socket, arguments without the acknowledgement, acknowledgement if any)
const BEHAVIOURS = {
  // Sends the same arguments back, as an event or as an acknowledgement.
  echo: (socket, args) => socket.emit("echo", ...args),
  echo_ack: (socket, args, ack) => ack(...args),
  message: (socket, args) => socket.send(...args),
  silent: () => {},
  sleep: (socket, [seconds, ...args], ack) => setTimeout(() => ack(...args), seconds * 1000),
  late: (socket, [seconds, ...args]) => setTimeout(() => socket.emit("late", ...args), seconds * 1000),

  // Many events: "burst" sends them; "n" receives them, and "count" returns how many arrived since the last call.
  burst: (socket, [count]) => {
    for (let i = 0; i < count; i++) socket.emit("n", i);
  },
  n: (socket, [number], ack) => {
    const counted = socket.data.counted;
    counted.ordered &&= number === counted.next;
    counted.next = number + 1;
    counted.total += 1;
    ack?.();
  },
  count: (socket, args, ack) => {
    const { total, ordered } = socket.data.counted;
    socket.data.counted = newCount();
    ack({ total, ordered });
  },

  // Numbers that the server stores independently of their connections: see "recorded".
  record: (socket, [client, number], ack) => {
    (records[client] ??= []).push(number);
    ack?.();
  },

  // Binary: bytes 0, 1, ... 255, 0, ... at several depths of other values.
  binary: (socket, [size], ack) => {
    const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, i) => i));
    ack({ bytes, nested: [{ bytes }, "text"] }, bytes);
  },

  // Values that only JavaScript has.
  javascript: (socket, args, ack) => {
    const bytes = Uint8Array.from({ length: 8 }, (_, i) => i);
    ack(undefined, { absent: undefined }, new Date(1767323045678), bytes.subarray(0, 1).slice(), bytes, bytes.buffer);
  },

  // The server emits an event, and sends the client's acknowledgement back as "answered".
  ask: (socket, [name, ...args]) => {
    socket.emit(name, ...args, (...answers) => socket.emit("answered", ...answers));
  },
  ask_timeout: (socket, [seconds, name, ...args]) => {
    socket.timeout(seconds * 1000).emit(name, ...args, (error, ...answers) => {
      socket.emit("answered", error ? "timeout" : "in time", ...answers);
    });
  },

  // A login: confirmed by an acknowledgement if one is requested, otherwise by another event.
  login: (socket, [user], ack) => (ack ? ack(user) : socket.emit("logged_in", user)),

  // Ways to end the connection.
  kick: (socket, [close]) => socket.disconnect(Boolean(close)),
  close_engine: (socket) => socket.conn.close(),
  // The network fails as soon as the server can send something: a pending poll is cut, not a future one.
  cut: (socket, [reset]) => {
    if (socket.conn.transport.writable) cutAll(reset);
    else setImmediate(() => BEHAVIOURS.cut(socket, [reset]));
  },
  // An invalid packet; and bytes that are neither HTTP nor WebSocket, at the same time as "cut".
  nonsense: (socket) => socket.conn.send("nonsense"),
  garble: (socket) => {
    const { transport } = socket.conn;
    if (transport.writable) (transport.socket?._socket ?? transport.req.socket).write("\xff garbage\r\n\r\n", "latin1");
    else setImmediate(() => BEHAVIOURS.garble(socket));
  },

  // Information about the client.
  transport: (socket, args, ack) => ack(socket.conn.transport.name),
  handshake: (socket, args, ack) => {
    const { headers, query, auth } = socket.handshake;
    ack({ headers, query, auth, transport: socket.conn.transport.name, engine: socket.conn.id });
  },
};

// Commands of the test process, each a line on stdin: {"cmd": name, ...}. The result is one line on stdout.
const COMMANDS = {
  stats: () => {
    const { connections, disconnections } = seen;
    return { clients: io.engine.clientsCount, sockets: sockets.size, connections, disconnections };
  },
  log: () => seen.packets.splice(0),
  requests: () => ({ requests: seen.requests.splice(0), messages: seen.messages.splice(0) }),
  emit: ({ namespace = "/", event, args = [] }) => io.of(namespace).emit(event, ...args),
  // Numbered events for all clients, evenly distributed over some seconds, some of them with bytes.
  stream: ({ event, count, seconds }) => stream(event, count, seconds),
  recorded: ({ client }) => records[client] ?? [],
  disconnect_all: ({ namespace = "/", close = false }) => io.of(namespace).disconnectSockets(close),
  drop: ({ reset = false }) => cutAll(reset),
};

function stream(event, count, seconds) {
  const began = performance.now();
  let next = 0;
  const timer = setInterval(() => {
    const due = Math.min(count, ((performance.now() - began) / 1000 / seconds) * count);
    for (; next < due; next++) io.emit(event, next, ...(next % 10 ? [] : [Buffer.alloc(next, next % 256)]));
    if (next === count) clearInterval(timer);
  }, 5);
}

// Every TCP connection is closed without a packet of either protocol, by FIN or by RST.
function cutAll(reset) {
  for (const socket of sockets) {
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  }
}

function createHttpServer(tls) {
  const files = Object.entries(tls ?? {}).map(([name, path]) => [name, fs.readFileSync(path)]);
  const server = tls
    ? https.createServer({ ...Object.fromEntries(files), requestCert: "ca" in tls })
    : http.createServer();
  const sockets = new Set();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  return { server, sockets };
}

function createSocketServer(server, { version, parser = "default", names = {}, options = {} }) {
  if (version === 2) return require("socket.io-v2")(server, options);
  const { Server } = require("socket.io");
  for (const [name, known] of Object.entries(names)) nameTransport(name, known);
  return new Server(server, { ...options, parser: PARSERS[parser]() });
}

// The table of transports is private to the server. It can only be reached through its file.
function nameTransport(name, known) {
  const { default: transports } = require(path.join(path.dirname(require.resolve("engine.io")), "transports"));
  transports[name] = class extends transports[known] {
    get name() {
      return name;
    }
  };
  transports.polling.upgradesTo.push(name);
}

function newCount() {
  return { total: 0, next: 0, ordered: true };
}

function note(...words) {
  console.error(new Date().toISOString().slice(11, 23), ...words);
}

function welcome(socket) {
  socket.data = { ...socket.data, counted: newCount() };
  seen.connections += 1;
  note("connected", socket.nsp.name, socket.id);
  socket.on("disconnect", (reason) => {
    seen.disconnections.push(reason);
    note("disconnected", socket.nsp.name, socket.id, reason);
  });
  for (const [name, behaviour] of Object.entries(BEHAVIOURS)) {
    socket.on(name, (...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      behaviour(socket, args, ack);
    });
  }
  // In the same event loop iteration as the answer to CONNECT, so that both are sent together. Clients must not miss it.
  const { auth, query } = socket.handshake;
  socket.emit("welcome", { sid: socket.id, auth: auth ?? null, query });
}

function guard(socket, next) {
  if (socket.handshake.auth?.token === SECRET) return next();
  const error = new Error("not authorized");
  error.data = { code: "EAUTH", wanted: "token" };
  next(error);
}

function recordPackets(connection) {
  connection.on("packet", ({ type, data }) => {
    seen.packets.push({ type, data: Buffer.isBuffer(data) ? { base64: data.toString("base64") } : data });
  });
}

// The record of a transport: each request, the TLS data of its sender, and the messages of WebSockets.
function recordRequests(server, engine) {
  const keep = (request) => {
    const { method, url, headers, socket } = request;
    const tls = socket.encrypted && { name: socket.servername, subject: socket.getPeerCertificate().subject?.O };
    const kept = { method, url, headers, tls, body: "" };
    seen.requests.push(kept);
    return kept;
  };
  // A listener of "upgrade" must respond itself if there is no other one.
  if (server.listenerCount("upgrade")) server.prependListener("upgrade", keep);
  server.prependListener("request", (request) => {
    const kept = keep(request);
    // Not for a GET: if its body is read, the server regards its end as the end of the stream.
    if (request.method === "POST") request.on("data", (data) => (kept.body += data.toString("latin1")));
  });
  engine.on("connection", (connection) => {
    const listen = ({ socket }) => socket?.on("message", (data, binary) => seen.messages.push([binary, data.toString("latin1")]));
    listen(connection.transport);
    connection.on("upgrade", listen);
  });
}

for (const name of ["/", "/chat", "/auth"]) io.of(name).on("connection", welcome);
io.of("/auth").use(guard);
if (config.record) io.engine.on("connection", recordPackets);
if (config.requests) recordRequests(server, io.engine);
if (io.engine) io.engine.on("connection_error", ({ code, message, context }) => note("refused", code, message, context));

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { cmd, ...args } = JSON.parse(line);
    console.log(JSON.stringify(COMMANDS[cmd](args) ?? null));
  })
  .on("close", () => process.exit(0));

const place = config.socket ? { path: config.socket } : { port: config.port ?? 0, host: config.host ?? "127.0.0.1" };
server.listen(place, () => {
  console.log(JSON.stringify({ port: server.address().port ?? 0 }));
});
