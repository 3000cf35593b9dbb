#!/usr/bin/python3
"""dengwen audit verify: whole while everything runs, and each way to alter the record is found."""
import json
import os
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, Member, a_filing  # noqa: E402

DONE, NO, USAGE, DATA = 0, 1, 2, 65


class Audit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.here = Installation("store.uri=sqlite:state/case/cases.db")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start_all()
        citizen, inspector = Citizen(cls.here), Member(cls.here, "500108.inspector1")
        for _ in range(3):
            receipt = citizen.receipt(a_filing())
            reference = citizen.follow(receipt)["reference"]
            inspector.open(reference)
            inspector.do(reference, "accept")
            citizen.say(receipt, "补充一点情况。")
        cls.reference, cls.store = reference, f"{cls.here.folder}/state/case/cases.db"
        cls.while_running = cls.here.tool("audit", "verify", "--format", "json")
        cls.here.end("web", "desk", "notify", "casework")
        db = sqlite3.connect(cls.store, isolation_level=None)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # what its log holds goes into the file
        db.close()
        with open(cls.store, "rb") as f:
            cls.bytes = f.read()

    def setUp(self):
        for end in ("-wal", "-shm"):  # a reader leaves them, empty
            if os.path.exists(self.store + end):
                os.remove(self.store + end)
        with open(self.store, "wb") as f:
            f.write(self.bytes)

    def verify(self, *words):
        done = self.here.tool("audit", "verify", "--format", "json", *words)
        self.assertIn(done.returncode, (DONE, NO), done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(done.returncode, DONE if answer["whole"] else NO)
        self.assertEqual(answer["problems_count"], len(answer["problems"]))
        return answer

    def change(self, sql, *values):
        db = sqlite3.connect(self.store, isolation_level=None)
        self.assertGreater(db.execute(sql, values).rowcount, 0)
        db.close()

    def entries(self):
        db = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        rows = db.execute("SELECT seq, doc FROM audit ORDER BY seq").fetchall()
        db.close()
        return rows

    def found(self, *words):
        return [f"{p['where']}: {p['what']}" for p in self.verify(*words)["problems"]]

    def test_whole(self):
        self.assertEqual(self.while_running.returncode, DONE, self.while_running)
        answer = self.verify()
        self.assertEqual((answer["cases"], len(answer["chains"])), (3, 1))
        self.assertGreaterEqual(answer["events"], 9)
        self.assertEqual(answer["chains"][0]["entries"], len(self.entries()))
        self.assertEqual(self.here.tool("audit", "verify").stdout.splitlines()[-1], "whole")

    def test_any_bit_of_an_entry(self):
        seq, doc = self.entries()[len(self.entries()) // 2]
        for at in range(0, len(doc), 7):
            with self.subTest(at):
                bad = bytearray(doc)
                bad[at] ^= 1 << at % 8
                self.change("UPDATE audit SET doc = ? WHERE seq = ?", bytes(bad), seq)
                problems = self.found()
                self.assertTrue(problems)
                self.assertIn(f" {seq} ", problems[0])

    def test_left_out_put_elsewhere_and_written_again(self):
        rows = self.entries()
        middle, last = len(rows) // 2, len(rows)
        self.change("DELETE FROM audit WHERE seq = ?", middle)
        self.assertRegex(" ".join(self.found()), f"entries {middle} to {middle} are missing")
        self.setUp()
        for seq, doc in ((middle, rows[middle][1]), (middle + 1, rows[middle - 1][1])):
            self.change("UPDATE audit SET doc = ? WHERE seq = ?", doc, seq)
        self.assertGreaterEqual(len(self.found()), 2)
        self.setUp()
        self.change("UPDATE audit SET doc = ? WHERE seq = ?", rows[last - 2][1], last)
        self.assertRegex(" ".join(self.found()), f"entry {last} was altered")

    def test_the_end_is_found_by_an_earlier_answer(self):
        earlier = f"{self.here.folder}/earlier.json"
        with open(earlier, "w", encoding="utf-8") as f:
            json.dump(self.verify(), f)
        self.assertEqual(self.found("--against", earlier), [])
        self.change("DELETE FROM audit WHERE seq > ?", len(self.entries()) - 2)
        self.assertEqual(self.found(), [])
        self.assertRegex(" ".join(self.found("--against", earlier)), "it ends with entry")
        self.change("DELETE FROM audit WHERE seq > 0")
        self.assertRegex(" ".join(self.found("--against", earlier)), "it ends with entry 0")
        for text in ("", "[]", '{"chains": [{"chain": "x"}]}'):
            with open(earlier, "w", encoding="utf-8") as f:
                f.write(text)
            self.assertEqual(self.here.tool("audit", "verify", "--against", earlier).returncode, DATA)

    def test_a_case_that_was_altered(self):
        db = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        case, doc = db.execute("SELECT id, doc FROM cases WHERE instr(doc, ?) > 0",
                               (self.reference.encode(),)).fetchone()
        db.close()
        for old, new in ((b"accepted", b"archived"), (b"500108", b"500103")):
            self.setUp()
            self.assertIn(old, doc)
            self.change("UPDATE cases SET doc = ? WHERE id = ?", doc.replace(old, new), case)
            self.assertRegex(" ".join(self.found()), f"{self.reference}: ")

    def test_misuse(self):
        for words in ([], ["look"], ["verify", "twice"]):
            self.assertEqual(self.here.tool("audit", *words).returncode, USAGE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
