#!/usr/bin/python3
"""Parts and disks that fail: an honest 503 and never a receipt for what is not durable; what is
durable waits, and goes on by itself."""
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (Citizen, Installation, Member, a_filing, a_pdf, fresh_key, request,  # noqa: E402
                          wait_until)


class BadDay(unittest.TestCase):
    settings = ()

    def setUp(self):
        self.here = Installation(*self.settings)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.citizen = Citizen(self.here)

    def unavailable(self, answer):
        self.assertEqual(answer.status, 503, answer)
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertNotIn("receipt", answer.json)

    def cases(self):
        return [row["reference"] for row in Member(self.here, "500108.inspector1").worklist()]

    def ready(self, part):
        return request(self.here.ops, "GET", "/readyz").json["parts"][part]


class PartsAway(BadDay):
    settings = ("web.call_timeout_ms=1500",)

    def test_broker_away(self):
        self.here.start_all()
        self.here.kill("broker")
        key = fresh_key()
        self.unavailable(self.citizen.file(a_filing(), key))
        self.unavailable(self.citizen.file(a_filing(), key, [("a.pdf", "application/pdf", a_pdf())]))
        wait_until(10, lambda: not self.ready("web")["ready"], "the portal says it is not ready")
        self.assertIn("broker", self.ready("web")["reason"])
        self.here.start("broker")
        receipt = self.citizen.receipt(a_filing(), key=key)
        self.citizen.follow(receipt)
        self.assertEqual(len(self.cases()), 1)

    def test_broker_stopped_but_not_dead(self):
        """It takes connections and says nothing: the wait has an end."""
        self.here.start_all()
        self.here.processes["broker"].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        self.unavailable(self.citizen.file(a_filing()))
        self.assertLess(time.monotonic() - began, 10)
        self.here.processes["broker"].send_signal(signal.SIGCONT)
        self.here.wait_ready()
        self.citizen.follow(self.citizen.receipt(a_filing()))

    def test_keyd_away(self):
        self.here.start_all()
        receipt = self.citizen.receipt(a_filing())
        self.here.kill("keyd")
        self.unavailable(self.citizen.file(a_filing()))
        self.unavailable(self.citizen.status(receipt))
        wait_until(10, lambda: not self.ready("web")["ready"], "the portal says it is not ready")
        self.here.start("keyd")
        self.citizen.follow(self.citizen.receipt(a_filing()))

    def test_case_worker_away(self):
        """Filings are accepted and wait; who follows reads that it was received, and the day."""
        self.here.start("ops", "keyd", "broker", "web")
        receipt = self.citizen.receipt(a_filing())
        seen = self.citizen.status(receipt)
        self.assertEqual((seen.status, seen.json["state"]), (200, "received"))
        self.assertFalse(seen.json.get("reference"))
        self.assertRegex(seen.json["filed_on"], r"^\d{4}-\d\d-\d\d$")
        self.unavailable(self.citizen.say(receipt, "还有一点"))
        self.unavailable(self.citizen.withdraw(receipt))
        self.here.start("casework")
        self.citizen.follow(receipt)
        self.assertEqual(self.citizen.say(receipt, "还有一点").status, 200)

    def test_every_part_dies_under_the_supervisor(self):
        self.here.run()
        receipt = self.citizen.receipt(a_filing())
        self.citizen.follow(receipt)
        for part in ("web", "desk", "notify", "casework", "broker", "keyd", "ops"):
            with self.subTest(part):
                dead = self.here.pid_of(part)
                os.kill(dead, signal.SIGKILL)
                wait_until(20, lambda: self.here.pid_of(part) not in (None, dead), f"{part} is back")
                self.here.wait_ready()  # perhaps as ops last heard it from who was there before
                wait_until(20, lambda: self.citizen.status(receipt).status == 200, "it can be followed")
                self.citizen.follow(self.citizen.receipt(a_filing()))
        self.assertEqual(len(self.cases()), 8)

    def test_nothing_survives_the_supervisor(self):
        self.here.run()
        parts = [self.here.pid_of(p) for p in ("keyd", "broker", "casework", "notify", "desk", "web")]
        self.assertTrue(all(parts))
        self.here.kill("run")
        wait_until(10, lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in parts),
                   "all parts are gone")


class QueueFull(BadDay):
    settings = ("queue.max_items=5",)

    def test_full_and_then_not(self):
        self.here.start("ops", "keyd", "broker", "web")
        receipts = [self.citizen.receipt(a_filing()) for _ in range(5)]
        self.unavailable(self.citizen.file(a_filing()))
        self.assertEqual(self.here.queue_stats()["items"], 5)
        self.here.start("casework", "desk", "notify")
        for receipt in receipts:
            self.citizen.follow(receipt)
        self.citizen.follow(self.citizen.receipt(a_filing()))
        self.assertEqual(len(self.cases()), 6)


# Without a case worker: the store has no part in it.
no_worker = unittest.skipIf(os.environ.get("DENGWEN_TEST_MONGODB"), "no case worker in it")


@no_worker
class UploadsFull(BadDay):
    """Unfinished uploads may hold a share of the queue, and no more."""
    settings = ("queue.max_bytes=4000000", "queue.open_share_percent=50", "queue.open_ttl_seconds=2")

    def test_share_and_expiry(self):
        self.here.start("ops", "keyd", "broker", "web")
        files = [("a.pdf", "application/pdf", a_pdf(3000000))]
        self.unavailable(self.citizen.file(a_filing(), files=files))
        self.citizen.receipt(a_filing())
        wait_until(15, lambda: self.here.queue_stats()["open_bytes"] == 0, "the upload is forgotten")
        small = [("a.pdf", "application/pdf", a_pdf(1000000))]
        self.citizen.receipt(a_filing(), files=small)


