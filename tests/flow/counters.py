#!/usr/bin/python3
"""Statistics: right after the whole life of cases, by whom they may be seen, and equal to a rebuild
wherever the case worker was killed between an event and its counting."""
import collections
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, Member, a_filing, wait_until  # noqa: E402

AGAIN = 75
CITY, FIRST, SECOND = "500000", "500108", "500103"
OPEN = [f"{key}=1000000" for key in ("web.filings_per_hour", "web.filings_burst", "web.lookups_per_minute",
                                     "web.lookups_burst", "desk.logins_per_minute", "desk.logins_burst")]
POINTS = ("statistics.journaled", "statistics.counted", "statistics.marked", "store.committed")
PASSES = 4


def in_district(district, **more):
    return a_filing(against={"type": "pharmacy" if more.get("pharmacy") else "hospital", "name": "某某机构",
                             "district": district}, acts=more.get("acts", ["PU01"]),
                    identity={"name": "李四", "phone": "13800138000"})


class People(unittest.TestCase):
    def setUp(self):
        self.here = Installation("case.fold_ms=100", *OPEN, *self.settings(), day="2026-11-24")
        self.addCleanup(self.here.__exit__, None, None, None)
        self.kill_file = f"{self.here.folder}/kill"
        self.here.start("ops", "keyd", "broker", "notify", "desk", "web", wait=False)
        self.start_worker()
        self.citizen = Citizen(self.here)

    def settings(self):
        return []

    def start_worker(self):
        self.here.start("casework", DENGWEN_KILL_FILE=self.kill_file)

    def member(self, user):
        return Member(self.here, user)

    def file(self, filing):
        receipt = self.citizen.receipt(filing)
        return receipt, self.citizen.follow(receipt)["reference"]

    def ask(self, manager, query=""):
        answer = manager.call("GET", f"statistics{query}")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def counters(self, manager, by, kind="report", days=""):
        """{value: {measure: count}} once everything is counted."""
        found = wait_until(30, lambda: (lambda s: None if s["behind"] else s)(
            self.ask(manager, f"?by={by}{days}")), "everything is counted")
        return {row["value"]: row[kind] for row in found["rows"] if row[kind]}

    def rebuilt(self, *words):
        """Again when it says so: somebody counted meanwhile."""
        done = wait_until(60, lambda: (lambda d: d.returncode != AGAIN and d)(
            self.here.tool("statistics", "rebuild", *words, "--format", "json")), "a rebuild")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def all_is_right(self, cases):
        wait_until(30, lambda: self.rebuilt("--check")["behind"] == 0, "everything is counted")
        found = self.rebuilt()
        self.assertEqual((found["cases"], found["wrong"], found["unreadable"]), (cases, 0, 0), found)
        return found


class Life(People):
    def test_a_whole_life(self):
        first, second = self.member(f"{FIRST}.inspector1"), self.member(f"{SECOND}.inspector1")
        city = self.member(f"{CITY}.manager")
        one, two = self.member(f"{FIRST}.manager"), self.member(f"{SECOND}.manager")
        receipts, references = zip(*[self.file(in_district(FIRST, acts=["PU01", "PF02"] if n else ["PU01"]))
                                     for n in range(5)])
        self.file(in_district(SECOND, pharmacy=True, acts=["PF02"]))
        taken, refused, moved, back, left = references
        first.do(taken, "assign", to=first.user)
        first.do(taken, "accept")
        first.do(taken, "reply", text="正在调查")
        first.do(taken, "decide", outcome="punished", text="已处理")
        first.do(taken, "close")
        first.do(taken, "archive")
        first.do(refused, "refuse", reason="OUT_OF_SCOPE", text="不属于职责范围")
        first.do(moved, "transfer", to=SECOND, reason="OTHER_DISTRICT")
        second.do(moved, "receive")
        second.do(moved, "accept")
        first.do(back, "transfer", to=SECOND, reason="OTHER_DISTRICT")
        second.do(back, "return", reason="NOT_IN_REMIT")
        self.assertEqual(self.citizen.withdraw(receipts[references.index(left)]).status, 200)

        self.assertEqual(self.counters(one, "state"), {
            "archived": {"cases": 1}, "not_accepted": {"cases": 1}, "received": {"cases": 1},
            "withdrawn": {"cases": 1}})
        self.assertEqual(self.counters(two, "state"), {"accepted": {"cases": 1}, "received": {"cases": 1}})
        self.assertEqual(self.counters(city, "workload"), {
            FIRST: {"archived": 1, "not_accepted": 1, "received": 1, "withdrawn": 1},
            SECOND: {"accepted": 1, "received": 1}})
        did = {"registered": 5, "accepted": 1, "replied": 1, "decided": 1, "closed": 1, "archived": 1,
               "refused": 1, "transferred": 2, "handed_over": 1, "returned": 1, "withdrawn": 1}
        self.assertEqual(self.counters(one, "month"), {"2026-11": did})
        self.assertEqual(self.counters(one, "day"), {"2026-11-24": did})
        self.assertEqual(self.counters(two, "body"), {SECOND: {"registered": 1, "received": 1, "accepted": 1}})
        both = collections.Counter(did) + collections.Counter(registered=1, received=1, accepted=1)
        self.assertEqual(self.counters(city, "month"), {"2026-11": both})
        self.assertEqual(self.counters(city, "act"), {"PU01": {"registered": 5}, "PF02": {"registered": 5}})
        self.assertEqual(self.counters(city, "against")["pharmacy"], {"registered": 1})
        self.assertEqual(self.counters(one, "outcome"), {"punished": {"decided": 1}})
        self.assertEqual(self.counters(one, "reason")["OUT_OF_SCOPE"], {"refused": 1})
        self.assertEqual(self.counters(one, "month", "complaint"), {})
        self.assertEqual(self.counters(one, "day", days="&from=2026-11-25&to=2026-11-30"), {})
        self.all_is_right(6)

        # The legal clocks of what is left run out in another month.
        self.here.be_on("2027-02-01")
        city, one = self.member(f"{CITY}.manager"), self.member(f"{FIRST}.manager")
        wait_until(30, lambda: self.counters(one, "rule", days="&from=2026-11-01&to=2027-02-28"),
                   "deadlines have passed")
        overdue = self.counters(city, "month", days="&from=2026-11-01&to=2027-02-28")
        self.assertEqual(set(overdue), {"2026-11", "2027-02"})
        self.assertGreater(overdue["2027-02"]["overdue"], 0)
        self.all_is_right(6)

    def test_who_sees_what(self):
        self.file(in_district(FIRST))
        city, one = self.member(f"{CITY}.manager"), self.member(f"{FIRST}.manager")
        two = self.member(f"{SECOND}.manager")
        for manager, area, cases in ((city, CITY, 1), (one, FIRST, 1), (two, SECOND, 0)):
            self.assertEqual(sum(row["cases"] for row in self.counters(manager, "state").values()), cases)
            self.assertEqual(self.ask(manager)["area"], area)
            self.assertEqual(manager.call("GET", "statistics?area=500000&body=500000").json["area"], area)
        for role in ("inspector1", "custodian1"):
            answer = self.member(f"{FIRST}.{role}").call("GET", "statistics")
            self.assertEqual(answer.status, 403, answer)
            self.assertNotIn("rows", answer.json)


