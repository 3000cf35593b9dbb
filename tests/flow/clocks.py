#!/usr/bin/python3
"""The law's clocks: computed by working days, explained to both sides, and their timers, which
survive restarts and fire once.  Days pass by the setting clock_file."""
import datetime
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Citizen, Installation, Member, a_filing, wait_until  # noqa: E402

INSPECTOR = "500108.inspector1"
STAGES = ("clock_soon", "clock_due", "clock_overdue")


class Clocks(unittest.TestCase):
    def begin(self, day):
        self.here = Installation(day=day)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.citizen = Citizen(self.here)
        self.here.start_all()

    def case(self, reference):
        return Member(self.here, INSPECTOR).case(reference)  # a session does not last for weeks

    def stages(self, reference):
        return [e["kind"] for e in self.case(reference)["events"] if e["kind"] in STAGES]

    def wait_for(self, reference, expected):
        wait_until(15, lambda: self.stages(reference) == expected, expected)

    def test_due_dates_and_their_explanation(self):
        self.begin("2026-09-28")
        receipt = self.citizen.receipt(a_filing())
        (due,) = self.citizen.follow(receipt)["due"]
        # 15 working days from the 29th: National Day holidays do not count, worked weekends do.
        told = self.here.tool_json("due", "D08", "2026-09-28")
        self.assertEqual((due["rule"], due["date"]), ("D08", told["due"]))
        self.assertEqual(due["article"], told["article"])
        self.assertTrue(due["steps"])
        self.assertIn("国庆", str(due["steps"]) + str(told["steps"]))
        reference = self.citizen.status(receipt).json["reference"]
        member = Member(self.here, INSPECTOR)
        (row,) = member.worklist()
        self.assertEqual((row["due"], row["due_rule"]), (due["date"], "D08"))
        member.do(reference, "accept")
        rules = {d["rule"]: d["date"] for d in self.citizen.status(receipt).json["due"]}
        # 90 calendar days end on a Sunday: the next working day.
        self.assertEqual(rules["D10"], "2026-12-28")
        self.assertNotIn("D08", rules, "a clock that was met no longer runs")

    def test_timers_fire_once_and_survive_restarts(self):
        self.begin("2026-06-01")
        receipt = self.citizen.receipt(a_filing())
        seen = self.citizen.follow(receipt)
        reference, due = seen["reference"], seen["due"][0]["date"]
        self.assertEqual(self.stages(reference), [])
        self.assertNotIn(reference, self.listed("due"))

        # The day comes while the case worker is away.
        self.here.kill("casework")
        self.here.be_on(self.working_day_before(due, 3))
        self.here.start("casework")
        self.wait_for(reference, ["clock_soon"])
        self.assertIn(reference, self.listed("due"))
        self.restart()
        self.here.be_on(due)
        self.wait_for(reference, ["clock_soon", "clock_due"])
        self.restart()
        self.here.be_on(str(datetime.date.fromisoformat(due) + datetime.timedelta(1)), hour=0)
        self.wait_for(reference, list(STAGES))
        self.assertIn(reference, self.listed("overdue"))
        self.restart()
        self.here.be_on(str(datetime.date.fromisoformat(due) + datetime.timedelta(9)))
        self.restart()
        self.assertEqual(self.stages(reference), list(STAGES))
        shown = self.citizen.status(receipt).json["due"][0]
        self.assertEqual(shown["date"], due, "overdue is shown to the reporter too")

    def test_met_in_time_it_stays_silent(self):
        self.begin("2026-06-01")
        seen = self.citizen.follow(self.citizen.receipt(a_filing()))
        Member(self.here, INSPECTOR).do(seen["reference"], "refuse", reason="NO_CLEAR_TARGET_OR_FACT",
                                        text="线索不足。")
        self.here.be_on("2026-08-01")
        self.restart()
        case = self.case(seen["reference"])
        self.assertEqual([e["kind"] for e in case["events"] if e["kind"] in STAGES], [])

    def test_everything_at_once_after_a_long_sleep(self):
        self.begin("2026-06-01")
        seen = self.citizen.follow(self.citizen.receipt(a_filing()))
        self.here.kill("casework")
        self.here.be_on("2026-09-01")
        self.here.start("casework")
        wait_until(15, lambda: "clock_overdue" in self.stages(seen["reference"]), "overdue is told")
        fired = self.stages(seen["reference"])
        self.assertEqual(len(fired), len(set(fired)))

    def test_a_case_that_comes_back_has_a_clock_again(self):
        """Or nobody would ever be told that it lies there."""
        self.begin("2026-06-01")
        reference = self.citizen.follow(self.citizen.receipt(a_filing()))["reference"]
        Member(self.here, INSPECTOR).do(reference, "transfer", to="500103", reason="OTHER_DISTRICT")
        self.here.be_on("2026-06-09")
        self.restart()
        Member(self.here, "500103.inspector1").do(reference, "return", reason="NOT_IN_REMIT")
        running = [c for c in self.case(reference)["clocks"] if not c["ended"]]
        self.assertEqual([(c["rule"], c["body"], c["start"]) for c in running],
                         [("D08", INSPECTOR.split(".")[0], "2026-06-09")])

    def listed(self, worklist):
        return [row["reference"] for row in Member(self.here, INSPECTOR).worklist(worklist)]

    def restart(self):
        self.here.kill("casework")
        self.here.start("casework")

    def working_day_before(self, due, count):
        day = datetime.date.fromisoformat(due)
        while count:
            day -= datetime.timedelta(1)
            count -= day.weekday() < 5 and str(day) not in ("2026-06-19",)  # the Dragon Boat Festival
        return str(day)


if __name__ == "__main__":
    unittest.main(verbosity=2)
