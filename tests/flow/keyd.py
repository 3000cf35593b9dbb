#!/usr/bin/python3
"""keyd holds what makes receipts worth something: it answers whom it knows, so often and no more, and
nothing that is said to it does anything but cost the one who says it."""
import glob
import os
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, a_filing, fresh_key, wait_until  # noqa: E402

OK, BUSY, MALFORMED = b"\0", b"\1", b"\2"
RECEIPT = b"\1R" + b"x" * 32
NOBODY = 65534
PARTS = ("ops", "keyd", "broker", "casework", "web")

# Asks as another user, and prints what came of it.
STRANGER = """
import os, socket, sys
os.setgid({nobody}); os.setuid({nobody})
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect({path!r})
    s.send({question!r})
    print("answer", s.recv(100).hex())
except OSError as e:
    print(type(e).__name__)
"""


class Keyd(unittest.TestCase):
    settings = ()

    @classmethod
    def setUpClass(cls):
        cls.here = Installation(*cls.settings)
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start(*PARTS)
        cls.path = f"{cls.here.folder}/run/keyd.sock"
        cls.citizen = Citizen(cls.here)

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertNotIn("runtime error:", self.here.all_logs())

    def connect(self, seconds=10):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(s.close)
        s.settimeout(seconds)
        s.connect(self.path)
        return s

    def ask(self, question, s=None):
        asked = s or self.connect()
        try:
            asked.send(question)
            return asked.recv(200)
        finally:
            if not s:
                asked.close()

    def again(self):
        try:
            return self.ask(RECEIPT)[:1] == OK
        except OSError:
            return False

    def metric(self, name):
        return self.here.metrics().get(f'dengwen_{name}_total{{program="keyd"}}', 0)

    def is_served(self):
        self.citizen.follow(self.citizen.receipt(a_filing()))


class Questions(Keyd):
    settings = ("keyd.connections=12",)

    def test_an_answer_is_the_same_every_time_and_tells_nothing(self):
        first = self.ask(RECEIPT)
        self.assertEqual((first[:1], len(first)), (OK, 33))
        self.assertEqual(self.ask(RECEIPT), first)
        self.assertNotEqual(self.ask(RECEIPT[:-1] + b"y"), first)
        index = self.ask(b"\1I\1H50010800123")
        self.assertEqual((index[:1], len(index)), (OK, 9))
        self.assertNotEqual(self.ask(b"\1I\1H50010800124"), index)
        for path in glob.glob(f"{self.here.folder}/state/keyd/*.key"):
            with open(path, "rb") as f:
                self.assertNotIn(f.read().strip(), self.here.all_logs().encode())

    def test_what_is_no_question(self):
        before = self.metric("keyd_malformed")
        questions = (b"\1", b"R", b"\0R" + b"x" * 32, b"\2R" + b"x" * 32, b"\1Z" + b"x" * 32, b"\1r" + b"x" * 32,
                     RECEIPT[:-1], RECEIPT + b"x", b"\1R", b"\1I", b"\1I\1", b"\1I\2H1", b"\1I\0H1",
                     b"\1I\1" + b"x" * 65, b"\1R" + b"x" * 127, b"x" * 129, b"\xff" * 100000,
                     struct.pack(">I", 0xffffffff) + RECEIPT, b"GET / HTTP/1.1\r\n\r\n")
        for question in questions:
            with self.subTest(question[:20]):
                self.assertEqual(self.ask(question), MALFORMED)
        s = self.connect()
        for question in questions:
            self.assertEqual(self.ask(question, s), MALFORMED)
        self.assertEqual(self.ask(RECEIPT, s)[:1], OK, "and after all that, a good one on the same connection")
        wait_until(10, lambda: self.metric("keyd_malformed") == before + 2 * len(questions), "they are counted")
        self.is_served()

    def test_nothing_and_half_of_it(self):
        """A packet is whole or not there; an empty one ends the connection, a silent peer only its own."""
        empty = self.connect()
        empty.send(b"")
        self.assertEqual(empty.recv(10), b"")
        silent = [self.connect() for _ in range(5)]
        self.is_served()
        for s in silent:
            self.assertEqual(self.ask(RECEIPT, s)[:1], OK)
        with self.assertRaises(OSError):
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(stream.close)
            stream.connect(self.path)

    def test_who_does_not_listen_to_the_answers(self):
        s = self.connect(0.2)
        try:
            for _ in range(100000):
                s.send(RECEIPT)
            self.fail("it answers for ever into a full socket")
        except OSError:
            pass  # refused, or closed
        self.is_served()

    def test_as_many_connections_as_it_has(self):
        """The next one is closed at once, and the others go on; web holds one of them."""
        self.is_served()
        held, refused = [], 0
        for _ in range(40):
            s = self.connect()
            try:
                s.send(RECEIPT)
                refused += s.recv(100) == b""
            except OSError:
                refused += 1
            held.append(s)
        self.assertGreaterEqual(refused, 40 - 12)
        self.is_served()
        fds = len(os.listdir(f"/proc/{self.here.pid_of('keyd')}/fd"))
        self.assertLess(fds, 12 + 20)
        for s in held:
            s.close()
        wait_until(10, self.again, "there is room again")

    @unittest.skipUnless(os.getuid() == 0, "to be another user, one must be root")
    def test_another_user_is_turned_away(self):
        before = self.metric("keyd_strangers")
        os.chmod(self.here.folder, 0o755)
        os.chmod(f"{self.here.folder}/run", 0o755)
        script = STRANGER.format(nobody=NOBODY, path=self.path, question=RECEIPT)

        def said():
            return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                                  cwd="/").stdout.split()
        self.assertEqual(said(), ["PermissionError"], "the mode of the socket keeps others out")
        os.chmod(self.path, 0o666)
        self.addCleanup(os.chmod, self.path, 0o660)
        for _ in range(3):
            self.assertIn(said(), (["answer"], ["BrokenPipeError"], ["ConnectionResetError"]),
                          "and so does its user")
        wait_until(10, lambda: self.metric("keyd_strangers") == before + 3, "they are counted")
        self.assertIn("keyd.stranger", self.here.log("keyd"))
        self.is_served()


