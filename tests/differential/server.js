/*
 * The servers of the differential tests: any number of `socket.io` servers in one process, a new one for each scenario.
 *
 *     node server.js
 *
 * Rules of this file:
 *
 * - Each scenario has its own server (a `Cell`), so that its record is separate, and the scenario may stop it.
 * - Commands come as JSON lines on stdin, {"cmd": name, "cell": number, ...}, and are answered in order, by a line
 *   each: see COMMANDS. It ends when its stdin does.
 * - What a client can ask for by an event is in BEHAVIOURS, the namespaces are in `open`.
 * - The record has what clients sent: the requests that open or upgrade a session, and each session's packets in order.
 *   Polls, pings and pongs are left out, because their number depends on timing.
 * - Ids are random. `ids` maps each to a label, by which the tests replace it.
 */

"use strict";

const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");

const peers = require("node:module").createRequire(path.join(__dirname, "../peers/package.json"));
const { Server } = peers("socket.io");

const SHOWN_HEADERS = /^(x-|cookie$|authorization$|sec-websocket-protocol$)/;
const HIDDEN_PARAMETERS = new Set(["sid", "t", "stamp"]);

// Behaviours that a client can request: name -> (socket, arguments without the acknowledgement, acknowledgement, cell)
const BEHAVIOURS = {
  say: (socket, args) => socket.emit(...args),
  say_volatile: (socket, args) => socket.volatile.emit(...args),
  say_twice: (socket, args) => {
    socket.emit(...args);
    socket.emit(...args);
  },
  tell_all: (socket, args) => socket.nsp.emit(...args), // broadcast, so that recovery keeps it
  count_to: (socket, [number]) => {
    for (let i = 0; i < number; i++) socket.emit("number", i);
  },
  binary: (socket, [name]) => socket.emit(name, Buffer.from([0, 1, 255]), { nested: [Buffer.from("ä"), "text"] }),

  reply: (socket, args, ack) => ack(...args),
  reply_late: (socket, [ms, ...args], ack) => setTimeout(() => ack(...args), ms),
  reply_twice: (socket, args, ack) => {
    ack(...args);
    ack("again");
  },
  reply_and_say: (socket, args, ack) => {
    socket.emit("said", ...args);
    ack(...args);
  },
  // Acknowledged when it arrives for the n-th time (or later).
  reply_to_try: (socket, [tries, name], ack, cell) => {
    const count = (cell.tries.get(name) ?? 0) + 1;
    cell.tries.set(name, count);
    if (count >= tries) ack(name);
  },
  silent: () => {},

  // The server emits an event, and sends the client's acknowledgement back as "answered".
  ask: (socket, [name, ...args]) => {
    socket.emit(name, ...args, (...answers) => socket.emit("answered", ...answers));
  },
  ask_timeout: (socket, [ms, name, ...args]) => {
    socket.timeout(ms).emit(name, ...args, (error) => socket.emit("answered", error ? "timeout" : "in time"));
  },

  kick: (socket, [close]) => socket.disconnect(Boolean(close)),
  close_engine: (socket) => socket.conn.close(),
  cut: (socket, [reset], ack, cell) => {
    if (cell.cut(reset) === false) setImmediate(() => BEHAVIOURS.cut(socket, [reset], ack, cell));
  },

  handshake: (socket, [query, ...headers], ack) => {
    const { handshake, recovered } = socket;
    ack({
      auth: handshake.auth,
      query: Object.fromEntries((query ?? []).map((name) => [name, handshake.query[name] ?? null])),
      headers: Object.fromEntries(headers.map((name) => [name, handshake.headers[name] ?? null])),
      recovered,
    });
  },
};

// Commands of a scenario, besides the events of its client. The result false means that it is too early: try again.
const COMMANDS = {
  open: async (_, config) => {
    const cell = new Cell(config);
    cells.push(cell);
    await cell.start();
    return { cell: cells.length - 1, port: cell.port };
  },
  record: (cell) => ({ requests: cell.requests, sessions: cell.sessions, ids: cell.ids() }),
  drop: (cell) => cell.drop(),
  clients: (cell) => cell.io.engine.clientsCount,
  seen: (cell, { event }) => cell.seen.get(event) ?? 0,

  start: (cell) => cell.start(),
  stop: (cell, { reset }) => cell.stop(reset),
  cut: (cell, { reset }) => cell.cut(reset),
  refuse: (cell, { times }) => {
    cell.refusals = times;
  },
  is_held: (cell, { count = 1 }) => cell.held.length >= count,
  admit: (cell) => cell.held.splice(0).forEach((next) => next()),
  deny: (cell) => cell.held.splice(0).forEach((next) => next(new Error("denied"))),

  emit: (cell, { namespace = "/", args }) => cell.io.of(namespace).emit(...args),
  kick: (cell, { namespace = "/", close = false }) => cell.io.of(namespace).disconnectSockets(close),
  close_engines: (cell) => cell.clients().forEach((connection) => connection.close()),
  // Any message, which may be an invalid Socket.IO packet, and text that is an invalid Engine.IO packet.
  message: (cell, { data }) => {
    const message = data.$bytes === undefined ? data : Buffer.from(data.$bytes, "hex");
    cell.clients().forEach((connection) => connection.write(message));
  },
  wire: (cell, { data }) => cell.wire(data),
  mute: (cell) => cell.clients().forEach((connection) => clearTimeout(connection.pingIntervalTimer)),
};

const cells = [];

/*
 * A server and its record.
 *
 * The configuration: `options` goes to the Socket.IO server; `hold: true` keeps each handshake waiting for the command
 * "admit"; `refuse: n` refuses the first n; `websocket: false` puts a proxy in front that refuses WebSocket.
 */
