"""Honest clients and workers of the broker, all in one thread, and their account of what they were told.

They share no code with the broker.  Each life of the broker has a number (`Load.life`), which who kills it
raises before the next one starts; then everybody connects anew and sends again what had no answer."""
import hashlib
import os
import random
import struct
import threading
import time

import zmq

from peer import CLIENT, WORKER

READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = (bytes([n]) for n in range(1, 6))
IN_FLIGHT = 16   # puts of one client
PARTS_EVERY = 4  # of our own programs' items, one in so many has parts
BEAT, CREDIT = 0.3, b"32"
AGAIN = 3  # seconds without an answer


class Account:
    """One line for each thing that happened, in that order:

        put ID KIND     a client sends it (again); KIND is own or guest
        acked ID        answered 200
        refused ID STATUS
        given ID FENCE  to a worker, which does it
        spoilt ID       what the worker got is not what was put
        settled ID
        asks MARK, asked UUID, replied UUID STATUS MARK    through Titanic"""

    def __init__(self, path):
        self.path, self.lines = path, []
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, *words):
        self.lines.append(" ".join(words))

    def save(self):
        if self.lines:
            os.write(self.fd, ("\n".join(self.lines) + "\n").encode())
            os.fsync(self.fd)
            self.lines = []

    def rows(self):
        with open(self.path) as f:
            return [line.split() for line in f]


class Party:
    """A DEALER, and a new one for each life of the broker: what was on its way then is gone."""
    context = zmq.Context()

    def __init__(self, load, endpoint, server, secret):
        self.load, self.account, self.socket = load, load.account, None
        self.endpoint, self.server, self.secret = endpoint, server, secret

    def connect(self):
        if self.socket:
            self.socket.close(0)
        self.socket = self.context.socket(zmq.DEALER)
        self.open()

    def open(self):
        self.socket.linger, self.socket.reconnect_ivl = 0, 20
        self.socket.curve_serverkey, self.socket.curve_secretkey = self.server, self.secret
        self.socket.curve_publickey = zmq.curve_public(self.secret)
        self.socket.connect(self.endpoint)
        self.start_over()

    def say(self, *frames):
        self.socket.send_multipart(frames)

    def call(self, service, *body):
        self.say(b"", CLIENT, service, *body)

    def hear(self):
        while self.socket.poll(0):
            self.take(self.socket.recv_multipart())

    def start_over(self):
        """Nothing of what was not answered is known to have been heard."""

    def speak(self, now):
        """What is due, once everything heard is on disk."""


class Put:
    """One on its way: its parts, then "close"."""

    def __init__(self, kind, service, parts):
        self.kind, self.service, self.id = kind, service, os.urandom(16)
        self.payload = self.id * random.randint(1, 60)
        self.parts = [self.id + bytes([n]) * random.randint(1, 20000) for n in range(parts)]
        self.sent_at, self.open, self.seen = None, 0, 0

    def header(self):
        print_of = hashlib.sha256(self.payload).digest()
        return b"".join((b"\x01", bytes([self.id[0] % 2]), self.id, self.attempt if self.parts else bytes(16),
                         struct.pack(">I", len(self.parts)), self.id, self.id, print_of,
                         bytes([len(self.service)]), self.service))

    def send(self, party):
        self.open, self.attempt = len(self.parts), os.urandom(16)
        for n, part in enumerate(self.parts):
            party.call(b"queue.put", self.id, b"part", self.attempt, struct.pack(">I", n), part)
        if not self.parts:
            self.close(party)

    def close(self, party):
        self.seen = len(party.load.unsettled)
        party.account.note("put", self.id.hex(), self.kind)
        party.call(b"queue.put", self.id, b"close", self.header(), self.payload)


class Putter(Party):
    def __init__(self, load, kind, service, *where):
        super().__init__(load, *where)
        self.kind, self.service, self.puts, self.made = kind, service, {}, 0

    def take(self, frames):
        put = self.puts.get(frames[3])
        if not put:
            return  # answered twice, as it was put twice
        status = frames[4]
        if put.open and status == b"200":
            put.open -= 1
            if not put.open:
                put.close(self)
        elif status == b"200":
            self.account.note("acked", put.id.hex())
            self.load.settle(put)
            del self.puts[put.id]
        elif status == b"409" or put.open:
            put.sent_at = None  # its parts died with the broker before
        else:
            self.account.note("refused", put.id.hex(), status.decode())
            del self.puts[put.id]

    def speak(self, now):
        while len(self.puts) < IN_FLIGHT and not self.load.closing:
            self.made += 1
            parts = random.randint(1, 4) if self.kind == "own" and self.made % PARTS_EVERY == 0 else 0
            put = Put(self.kind, self.service, parts)
            self.puts[put.id] = put
        for put in self.puts.values():
            if not put.sent_at or now - put.sent_at > AGAIN:
                put.sent_at = now
                put.send(self)

    def start_over(self):
        for put in self.puts.values():
            put.sent_at = None


