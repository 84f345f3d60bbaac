/*
 * An HTTP proxy with CONNECT for the tests: it opens tunnels, refuses them, delays them, or breaks them.
 *
 *     node proxy.js '{"hosts": {"socketio.test": "127.0.0.1"}}'
 *
 * It follows the rules of server.js: it writes a line of JSON when it listens and for each command, writes information
 * for failing tests to stderr, and ends when stdin ends. The configuration, all of it optional:
 *
 *     port, host   where to listen; port 0 picks a free one
 *     tls          {"cert": file, "key": file}: the proxy itself uses TLS
 *     hosts        names that only this proxy knows, and their addresses
 *
 * The command "behave" sets the behaviour (see BEHAVIOURS). What it does not name is reset.
 */

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const readline = require("node:readline");

const BEHAVIOURS = {
  credentials: null, // "user:password" that it wants
  refusal: null, // what it writes instead of opening a tunnel, as it stands
  delay: 0, // milliseconds before it answers
  vanishes: false, // whether it closes without an answer
};

const config = JSON.parse(process.argv[2] || "{}");
const tunnels = new Set();
let behaviour = { ...BEHAVIOURS };
let requests = [];

const COMMANDS = {
  behave: (wanted) => {
    behaviour = { ...BEHAVIOURS, ...wanted };
    requests = [];
  },
  requests: () => requests.splice(0),
  tunnels: () => tunnels.size,
  cut: () => {
    for (const tunnel of tunnels) tunnel.destroy();
  },
};

const server = config.tls
  ? https.createServer({ cert: fs.readFileSync(config.tls.cert), key: fs.readFileSync(config.tls.key) })
  : http.createServer();

server.on("connect", (request, client, head) => {
  const { refusal, delay, vanishes } = behaviour;
  requests.push({ target: request.url, headers: request.headers });
  console.error("CONNECT", request.url);
  client.on("error", () => {});
  setTimeout(() => {
    if (vanishes) client.destroy();
    else if (refusal !== null) client.end(refusal);
    else if (!admits(request)) client.end(WANTS_CREDENTIALS);
    else open(request.url, client, head);
  }, delay);
});

const WANTS_CREDENTIALS =
  'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="tests"\r\n' +
  "Content-Length: 10\r\n\r\nwho is it?";

function admits(request) {
  if (behaviour.credentials === null) return true;
  const wanted = `Basic ${Buffer.from(behaviour.credentials).toString("base64")}`;
  return request.headers["proxy-authorization"] === wanted;
}

function open(target, client, head) {
  const { hostname, port } = new URL(`http://${target}`);
  const name = hostname.replace(/^\[|\]$/g, "");
  const upstream = net.connect(Number(port) || 80, config.hosts?.[name] ?? name, () => {
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    upstream.write(head);
    upstream.pipe(client).pipe(upstream);
  });
  tunnels.add(upstream);
  upstream.on("close", () => {
    tunnels.delete(upstream);
    client.destroy();
  });
  client.on("close", () => upstream.destroy());
  upstream.on("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"));
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { cmd, ...args } = JSON.parse(line);
    console.log(JSON.stringify(COMMANDS[cmd](args) ?? null));
  })
  .on("close", () => process.exit(0));

server.listen(config.port ?? 0, config.host ?? "127.0.0.1", () => {
  console.log(JSON.stringify({ port: server.address().port }));
});
