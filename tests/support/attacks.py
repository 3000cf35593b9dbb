#!/usr/bin/python3
"""One attack on the broker, in a process of its own, until its time is over.

    attacks.py NAME SECONDS JSON     what it takes is in the JSON; tells {what happened: how often}

It has the lowest priority: what it costs others is to be the broker's doing, and not that of a machine
with few processors."""
import collections
import contextlib
import json
import os
import random
import resource
import struct
import sys
import time

import zmq

from peer import CLIENT, WORKER
from zmtp import Raw, Refused, framed, greeting, open_socket

READY, REQUEST, REPLY, HEARTBEAT = (bytes([n]) for n in range(1, 5))
GONE = (OSError, Refused)
PATIENCE = 60  # seconds


class Attack:
    def __init__(self, seconds, given):
        self.end = time.monotonic() + seconds
        self.told = collections.Counter()
        self.wants = []
        for name, value in given.items():
            setattr(self, name, value.encode() if name in ("server", "secret", "other", "service") else value)

    def goes_on(self):
        """Until its time is over, and what is to happen to it has happened."""
        over = time.monotonic() - self.end
        return over < 0 or (over < PATIENCE and any(not self.told[what] for what in self.wants))

    def peer(self, secret=None, **more):
        """In, or counted as barred: None."""
        try:
            return Raw(self.endpoint, self.server, secret or self.secret, **more)
        except GONE:
            self.told["barred"] += 1
            time.sleep(0.02)
            return None

    def as_worker(self):
        peer = self.peer()
        if peer:
            peer.send(b"", WORKER, READY, self.service)
            peer.hear(1)
        return peer

    @contextlib.contextmanager
    def until_cut(self):
        """What is done with a connection until it ends."""
        try:
            yield
        except GONE:
            self.told["cut"] += 1

    # ---- strangers ----

    def null_and_plain(self):
        while self.goes_on():
            for mechanism in (b"NULL", b"PLAIN"):
                with self.until_cut(), open_socket(self.endpoint) as s:
                    s.sendall(greeting(mechanism))
                    body = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER" if mechanism == b"NULL" else b"\x05HELLO\1a\1b"
                    s.sendall(framed(body, 4) + framed(CLIENT))
                    while s.recv(4096):
                        pass
                    self.told["closed"] += 1

    def unknown_keys(self):
        while self.goes_on():
            peer = self.peer(zmq.curve_keypair()[1])
            if peer:
                peer.__exit__()
                self.told["got in"] += 1

    def half_open(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        said = (b"", greeting(b"CURVE")[:12], greeting(b"CURVE"))
        held = collections.deque()
        while self.goes_on():
            while len(held) < self.count:
                with self.until_cut():
                    s = open_socket(self.endpoint)
                    s.sendall(random.choice(said))
                    held.append(s)
            self.told["most held"] = len(held)
            self.end = min(self.end, time.monotonic() + 1)  # it took long enough
            for _ in range(len(held) // 20):
                held.popleft().close()

    # ---- with a key ----

    def endless(self):
        frame = bytes(self.size)
        while self.goes_on():
            peer = self.as_worker() if self.known else self.peer()
            if not peer:
                continue
            with peer, self.until_cut():
                peer.send(b"", WORKER, end=False)
                while self.goes_on():
                    peer.send(*[frame] * 16, end=False)
                    self.told["bytes"] += 16 * self.size

    def giant_frames(self):
        while self.goes_on():
            peer = self.peer()
            if not peer:
                continue
            with peer, self.until_cut():
                peer.send(b"", CLIENT, end=False)
                peer.socket.sendall(struct.pack(">BQ", 2, random.choice((64 << 20, 1 << 40, (1 << 63) - 1))))
                while self.goes_on():
                    peer.socket.sendall(bytes(1 << 16))

    def wrong_order(self):
        wrong = ([b"", WORKER, REPLY, b"a", b"", b"b"], [b"", WORKER, REQUEST, b"a", b"", b"b"],
                 [b"", WORKER, HEARTBEAT], [b"", WORKER, READY, b"filing"], [b"MDPC02", b"\3", b"echo", b"x"],
                 [b"", WORKER, READY], [b"", CLIENT], [b"x"], [b"", WORKER, READY, self.service, b"1", b"1"])
        while self.goes_on():
            peer = self.as_worker()
            if not peer:
                continue
            with peer, self.until_cut():
                while self.goes_on():
                    peer.send(*random.choice(wrong))
                    self.told["said"] += 1
                    time.sleep(0.001)

    def replies_to_nothing(self):
        """Leases and calls that another holds, or nobody: the fence is easily guessed."""
        while self.goes_on():
            peer = self.as_worker()
            if not peer:
                continue
            with peer, self.until_cut():
                while self.goes_on():
                    for fence in range(1, 4):
                        peer.send(b"", WORKER, REPLY, os.urandom(16) + struct.pack(">Q", fence), b"", b"200")
                    peer.send(b"", WORKER, REPLY, struct.pack(">Q", random.randrange(1 << 12)), b"", b"x", b"200")
                    self.told["said"] += 4

    def never_reads(self):
        """Asks for a large reply again and again."""
        while self.goes_on():
            peer = self.peer()
            if not peer:
                continue
            with peer, self.until_cut():
                while self.goes_on():
                    peer.send(b"", CLIENT, b"titanic.reply", self.uuid.encode())
                    self.told["asked"] += 1

    def same_routing_id(self):
        """Of the worker that all others are served by, while that lives: with another key, and the same."""
        while self.goes_on():
            for secret in (self.secret, self.other):
                peer = self.peer(secret, identity=b"the honest one")
                if peer:
                    with peer, self.until_cut():
                        peer.send(b"", WORKER, READY, self.service)
                        self.told["heard" if peer.hear(0.1) else "ignored"] += 1

    def puts_without_end(self):
        """More than a disk can write."""
        while self.goes_on():
            peer = self.peer()
            if not peer:
                continue
            peer.socket.setblocking(True)
            with peer, self.until_cut():
                while self.goes_on():
                    name = os.urandom(16)
                    header = (b"\1\1" + name + bytes(20) + name + bytes(48) + bytes([len(self.service)]) + self.service)
                    peer.send(b"", CLIENT, b"queue.put", name, b"close", header, *[bytes(200000)] * 8)
                    self.told["put"] += 1
                    while peer.hear(0.0001):
                        self.told["answered"] += 1


if __name__ == "__main__":
    os.nice(19)
    attack = Attack(float(sys.argv[2]), json.loads(sys.argv[3]))
    getattr(attack, sys.argv[1])()
    print(json.dumps(attack.told))
