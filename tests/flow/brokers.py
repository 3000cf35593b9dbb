#!/usr/bin/python3
"""Two brokers side by side, each with a queue of its own: intakes try the next one, case workers serve both,
and the file of one that never comes back is adopted by the other."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (BIN, Citizen, Installation, Member, a_filing, a_pdf, free_ports,  # noqa: E402
                          fresh_key, wait_until)

OPEN = [f"{key}=1000000" for key in ("web.filings_per_hour", "web.filings_burst", "web.lookups_per_minute",
                                     "web.lookups_burst")]


class TwoBrokers(unittest.TestCase):
    def setUp(self):
        (self.port,) = free_ports(1)
        self.here = Installation(f"broker.connect=broker=tcp://127.0.0.1:{self.port}", *OPEN)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.second, self.processes = self.make_second(), []
        self.addCleanup(self.kill_second)
        self.citizen = Citizen(self.here)
        self.number = 0

    # ---- the second broker: the same key, as on another machine ----

    def make_second(self):
        folder = self.here.folder
        shutil.copytree(f"{folder}/state/broker", f"{folder}/state-2/broker",
                        ignore=shutil.ignore_patterns("queue.db*", "lock"))
        with open(f"{folder}/dengwen.yaml") as f:
            text = f.read()
        text = re.sub(r"^#?state: .*$", 'state: "state-2"', text, flags=re.M)
        text = re.sub(r"^#?run: .*$", 'run: "run-2"', text, flags=re.M)
        text = re.sub(r"^  #?bind: .*$", f'  bind: ["tcp://127.0.0.1:{self.port}"]', text, flags=re.M)
        text = re.sub(r"^  #?connect: .*$", "  connect: []", text, flags=re.M)
        path = f"{folder}/second.yaml"
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def start_second(self, **environment):
        with open(f"{self.here.logs}/broker-2", "ab") as log:
            self.processes.append(subprocess.Popen(
                [f"{BIN}/dengwen-broker", "-c", self.second], env=dict(self.here.environment, **environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
        wait_until(30, lambda: self.second_stats() is not None, "the second broker answers")

    def kill_second(self, how=signal.SIGKILL):
        for process in self.processes:
            process.send_signal(how)
        for process in self.processes:
            process.wait(timeout=60)
        self.processes = []

    def second_stats(self):
        if self.processes and self.processes[-1].poll() is not None:
            raise AssertionError(self.here.log("broker-2")[-2000:])
        done = self.here.tool("queue", "stats", "-c", self.second, "--format", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    @staticmethod
    def filing(n):
        return a_filing(facts=f"第{n}份：该医院长期挂床住院，患者并未实际住院却产生费用，我亲眼所见。")

    def file_until_taken(self, files=()):
        """As a person would: the same again until there is a receipt."""
        self.number += 1
        key, filing = fresh_key(), self.filing(self.number)

        def taken():
            answer = self.citizen.file(filing, key=key, files=files)
            return answer.status == 202 and answer.json["receipt"]
        return wait_until(40, taken, "a receipt")

    def references(self, receipts):
        references = [self.citizen.follow(r, 60)["reference"] for r in receipts]
        self.assertEqual(len(set(references)), len(receipts), "one case each")
        listed = [row["reference"] for row in Member(self.here, "500108.inspector1").worklist()]
        self.assertEqual(sorted(listed), sorted(references), "and no other")

    # ---- what is promised ----

    def test_one_is_away(self):
        self.here.start("keyd", "broker", "web", wait=False)
        self.start_second()
        self.here.wait_ready()
        in_first = [self.file_until_taken(), self.file_until_taken([("a.pdf", "application/pdf", a_pdf())])]
        self.assertEqual(self.here.queue_stats()["items"], 2)
        self.here.kill("broker")

        # Filings go on, with files too, and nobody is told that the others are unknown.
        in_second = [self.file_until_taken(), self.file_until_taken([("b.pdf", "application/pdf", a_pdf(seed=2))])]
        self.assertEqual(self.second_stats()["items"], 2)
        for receipt in in_second:
            self.assertEqual(self.citizen.status(receipt).status, 200, "the follow page asks the other one")
        for receipt in in_first:
            self.assertEqual(self.citizen.status(receipt).status, 503, "it may wait where nobody can look")

        # Its work is done without the first.
        self.here.start("casework", "desk", wait=False)
        for receipt in in_second:
            self.citizen.follow(receipt, 60)
        wait_until(30, lambda: self.second_stats()["items"] == 0, "the second is empty")
        member = wait_until(30, lambda: self.member(), "the desk goes through the second too")
        self.assertEqual(len(member.worklist()), 2)

        # It comes back with what it had.
        self.here.start("broker", wait=False)
        self.references(in_first + in_second)

        # One that is there and does not answer: the filing may be in both queues, and is one case.
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)
        halted = self.file_until_taken()
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
        wait_until(30, lambda: self.second_stats(), "it answers again")
        self.references(in_first + in_second + [halted])
        self.kill_second()
        self.citizen.follow(self.file_until_taken(), 60)

    def member(self):
        try:
            return Member(self.here, "500108.inspector1")
        except AssertionError:
            return None

    def adopt(self, path, **environment):
        return self.here.tool("queue", "adopt", path, **environment)

    def test_one_never_comes_back(self):
        self.here.start("keyd", "broker", "web", wait=False)
        self.start_second()
        self.here.wait_ready()
        self.here.kill("broker")
        receipts = [self.file_until_taken()]
        receipts.append(self.file_until_taken([("b.pdf", "application/pdf", a_pdf(300000))]))
        self.assertEqual(self.second_stats()["items"], 2)
        left = f"{self.here.folder}/state-2/broker/queue.db"
        self.here.start("broker", "casework", wait=False)
        wait_until(30, lambda: self.here.tool("queue", "stats").returncode == 0, "the first is back")
        refused = self.adopt(left)
        self.assertEqual((refused.returncode, "a broker that lives has it" in refused.stderr), (65, True),
                         refused.stderr)
        wait_until(60, lambda: self.second_stats()["items"] == 0, "a living broker's work is done")
        for receipt in receipts:
            self.citizen.follow(receipt, 60)

        # Now it dies with work in its queue, and whoever adopts it dies too, at each step.
        self.here.kill("casework", "broker")
        more = [self.file_until_taken() for _ in range(2)]
        more += [self.file_until_taken([("b.pdf", "application/pdf", a_pdf(300000, seed=n))]) for n in (3, 4)]
        self.kill_second()
        self.here.start("broker", wait=False)
        wait_until(30, lambda: self.here.tool("queue", "stats").returncode == 0, "the first is back")
        wait_until(30, lambda: self.citizen.status(more[0]).status == 503, "it may wait where nobody can look")
        for step in ("adopt.taken:1", "adopt.part:2", "adopt.taken:1", "adopt.deleted:1"):
            self.assertEqual(self.adopt(left, DENGWEN_KILL_AT=step).returncode, -signal.SIGKILL, step)
        # The broker that adopts dies as well, before and after it has written.
        for step in ("queue.adopted:1", "queue.committed:2"):
            self.here.end("broker")
            self.here.start("broker", wait=False, DENGWEN_KILL_AT=step)
            wait_until(30, lambda: self.here.processes["broker"].poll() is not None
                       or self.adopt(left).returncode in (0, 69), step)
            self.here.processes.pop("broker").wait(timeout=60)
            self.here.start("broker", wait=False)
        self.here.start("casework", "desk", wait=False)  # from here on it is done while it is adopted
        done = wait_until(60, lambda: self.adopt(left), "adopted")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^adopted: \d+ items, 0 kept replies, \d+ keys seen\n$")
        self.references(receipts + more)
        with sqlite3.connect(left) as file:
            self.assertEqual(file.execute("SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM seen),"
                                          " (SELECT count(*) FROM parts)").fetchone(), (0, 0, 0))
        again = self.adopt(left)
        self.assertEqual((again.returncode, again.stdout),
                         (0, "adopted: 0 items, 0 kept replies, 0 keys seen\n"))
        self.assertEqual(self.here.queue_stats()["dead"], 0)

        # It comes back after all: an empty queue does no harm.
        self.start_second()
        self.assertEqual(self.second_stats()["items"], 0)
        self.assertEqual(len(self.member().worklist()), len(receipts + more))


if __name__ == "__main__":
    unittest.main(verbosity=2)