class Killed(People):
    def settings(self):
        """What a dead worker had in its hands comes again soon, and who waited for it asks again."""
        return ["web.call_timeout_ms=2000", "desk.call_timeout_ms=2000",
                "broker.heartbeat_ms=300", "broker.liveness=5", "queue.lease_seconds=5", "queue.backoff_max_ms=500"]

    def test_killed_between_event_and_counter(self):
        """At each step of counting, again and again, with cases in every state of it."""
        inspector, manager = self.member(f"{FIRST}.inspector1"), self.member(f"{CITY}.manager")
        cases = accepted = kills = 0
        for point in POINTS:
            for turn in range(1, PASSES + 1):
                self.kill_at(f"{point}:{turn}")
                receipts = [self.citizen.receipt(in_district(FIRST)) for _ in range(3)]
                cases += len(receipts)
                worker = self.here.processes["casework"]
                wait_until(30, lambda: worker.poll() is not None or self.is_all_counted(receipts, manager),
                           f"{point}:{turn}")
                self.kill_at("")
                if worker.poll() is not None:
                    kills += 1
                    self.assertEqual(worker.returncode, -9, self.here.log("casework")[-2000:])
                    self.here.processes.pop("casework")
                    self.start_worker()
                references = [self.citizen.follow(receipt)["reference"] for receipt in receipts]
                inspector.do(references[0], "accept")
                accepted += 1
            self.all_is_right(cases)
        self.assertGreater(kills, PASSES)
        self.assertEqual(self.counters(manager, "month")["2026-11"],
                         {"registered": cases, "accepted": accepted})
        self.assertEqual(self.counters(manager, "state"),
                         {"received": {"cases": cases - accepted}, "accepted": {"cases": accepted}})

    def kill_at(self, point):
        with open(f"{self.kill_file}.new", "w") as f:
            f.write(f"{point}\n")
        os.rename(f"{self.kill_file}.new", self.kill_file)

    def is_all_counted(self, receipts, manager):
        seen = [self.citizen.status(r) for r in receipts]
        answer = manager.call("GET", "statistics")
        return all(a.status == 200 and a.json.get("reference") for a in seen) and answer.status == 200 and \
            not answer.json["behind"]


class Rebuilding(People):
    def test_a_rebuild_beside_everything_that_runs(self):
        for n in range(10):
            self.file(in_district(FIRST))
            if n % 3 == 0:
                self.assertEqual(self.rebuilt()["wrong"], 0)
        self.all_is_right(10)
        done = self.here.tool("statistics", "rebuild", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("wrong        0", done.stdout)

    def test_show(self):
        self.file(in_district(FIRST))
        self.all_is_right(1)
        shown = self.here.tool_json("statistics", "show", "--by", "state", "--area", FIRST)
        self.assertEqual(shown["rows"], [{"value": "received", "kind": "report", "measure": "cases", "count": 1}])
        for words, code in ((("show", "--by", "name"), 2), (("show", "--area", "1"), 2), (("nonsense",), 2),
                            (("show", "--from", "yesterday"), 2), ((), 2), (("show", "--from", "2026-11-02"), 2)):
            done = self.here.tool("statistics", *words)
            self.assertEqual((done.returncode, done.stdout), (code, ""), words)
            self.assertIn("expected", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
