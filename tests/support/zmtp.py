"""ZMTP 3.0 with CURVE by hand (ZeroMQ RFC 23 and 26), for peers that do what no library lets them do: begin
messages that never end, say they are somebody, read nothing.  Encryption is libsodium's."""
import ctypes
import ctypes.util
import os
import socket
import struct

from zmq.utils import z85

sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
MAC, KEY = 16, 32
COMMAND, LARGE = 4, 2
MORE = 1


class Refused(Exception):
    """The other side closed, or said so."""


def text_key(key):
    return z85.decode(key)


def public_of(secret):
    out = ctypes.create_string_buffer(KEY)
    sodium.crypto_scalarmult_base(out, secret)
    return out.raw


def shared(public, secret):
    out = ctypes.create_string_buffer(KEY)
    sodium.crypto_box_beforenm(out, public, secret)
    return out.raw


def box(key, nonce, data):
    out = ctypes.create_string_buffer(len(data) + MAC)
    sodium.crypto_box_easy_afternm(out, data, ctypes.c_ulonglong(len(data)), nonce, key)
    return out.raw


def unbox(key, nonce, data):
    out = ctypes.create_string_buffer(len(data) - MAC)
    if sodium.crypto_box_open_easy_afternm(out, data, ctypes.c_ulonglong(len(data)), nonce, key):
        raise Refused("a box does not open")
    return out.raw


def greeting(mechanism):
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def framed(body, flags=0):
    if len(body) > 255:
        return struct.pack(">BQ", flags | LARGE, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


def open_socket(endpoint):
    kind, where = endpoint.split("://")
    if kind == "ipc":
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(where)
        return s
    host, port = where.rsplit(":", 1)
    return socket.create_connection((host, int(port)), 10)


class Raw:
    """A DEALER after its handshake.  `secret` and `server` are keys as ZeroMQ writes them."""

    def __init__(self, endpoint, server, secret, identity=b""):
        self.socket = open_socket(endpoint)
        self.number = 0
        try:
            self.shake_hands(text_key(server), text_key(secret), identity)
        except (OSError, Refused):
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def nonce(self):
        self.number += 1
        return struct.pack(">Q", self.number)

    def read(self, count):
        data = b""
        while len(data) < count:
            some = self.socket.recv(count - len(data))
            if not some:
                raise Refused("closed")
            data += some
        return data

    def read_frame(self):
        flags, size = self.read(2)
        if flags & LARGE:
            (size,) = struct.unpack(">Q", bytes([size]) + self.read(7))
        return self.read(size)

    def shake_hands(self, server, secret, identity):
        short = os.urandom(KEY)
        public = public_of(short)
        self.socket.sendall(greeting(b"CURVE"))
        self.read(64)
        nonce = self.nonce()
        hello = box(shared(server, short), b"CurveZMQHELLO---" + nonce, bytes(64))
        self.socket.sendall(framed(b"\x05HELLO\x01\x00" + bytes(72) + public + nonce + hello, COMMAND))
        welcome = self.read_frame()
        if not welcome.startswith(b"\x07WELCOME"):
            raise Refused(welcome)
        opened = unbox(shared(server, short), b"WELCOME-" + welcome[8:24], welcome[24:])
        theirs, cookie = opened[:KEY], opened[KEY:]
        self.key = shared(theirs, short)
        long_nonce, nonce = os.urandom(16), self.nonce()
        vouch = box(shared(theirs, secret), b"VOUCH---" + long_nonce, public + server)
        about = b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity" + struct.pack(">I", len(identity)) + identity
        inner = box(self.key, b"CurveZMQINITIATE" + nonce, public_of(secret) + long_nonce + vouch + about)
        self.socket.sendall(framed(b"\x08INITIATE" + cookie + nonce + inner, COMMAND))
        answer = self.read_frame()
        if not answer.startswith(b"\x05READY"):
            raise Refused(answer)

    def encoded(self, data, more):
        nonce = self.nonce()
        inner = box(self.key, b"CurveZMQMESSAGEC" + nonce, bytes([MORE if more else 0]) + data)
        return framed(b"\x07MESSAGE" + nonce + inner)

    def send(self, *frames, end=True):
        """Without an end, more frames are to follow."""
        last = len(frames) - 1
        self.socket.sendall(b"".join(self.encoded(f, not end or i < last) for i, f in enumerate(frames)))

    def hear(self, seconds=10):
        """The next message; None after that time."""
        self.socket.settimeout(seconds)
        frames = []
        try:
            while True:
                said = self.read_frame()
                if not said.startswith(b"\x07MESSAGE"):
                    continue
                opened = unbox(self.key, b"CurveZMQMESSAGES" + said[8:16], said[16:])
                if opened[0] & 2:  # PING of ZMTP 3.1
                    continue
                frames.append(opened[1:])
                if not opened[0] & MORE:
                    return frames
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(10)