@no_worker
class DiskLow(BadDay):
    def test_no_room(self):
        free = shutil.disk_usage(self.here.folder).free
        self.here.start("ops", "keyd", "broker", "web")
        self.citizen.receipt(a_filing())
        self.here.end("broker")
        self.reserve(free * 2)
        self.here.start("broker")
        self.unavailable(self.citizen.file(a_filing()))
        doctor = self.here.tool("doctor")
        self.assertEqual(doctor.returncode, 1)
        self.assertIn("make room", doctor.stdout)
        self.assertEqual(self.here.queue_stats()["items"], 1, "what was accepted is still there")

    def reserve(self, least):
        path = f"{self.here.folder}/dengwen.yaml"
        with open(path) as f:
            text = f.read()
        self.assertIn("  #min_free_bytes: ", text)
        with open(path, "w") as f:
            f.write(text.replace("  #min_free_bytes: ", f"  min_free_bytes: {least} #"))


def own_mounts():
    """A mount namespace in which we may mount, as the words before a command; None where not allowed."""
    for words in (["unshare", "--mount"], ["unshare", "--mount", "--user", "--map-root-user"]):
        tried = subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
        if tried.returncode == 0:
            return words
    return None


class DiskFull(BadDay):
    """A disk that really is full: the queue's folder on 3 MB of its own."""
    settings = ("queue.min_free_bytes=0", "queue.reserve_bytes=500000")

    @unittest.skipUnless(own_mounts(), "mounting is not allowed here")
    def test_really_full(self):
        self.here.start("ops", "keyd")
        state = f"{self.here.folder}/state/broker"
        script = (f"cp -a {state} {state}.kept && mount -t tmpfs -o size=3m,mode=0700 none {state} && "
                  f"cp -a {state}.kept/. {state}/ && exec dengwen-broker")
        with open(f"{self.here.logs}/broker", "ab") as log:
            self.here.processes["broker"] = subprocess.Popen(
                [*own_mounts(), "sh", "-c", script], stdout=log, stderr=log,
                env=dict(self.here.environment, PATH=os.environ["DENGWEN_BIN"] + ":/usr/bin:/bin"))
        self.here.start("web")
        receipts, refused = [], None
        files = [("a.pdf", "application/pdf", a_pdf(150000))]
        for _ in range(60):
            answer = self.citizen.file(a_filing(), files=files)
            if answer.status != 202:
                refused = answer
                break
            receipts.append(answer.json["receipt"])
        self.unavailable(refused)
        self.assertGreater(len(receipts), 2)
        # It lives, keeps what it accepted, and once there is room takes more.
        self.assertEqual(self.here.queue_stats()["ready"], len(receipts))
        self.here.start("casework")
        for receipt in receipts:
            self.citizen.follow(receipt)
        wait_until(20, lambda: self.citizen.file(a_filing(), files=files).status == 202, "room again")


@unittest.skipIf(os.environ.get("DENGWEN_TEST_MONGODB"), "tests/flow/mongodb.py has its bad days")
class StoreAway(BadDay):
    settings = ("store.busy_ms=200",)

    @contextlib.contextmanager
    def locked(self):
        """Somebody else holds the database, as a forgotten backup would."""
        other = sqlite3.connect(f"{self.here.folder}/state/case/cases.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    def test_filings_wait(self):
        self.here.start_all()
        before = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(before)["reference"]
        member = Member(self.here, "500108.inspector1")
        with self.locked():
            receipt = self.citizen.receipt(a_filing())
            self.assertEqual(self.citizen.status(receipt).json["state"], "received")
            self.unavailable(self.citizen.say(before, "补充"))
            self.unavailable(member.command(reference, "note", version=1, text="x"))
            self.assertEqual(self.citizen.status(before).status, 200, "reading goes on")
        self.citizen.follow(receipt)
        self.assertEqual(self.citizen.say(before, "补充").status, 200)
        self.assertEqual(len(self.cases()), 2)


class Unverifiable(BadDay):
    settings = ("queue.backoff_ms=50",)

    def test_it_is_set_apart_and_shown(self):
        self.here.start("ops", "keyd", "broker", "web")
        spoilt = self.citizen.receipt(a_filing())
        good = self.citizen.receipt(a_filing())
        self.here.kill("broker")
        self.spoil_first()
        self.here.start("broker", "casework", "desk")
        self.citizen.follow(good)
        wait_until(20, lambda: self.here.queue_stats()["dead"] == 1, "a dead letter")
        self.assertEqual(len(self.cases()), 1)
        self.assertEqual(self.citizen.status(spoilt).json["state"], "received")
        wait_until(10, lambda: self.here.metrics().get(
            'dengwen_case_unverifiable_filings_total{program="case"}') == 1, "it is counted")
        doctor = self.here.tool("doctor")
        self.assertEqual(doctor.returncode, 1)
        self.assertRegex(doctor.stdout, r"WRONG +dead letters +1 filings")
        (row,) = self.here.tool_json("queue", "list", "dead")
        self.assertTrue(row["reason"])
        self.here.tool("queue", "retry", row["id"], check=True)
        wait_until(20, lambda: self.here.queue_stats()["dead"] == 1, "it dies again")
        self.here.tool("queue", "drop", row["id"], check=True)
        self.assertEqual(self.here.queue_stats()["items"], 0)

    def spoil_first(self):
        """One bit of the sealed document, on the disk."""
        db = sqlite3.connect(f"{self.here.folder}/state/broker/queue.db")
        seq, body = db.execute("SELECT seq, body FROM items ORDER BY seq LIMIT 1").fetchone()
        body = bytearray(body)
        body[len(body) // 2] ^= 1
        db.execute("UPDATE items SET body = ? WHERE seq = ?", (bytes(body), seq))
        db.commit()
        db.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
