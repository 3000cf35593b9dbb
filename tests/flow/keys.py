#!/usr/bin/python3
"""Keys for programs of others: what `dengwen key` makes, what such a program may do and where, and its
end within a second, while nobody else notices."""
import os
import stat
import sys
import threading
import time
import unittest

import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, a_filing, free_ports, wait_until  # noqa: E402
from peer import CLIENT, WORKER, Peer  # noqa: E402

READY, REQUEST, REPLY, HEARTBEAT = (bytes([n]) for n in range(1, 5))


class Guest(Peer):
    """Somebody else's program: it knows what is in its file and nothing more."""

    def __init__(self, path, endpoint=None):
        with open(path, encoding="utf-8") as f:
            self.file = yaml.safe_load(f)
        super().__init__(endpoint or self.file["endpoints"][0], self.file["broker"].encode(),
                         self.file["secret"].encode())


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        own, guests = free_ports(2)
        cls.own, cls.guests = f"tcp://127.0.0.1:{own}", f"tcp://127.0.0.1:{guests}"
        cls.here = Installation(f"broker.bind={cls.own}", f"broker.guests={cls.guests}", "broker.ban_seconds=1")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start("ops", "keyd", "broker", "casework", "web")
        cls.folder = f"{cls.here.folder}/given"
        os.mkdir(cls.folder)

    def tearDown(self):
        self.here.look_for_deaths()

    def key(self, *words):
        return self.here.tool("key", *words, cwd=self.folder)

    def add(self, role, name):
        done = self.key("add", "--role", role, name)
        self.assertEqual(done.returncode, 0, done.stderr)
        return f"{self.folder}/{name}.yaml"

    def programs(self):
        return {p["id"]: p["type"] for p in self.here.tool_json("key", "list") if "epoch" not in p}

    def gets_in(self, path, endpoint=None, seconds=10):
        """Once the broker has read the directory."""
        def knock():
            peer = Guest(path, endpoint)
            if peer.gets_in():
                return peer
            peer.__exit__()
            return None
        return wait_until(seconds, knock, f"{path} gets in")

    def test_the_file(self):
        path = self.add("client", "nodered-17")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding="utf-8") as f:
            file = yaml.safe_load(f)
        self.assertEqual(set(file), {"public", "secret", "broker", "endpoints"})
        self.assertEqual([len(file[k]) for k in ("public", "secret", "broker")], [40] * 3)
        self.assertEqual(file["endpoints"], [self.guests])
        self.assertEqual(self.programs()["nodered-17"], "client")
        self.assertNotIn(file["secret"], self.here.all_logs())

    def test_what_is_refused_changes_nothing(self):
        self.add("client", "once")
        with open(f"{self.folder}/lies-there.yaml", "w") as f:
            f.write("mine")
        before = self.programs()
        for code, *words in (
                (2, "add", "--role", "client", "once"), (2, "add", "--role", "client", "web"),
                (2, "add", "--role", "client", "Web"), (2, "add", "--role", "client", "../x"),
                (2, "add", "--role", "client", "a" * 41), (2, "add", "--role", "client", ""),
                (2, "add", "x"), (2, "add", "--role", "case", "x"), (2, "add", "--role", "worker", "x"),
                (2, "add", "--role", "worker:", "x"), (2, "add", "--role", "worker:case.desk", "x"),
                (2, "add", "--role", "worker:filing", "x"), (2, "add", "--role", "worker:queue.put", "x"),
                (2, "add", "--role", "worker:mmi.service", "x"), (2, "add", "--role", "worker:" + "a" * 64, "x"),
                (2, "add", "--role", "worker:A", "x"), (2, "add", "--role", "client"), (2, "revoke"),
                (2, "list", "x"), (2, "revoke", "--role", "client", "once"), (2, "nonsense"), (2,),
                (1, "add", "--role", "client", "lies-there"), (1, "revoke", "nobody"), (1, "revoke", "web")):
            with self.subTest(words):
                done = self.key(*words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertRegex(done.stderr, "expected|Usage|no program")
                self.assertEqual(self.programs(), before)
        with open(f"{self.folder}/lies-there.yaml") as f:
            self.assertEqual(f.read(), "mine")
        self.assertFalse(os.path.exists(f"{self.folder}/x.yaml"))

    def test_a_client_and_a_worker_of_others(self):
        client, worker = self.add("client", "asks"), self.add("worker:weather", "tells")
        with self.gets_in(client) as asking, self.gets_in(worker) as telling:
            telling.send(b"", WORKER, READY, b"weather")
            asking.send(b"", CLIENT, b"weather", b"tomorrow?")
            request = self.next(telling, REQUEST)
            telling.send(b"", WORKER, REPLY, request[3], b"", b"rain")
            self.assertEqual(asking.hears(), [b"", CLIENT, b"weather", b"rain"])
        self.assertEqual(self.here.tool_json("queue", "stats")["ready"], 0)

    def next(self, peer, command):
        while True:
            frames = peer.hears()
            if frames[2] == command:
                return frames

    def test_ours_is_not_for_others(self):
        """Neither our services nor our addresses; who tries is cut."""
        client, worker = self.add("client", "nosy"), self.add("worker:news", "nosier")
        for path, frames in ((client, (b"", CLIENT, b"case.desk", b"x" * 8)), (client, (b"", CLIENT, b"queue.admin", b"stats")),
                             (client, (b"", CLIENT, b"filing", b"x")), (client, (b"", WORKER, READY, b"weather")),
                             (worker, (b"", WORKER, READY, b"case.desk")), (worker, (b"", WORKER, READY, b"weather"))):
            with self.subTest(frames), self.gets_in(path) as peer:
                peer.send(*frames)
                self.assertIsNone(peer.hears())
        for endpoint in (self.own, f"ipc://{self.here.folder}/run/broker.sock"):
            with self.subTest(endpoint), Guest(client, endpoint) as peer:
                self.assertFalse(peer.gets_in())

    def test_a_revoked_key_is_cut_within_a_second_and_nobody_else(self):
        gone, stays = self.add("worker:gone", "gone"), self.add("worker:stays", "stays")
        with self.gets_in(gone) as revoked, self.gets_in(stays) as other:
            for peer, service in ((revoked, b"gone"), (other, b"stays")):
                peer.send(b"", WORKER, READY, service)
                self.next(peer, HEARTBEAT)
            self.assertEqual(self.key("revoke", "gone").returncode, 0)
            began = time.monotonic()
            self.assertIsNone(revoked.hears(5))
            self.assertLess(time.monotonic() - began, 1)
            with Guest(gone) as again:
                self.assertFalse(again.gets_in())
            other.send(b"", WORKER, HEARTBEAT)
            self.next(other, HEARTBEAT)
        self.assertNotIn("gone", self.programs())
        # Told once a second, and others may have been cut before.
        wait_until(10, lambda: self.here.metrics()['dengwen_broker_keys_ended_total{program="broker"}'] >= 1,
                   "a key that ended is counted")

    def test_a_new_key_of_the_same_name_is_another(self):
        """Taken out and entered again between two looks of the broker: the old one is cut all the same."""
        path = self.add("client", "again")
        with self.gets_in(path) as peer:
            peer.send(b"", CLIENT, b"mmi.service", b"nobody")
            self.assertEqual(peer.hears()[3:], [b"404"])
            self.here.processes["broker"].send_signal(19)
            os.rename(path, f"{path}.old")
            self.assertEqual(self.key("revoke", "again").returncode, 0)
            self.add("client", "again")
            self.here.processes["broker"].send_signal(18)
            self.assertIsNone(peer.hears(5))
        self.gets_in(path).__exit__()

    def test_filings_go_on_while_keys_change(self):
        citizen, done = Citizen(self.here), threading.Event()
        receipts = []

        def file():
            while not done.is_set():
                receipts.append(citizen.receipt(a_filing()))
        filing = threading.Thread(target=file)
        filing.start()
        try:
            for n in range(8):
                self.add("client", f"turn-{n}")
                self.assertEqual(self.key("revoke", f"turn-{n}").returncode, 0)
                self.here.processes["broker"].send_signal(1)
        finally:
            done.set()
            filing.join()
        self.assertGreater(len(receipts), 8)
        for receipt in receipts:
            citizen.follow(receipt)


if __name__ == "__main__":
    unittest.main(verbosity=2)
