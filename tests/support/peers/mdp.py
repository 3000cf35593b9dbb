#!/usr/bin/python3
"""A client and a worker of Majordomo, written to RFC 7 (0.1) and RFC 18 (0.2) and to nothing else.

  mdp.py client KEYFILE 1|2                     a line {"service": s, "body": [...]} in, a line
                                                {"partial": [[...]], "final": [...]} out; null: no answer
  mdp.py worker KEYFILE 1|2 SERVICE NAME SECONDS   a heartbeat every so many seconds; a line for each
                                                event out: "registered", "disconnected", "request"

The first frame of a request says what the worker does: echo, who, parts, slow MS.  Frames are latin-1.
mdp.mjs is the same in another language."""
import json
import sys
import time

import yaml
import zmq

LIVENESS = 4  # missed heartbeats that make the broker gone
ANSWER_SECONDS = 20
SEND_MS = 500

HEADS = {1: ([b""], b"MDPC01", b"MDPW01"), 2: ([], b"MDPC02", b"MDPW02")}
COMMANDS = {1: dict(READY=1, REQUEST=2, FINAL=3, HEARTBEAT=4, DISCONNECT=5),
            2: dict(READY=1, REQUEST=2, PARTIAL=3, FINAL=4, HEARTBEAT=5, DISCONNECT=6)}


def tell(what):
    print(json.dumps(what), flush=True)


def text(frames):
    return [f.decode("latin-1") for f in frames]


def octets(texts):
    return [t.encode("latin-1") for t in texts]


def connect(context, kind, path):
    with open(path, encoding="utf-8") as f:
        key = yaml.safe_load(f)
    socket = context.socket(kind)
    socket.linger, socket.sndtimeo = 0, SEND_MS
    socket.curve_serverkey = key["broker"].encode()
    socket.curve_publickey = key["public"].encode()
    socket.curve_secretkey = key["secret"].encode()
    socket.connect(key["endpoints"][0])
    return socket


# ---- client ----

def ask(context, path, version, service, body):
    """RFC 7 wants a REQ, which makes the empty frame; RFC 18 a DEALER, which makes none."""
    socket = connect(context, zmq.REQ if version == 1 else zmq.DEALER, path)
    try:
        head = [b"MDPC01"] if version == 1 else [b"MDPC02", b"\x01"]
        socket.send_multipart(head + [service] + body)
        partial = []
        while socket.poll(ANSWER_SECONDS * 1000):
            frames = socket.recv_multipart()
            assert frames[:1] == head[:1] and frames[len(head)] == service, frames
            rest = text(frames[len(head) + 1:])
            assert rest, frames
            if version == 1 or frames[1] == b"\x03":
                return {"partial": partial, "final": rest}
            assert frames[1] == b"\x02", frames
            partial.append(rest)
        return None
    finally:
        socket.close()


def client(path, version):
    context = zmq.Context()
    for line in sys.stdin:
        wanted = json.loads(line)
        tell(ask(context, path, version, wanted["service"].encode(), octets(wanted["body"])))


# ---- worker ----

class Worker:
    def __init__(self, path, version, service, name, interval):
        self.context = zmq.Context()
        self.path, self.version, self.service, self.name = path, version, service.encode(), name
        self.interval, self.socket = interval, None
        self.connect()

    def connect(self):
        """A new socket each time: to the broker it is a new worker."""
        if self.socket:
            self.socket.close()
        self.socket = connect(self.context, zmq.DEALER, self.path)
        self.heard = self.said = time.monotonic()
        self.registered = False
        self.send("READY", self.service)

    def send(self, command, *rest):
        empty, _, name = HEADS[self.version]
        try:
            self.socket.send_multipart([*empty, name, bytes([COMMANDS[self.version][command]]), *rest])
        except zmq.Again:  # nobody there: silence will tell
            pass
        self.said = time.monotonic()

    def receive(self, seconds):
        """(command, rest), or None after that time; the heartbeats go on meanwhile."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if now - self.said >= self.interval:
                self.send("HEARTBEAT")
            if now - self.heard > LIVENESS * self.interval:
                tell("disconnected")
                self.connect()
            if now >= end:
                return None
            if self.socket.poll(max(1, min(self.interval, end - now) * 1000)):
                break
        frames = self.socket.recv_multipart()
        empty, _, name = HEADS[self.version]
        assert frames[:len(empty) + 1] == [*empty, name], frames
        self.heard = time.monotonic()
        rest = frames[len(empty) + 1:]
        command = next(c for c, n in COMMANDS[self.version].items() if rest[0] == bytes([n]))
        return command, rest[1:]

    def wait(self, seconds):
        """Busy, but not silent."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.receive(end - time.monotonic())

    def work(self, address, body):
        def say(command, *frames):
            self.send(command, address, b"", *frames)
        what = body[0]
        if what == b"echo":
            say("FINAL", *body[1:])
        elif what == b"who":
            say("FINAL", self.name.encode())
        elif what == b"parts":
            for part in body[1:-1]:
                say("PARTIAL", part)
            say("FINAL", body[-1])
        elif what == b"slow":
            self.wait(int(body[1]) / 1000)
            say("FINAL", self.name.encode())
        else:
            say("FINAL", b"what?")

    def run(self):
        while True:
            got = self.receive(60)
            if not got:
                continue
            command, rest = got
            if not self.registered and command != "DISCONNECT":
                self.registered = True
                tell("registered")
            if command == "REQUEST":
                assert rest[1] == b"" and len(rest) > 2, rest
                tell("request")
                self.work(rest[0], rest[2:])
            elif command == "DISCONNECT":
                tell("disconnected")
                self.connect()


def main():
    what, path, version, *rest = sys.argv[1:]
    if what == "client":
        client(path, int(version))
    else:
        service, name, interval = rest
        Worker(path, int(version), service, name, float(interval)).run()


main()
