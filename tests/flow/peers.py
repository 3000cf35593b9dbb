#!/usr/bin/python3
"""The broker and other people's programs: clients and workers in Python and in Node, written to the RFCs
and sharing no code with us, each with a key of its own and through CURVE.  Both versions of Majordomo, in
all combinations; MMI; Titanic; heartbeats; what becomes of work when workers or the broker die."""
import hashlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Installation, free_ports, wait_until  # noqa: E402

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support", "peers")
LANGUAGES = {"python": ["/usr/bin/python3", f"{PEERS}/mdp.py"], "node": ["/usr/bin/node", f"{PEERS}/mdp.mjs"]}
ALL = list(itertools.product(LANGUAGES, (1, 2)))
HEARTBEAT, LIVENESS = 0.2, 5
NAMES = itertools.count()


class Program:
    """One of them, in a process of its own; what it tells is a line of JSON each."""

    def __init__(self, language, what, path, version, *words):
        self.process = subprocess.Popen([*LANGUAGES[language], what, path, str(version), *words], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.stdin.closed:
            return
        self.process.kill()
        self.process.wait()
        self.reader.join()
        errors = self.process.stderr.read()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        if "Error" in errors:
            raise AssertionError(errors)

    def tells(self, seconds=30):
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            state = "it ended" if self.process.poll() is not None else "it runs"
            raise AssertionError(f"nothing told within {seconds} seconds; {state}") from None

    def hears(self, event, seconds=30):
        told = self.tells(seconds)
        if told != event:
            raise AssertionError(f"expected {event}, told {told}")

    def until(self, event):
        while self.tells() != event:
            pass

    def wants(self, service, *body):
        self.process.stdin.write(json.dumps({"service": service, "body": body}) + "\n")
        self.process.stdin.flush()

    def asks(self, service, *body):
        self.wants(service, *body)
        return self.tells()

    def final(self, service, *body):
        return self.asks(service, *body)["final"]

    def status(self, service, *body):
        return self.final(service, *body)[0][:3]


class Peers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        (port,) = free_ports(1)
        cls.here = Installation(f"broker.guests=tcp://127.0.0.1:{port}", f"broker.heartbeat_ms={int(HEARTBEAT * 1000)}",
                                f"broker.liveness={LIVENESS}", "broker.ban_seconds=1", "broker.request_ttl_ms=3000",
                                "queue.backoff_ms=100", "queue.backoff_max_ms=500")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.folder = f"{cls.here.folder}/given"
        os.mkdir(cls.folder)
        cls.clients = {p: cls.key("client") for p in ALL}
        cls.here.start("ops", "broker")

    def setUp(self):
        self.service = f"service-{next(NAMES)}"

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertNotIn("broker.cut", self.here.log("broker"))
        self.assertNotIn("runtime error:", self.here.all_logs())

    @classmethod
    def key(cls, role):
        name = f"peer-{next(NAMES)}"
        done = cls.here.tool("key", "add", "--role", role, name, cwd=cls.folder)
        if done.returncode:
            raise AssertionError(done.stderr)
        return f"{cls.folder}/{name}.yaml"

    def client(self, language="python", version=2):
        return Program(language, "client", self.clients[language, version], version)

    def worker(self, language="python", version=2, name="w", key=None):
        """In, as soon as the broker has read its key."""
        worker = Program(language, "worker", key or self.key(f"worker:{self.service}"), version, self.service, name,
                         str(HEARTBEAT))
        worker.until("registered")
        return worker

    def known(self, client, seconds=10, yes=True):
        wait_until(seconds, lambda: client.status("mmi.service", self.service) == ("200" if yes else "404"),
                   f"{self.service} is {'there' if yes else 'gone'}")

    # ---- calls ----

    def test_each_client_and_each_worker(self):
        body = ["one", "", "two\0\xff"]
        for language, version in ALL:
            with self.worker(language, version, key=self.key(f"worker:{self.service}")) as worker:
                for asking in ALL:
                    with self.subTest(worker=(language, version), client=asking), self.client(*asking) as client:
                        self.assertEqual(client.asks(self.service, "echo", *body), {"partial": [], "final": body})
                        worker.hears("request")

    def test_replies_in_parts(self):
        for language in LANGUAGES:
            with self.worker(language, 2, key=self.key(f"worker:{self.service}")):
                for asking in ALL:
                    with self.subTest(worker=language, client=asking), self.client(*asking) as client:
                        got = client.asks(self.service, "parts", "1", "2", "", "4")
                        self.assertEqual(got, {1: {"partial": [], "final": ["1", "2", "", "4"]},
                                               2: {"partial": [["1"], ["2"], [""]], "final": ["4"]}}[asking[1]])

    def test_mmi(self):
        for asking in ALL:
            with self.subTest(asking), self.client(*asking) as client:
                self.assertEqual(client.final("mmi.service", self.service), ["404"])
                self.assertEqual(client.final("mmi.service", "titanic.request"), ["200"])
                self.assertEqual(client.final("mmi.other", "x"), ["501"])
                with self.worker(*asking):
                    self.assertEqual(client.final("mmi.service", self.service), ["200"])
                self.known(client, yes=False)

    def test_a_request_that_comes_before_its_worker(self):
        with self.client() as client:
            client.wants(self.service, "who")
            with self.worker(name="late"):
                self.assertEqual(client.tells()["final"], ["late"])
            client.wants(self.service, "who")
            self.assertEqual(client.tells()["final"], ["who", "503 nobody serves this now"])

    # ---- heartbeats ----

    def test_who_beats_stays_however_long_it_takes(self):
        for language, version in ALL:
            with self.subTest(language, version=version), self.client() as client, \
                 self.worker(language, version, "tortoise", self.key(f"worker:{self.service}")) as worker:
                slow = int(HEARTBEAT * LIVENESS * 2500)
                self.assertEqual(client.final(self.service, "slow", str(slow)), ["tortoise"])
                self.assertEqual(client.final(self.service, "who"), ["tortoise"])
                uuid = self.request(client, "slow", str(slow))  # and so does its lease
                self.assertEqual(self.replied(client, uuid), ["200", "tortoise"])
                client.final("titanic.close", uuid)
                self.assertEqual([worker.tells() for _ in range(3)], ["request"] * 3)
                self.assertTrue(worker.lines.empty())

    def test_who_falls_silent_is_gone_and_comes_back(self):
        for language, version in ALL:
            with self.subTest(language, version=version), self.client() as client, \
                 self.worker(language, version, key=self.key(f"worker:{self.service}")) as worker:
                self.known(client)
                worker.process.send_signal(signal.SIGSTOP)
                self.known(client, yes=False)
                worker.process.send_signal(signal.SIGCONT)
                worker.hears("disconnected")
                worker.hears("registered")
                self.known(client)

    def test_workers_come_back_to_a_broker_that_was_killed(self):
        workers = [self.worker(*peer, key=self.key(f"worker:{self.service}")) for peer in ALL]
        try:
            self.here.kill("broker")
            self.here.start("broker")
            for worker in workers:
                worker.until("disconnected")
                worker.until("registered")
            with self.client() as client:
                self.assertEqual(client.final(self.service, "echo", "again"), ["again"])
        finally:
            for worker in workers:
                worker.__exit__()

    # ---- death ----

    def test_a_call_dies_with_its_worker(self):
        for asking in ALL:
            with self.subTest(asking), self.client(*asking) as client, \
                 self.worker(key=self.key(f"worker:{self.service}")) as worker:
                client.wants(self.service, "slow", "60000")
                worker.hears("request")
                worker.process.kill()
                self.assertEqual(client.tells()["final"], ["slow", "504 the worker is gone"])

    # ---- Titanic ----

    def request(self, client, *body):
        status, uuid = client.final("titanic.request", self.service, *body)
        self.assertEqual(status, "200")
        self.assertRegex(uuid, r"\A[0-9A-Za-z]{32}\Z")
        return uuid

    def replied(self, client, uuid, seconds=20):
        wait_until(seconds, lambda: client.status("titanic.reply", uuid) != "300", "there is a reply")
        return client.final("titanic.reply", uuid)

    def test_titanic(self):
        for asking, working in itertools.product(ALL, ALL):
            with self.subTest(client=asking, worker=working), self.client(*asking) as client:
                uuid = self.request(client, "echo", "", "x\0y")
                self.assertEqual(client.status("titanic.reply", uuid), "300")
                with self.worker(*working, key=self.key(f"worker:{self.service}")):
                    for _ in range(2):  # it is not deleted by being read
                        self.assertEqual(self.replied(client, uuid), ["200", "", "x\0y"])
                for _ in range(2):
                    self.assertEqual(client.final("titanic.close", uuid), ["200"])
                self.assertEqual(client.status("titanic.reply", uuid), "400")

    def test_titanic_replies_in_parts_are_kept_whole(self):
        with self.client() as client, self.worker():
            uuid = self.request(client, "parts", "1", "2", "3")
            self.assertEqual(self.replied(client, uuid), ["200", "1", "2", "3"])
            client.final("titanic.close", uuid)

    def test_a_request_goes_to_the_next_worker_when_one_dies(self):
        for working in ALL:
            with self.subTest(working), self.client() as client, \
                 self.worker(*working, "first", self.key(f"worker:{self.service}")) as first:
                uuid = self.request(client, "slow", "1500")
                first.hears("request")
                with self.worker(*working, "second", self.key(f"worker:{self.service}")) as second:
                    first.process.kill()
                    second.hears("request")
                    self.assertEqual(self.replied(client, uuid), ["200", "second"])
                self.assertEqual(client.final("titanic.close", uuid), ["200"])

    def test_nothing_that_was_answered_200_is_lost_with_the_broker(self):
        """Killed at the steps of storing a request and of storing a reply, and in between."""
        with self.client() as client:
            waiting = [self.request(client, "echo", str(i)) for i in range(20)]
            self.here.kill("broker")
            self.here.start("broker")
            with self.worker() as worker:
                for i, uuid in enumerate(waiting):
                    self.assertEqual(self.replied(client, uuid), ["200", str(i)])
                self.here.kill("broker")
                self.here.start("broker")
                for i, uuid in enumerate(waiting):
                    self.assertEqual(client.final("titanic.reply", uuid), ["200", str(i)])
                worker.until("disconnected")
                worker.until("registered")
            for uuid in waiting:
                self.assertEqual(client.final("titanic.close", uuid), ["200"])

    def kept_until_it_died(self, at, **bug):
        """What the broker accepted before it died there; then it runs again."""
        kept = []
        self.here.end("broker")
        self.here.start("broker", DENGWEN_KILL_AT=at, **bug)
        broker = self.here.processes["broker"]
        with self.client() as client, self.worker() as worker:
            for i in range(40):
                client.wants("titanic.request", self.service, "echo", str(i))
                wait_until(10, lambda: not client.lines.empty() or broker.poll() is not None, "an answer, or an end")
                time.sleep(0.05)  # the one may be on its way when the other comes
                if client.lines.empty():
                    break
                kept.append((str(i), client.tells()["final"][1]))
            wait_until(10, lambda: broker.poll() is not None, f"dead at {at}")
            self.here.processes.pop("broker")
            self.here.start("broker")
            worker.until("disconnected")
            worker.until("registered")
            with self.client() as again:
                return [(sent, self.replied(again, uuid)) for sent, uuid in kept]

    def test_killed_at_each_step(self):
        for at in ("queue.inserted:3", "queue.before-commit:7", "queue.committed:7", "queue.replied:1", "queue.replied:4"):
            with self.subTest(at):
                for sent, got in self.kept_until_it_died(at):
                    self.assertEqual(got, ["200", sent])

    def test_the_check_sees_a_200_that_came_too_early(self):
        got = self.kept_until_it_died("queue.inserted:3", DENGWEN_BUG="ack-before-commit")
        self.assertIn("400", [reply[0][:3] for _, reply in got])

    def test_an_item_put_twice_is_done_once(self):
        """With a key of its own a program may repeat itself."""
        def header(payload, number):
            fields = (b"\x01\x01", bytes([number]) * 16, b"\0" * 20, bytes([number]) * 32,
                      hashlib.sha256(payload.encode()).digest(), bytes([len(self.service)]), self.service.encode())
            return b"".join(fields).decode("latin-1")

        def put(client, payload, number=7):
            return client.final("queue.put", "call", "close", header(payload, number), payload)[1][:3]
        for asking in ALL:
            with self.subTest(asking), self.client(*asking) as client:
                self.assertEqual([put(client, p) for p in ("a", "a", "b")], ["200", "200", "422"])
        with self.client() as client, self.worker() as worker:
            worker.hears("request")
            wait_until(10, lambda: self.here.queue_stats()["items"] == 0, "it is done")
            self.assertEqual([put(client, p) for p in ("a", "b")], ["200", "422"])
            self.assertEqual(put(client, "c", 8), "200")
            worker.hears("request")
            wait_until(10, lambda: self.here.queue_stats()["items"] == 0, "it is done too")
            self.assertTrue(worker.lines.empty())

    def test_others_do_not_see_in_without_the_uuid(self):
        with self.client("python") as one, self.client("node") as other:
            uuids = {self.request(one, "echo", str(i)) for i in range(50)}
            self.assertEqual(len(uuids), 50)
            self.assertEqual(other.status("titanic.reply", "0" * 32), "400")
            self.assertEqual(other.status("titanic.reply", "x"), "400")
            for uuid in uuids:
                one.final("titanic.close", uuid)


if __name__ == "__main__":
    if not os.path.isdir(f"{PEERS}/node_modules"):
        sys.exit(f"`npm ci --ignore-scripts` in {os.path.normpath(PEERS)} comes first; tests/run.sh does it")
    unittest.main(verbosity=2)
