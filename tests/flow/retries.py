#!/usr/bin/python3
"""The same filing sent again is the same filing: from many connections at once, after restarts, and
long after the case exists.  Another filing under the same key is refused."""
import os
import signal
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, Member, a_filing, a_pdf, fresh_key, wait_until  # noqa: E402

CONNECTIONS = 20
MESSAGES = 400


class Retries(unittest.TestCase):
    def setUp(self):
        self.here = Installation()
        self.addCleanup(self.here.__exit__, None, None, None)
        self.citizen = Citizen(self.here)

    def references(self):
        return [row["reference"] for row in Member(self.here, "500108.inspector1").worklist()]

    def file_at_once(self, filing, key, files=()):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = list(pool.map(lambda _: self.citizen.file(filing, key, files),
                                    range(CONNECTIONS)))
        self.assertEqual({a.status for a in answers}, {202}, answers)
        receipts = {a.json["receipt"] for a in answers}
        self.assertEqual(len(receipts), 1)
        return receipts.pop()

    def test_twenty_at_once_are_one(self):
        self.here.start_all()
        receipt = self.file_at_once(a_filing(), fresh_key())
        self.citizen.follow(receipt)
        self.assertEqual(len(self.references()), 1)

    def test_twenty_at_once_with_files_are_one(self):
        self.here.start_all()
        files = [("a.pdf", "application/pdf", a_pdf(200000)), ("b.txt", "text/plain", b"seen it\n" * 9)]
        receipt = self.file_at_once(a_filing(), fresh_key(), files)
        self.citizen.follow(receipt)
        member = Member(self.here, "500108.inspector1")
        (reference,) = self.references()
        for listed, (name, _, data) in zip(member.case(reference)["files"], files):
            self.assertEqual(listed["name"], name)
            answer = member.call("GET", f"cases/{reference}/files/{listed['id']}")
            self.assertEqual(answer.body, data)
        self.assertEqual(self.here.queue_stats()["open_bytes"], 0, "chunks of the other attempts")

    def test_after_a_restart_of_everything(self):
        """While it waits in the queue, and when it is a case."""
        key, filing = fresh_key(), a_filing()
        self.here.start("ops", "keyd", "broker", "web")
        first = self.citizen.receipt(filing, key=key)
        self.here.end("web", "broker", "keyd")
        self.here.start("keyd", "broker", "web")
        self.assertEqual(self.citizen.receipt(filing, key=key), first)
        self.assertEqual(self.here.queue_stats()["items"], 1)
        self.here.start("casework", "desk")
        self.citizen.follow(first)
        self.assertEqual(self.here.queue_stats()["items"], 0)
        self.here.kill("web", "broker", "keyd", "casework")
        self.here.start("keyd", "broker", "casework", "web")
        self.assertEqual(self.citizen.receipt(filing, key=key), first)
        self.citizen.follow(first)
        self.assertEqual(len(self.references()), 1)

    def test_another_filing_under_the_same_key(self):
        key = fresh_key()
        other = a_filing(facts="完全不同的另一件事:药店串换药品,用医保卡买保健品和日用品。")
        self.here.start("ops", "keyd", "broker", "web")
        first = self.citizen.receipt(a_filing(), key=key)
        self.refused(other, key)
        self.here.kill("broker")
        self.here.start("broker", "casework", "desk")
        self.refused(other, key)
        self.citizen.follow(first)
        self.refused(other, key)
        with_file = self.citizen.file(a_filing(), key, [("a.txt", "text/plain", b"one more thing\n")])
        self.assertEqual(with_file.status, 422, "the same text with another file is another filing")
        self.assertEqual(len(self.references()), 1)
        # A stranger's use of a key that somebody else had gives nothing away.
        self.assertNotIn(first.replace("-", ""), with_file.body.decode().replace("-", ""))

    def refused(self, filing, key):
        answer = self.citizen.file(filing, key)
        self.assertEqual((answer.status, answer.json["field"]), (422, "Idempotency-Key"), answer)

    def test_messages_too(self):
        self.here.start_all()
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        key = fresh_key()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = list(pool.map(lambda _: self.citizen.say(receipt, "再补充一点", key),
                                    range(CONNECTIONS)))
        self.assertEqual({a.status for a in answers}, {200}, answers)
        case = Member(self.here, "500108.inspector1").case(reference)
        self.assertEqual(str(case["messages"]).count("再补充一点"), 1)
        self.assertEqual(self.citizen.say(receipt, "另一句", key).status, 422)

    def test_messages_while_the_case_changes_hands(self):
        """A transfer brings a new root key just when a message is sealed under the one before."""
        self.here.start("ops", "keyd", "broker", "casework", "desk")
        self.here.start("web", DENGWEN_STOP_AT="intake.case-read:1")
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        giver, taker = (Member(self.here, f"{body}.inspector1") for body in ("500108", "500103"))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.citizen.say, receipt, "再补充一点")
            try:
                wait_until(30, self.web_has_stopped, "web has read the case")
                giver.do(reference, "transfer", to="500103", reason="OTHER_DISTRICT")
            finally:
                self.here.processes["web"].send_signal(signal.SIGCONT)
            self.assertEqual(answer.result().status, 200, answer.result())
        taker.do(reference, "receive")
        self.assertEqual(str(taker.case(reference)["messages"]).count("再补充一点"), 1)

    def web_has_stopped(self):
        with open(f"/proc/{self.here.processes['web'].pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    def test_a_case_with_many_messages_stays_readable(self):
        """Its answer is longer than one frame may be (broker.max_frame_bytes)."""
        self.here.start_all()
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        for n in range(MESSAGES):
            self.assertEqual(self.citizen.say(receipt, f"补充 {n} 号").status, 200)
        case = Member(self.here, "500108.inspector1").case(reference)
        for seen in (case["messages"], self.citizen.status(receipt).json["messages"]):
            self.assertEqual([m["text"] for m in seen if m["text"].startswith("补充")],
                             [f"补充 {n} 号" for n in range(MESSAGES)])

    def test_commands_too(self):
        self.here.start_all()
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        member, key = Member(self.here, "500108.inspector1"), fresh_key()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(
                lambda _: member.command(reference, "note", key=key, version=1, text="只记一次"), range(8)))
        self.assertEqual({a.status for a in answers}, {200}, answers)
        self.assertEqual(str(member.case(reference)["notes"]).count("只记一次"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
