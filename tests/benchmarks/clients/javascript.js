/*
 * The JavaScript client on Node: the scenarios of scenarios.py, and the measurement of task.py.
 */

"use strict";

const task = JSON.parse(process.argv[2]);

const COUNTERS = {
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return [(user + system) / 1e6, system / 1e6];
  },
  memory: () => {
    global.gc();
    return [process.memoryUsage.rss(), 0];
  },
};

// Each prepares and returns its work.
const SCENARIOS = {
  ack: async () => {
    const socket = await open();
    const worker = async (count) => {
      for (let i = 0; i < count; i++) await socket.emitWithAck("echo_ack", payload);
    };
    return (count) => Promise.all(Array.from({ length: task.in_flight }, () => worker(count / task.in_flight)));
  },

  receive: async () => {
    const socket = await open();
    let left, done;
    socket.on("n", () => {
      if (--left === 0) done();
    });
    return (count) => {
      left = count;
      socket.emit("burst", [count, payload]);
      return new Promise((resolve) => (done = resolve));
    };
  },

  emit: async () => {
    const socket = await open();
    return async (count) => {
      for (let i = 0; i < count; i++) socket.emit("n", payload);
      const counted = await socket.emitWithAck("count", true);
      if (counted !== count) throw new Error(`the server got ${counted} of ${count} events`);
    };
  },

  connect: async () => {
    const opened = [];
    return async (count) => {
      for (let i = 0; i < count; i++) opened.push(await open());
    };
  },
};

function open() {
  const { io } = require("socket.io-client");
  const socket = io(task.url, { forceNew: true, transports: [task.transport] });
  return new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(socket));
    socket.on("connect_error", reject);
  });
}

async function main() {
  const work = await SCENARIOS[task.scenario]();
  await work(task.warmup);
  const counter = COUNTERS[task.metric];
  const start = counter();
  const began = performance.now();
  await work(task.count);
  const seconds = (performance.now() - began) / 1000;
  const [value, system] = counter().map((end, index) => (end - start[index]) / task.count);
  console.log(JSON.stringify({ value, system, rate: task.count / seconds }));
  process.exit(0);
}

const bytes = Buffer.from(Uint8Array.from({ length: task.size }, (_, index) => index));
const payload = task.size ? bytes : { id: 12345, kind: "price", values: [1.25, 40] };
main();
