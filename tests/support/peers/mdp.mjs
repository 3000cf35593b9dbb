// A client and a worker of Majordomo, written to RFC 7 (0.1) and RFC 18 (0.2) and to nothing else: see
// mdp.py, which says how it is called.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Dealer, Request } from "zeromq";

const LIVENESS = 4; // missed heartbeats that make the broker gone
const ANSWER_MS = 20000;
const SEND_MS = 500;

const COMMANDS = {
  1: { READY: 1, REQUEST: 2, FINAL: 3, HEARTBEAT: 4, DISCONNECT: 5 },
  2: { READY: 1, REQUEST: 2, PARTIAL: 3, FINAL: 4, HEARTBEAT: 5, DISCONNECT: 6 },
};

const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const text = (frames) => frames.map((f) => f.toString("latin1"));
const octets = (texts) => texts.map((t) => Buffer.from(t, "latin1"));
const same = (frame, wanted) => Buffer.compare(frame, Buffer.from(wanted, "latin1")) === 0;
const expect = (holds, frames) => {
  if (!holds) throw new Error(`not expected: ${JSON.stringify(text(frames))}`);
};

// The key file is four lines of YAML; a list is written "- item".
function readKey(path) {
  const key = { endpoints: [] };
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const item = /^\s*-\s*(.+?)\s*$/.exec(line);
    const field = /^(\w+):\s*(.*?)\s*$/.exec(line);
    const plain = (t) => t.replace(/^(["'])(.*)\1$/, "$2");
    if (item) key.endpoints.push(plain(item[1]));
    else if (field && field[2].startsWith("["))
      key.endpoints.push(...field[2].slice(1, -1).split(",").map((t) => plain(t.trim())));
    else if (field && field[2]) key[field[1]] = plain(field[2]);
  }
  return key;
}

function connect(Kind, path, more = {}) {
  const key = readKey(path);
  const socket = new Kind({
    linger: 0, sendTimeout: SEND_MS, curveServerKey: key.broker, curvePublicKey: key.public, curveSecretKey: key.secret, ...more,
  });
  socket.connect(key.endpoints[0]);
  return socket;
}

// ---- client ----

async function ask(path, version, service, body) {
  const socket = connect(version === 1 ? Request : Dealer, path, { receiveTimeout: ANSWER_MS });
  const head = version === 1 ? ["MDPC01"] : ["MDPC02", Buffer.from([1])];
  const partial = [];
  try {
    await socket.send([...head, service, ...body]);
    for (;;) {
      const frames = await socket.receive();
      expect(same(frames[0], head[0]) && same(frames[head.length], service), frames);
      const rest = text(frames.slice(head.length + 1));
      expect(rest.length > 0, frames);
      if (version === 1 || frames[1][0] === 3) return { partial, final: rest };
      expect(frames[1][0] === 2, frames);
      partial.push(rest);
    }
  } catch (e) {
    if (e.code === "EAGAIN") return null;
    throw e;
  } finally {
    socket.close();
  }
}

async function client(path, version) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { service, body } = JSON.parse(line);
    tell(await ask(path, version, service, octets(body)));
  }
}

// ---- worker ----

class Worker {
  constructor(path, version, service, name, interval) {
    Object.assign(this, { path, version, service, name, interval });
  }

  async connect() { // a new socket each time: to the broker it is a new worker
    this.socket?.close();
    this.socket = connect(Dealer, this.path);
    this.heard = Date.now();
    this.registered = false;
    await this.send("READY", this.service);
  }

  async send(command, ...rest) {
    const head = this.version === 1 ? ["", "MDPW01"] : ["MDPW02"];
    this.said = Date.now();
    try {
      await this.socket.send([...head, Buffer.from([COMMANDS[this.version][command]]), ...rest]);
    } catch (e) { // nobody there: silence will tell
      if (e.code !== "EAGAIN") throw e;
    }
  }

  // [command, ...rest], or null after that time; the heartbeats go on meanwhile.
  async receive(ms) {
    const end = Date.now() + ms;
    for (;;) {
      const now = Date.now();
      if (now - this.said >= this.interval) await this.send("HEARTBEAT");
      if (now - this.heard > LIVENESS * this.interval) {
        tell("disconnected");
        await this.connect();
      }
      if (now >= end) return null;
      this.socket.receiveTimeout = Math.max(1, Math.min(this.interval, end - now));
      try {
        return this.understand(await this.socket.receive());
      } catch (e) {
        if (e.code !== "EAGAIN") throw e;
      }
    }
  }

  understand(frames) {
    const head = this.version === 1 ? ["", "MDPW01"] : ["MDPW02"];
    expect(head.every((wanted, i) => same(frames[i], wanted)), frames);
    this.heard = Date.now();
    const rest = frames.slice(head.length);
    const command = Object.entries(COMMANDS[this.version]).find(([, n]) => n === rest[0][0]);
    expect(command && rest[0].length === 1, frames);
    return [command[0], ...rest.slice(1)];
  }

  async work(address, body) {
    const say = (command, ...frames) => this.send(command, address, "", ...frames);
    const what = body[0].toString();
    if (what === "echo") {
      await say("FINAL", ...body.slice(1));
    } else if (what === "who") {
      await say("FINAL", this.name);
    } else if (what === "parts") {
      for (const part of body.slice(1, -1)) await say("PARTIAL", part);
      await say("FINAL", body.at(-1));
    } else if (what === "slow") { // busy, but not silent
      for (const end = Date.now() + Number(body[1]); Date.now() < end;) await this.receive(end - Date.now());
      await say("FINAL", this.name);
    } else {
      await say("FINAL", "what?");
    }
  }

  async run() {
    await this.connect();
    for (;;) {
      const got = await this.receive(60000);
      if (!got) continue;
      const [command, address, empty, ...body] = got;
      if (!this.registered && command !== "DISCONNECT") {
        this.registered = true;
        tell("registered");
      }
      if (command === "REQUEST") {
        expect(empty.length === 0 && body.length > 0, got.slice(1));
        tell("request");
        await this.work(address, body);
      } else if (command === "DISCONNECT") {
        tell("disconnected");
        await this.connect();
      }
    }
  }
}

const [what, path, version, service, name, seconds] = process.argv.slice(2);
if (what === "client") await client(path, Number(version));
else await new Worker(path, Number(version), service, name, Number(seconds) * 1000).run();