class Asker(Party):
    """Through Titanic.  What had no answer is asked again, and may have two UUIDs then."""
    PAUSE = 0.02

    def __init__(self, load, service, *where):
        super().__init__(load, *where)
        self.service, self.uuids, self.mark, self.asked_at = service, [], None, 0

    def take(self, frames):
        if frames[2:4] == [b"titanic.request", b"200"]:
            self.account.note("asked", frames[4].decode())
            self.uuids.append(frames[4])
            self.mark = None

    def speak(self, now):
        waited = now - self.asked_at
        if self.mark:
            if waited < AGAIN:
                return
        elif self.load.closing or waited < self.PAUSE:
            return
        self.mark = self.mark or os.urandom(8).hex()
        self.account.note("asks", self.mark)
        self.call(b"titanic.request", self.service, self.mark.encode())
        self.asked_at = now

    def start_over(self):
        self.asked_at = 0


class Worker(Party):
    def __init__(self, load, service, *where):
        super().__init__(load, *where)
        self.service, self.said_at = service, 0

    def start_over(self):
        self.registered, self.ready_at, self.replies = False, None, []
        self.reading, self.done, self.barrier = {}, [], None

    def take(self, frames):
        if frames[1] == CLIENT:
            self.answered(frames[2], frames[3:])
        elif frames[2] == REQUEST:
            self.given(frames[3], frames[5:])
        elif frames[2] == DISCONNECT:
            self.start_over()
        else:
            self.registered = True

    def given(self, address, body):
        """An item is header and payload.  A call or a request through Titanic is what was asked."""
        if len(address) != 24 or len(body) != 2:
            self.replies.append((address, body))
            return
        header, payload = body
        (parts,) = struct.unpack(">I", header[34:38])
        self.account.note("given", address[:16].hex(), address[16:].hex())
        if payload[:16] != address[:16] or hashlib.sha256(payload).digest() != header[70:102]:
            self.account.note("spoilt", address[:16].hex(), "payload")
        self.reading[address] = set(range(parts))
        for n in range(parts):
            number = struct.pack(">I", n)
            self.call(b"queue.part", address + number, address, number)
        self.finish_what_is_read(address)

    def finish_what_is_read(self, address):
        if not self.reading[address]:
            del self.reading[address]
            self.replies.append((address, [b"200"]))
            self.done.append(address[:16].hex())

    def answered(self, service, body):
        if service == b"mmi.service" and self.barrier:
            self.load.unsettled.append(self.barrier)
            self.barrier = None
        elif service == b"queue.part" and body[1] == b"200" and body[0][:24] in self.reading:
            address, n = body[0][:24], body[0][27]
            if body[2][:16] != address[:16] or set(body[2][16:]) != {n}:
                self.account.note("spoilt", address[:16].hex(), f"part {n}")
            self.reading[address].discard(n)
            self.finish_what_is_read(address)

    def speak(self, now):
        if not self.registered and (not self.ready_at or now - self.ready_at > AGAIN):
            self.ready_at = now
            self.say(b"", WORKER, READY, self.service, CREDIT)
        for address, body in self.replies:
            self.say(b"", WORKER, REPLY, address, b"", *body)
        self.replies = []
        want_to_know = self.done and not self.barrier
        if self.registered and (want_to_know or now - self.said_at > BEAT):
            self.said_at = now
            self.say(b"", WORKER, HEARTBEAT)  # if we are not known, DISCONNECT comes before the answer
            if want_to_know:
                self.barrier, self.done = self.done, []
                self.call(b"mmi.service", b"x")


class Load(threading.Thread):
    def __init__(self, account):
        super().__init__(daemon=True)
        self.account, self.parties, self.error = account, [], None
        self.life, self.acked = 0, 0
        self.unsettled, self.settled = [], 0  # of this life: what was answered, and how much of it is on disk
        self.closing = self.stopping = False

    def settle(self, put):
        """What was answered before this was sent is on disk, as this is."""
        self.acked += 1
        for done in self.unsettled[self.settled:put.seen]:
            for name in done:
                self.account.note("settled", name)
        self.settled = max(self.settled, put.seen)

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001
            self.error = error
            raise

    def connect(self):
        self.unsettled, self.settled = [], 0
        poller = zmq.Poller()
        for party in self.parties:
            party.connect()
            poller.register(party.socket, zmq.POLLIN)
        return poller

    def work(self):
        life = None
        while not self.stopping:
            if life != self.life:
                life = self.life
                poller = self.connect()
            ready = dict(poller.poll(20))
            for party in self.parties:
                if party.socket in ready:
                    party.hear()
            self.account.save()
            for party in self.parties:
                party.speak(time.monotonic())

    def close(self):
        for party in self.parties:
            party.socket.close(0)

    def look(self):
        if self.error:
            raise self.error

    def in_flight(self):
        return sum(len(p.puts) for p in self.parties if isinstance(p, Putter))