class Cell {
  constructor({ options = {}, hold = false, refuse = 0, websocket = true }) {
    this.requests = [];
    this.sessions = [];
    this.seen = new Map();
    this.tries = new Map();
    this.held = [];
    this.refusals = refuse;
    this.port = 0;
    this.streams = new Set();
    this.sockets = [];
    this.server = http.createServer();
    this.server.on("connection", (stream) => {
      this.streams.add(stream);
      stream.on("close", () => this.streams.delete(stream));
    });
    this.server.on("request", notFound); // what has another path than the io's
    this.io = new Server(this.server, {
      serveClient: false,
      ...options,
      allowRequest: (request, answer) => {
        if (this.refusals > 0) {
          this.refusals -= 1;
          answer("not now", false);
        } else if (hold && !request._query.sid) this.held.push(() => answer(null, true));
        else answer(null, true);
      },
    });
    if (!websocket) this.refuseWebSocket();
    this.server.prependListener("request", (request) => this.note(request, false));
    this.server.prependListener("upgrade", (request) => this.note(request, true));
    this.open();
  }

  open() {
    const { io } = this;
    io.engine.on("connection", (connection) => this.recordSession(connection));
    for (const name of ["/", "/chat", "/news", "/welcome", "/refuse", "/held", /^\/room-\d+$/]) {
      io.of(name).on("connection", (socket) => this.join(socket));
    }
    io.of("/welcome").on("connection", (socket) => socket.emit("welcome", "first", "second"));
    // Refuses as specified in `auth`.
    io.of("/refuse").use((socket, next) => {
      const { token, message = "not authorized", ...rest } = socket.handshake.auth;
      if (token === "secret") return next();
      next(Object.assign(new Error(message), rest));
    });
    // Answers on a command.
    io.of("/held").use((socket, next) => this.held.push(next));
  }

  join(socket) {
    this.sockets.push(socket);
    for (const [name, behaviour] of Object.entries(BEHAVIOURS)) {
      socket.on(name, (...args) => {
        const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
        behaviour(socket, args, ack, this);
      });
    }
    socket.onAny((name) => this.seen.set(name, (this.seen.get(name) ?? 0) + 1));
  }

  note(request, upgrade) {
    const url = new URL(request.url, "http://localhost");
    const query = Object.fromEntries(
      [...url.searchParams].map(([name, value]) => [name, HIDDEN_PARAMETERS.has(name) ? `<${name}>` : value]),
    );
    if (query.sid && !upgrade) return; // a poll
    const headers = Object.fromEntries(
      Object.entries(request.headers)
        .filter(([name]) => SHOWN_HEADERS.test(name))
        .map(([name, value]) => [name, value.split(/, */)]),
    );
    this.requests.push({ method: request.method, path: url.pathname, query, headers });
  }

  recordSession(connection) {
    const session = { id: connection.id, packets: [] };
    const put = (...entry) => session.packets.push(entry);
    const packet = ({ type, data }) => {
      if (type === "ping" || type === "pong") return;
      put(type, ...(data === undefined ? [] : [Buffer.isBuffer(data) ? { $bytes: data.toString("hex") } : data]));
    };
    this.sessions.push(session);
    put("open", connection.transport.name);
    connection.on("packet", packet);
    connection.on("upgrading", (transport) => {
      put("probe", transport.name);
      transport.on("packet", (sent) => sent.type === "upgrade" && packet(sent));
    });
    connection.on("close", (reason) => put("closed", reason));
  }

  ids() {
    const ids = {};
    const label = (kind, values) => values.forEach((value, index) => (ids[value] ??= `<${kind} ${index + 1}>`));
    label("engine", this.sessions.map((session) => session.id));
    label("socket", this.sockets.map((socket) => socket.id));
    label("pid", [...new Set(this.sockets.map((socket) => socket.pid))].filter(Boolean));
    label("offset", [...this.io._nsps.values()].flatMap(({ adapter }) => (adapter.packets ?? []).map(({ id }) => id)));
    return ids;
  }

  clients() {
    return Object.values(this.io.engine.clients);
  }

  start() {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(this.port, "127.0.0.1", () => {
        this.port = this.server.address().port;
        resolve(null);
      });
    });
  }

  // As if the process had ended: nothing listens, and no session is left.
  stop(reset) {
    const stopped = new Promise((resolve) => this.server.close(() => resolve(null)));
    this.destroy(reset);
    this.clients().forEach((connection) => connection.close(true));
    return stopped;
  }

  // The network fails. False if the server cannot send at the moment: a pending poll is cut, not a future one.
  cut(reset) {
    return this.writable && this.destroy(reset);
  }

  wire(text) {
    if (!this.writable) return false;
    for (const { transport } of this.clients()) {
      if (transport.name === "websocket") transport.socket.send(text);
      else {
        transport.writable = false;
        transport.write(text, {});
      }
    }
  }

  get writable() {
    return this.clients().every(({ transport }) => transport.writable);
  }

  destroy(reset) {
    for (const stream of this.streams) {
      if (reset) stream.resetAndDestroy();
      else stream.destroy();
    }
  }

  drop() {
    this.destroy(false);
    this.io.close();
  }

  refuseWebSocket() {
    this.server.removeAllListeners("upgrade");
    this.server.on("upgrade", (request, stream) => {
      stream.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
  }
}

function notFound(request, response) {
  response.writeHead(404, { "Content-Type": "text/plain" }).end("no such path");
}

let answered = Promise.resolve();

async function obey(line) {
  const { cmd, cell, ...args } = JSON.parse(line);
  const answer = await COMMANDS[cmd](cells[cell], args);
  console.log(JSON.stringify(answer ?? null));
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    answered = answered.then(() => obey(line));
  })
  .on("close", () => process.exit(0));

console.log(JSON.stringify({ port: 0 }));
