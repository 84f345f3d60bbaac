/*
 * The JavaScript side of the differential tests: runs scenarios with `socket.io-client` for Node.
 *
 *     node javascript.js < scenarios.json > outcomes.json
 *
 * Rules of this file:
 *
 * - The scenarios are read as a JSON object by name. The outcomes are written as one with the same names.
 * - ours.py is its counterpart, and documents the steps and the log.
 * - Several scenarios run at a time, each against its own server. Those that are `alone` run one by one at the
 *   end, since they use state of the client that is shared by the whole process.
 * - An error is logged by its kind, which is derived from the message of the JavaScript client: see `describeError`.
 */

"use strict";

const { spawn } = require("node:child_process");
const path = require("node:path");
const readline = require("node:readline");

const peers = require("node:module").createRequire(path.join(__dirname, "../peers/package.json"));
const { io, Manager } = peers("socket.io-client");

const AT_A_TIME = 8;
const PATIENCE = 8000;

class Server {
  constructor() {
    this.process = spawn(process.execPath, [path.join(__dirname, "server.js")], { stdio: ["pipe", "pipe", "inherit"] });
    this.process.on("exit", () => fail("the server ended"));
    this.waiting = [() => {}]; // the first line only says that it is there
    readline.createInterface({ input: this.process.stdout }).on("line", (line) =>
      this.waiting.shift()(JSON.parse(line)),
    );
  }

  ask(cmd, args) {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.process.stdin.write(JSON.stringify({ cmd, ...args }) + "\n");
    });
  }
}

class Play {
  constructor(server, scenario) {
    this.server = server;
    this.scenario = scenario;
    this.log = [];
    this.taken = new Set();
    this.sockets = new Map();
    this.managers = new Map();
    this.handlers = new Map();
    this.changed = () => {};
  }

  async run() {
    const { cell, port } = await this.server.ask("open", this.scenario.server);
    this.cell = cell;
    this.url = `http://127.0.0.1:${port}`;
    for (const step of this.scenario.steps) {
      const done = this.step(step);
      if (done?.then) await done;
    }
    await this.end();
    return { saw: this.log, ...(await this.server.ask("record", { cell })) };
  }

  step([verb, ...args]) {
    const method = `do_${verb}`;
    if (!(method in this)) throw new Error(`there is no step ${verb}`);
    try {
      return this[method](...args);
    } catch (error) {
      this.put("raised", verb, describeError(error));
    }
  }

  put(...entry) {
    this.log.push(JSON.parse(JSON.stringify(entry.map(encode))));
    this.changed();
  }

