"""A peer of the broker that shares no code with it: a DEALER of python3-zmq, with CURVE and a monitor."""
import base64
import json
import time

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

CLIENT, WORKER = b"MDPC01", b"MDPW01"
FAILED = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL |
          zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED)

FOLDERS = {"web": "state/web", "desk": "state/desk", "case": "state/case", "notify": "state/notify",
           "admin": "admin"}


def key_of(text):
    """As ZeroMQ writes it, of one as our files have it."""
    return z85.encode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def server_of(here):
    """The broker's public key, by the directory of an installation."""
    with open(f"{here.folder}/keys/directory") as f:
        f.readline()
        programs = json.load(f)["programs"]
    return key_of(next(p["curve"] for p in programs if p["name"] == "broker"))


def secret_of(here, role):
    with open(f"{here.folder}/{FOLDERS[role]}/curve.key") as f:
        return key_of(f.read().strip())


class Peer:
    """A DEALER with a monitor."""
    context = zmq.Context()

    def __init__(self, endpoint, server=None, secret=None):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger, self.socket.reconnect_ivl, self.socket.sndtimeo = 0, -1, 10000
        if server:
            public, fresh = zmq.curve_keypair()
            self.socket.curve_serverkey = server
            self.socket.curve_publickey = zmq.curve_public(secret) if secret else public
            self.socket.curve_secretkey = secret or fresh
        self.monitor = self.socket.get_monitor_socket()
        self.socket.connect(endpoint)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)

    def sees(self, events, seconds=10):
        """The first of these that happens."""
        end = time.monotonic() + seconds
        while self.monitor.poll(max(0, int((end - time.monotonic()) * 1000))):
            event = recv_monitor_message(self.monitor)["event"]
            if event & events:
                return event
        raise AssertionError(f"none of {events:#x} within {seconds} seconds")

    def gets_in(self):
        return self.sees(zmq.EVENT_HANDSHAKE_SUCCEEDED | FAILED) == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def hears(self, seconds=10):
        """The next message; None when the connection ends instead."""
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.monitor, zmq.POLLIN)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready = dict(poller.poll(200))
            if self.socket in ready:
                return self.socket.recv_multipart()
            if self.monitor in ready and recv_monitor_message(self.monitor)["event"] & FAILED:
                return None
        raise AssertionError(f"neither an answer nor an end within {seconds} seconds")

    def asks(self, service, *body):
        self.send(b"", CLIENT, service.encode(), *body)
        return self.hears()
