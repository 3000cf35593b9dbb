#!/usr/bin/python3
"""Cases in MongoDB, and the server fails: filings are taken and wait, who asks for a case gets a quick
503, the reason can be read, and all goes on by itself.

The servers are its own, started through tests/support/mongodb.sh: they are stopped, killed and
replaced.  What the driver makes of single errors is in tests/contract/test_mongodb.c."""
import os
import re
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, Member, a_filing, a_pdf, request, wait_until  # noqa: E402
from mongo_server import Server, SmallServer  # noqa: E402
from bad_days import own_mounts  # noqa: E402

QUICK = 1.5  # seconds; store.select_ms is 3
OP_MSG = 2013


class Between(threading.Thread):
    """A way to the server that lets `cut` transactions' commits through and their answers not."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.cut, self.cuts = server, 0, 0
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.pair, args=(client,), daemon=True).start()

    @staticmethod
    def message(source):
        head = source.recv(16, socket.MSG_WAITALL)
        if len(head) < 16:
            raise EOFError
        length, _, _, code = struct.unpack("<iiii", head)
        return head + source.recv(length - 16, socket.MSG_WAITALL), code

    def wanted(self, data, code):
        """A write of ours: the name of the command is the first in its document."""
        if code != OP_MSG or data[26:].split(b"\0", 1)[0] not in (b"insert", b"update",
                                                                  b"commitTransaction"):
            return False
        with self.lock:
            if not self.cut:
                return False
            self.cut, self.cuts = self.cut - 1, self.cuts + 1
            return True

    def pair(self, client):
        try:
            with client, socket.create_connection(("127.0.0.1", self.server.port)) as server:
                answers = threading.Thread(target=self.pump, args=(server, client), daemon=True)
                answers.start()
                while True:
                    data, code = self.message(client)
                    if self.wanted(data, code):
                        client.shutdown(socket.SHUT_RDWR)  # first, so that no answer slips through
                        server.sendall(data)
                        time.sleep(0.3)                    # the server does it
                        return
                    server.sendall(data)
        except (OSError, EOFError):
            pass

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass


class DeadlyBetween(Between):
    """The server dies of the first message with several cases."""

    def wanted(self, data, code):
        if self.cuts or not data[26:].startswith(b"insert\0\6\0\0\0cases\0") or data.count(b"\5w\0") < 6:
            return False
        self.cuts += 1
        self.server.kill()
        return True


class Mongodb(unittest.TestCase):
    settings = ()

    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.remove)

    def install(self, port=None, *settings):
        os.environ["DENGWEN_TEST_MONGODB"] = (f"mongodb://127.0.0.1:{port or self.server.port}"
                                              "/?directConnection=true")
        self.addCleanup(os.environ.pop, "DENGWEN_TEST_MONGODB", None)
        self.here = Installation("queue.backoff_max_ms=1000", *settings)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.citizen = Citizen(self.here)

    def case_part(self):
        return self.here.readiness()["parts"]["case"]

    def away(self):
        wait_until(15, lambda: "store is away" in self.case_part().get("reason", ""), "ready says why")
        self.assertFalse(self.case_part()["ready"])

    def quickly_unavailable(self, call):
        began = time.monotonic()
        answer = call()
        took = time.monotonic() - began
        self.assertEqual(answer.status, 503, answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertLess(took, QUICK)

    def each_is_one_case(self, receipts):
        references = [self.citizen.follow(r, 60)["reference"] for r in receipts]
        self.assertEqual(len(set(references)), len(receipts))
        rows = [row["reference"] for row in Member(self.here, "500108.inspector1").worklist()]
        self.assertEqual(sorted(rows), sorted(references))


class Away(Mongodb):
    def test_at_start(self):
        self.install()
        self.server.stop()
        self.here.start("ops", "keyd", "broker", "web")
        self.here.start("casework", "notify", "desk", wait=False)
        self.away()
        receipts = [self.citizen.receipt(a_filing()) for _ in range(3)]
        self.assertEqual(self.citizen.status(receipts[0]).json["state"], "received")
        self.server.start()
        self.here.wait_ready()
        self.each_is_one_case(receipts)

    def test_killed_and_restarted(self):
        """Calls fail at once and the worker stays known to the broker, however many there are."""
        self.install()
        self.here.start_all()
        before = self.citizen.receipt(a_filing())
        self.citizen.follow(before)
        self.server.kill()
        self.away()
        end = time.monotonic() + 8  # twice what makes a silent worker a gone one
        while time.monotonic() < end:
            self.quickly_unavailable(lambda: self.citizen.say(before, "补充"))
            self.quickly_unavailable(lambda: request(
                self.here.desk, "POST", "/api/v1/login",
                b'{"user": "500108.inspector1", "password": "demo-500108.inspector1"}',
                {"Content-Type": "application/json"}))
            self.assertIn("store is away", self.case_part()["reason"])
        receipts = [before] + [self.citizen.receipt(a_filing()) for _ in range(3)]
        self.assertEqual(self.citizen.status(receipts[1]).json["state"], "received")
        self.server.start()
        self.here.wait_ready()
        self.each_is_one_case(receipts)
        self.assertEqual(self.citizen.say(before, "补充").status, 200)
        self.assertNotRegex(self.here.all_logs(), "runtime error:|AddressSanitizer")


class Standalone(Mongodb):
    def test_refused_unless_allowed(self):
        self.install()
        self.assertNotIn("allow_standalone", self.here.tool("doctor").stdout)
        self.server.stop()
        self.server.start("standalone")
        self.here.start("ops", "keyd", "broker")
        self.here.start("casework", wait=False)
        self.assertNotEqual(self.here.processes["casework"].wait(30), 0)
        self.here.processes.pop("casework")
        self.assertIn("no member of a replica set", self.here.log("casework"))
        self.assertIn("store.allow_standalone", self.here.log("casework"))
        self.allow()
        self.here.start("casework", "web")
        self.citizen.follow(self.citizen.receipt(a_filing()))
        doctor = self.here.tool("doctor").stdout
        self.assertRegex(doctor, "(?m)^ *care +store.*only copy")

    def allow(self):
        path = f"{self.here.folder}/dengwen.yaml"
        with open(path) as f:
            text = f.read()
        self.assertIn("  #allow_standalone: false", text)
        with open(path, "w") as f:
            f.write(text.replace("  #allow_standalone: false", "  allow_standalone: true"))


class Password(Mongodb):
    """In a file or a credential, and nowhere else."""
    PASSWORD = "kaifeng-8341-drum"

    def setUp(self):
        super().setUp()
        self.server.script("user", "dengwen", "cases", text=self.PASSWORD + "\n")
        self.server.stop()
        self.server.start("auth")
        self.file = f"{self.server.folder}/password"
        self.write(self.PASSWORD)
        uri = f"mongodb://dengwen@127.0.0.1:{self.server.port}/cases?directConnection=true&authSource=admin"
        self.here = Installation(f"store.uri={uri}", f"store.password_file={self.file}")
        self.addCleanup(self.here.__exit__, None, None, None)
        self.citizen = Citizen(self.here)

    def write(self, password):
        with open(self.file, "w") as f:
            f.write(password + "\n")
        os.chmod(self.file, 0o600)

    def setting(self, value):
        path = f"{self.here.folder}/dengwen.yaml"
        with open(path) as f:
            text = re.sub(r"(?m)^  password_file: .*$", f'  password_file: "{value}"', f.read())
        with open(path, "w") as f:
            f.write(text)

    def refused(self, says, **environment):
        self.here.start("casework", wait=False, **environment)
        self.assertEqual(self.here.processes.pop("casework").wait(30), 78)
        self.assertIn(says, self.here.log("casework").splitlines()[-1])

    def test_right_wrong_and_seen_by_nobody(self):
        self.here.start_all()
        self.citizen.follow(self.citizen.receipt(a_filing()))
        self.here.tool("init-db", check=True)  # of today: nothing that only an administrator may do
        told = self.here.tool("doctor").stdout + self.here.tool("check-config").stdout
        told += request(self.here.ops, "GET", "/metrics").body.decode() + str(self.here.readiness())
        for part in self.here.processes:
            for what in ("cmdline", "environ"):
                with open(f"/proc/{self.here.pid_of(part)}/{what}", errors="replace") as f:
                    told += f.read()
        self.here.kill("casework")
        self.write("something-else-92")
        self.refused("store.password_file")
        done = self.here.tool("init-db")
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertIn("refuses this user, or the password", done.stderr)
        os.chmod(self.file, 0o644)
        self.refused("only its owner may read")
        self.write(self.PASSWORD)
        self.setting("credential:password")
        self.refused("credential:NAME")
        self.here.start("casework", CREDENTIALS_DIRECTORY=self.server.folder)
        self.citizen.follow(self.citizen.receipt(a_filing()))
        told += done.stderr + self.here.all_logs()
        self.assertIn("DENGWEN_CONFIG=", told)
        for word in (self.PASSWORD, "something-else"):
            self.assertNotIn(word, told)


@unittest.skipUnless(own_mounts(), "mounting is not allowed here")
class DiskFull(Mongodb):
    """The server's, and then somebody makes room and starts it again."""

    def setUp(self):
        self.server = SmallServer(40, own_mounts())
        self.addCleanup(self.server.remove)

    def test_full_and_then_not(self):
        self.install()
        self.here.start_all()
        receipts = []
        while self.case_part()["ready"]:
            self.assertLess(len(receipts), 200)
            files = [("a.pdf", "application/pdf", a_pdf(700_000, len(receipts)))]
            receipts.append(self.citizen.receipt(a_filing(), files=files))
            time.sleep(0.1)
        self.away()
        self.assertRegex(self.here.log("casework"), "its log says why|disk is full|no answer came")
        self.assertLess(self.here.log("casework").count("store.mongodb"), 100)
        receipts.append(self.citizen.receipt(a_filing()))
        self.assertGreater(self.here.queue_stats()["items"], 0)
        self.server.make_room(1500)  # mongod keeps 300 MB for its journal
        if self.server.answers():  # it came to no end of its own
            self.server.kill()
        self.server.start()
        self.here.wait_ready()
        self.each_is_one_case(receipts)
        self.assertEqual(self.here.queue_stats()["dead"], 0)


class Cut(Mongodb):
    """The server did it, and its answer never came."""

    def test_answers_cut(self):
        way = Between(self.server)
        self.addCleanup(way.socket.close)
        way.start()
        self.install(way.port)
        self.here.start_all()
        receipts = []
        for _ in range(8):
            way.cut = 1
            receipts.append(self.citizen.receipt(a_filing()))
            wait_until(20, lambda: way.cut == 0, "an answer was cut")
        self.each_is_one_case(receipts)
        self.assertGreaterEqual(way.cuts, 8)

    def test_the_server_dies_of_a_batch(self):
        """Many cases are in doubt: the worker looks for all of them no longer than for one."""
        way = DeadlyBetween(self.server)
        self.addCleanup(way.socket.close)
        way.start()
        self.install(way.port)
        self.here.start("ops", "keyd", "broker", "web")
        receipts = [self.citizen.receipt(a_filing()) for _ in range(40)]
        self.here.start("casework", "desk", wait=False)
        wait_until(30, lambda: way.cuts, "the server died")
        self.away()
        self.server.start()
        self.here.wait_ready()
        self.each_is_one_case(receipts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