  // Take the first entry that begins like this and was not taken before.
  async do_wait(...pattern) {
    const matches = (entry, index) =>
      !this.taken.has(index) && pattern.every((part, i) => JSON.stringify(part) === JSON.stringify(entry[i]));
    const deadline = Date.now() + PATIENCE;
    while (!this.log.some(matches)) {
      if (Date.now() > deadline) {
        throw new Error(`timed out waiting for ${JSON.stringify(pattern)}; log: ${JSON.stringify(this.log)}`);
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.changed = () => resolve(clearTimeout(timer));
      });
    }
    this.taken.add(this.log.findIndex(matches));
  }

  async until(condition) {
    const deadline = Date.now() + PATIENCE;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`timed out waiting; log: ${JSON.stringify(this.log)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  // Creating

  do_io(name, namespace = "/", options = {}) {
    this.addSocket(name, io(this.url + namespace, this.options(options, name)));
  }

  do_manager(name, options = {}) {
    const manager = new Manager(this.url, this.options(options, name));
    this.managers.set(name, manager);
    this.watch(manager, name);
  }

  do_socket(name, manager, namespace = "/", options = {}) {
    this.addSocket(name, this.managers.get(manager).socket(namespace, this.own(options, name)));
  }

  options(options, name) {
    return { ...this.own({ ...this.scenario.options, ...options }, name) };
  }

  own(options, name) {
    options = structuredClone(options);
    if (Array.isArray(options.auth)) options.auth = this.asker(name, options.auth);
    return options;
  }

  // Return a function that returns each of these once, and then the last one again.
  asker(name, values) {
    let asked = 0;
    return (answer) => {
      const value = values[Math.min(asked++, values.length - 1)];
      this.put(name, "asked for auth");
      answer(value);
    };
  }

  addSocket(name, socket) {
    const known = [...this.sockets.values()].includes(socket);
    this.sockets.set(name, socket);
    if (known) return;
    const state = () => (this.scenario.active === false ? [] : [socket.active ? "active" : "inactive"]);
    socket.on("connect", () => this.put(name, "connect", ...(socket.recovered ? ["recovered"] : [])));
    socket.on("connect_error", (error) => this.put(name, "connect_error", describeError(error), ...state()));
    socket.on("disconnect", (reason, details) => {
      this.put(name, "disconnect", reason, describeDetails(details), ...state());
    });
    const values = (args) => args.filter((arg) => typeof arg !== "function"); // without what acknowledges
    if (!this.scenario.quiet) socket.onAny((...args) => this.put(name, ...values(args)));
    if (![...this.managers.values()].includes(socket.io)) {
      const manager = this.managers.has("manager") ? `manager of ${name}` : "manager";
      this.managers.set(manager, socket.io);
      this.watch(socket.io, manager);
    }
  }

  watch(manager, name) {
    if (this.scenario.watch?.includes("manager")) {
      for (const event of ["open", "ping", "reconnect", "reconnect_attempt", "reconnect_failed"]) {
        manager.on(event, (...args) => this.put(name, event, ...args));
      }
      for (const event of ["error", "reconnect_error"]) {
        manager.on(event, (error) => this.put(name, event, describeError(error)));
      }
      manager.on("close", (reason, details) => this.put(name, "close", reason, describeDetails(details)));
    }
    if (this.scenario.watch?.includes("engine")) this.watchEngine(name);
  }

  watchEngine(name) {
    const { engine } = this.managers.get(name);
    const watches = (what) => this.scenario.watch.includes(what);
    // Whether a handler of `open` is called before the Manager reacts to it depends on which was registered first.
    engine.on("open", () => watches("packets") || watches("flow") || this.put("engine", "open"));
    for (const event of ["upgrading", "upgrade"]) {
      engine.on(event, (transport) => this.put("engine", event, transport.name));
    }
    engine.on("upgradeError", (error) => this.put("engine", "upgradeError", describeError(error)));
    engine.on("close", (reason) => this.put("engine", "close", reason));
    for (const event of ["packet", "packetCreate"]) {
      engine.on(event, ({ type, data }) => {
        if (watches("packets") && !["ping", "pong"].includes(type)) {
          this.put("engine", event, type, ...(type === "open" || data === undefined ? [] : [data]));
        }
      });
    }
    for (const event of ["flush", "drain"]) {
      engine.on(event, () => watches("flow") && this.put("engine", event));
    }
  }

  // Sending

  do_emit(how, event, ...args) {
    const { socket = "socket", ack, ...flags } = typeof how === "string" ? { socket: how } : how;
    if (ack !== undefined) args.push((...values) => this.put("ack", ack, ...values.map(describe)));
    this.flagged(socket, flags).emit(event, ...args);
  }

  do_send(how, ...args) {
    const { socket = "socket", ack, ...flags } = typeof how === "string" ? { socket: how } : how;
    if (ack !== undefined) args.push((...values) => this.put("ack", ack, ...values.map(describe)));
    this.flagged(socket, flags).send(...args);
  }

  async do_ask(how, event, ...args) {
    const { socket = "socket", ...flags } = typeof how === "string" ? { socket: how } : how;
    try {
      const promise = this.flagged(socket, flags).emitWithAck(event, ...args);
      this.put("answer", await promise);
    } catch (error) {
      this.put("answer", describeError(error));
    }
  }

  flagged(name, flags) {
    let socket = this.sockets.get(name);
    if (flags.volatile) socket = socket.volatile;
    if ("compress" in flags) socket = socket.compress(flags.compress);
    if ("timeout" in flags) socket = socket.timeout(flags.timeout);
    const send = (method) => (...args) => socket[method](...args.map(decode));
    return { emit: send("emit"), send: send("send"), emitWithAck: send("emitWithAck") };
  }

  // Handlers

  do_on(name, event, label, { once = false, reply, steps = [] } = {}) {
    const handler = (...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      this.put(label, ...(LIFECYCLE.has(event) ? [] : args));
      for (const step of steps) this.step(step);
      if (reply !== undefined) ack(...reply.map(decode));
    };
    this.handlers.set(label, handler);
    const target = this.sockets.get(name) ?? this.managers.get(name);
    if (once) target.once(event, handler);
    else target.on(event, handler);
  }

  do_off(name, event, label) {
    const args = [event, this.handlers.get(label)].filter((arg) => arg !== undefined && arg !== null);
    (this.sockets.get(name) ?? this.managers.get(name)).off(...args);
  }

  do_on_any(name, label, { method = "onAny", steps = [] } = {}) {
    const handler = (...args) => {
      this.put(label, ...args.map((arg) => (typeof arg === "function" ? "(function)" : arg)));
      for (const step of steps) this.step(step);
    };
    this.handlers.set(label, handler);
    this.sockets.get(name)[method](handler);
  }

  do_off_any(name, label, { method = "offAny" } = {}) {
    this.sockets.get(name)[method](this.handlers.get(label));
  }

  // Connecting and disconnecting

  do_connect(name) {
    this.sockets.get(name).connect();
  }

  do_disconnect(name) {
    this.sockets.get(name).disconnect();
  }

  do_open(name, label) {
    this.managers.get(name).open((error) => this.put(label, error ? describeError(error) : "open"));
  }

  do_close(name) {
    this.managers.get(name)._close();
  }

  do_close_engine(name) {
    this.managers.get(name).engine.close();
  }

  do_set(name, property, value) {
    const socket = this.sockets.get(name);
    if (socket) socket[property] = value;
    else this.managers.get(name)[property](value);
  }

  do_is(name, ...properties) {
    const socket = this.sockets.get(name);
    const manager = this.managers.get(name);
    const look = socket ? (property) => SOCKET[property](socket) : (property) => MANAGER[property](manager);
    this.put(name, "is", Object.fromEntries(properties.map((property) => [property, look(property)])));
  }

  do_same(first, second) {
    const [one, two] = [this.sockets.get(first), this.sockets.get(second)];
    this.put("same", { socket: one === two, manager: one.io === two.io });
  }

  // The server, and time

  do_server(cmd, args = {}) {
    return this.until(async () => (await this.server.ask(cmd, { cell: this.cell, ...args })) !== false);
  }

  do_seen(event, count = 1) {
    return this.until(async () => (await this.server.ask("seen", { cell: this.cell, event })) >= count);
  }

  do_transport(name) {
    return this.until(() => this.managers.get("manager").engine.transport?.name === name);
  }

  do_pass(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  do_note(...words) {
    this.put("note", ...words);
  }

  // Disconnect as an application does, so that the last events are in the record, too.
  async end() {
    for (const [name, socket] of this.sockets) {
      if (socket.connected) {
        socket.disconnect();
        await this.do_wait(name, "disconnect", "io client disconnect");
      }
    }
    this.put = () => {};
    for (const socket of this.sockets.values()) socket.disconnect();
    for (const manager of this.managers.values()) manager._close();
    await this.until(async () => (await this.server.ask("clients", { cell: this.cell })) === 0);
  }
}

const LIFECYCLE = new Set(["connect", "connect_error", "disconnect"]);

const SOCKET = {
  connected: (socket) => socket.connected,
  disconnected: (socket) => socket.disconnected,
  active: (socket) => socket.active,
  recovered: (socket) => Boolean(socket.recovered),
  id: (socket) => socket.id ?? null,
  nsp: (socket) => socket.nsp,
  listeners: (socket) => socket.listeners("event").length,
  listenersAny: (socket) => socket.listenersAny().length,
  listenersAnyOutgoing: (socket) => socket.listenersAnyOutgoing().length,
};

const MANAGER = {
  reconnection: (manager) => manager.reconnection(),
  reconnectionAttempts: (manager) => manager.reconnectionAttempts(),
  reconnectionDelay: (manager) => manager.reconnectionDelay(),
  reconnectionDelayMax: (manager) => manager.reconnectionDelayMax(),
  randomizationFactor: (manager) => manager.randomizationFactor(),
  timeout: (manager) => manager.timeout(),
  transport: (manager) => manager.engine.transport.name,
  engineId: (manager) => manager.engine.id,
};

// Return what is logged for a value. Bytes are written as in the scenarios.
function encode(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("hex") };
  if (Array.isArray(value)) return value.map(encode);
  if (value === undefined) return null;
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item)]));
  }
  return value;
}

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "hex");
  if ("$number" in value) return Number(value.$number);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
}

function describe(value) {
  return value instanceof Error ? describeError(value) : value;
}

const ERRORS = {
  "operation has timed out": { error: "ack timeout" },
  "socket has been disconnected": { error: "disconnected" },
  timeout: { error: "open timeout" },
  "server error": { error: "transport", status: null, body: null },
};

function describeError(error) {
  if (error.type === "TransportError") {
    const status = error.description > 0 ? error.description : null;
    const body = status === null ? null : error.context.responseText;
    return { error: "transport", status, body };
  }
  if (error.message in ERRORS) return ERRORS[error.message];
  if (error.message.startsWith("probe error")) return { error: "probe" };
  if (error.message.endsWith("is a reserved event name")) return { error: "reserved name" };
  return { error: "refused", message: error.message ?? null, data: error.data ?? null };
}

// The details of `disconnect` and `close`: none, an error of the parser, or the error of the transport.
function describeDetails(details) {
  if (details === undefined) return null;
  if (details.type === "TransportError" || "description" in details || "code" in details) return "transport";
  return "parse error";
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

async function main() {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const scenarios = Object.entries(JSON.parse(text));
  const server = new Server();
  const outcomes = {};
  let playing;
  const run = async ([name, scenario]) => {
    try {
      playing = new Play(server, scenario);
      outcomes[name] = await playing.run();
    } catch (error) {
      outcomes[name] = { failed: error.stack };
    }
  };
  const together = scenarios.filter(([, scenario]) => !scenario.alone);
  const work = async () => {
    while (together.length) await run(together.shift());
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  // An uncaught exception ends the process, unless it is known from which scenario it is.
  process.on("uncaughtException", (error) => playing.put("uncaught", error.name));
  for (const one of scenarios.filter(([, scenario]) => scenario.alone)) await run(one);
  process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
}

main();
