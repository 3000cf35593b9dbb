#!/usr/bin/python3
"""Several case workers at one store, side by side: each filing becomes one case, each timer fires once,
each notice goes once, each command is done once, and each worker keeps an audit chain of its own.  And
the receipt that waits for the store."""
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (BIN, SOURCE, Citizen, Installation, Member, a_filing, free_ports,  # noqa: E402
                          fresh_key, wait_until)

WORKERS = 3
CASES = 60
STAGES = {"clock_soon", "clock_due", "clock_overdue"}
OPEN = [f"{key}=1000000" for key in ("web.filings_per_hour", "web.filings_burst", "web.lookups_per_minute",
                                     "web.lookups_burst", "desk.logins_per_minute", "desk.logins_burst")]


class Several(unittest.TestCase):
    def setUp(self):
        (port,) = free_ports(1)
        self.here = Installation("notify.delay_max_minutes=0", f"notify.smtp_url=smtp://127.0.0.1:{port}",
                                 *OPEN, day="2026-06-01")
        self.addCleanup(self.here.__exit__, None, None, None)
        self.mail = f"{self.here.folder}/mail"
        os.mkdir(self.mail)
        self.script("start", self.mail, str(port))
        self.addCleanup(self.script, "stop", self.mail)
        self.others = []
        self.addCleanup(self.end_others)
        self.here.start("ops", "keyd", "broker", "casework", "notify", "desk", "web")
        for n in range(1, WORKERS):
            self.start_another(n)
        self.citizen = Citizen(self.here)

    def script(self, *words):
        subprocess.run([f"{SOURCE}/tests/support/smtp.sh", *words], check=True, stdout=subprocess.DEVNULL)

    def start_another(self, n):
        """The same program with the same key, a state folder and an audit chain of its own, as on
        another machine."""
        folder = self.here.folder
        shutil.copytree(f"{folder}/state/case", f"{folder}/state-{n}/case",
                        ignore=shutil.ignore_patterns("cases.db*", "lock"))
        with open(f"{folder}/dengwen.yaml") as f:
            text = f.read()
        uri = re.search(r"^  uri: (.*)$", text, re.M)
        text = re.sub(r"^#?state: .*$", f'state: "state-{n}"', text, flags=re.M)
        text = re.sub(r"^  #chain: .*$", f"  chain: staff-{n}", text, flags=re.M)
        if not uri:
            text = re.sub(r"^  #uri: .*$", '  uri: "sqlite:state/case/cases.db"', text, count=1, flags=re.M)
        with open(f"{folder}/other-{n}.yaml", "w") as f:
            f.write(text)
        os.chmod(f"{folder}/other-{n}.yaml", 0o600)
        with open(f"{self.here.logs}/casework-{n}", "ab") as log:
            self.others.append(subprocess.Popen(
                [f"{BIN}/dengwen-casework", "-c", f"{folder}/other-{n}.yaml"], env=self.here.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def end_others(self):
        for process in self.others:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=60), 0)

    def mails(self):
        folder = f"{self.mail}/mail/new"
        ids = collections.Counter()
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            with open(f"{folder}/{name}", encoding="utf-8") as f:
                ids[re.search(r"(?im)^message-id: (.*)$", f.read()).group(1)] += 1
        return ids

    def file_one(self, n):
        return self.citizen.receipt(a_filing(
            facts=f"第{n}份：该医院长期挂床住院，患者并未实际住院却产生费用，我亲眼所见。",
            identity={"name": "李四", "email": f"r{n}@example.org"}, notify={"email": True}))

    def test_side_by_side(self):
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            receipts = list(pool.map(self.file_one, range(CASES)))
        references = {self.citizen.follow(r)["reference"] for r in receipts}
        self.assertEqual(len(references), CASES)
        member = Member(self.here, "500108.inspector1")
        self.assertEqual({row["reference"] for row in member.worklist()}, references)
        wait_until(60, lambda: len(self.mails()) >= CASES, "every reporter has a mail")

        # The same command by several hands at once: done once.
        chosen = sorted(references)[:10]

        def accept(reference, key):
            return Member(self.here, "500108.inspector1").command(reference, "accept", version=1, key=key)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            keys = {reference: fresh_key() for reference in chosen}
            answers = list(pool.map(lambda r: accept(r, keys[r]), chosen * 3))
        self.assertEqual({a.status for a in answers}, {200}, answers)
        for reference in chosen:
            kinds = [e["kind"] for e in member.case(reference)["events"]]
            self.assertEqual(kinds.count("accepted"), 1, kinds)
        wait_until(60, lambda: len(self.mails()) >= CASES + len(chosen), "and one for each acceptance")

        # All clocks of all cases at once.
        self.here.be_on("2026-09-30")

        def fired(reference):
            events = Member(self.here, "500108.inspector2").case(reference)["events"]
            return [(e["kind"], e.get("rule")) for e in events if e["kind"] in STAGES]
        rest = sorted(references - set(chosen))
        wait_until(60, lambda: all(any(kind == "clock_overdue" for kind, _ in fired(r)) for r in rest[-3:]),
                   "the clocks have fired")
        for reference in rest[:8] + chosen[:4]:
            stages = fired(reference)
            self.assertEqual(len(stages), len(set(stages)), stages)

        self.assertEqual(max(self.mails().values()), 1, "no notice went twice")
        self.assertEqual(self.here.queue_stats()["dead"], 0)
        for log in sorted(os.listdir(self.here.logs)):
            self.assertNotIn("case.chain", self.here.log(log), log)

        # One of them is enough.
        self.here.kill("casework")
        self.others[0].kill()
        self.others.pop(0).wait()
        self.citizen.follow(self.file_one(CASES))


class ReceiptAfterStore(unittest.TestCase):
    def test_no_receipt_before_the_store_has_it(self):
        with Installation("web.receipt_after=store", "web.call_timeout_ms=1500", *OPEN) as here:
            citizen, key = Citizen(here), fresh_key()
            here.start("ops", "keyd", "broker", "web")
            refused = citizen.file(a_filing(), key)
            self.assertEqual(refused.status, 503, refused)
            self.assertGreater(int(refused.headers["Retry-After"]), 0)
            self.assertNotIn("receipt", refused.json)
            self.assertEqual(here.queue_stats()["items"], 1, "it is kept all the same")
            here.start("casework")
            wait_until(20, lambda: citizen.file(a_filing(), key).status == 202, "the same filing is taken")
            receipt = citizen.receipt(a_filing(), key=key)
            self.assertTrue(citizen.status(receipt).json["reference"], "it is there at once")
            for _ in range(5):
                receipt = citizen.receipt(a_filing())
                self.assertTrue(citizen.status(receipt).json["reference"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
