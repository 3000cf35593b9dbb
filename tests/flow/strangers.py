#!/usr/bin/python3
"""Peers of the broker that share no code with us (python3-zmq): without a key, with the wrong one, with
one that may do something else, and with frames that are no Majordomo.  None of them gets anything, none
of them costs much, and the good ones are served all the while."""
import contextlib
import os
import re
import resource
import socket
import sys
import threading
import time
import unittest

import zmq

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, a_filing, free_ports, wait_until  # noqa: E402
from peer import CLIENT, FOLDERS, WORKER, Peer, secret_of, server_of  # noqa: E402

READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = (bytes([n]) for n in range(1, 6))

# Role: what it may call, what it may serve.  Everything else ends the peer.
MAY_CALL = {"web": ("queue.put", "queue.pending", "case.public"), "desk": ("case.desk",),
            "case": ("queue.part",), "notify": ("case.notify",), "admin": ("case.admin", "queue.admin")}
MAY_SERVE = {"case": ("filing", "case.desk", "case.public")}
SERVICES = ("queue.put", "queue.pending", "queue.part", "queue.admin", "case.public", "case.desk",
            "case.notify", "case.admin", "echo")

# One for each way to be wrong; the unit test of the parser has many more.
MALFORMED = (
    [b"x"], [b""], [b"x", CLIENT, b"queue.put", b"1"], [b"", b"HTTP/1.1"],
    [b"", CLIENT], [b"", CLIENT, b"queue.put"], [b"", CLIENT, b"", b"1"], [b"", CLIENT, b"a" * 64, b"1"],
    [b"", CLIENT, b"Queue.Put", b"1"], [b"", CLIENT, "队列".encode(), b"1"], [b"", WORKER], [b"", WORKER, READY],
    [b"", WORKER, READY, b"filing", b"0"], [b"", WORKER, READY, b"filing", b"999999"],
    [b"", WORKER, REQUEST, b"a"], [b"", WORKER, REPLY, b"a", b"not empty", b"b"],
    [b"", WORKER, HEARTBEAT, b"x"], [b"", WORKER, b"\x09"], [b"", CLIENT, b"queue.admin"] + [b"x"] * 70,
    [b"", CLIENT, b"queue.admin"] + [b"x"] * 2000)