class TooOften(Keyd):
    settings = ("keyd.per_second=1", "keyd.burst=20", "web.call_timeout_ms=2000")

    def test_so_many_a_second(self):
        s = self.connect()
        answers = [self.ask(RECEIPT, s) for _ in range(60)]
        self.assertGreater(answers.count(BUSY), 20)
        self.assertEqual({a[:1] for a in answers}, {OK, BUSY})
        key = fresh_key()
        answer = self.citizen.file(a_filing(), key)
        self.assertEqual(answer.status, 503, answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertNotIn("receipt", answer.json)
        wait_until(10, lambda: self.metric("keyd_busy") > 20, "it is counted")
        time.sleep(3)
        receipt = wait_until(20, lambda: self.tries(key), "later it works")
        self.assertTrue(receipt)

    def tries(self, key):
        answer = self.citizen.file(a_filing(), key)
        return answer.status == 202 and answer.json["receipt"]


class Away(Keyd):
    def test_stopped_but_not_dead(self):
        """It takes questions and says nothing: whoever asks web is told soon, and again when it is back."""
        self.is_served()
        self.here.processes["keyd"].send_signal(19)
        try:
            for _ in range(3):
                began = time.monotonic()
                answer = self.citizen.file(a_filing())
                self.assertEqual(answer.status, 503, answer)
                self.assertGreater(int(answer.headers["Retry-After"]), 0)
                self.assertLess(time.monotonic() - began, 10)
        finally:
            self.here.processes["keyd"].send_signal(18)
        wait_until(20, lambda: self.citizen.file(a_filing()).status == 202, "it is back")

    def test_restarted_it_answers_the_same(self):
        before, receipt = self.ask(RECEIPT), self.citizen.receipt(a_filing())
        self.here.kill("keyd")
        self.here.start("keyd")
        wait_until(20, self.again, "it listens again")
        self.assertEqual(self.ask(RECEIPT), before)
        self.citizen.follow(receipt)

    def test_keys_that_others_may_read_are_refused(self):
        self.here.end("keyd")
        path = f"{self.here.folder}/state/keyd/pepper.key"
        with open(path, "rb") as f:
            good = f.read()
        for mode, text in ((0o644, good), (0o600, b""), (0o600, b"short\n"), (0o600, b"!" * 43), (0o600, None)):
            with self.subTest(mode=mode, text=text and text[:5]):
                if os.path.exists(path):
                    os.unlink(path)
                if text is not None:
                    with open(path, "wb", opener=lambda p, f: os.open(p, f, mode)) as f:
                        f.write(text)
                done = subprocess.run([f"{os.environ['DENGWEN_BIN']}/dengwen-keyd"], timeout=30, text=True,
                                      env=self.here.environment, stdin=subprocess.DEVNULL, capture_output=True)
                self.assertEqual(done.returncode, 78, done.stderr)
                self.assertIn("pepper.key", done.stderr)
        with open(path, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(good)
        self.here.start("keyd")
        wait_until(20, self.again, "it listens again")
        wait_until(20, lambda: self.citizen.file(a_filing()).status == 202, "the portal knows")


if __name__ == "__main__":
    unittest.main(verbosity=2)