class Strangers(unittest.TestCase):
    parts = ("ops", "broker")
    settings = ("broker.ban_seconds=1", "broker.request_ttl_ms=200", "broker.handshake_ms=1500",
                "broker.max_waiting_bytes=33554432")

    @classmethod
    def setUpClass(cls):
        (port,) = free_ports(1)
        cls.tcp = f"tcp://127.0.0.1:{port}"
        cls.here = Installation(f"broker.bind={cls.tcp}", *cls.settings)
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.ipc = f"ipc://{cls.here.folder}/run/broker.sock"
        cls.port = port
        options = os.environ.get("ASAN_OPTIONS", "")
        # What the sanitizer keeps of freed memory would look like a leak.
        cls.here.start(*cls.parts, ASAN_OPTIONS=f"{options}:quarantine_size_mb=8")
        cls.server = server_of(cls.here)

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertNotIn("runtime error:", self.here.all_logs())

    def secret_of(self, role):
        return secret_of(self.here, role)

    def peer(self, role, endpoint=None):
        """In, as soon as the last offence is forgotten."""
        def knock():
            peer = Peer(endpoint or self.ipc, self.server, self.secret_of(role))
            if peer.gets_in():
                return peer
            peer.__exit__()
            time.sleep(0.1)
            return None
        return wait_until(15, knock, f"{role} gets in")

    def is_served(self):
        """An honest peer, asked now."""
        with self.peer("admin") as admin:
            answer = admin.asks("queue.admin", b"1", b"stats")
            self.assertEqual(answer[:5], [b"", CLIENT, b"queue.admin", b"1", b"200"])

    def resident(self):
        with open(f"/proc/{self.here.pid_of('broker')}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) // 1024

    def by_role(self, work, jobs):
        """Jobs at once, those of one role one after the other; an offence bars the role for a second."""
        failures = []

        def run(role):
            for job in [j for j in jobs if j[0] == role]:
                try:
                    work(*job)
                except Exception as e:  # from a thread, told below
                    failures.append((job, e))
        threads = [threading.Thread(target=run, args=(role,)) for role in FOLDERS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Doors(Strangers):
    def test_without_a_key_that_is_known(self):
        someone = zmq.curve_keypair()[0]
        for endpoint in (self.ipc, self.tcp):
            for name, peer in (("no curve", Peer(endpoint)), ("an unknown key", Peer(endpoint, self.server)),
                               ("for another server", Peer(endpoint, someone, self.secret_of("web")))):
                with self.subTest(name, endpoint=endpoint), peer:
                    with contextlib.suppress(zmq.Again):  # it may be out already
                        peer.socket.send_multipart([b"", CLIENT, b"mmi.service", b"queue.put"], zmq.DONTWAIT)
                    self.assertFalse(peer.gets_in())
                    self.assertFalse(peer.socket.poll(100))
        with self.peer("web", self.tcp):
            pass  # and with it, one does
        self.is_served()

    def test_a_role_is_the_key_s_and_not_what_one_says(self):
        with Peer(self.ipc, self.server, self.secret_of("desk")) as peer:
            peer.socket.disconnect(self.ipc)
            peer.socket.routing_id = b"web"
            peer.socket.connect(self.ipc)
            self.assertIsNone(peer.asks("queue.put", b"1", b"part"))

    def test_a_key_ends_on_its_day(self):
        self.here.set_clock(500 * 86400)
        self.addCleanup(self.here.set_clock, 0)
        time.sleep(0.5)
        with Peer(self.ipc, self.server, self.secret_of("admin")) as peer:
            self.assertFalse(peer.gets_in())
        self.here.set_clock(0)
        time.sleep(0.5)
        self.is_served()

    def test_bytes_that_are_no_zmtp(self):
        greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01CURVE" + b"\0" * 15 + b"\0" * 32
        for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 300,
                     b"\0" * 64, b"\xff" * 300, greeting + b"\xff" * 200, greeting + b"\x04\xff\x05HELLO",
                     greeting + b"\x06" + b"\x7f" + b"\xff" * 7, os.urandom(5000), b"\x01\0" * 2000):
            with self.subTest(said[:20]), socket.create_connection(("127.0.0.1", self.port)) as s:
                s.settimeout(10)
                try:
                    s.sendall(said)
                    while s.recv(4096):
                        pass  # it greets, and closes in the end
                except ConnectionError:
                    pass
        self.is_served()


class Roles(Strangers):
    def test_what_each_may_call(self):
        def call(role, service):
            with self.peer(role) as peer:
                answer = peer.asks(service, b"1", b"nonsense")
                if service in MAY_CALL[role]:
                    assert answer and answer[2:4] == [service.encode(), b"1"], answer
                else:
                    assert answer is None, answer
        self.by_role(call, [(role, service) for role in FOLDERS for service in SERVICES])
        wait_until(10, self.all_refusals_are_counted, "every refusal is counted by role and service")

    def all_refusals_are_counted(self):
        metrics = self.here.metrics()
        return all(metrics.get(f'dengwen_broker_refused_total{{program="broker",role="{role}",'
                               f'service="{service if service != "echo" else "other"}"}}')
                   for role in FOLDERS for service in SERVICES if service not in MAY_CALL[role])

    def test_what_each_may_serve(self):
        def serve(role, service):
            with self.peer(role) as peer:
                peer.send(b"", WORKER, READY, service.encode())
                answer = peer.hears()
                if service in MAY_SERVE.get(role, ()):
                    assert answer == [b"", WORKER, HEARTBEAT], answer
                    peer.send(b"", WORKER, DISCONNECT)
                else:
                    assert answer is None, answer
        self.by_role(serve, [(role, service) for role in FOLDERS
                             for service in ("filing", "case.public", "queue.put", "echo")])

    def test_whoever_offends_is_out_for_a_while(self):
        with self.peer("notify") as peer:
            self.assertIsNone(peer.asks("queue.admin", b"1", b"stats"))
        with Peer(self.ipc, self.server, self.secret_of("notify")) as again:
            self.assertFalse(again.gets_in())
        self.peer("notify").__exit__()


class Frames(Strangers):
    def test_what_is_no_majordomo(self):
        def say(role, frames):
            with self.peer(role) as peer:
                peer.send(*frames)
                assert peer.hears() is None
        roles = list(FOLDERS)
        self.by_role(say, [(roles[i % len(roles)], frames) for i, frames in enumerate(MALFORMED)])
        self.is_served()

    def test_a_frame_that_is_too_large(self):
        with self.peer("web") as peer:
            before = self.resident()
            peer.send(b"", CLIENT, b"queue.put", b"1", b"part", b"a" * 16, b"\0" * 4, b"x" * (64 << 20))
            self.assertIsNone(peer.hears(30))
        self.assertLess(self.resident() - before, 32)
        self.is_served()

    def test_who_did_not_say_ready_is_asked_to(self):
        with self.peer("case") as peer:
            for frames in ([HEARTBEAT], [REPLY, b"\0" * 24, b"", b"200"], [REPLY, b"a", b"", b"b"],
                           [REQUEST, b"a", b"", b"b"]):
                peer.send(b"", WORKER, *frames)
                self.assertEqual(peer.hears(), [b"", WORKER, DISCONNECT])

    def test_mmi(self):
        with self.peer("desk") as peer:
            def mmi(name, *body):
                return peer.asks(name, *body)
            for service, status in ((b"queue.put", b"200"), (b"queue.admin", b"200"), (b"filing", b"404"),
                                    (b"case.desk", b"404"), (b"no such thing", b"404"), (b"", b"404"),
                                    (b"x" * 5000, b"404")):
                self.assertEqual(mmi("mmi.service", service), [b"", CLIENT, b"mmi.service", status], service)
            for name in ("mmi.discovery", "mmi.", "mmi.service2"):
                self.assertEqual(mmi(name, b"x"), [b"", CLIENT, name.encode(), b"501"])
            with self.peer("case") as worker:
                worker.send(b"", WORKER, READY, b"case.desk")
                self.assertEqual(worker.hears(), [b"", WORKER, HEARTBEAT])
                self.assertEqual(mmi("mmi.service", b"case.desk")[3], b"200")
                worker.send(b"", WORKER, DISCONNECT)
                wait_until(10, lambda: mmi("mmi.service", b"case.desk")[3] == b"404", "it is gone")

    def test_a_worker_in_another_language(self):
        """Majordomo as the RFC has it: address and body go there and back as they are."""
        with self.peer("case") as worker, self.peer("desk") as client:
            worker.send(b"", WORKER, READY, b"case.desk")
            worker.hears()
            client.send(b"", CLIENT, b"case.desk", b"one", b"", b"two\0three")
            asked = worker.hears()
            self.assertEqual(asked[:3] + asked[4:], [b"", WORKER, REQUEST, b"", b"one", b"", b"two\0three"])
            worker.send(b"", WORKER, REPLY, b"\xff" * 8, b"", b"not what was asked")
            worker.send(b"", WORKER, REPLY, asked[3], b"", b"one", b"200", b"four")
            self.assertEqual(client.hears(), [b"", CLIENT, b"case.desk", b"one", b"200", b"four"])
            worker.send(b"", WORKER, DISCONNECT)


class Floods(Strangers):
    """Thousands who say nothing, or much: the broker does not grow, and a filing still gets through."""
    parts = ("ops", "keyd", "broker", "casework", "web")
    GROWTH_MIB = 64 + 32  # broker.max_waiting_bytes, which the allocator may keep, and some

    def setUp(self):
        self.before = self.resident()

    def still_small_and_serving(self):
        citizen = Citizen(self.here)
        citizen.follow(citizen.receipt(a_filing()))
        self.assertLess(self.resident() - self.before, self.GROWTH_MIB)

    def test_connections_that_say_nothing(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        for said in (b"", b"\xff" + b"\0" * 8 + b"\x7f\x03"):
            held = []
            try:
                for _ in range(1500):
                    s = socket.create_connection(("127.0.0.1", self.port), 10)
                    s.sendall(said)
                    held.append(s)
                self.still_small_and_serving()
            finally:
                for s in held:
                    s.close()
        wait_until(20, lambda: self.connections() < 50, "they are forgotten")

    def connections(self):
        return len(os.listdir(f"/proc/{self.here.pid_of('broker')}/fd"))

    def test_keys_that_nobody_knows(self):
        refused = self.refused()
        for _ in range(10):
            peers = [Peer(self.tcp, self.server) for _ in range(20)]
            for peer in peers:
                self.assertFalse(peer.gets_in())
                peer.__exit__()
        wait_until(10, lambda: self.refused() - refused >= 200, "they are counted")
        self.still_small_and_serving()

    def refused(self):
        return self.here.metrics()['dengwen_broker_keys_refused_total{program="broker"}']

    def test_a_peer_that_asks_and_never_listens(self):
        """Answers to who does not read are not kept without end."""
        with self.peer("desk") as peer:
            peer.socket.rcvhwm = 1
            for _ in range(20000):
                try:
                    peer.socket.send_multipart([b"", WORKER, HEARTBEAT], zmq.DONTWAIT)
                except zmq.Again:
                    time.sleep(0.001)
            self.still_small_and_serving()

    def test_requests_that_nobody_takes(self):
        """Large ones, for a service without a worker: refused, or forgotten when their time is over."""
        with self.peer("notify") as peer:
            self.here.processes["casework"].send_signal(19)
            try:
                for i in range(400):
                    peer.send(b"", CLIENT, b"case.notify", b"%08d" % i, *[b"x" * 200000] * 4)
                answers = [peer.hears(20)[4] for _ in range(400)]
            finally:
                self.here.processes["casework"].send_signal(18)
        self.assertTrue(all(a[:3] in (b"503", b"504") for a in answers), set(answers))
        self.assertIn(b"503 too many requests are waiting", answers)
        self.here.wait_ready()
        self.still_small_and_serving()


if __name__ == "__main__":
    unittest.main(verbosity=2)
