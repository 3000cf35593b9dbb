#!/usr/bin/python3
"""kill -9 of any process, or of all, at any step loses and doubles nothing.

    crash_campaign.py               the checker's own check, then 200 kills
    DW_KILLS=1000 crash_campaign.py  more of them
    DW_SEED=7 crash_campaign.py      the same choice of victims again

Clients file, add and command without a pause and keep their own account (support/ledger.py), each line
on disk before they go on.  Meanwhile processes die: at every named step, at random, all at once, and
with the supervisor.  Then everything is started once more and the account is compared with what is there.

That the comparison can fail is shown by two deliberate bugs, which it must name."""
import collections
import dataclasses
import email
import email.policy
import hashlib
import http.client
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (PARTS, SOURCE, Citizen, Installation, Member, a_filing, a_pdf,  # noqa: E402
                          free_ports, fresh_key, wait_until)
from ledger import Found, Ledger, check  # noqa: E402

KILLS = int(os.environ.get("DW_KILLS", 200))
SEED = int(os.environ.get("DW_SEED", random.SystemRandom().randrange(1 << 32)))
FIRST, SECOND = "500108", "500103"
BODIES = ("500000", FIRST, SECOND)
AWAY = (OSError, http.client.HTTPException)

# Named step: who passes it.
POINTS = {"queue.inserted": "broker", "queue.before-commit": "broker", "queue.committed": "broker",
          "broker.before-send": "broker",
          "store.before-case": "casework", "store.before-commit": "casework",
          "store.committed": "casework", "case.verified": "casework", "case.before-reply": "casework",
          "case.committed": "casework",
          "intake.sealed": "web", "intake.answered": "web", "web.file-data": "web",
          "notify.before-send": "notify", "notify.sent": "notify", "notify.before-report": "notify"}
EVENTS = {"accept": "accepted", "reply": "replied", "note": "noted", "assign": "assigned",
          "transfer": "transferred", "receive": "received"}

# Short waits, so that a minute holds many crashes.
SETTINGS = ("web.call_timeout_ms=2000", "desk.call_timeout_ms=3000", "broker.heartbeat_ms=300",
            "broker.liveness=5", "queue.lease_seconds=5", "queue.backoff_max_ms=2000",
            "notify.lease_seconds=6", "notify.timeout_seconds=1", "notify.backoff_seconds=1",
            "supervisor.restart_max_seconds=1",
            # Some items see the worker die often; that makes no dead letters of them here.
            "queue.max_attempts=1000")


def say(text):
    print(text, file=sys.stderr, flush=True)


class MailServer:
    def __init__(self, folder):
        (self.port,) = free_ports(1)
        self.folder = folder
        self.script("start", self.port)

    def script(self, verb, *more):
        subprocess.run([f"{SOURCE}/tests/support/smtp.sh", verb, self.folder, *map(str, more)],
                       check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def settings(self):
        return [f"notify.smtp_url=smtp://127.0.0.1:{self.port}", "notify.smtp_tls=false"]

    def mails(self):
        new = f"{self.folder}/mail/new"
        for name in os.listdir(new) if os.path.isdir(new) else ():
            with open(f"{new}/{name}", "rb") as f:
                mail = email.message_from_binary_file(f, policy=email.policy.default)
            yield mail["To"], mail["Message-ID"]


# ---- clients ----

class Client(threading.Thread):
    """One after the other until told to stop; what goes wrong in itself ends the test."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.here, self.ledger = load, load.here, load.ledger
        self.random = random.Random(f"{SEED} {type(self).__name__} {number}")
        self.error = None

    def run(self):
        try:
            while not self.load.stopping.wait(self.random.uniform(0, 0.2)):
                self.work()
        except Exception as error:  # noqa: BLE001
            self.error = error

    def until_answered(self, call, patience=120):
        """As a good client does: the same again, under the same key, until there is an answer.  Some
        go away at the first trouble and never learn; None for those."""
        leaves = self.random.random() < 0.1
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                answer = call()
                if answer is not None and answer.status < 500 and answer.status != 401:
                    return answer
            except AWAY:
                pass
            if leaves or self.load.stopping.wait(self.random.uniform(0.05, 0.3)):
                return None
        raise AssertionError(f"no answer within {patience} seconds")


class Reporter(Client):
    """Files; comes back and files the same once more; adds a message."""

    def work(self):
        mark, files = fresh_key(), []
        where = f"{mark}@example.org" if self.random.random() < self.load.mail else None
        filing = a_filing(facts=f"{mark} 住院清单与本人不符,患者并未实际住院却产生费用。")
        if where:
            filing.update(identity={"name": "李四", "email": where}, notify={"email": True})
        if self.random.random() < 0.35:
            files = [("a.pdf", "application/pdf", a_pdf(self.random.randrange(60000, 250000), mark)),
                     ("b.txt", "text/plain", f"{mark}\n".encode() * 99)]
        sums = {name: hashlib.sha256(data).hexdigest() for name, _, data in files}
        self.ledger.write("filing", mark, files=sums, email=where)
        self.file(mark, fresh_key(), filing, files)

    def file(self, mark, key, filing, files):
        citizen = Citizen(self.here)
        for _ in range(2 if self.random.random() < self.load.again else 1):
            answer = self.until_answered(lambda: citizen.file(filing, key, files))
            if not answer:
                return
            if answer.status != 202:
                self.ledger.write("refused", mark, status=answer.status)
                return
            receipt = answer.json["receipt"]
            self.ledger.write("receipt", mark, receipt=receipt)
        self.load.filed.append((mark, receipt))
        if self.random.random() < self.load.adds:
            self.add(citizen, *self.random.choice(self.load.filed))

    def add(self, citizen, of, receipt):
        mark, key = fresh_key(), fresh_key()
        self.ledger.write("message", mark, of=of)
        answer = self.until_answered(lambda: citizen.say(receipt, f"{mark} 补充一点", key))
        if answer and answer.status == 200:
            self.ledger.write("taken", mark)
        elif answer:
            self.ledger.write("refused", mark, status=answer.status)


class Inspector(Client):
    """Opens a case of the worklist and does something that may be done with it now."""

    def __init__(self, load, user):
        super().__init__(load, user)
        self.user, self.member = user, None

    def call(self, ask):
        """With a session; a desk that died has forgotten all of them."""
        if not self.member:
            try:
                self.member = Member(self.here, self.user)
            except AssertionError:
                return None
        answer = ask(self.member)
        if answer.status == 401:
            self.member = None
        return answer

    def work(self):
        listed = self.until_answered(lambda: self.call(
            lambda m: m.call("GET", "cases?worklist=all&limit=200")))
        rows = listed.json["cases"] if listed else []
        if not rows:
            return
        reference = self.random.choice(rows)["reference"]
        case = self.until_answered(lambda: self.call(lambda m: m.open(reference)))
        if not case or case.status != 200:
            return  # it went to another body meanwhile
        case = case.json
        allowed = [c for c in case["commands"] if c in EVENTS]
        if case["state"] == "transferred" and "note" in allowed:
            allowed.remove("note")  # what is noted now does not go along, and could not be looked for
        if sum(e["kind"] == "transferred" for e in case["events"]) >= 2 and "transfer" in allowed:
            allowed.remove("transfer")
        if allowed:
            self.give(case, self.random.choice(allowed))

    def give(self, case, command):
        mark, key, reference = fresh_key(), fresh_key(), case["reference"]
        body = self.user.split(".")[0]
        more = {"reply": {"text": f"{mark} 正在调查"}, "note": {"text": f"{mark} 先查床位"},
                "assign": {"to": f"{body}.inspector{self.random.randint(1, 2)}"},
                "transfer": {"to": SECOND if body == FIRST else FIRST, "reason": "OTHER_DISTRICT",
                             "with_internal": True}}.get(command, {})
        self.ledger.write("command", mark, reference=reference, event=EVENTS[command],
                          text="text" in more)
        answer = self.until_answered(lambda: self.call(lambda m: m.command(
            reference, command, key=key, version=case["version"], **more)))
        if not answer or answer.status == 404:
            return  # a transfer may have been taken and received before the second try
        if answer.status == 200:
            self.ledger.write("taken", mark)
        else:
            self.ledger.write("refused", mark, status=answer.status)


class Load:
    """Clients, and how many of them leave an address, file once more, add something later."""

    def __init__(self, here, ledger, reporters, inspectors, mail=0.3, again=0.2, adds=0.4):
        self.here, self.ledger = here, ledger
        self.mail, self.again, self.adds = mail, again, adds
        self.filed, self.stopping = [], threading.Event()
        self.clients = [Reporter(self, i) for i in range(reporters)]
        self.clients += [Inspector(self, user) for user in inspectors]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for client in self.clients:
            client.join(60)
        for client in self.clients:
            if client.error:
                raise client.error
            if client.is_alive():
                raise AssertionError(f"{client} does not end")

    def look(self):
        for client in self.clients:
            if client.error:
                raise client.error


# ---- kills ----

class Killer:
    """Starts the parts one by one, kills them and starts them again at once, without waiting for
    anything to be ready: the next death may find the others still coming back."""

    def __init__(self, here, load, choice, file, **environment):
        self.here, self.load, self.random, self.file = here, load, choice, file
        self.count = collections.Counter()
        self.environment = dict(environment, DENGWEN_KILL_FILE=self.file)

    def start(self, *parts):
        self.here.start(*parts, wait=False, **self.environment)

    def arm(self, spec):
        with open(f"{self.file}.new", "w") as f:
            f.write(spec)
        os.rename(f"{self.file}.new", self.file)

    def bury(self, part, *names):
        """It is dead: by our signal, and not by a fault of its own."""
        process = self.here.processes.pop(part)
        if process.wait(30) != -signal.SIGKILL:
            raise AssertionError(f"{part} ended with {process.returncode}:\n{self.here.log(part)[-3000:]}")
        self.count.update(names)

    def look(self):
        """Nobody else has died, except late at the step before."""
        self.load.look()
        for part, process in list(self.here.processes.items()):
            if process.poll() is not None:
                self.bury(part, "late")
                self.start(part)

    def at(self, point, patience=10):
        """At the first, second or third passing; False when nobody came by."""
        part = POINTS[point]
        self.look()
        self.arm(f"{point}:{self.random.randint(1, 3)}")
        end = time.monotonic() + patience
        while self.here.processes[part].poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.arm("")
        dead = self.here.processes[part].poll() is not None
        if dead:
            self.bury(part, point)
            self.start(part)
        return dead

    def any(self):
        part = self.random.choice(PARTS)
        self.look()
        self.here.processes[part].kill()
        self.bury(part, "random")
        self.start(part)

    def all(self):
        self.look()
        for part in PARTS:
            self.here.processes[part].kill()
        for part in PARTS:
            self.bury(part)
        self.count["all together"] += 1
        self.start(*self.random.sample(PARTS, len(PARTS)))

    def under_supervisor(self):
        """A part, which comes back by itself; now and then the supervisor, and all with it."""
        self.load.look()
        if self.random.random() < 0.2:
            self.here.kill("run")
            self.count["supervisor"] += 1
            self.start("run")
            return
        part = self.random.choice(PARTS)
        pid = wait_until(30, lambda: self.here.pid_of(part), f"{part} is back")
        os.kill(pid, signal.SIGKILL)
        self.count["supervised"] += 1
        wait_until(30, lambda: self.here.pid_of(part) not in (None, pid), f"{part} is back")

    def total(self):
        return sum(self.count.values())


# ---- what there is in the end ----

class End:
    def __init__(self, here, mail=None):
        self.here, self.mail = here, mail
        wait_until(120, self.queue_is_empty, "the queue is drained")
        self.members = [Member(here, f"{body}.inspector1") for body in BODIES]

    def queue_is_empty(self):
        done = self.here.tool("queue", "stats", "--format", "json")
        self.stats = self.here.queue_stats() if done.returncode == 0 else {}
        return self.stats and self.stats["items"] == self.stats["dead"]

    def found(self, rows):
        receipts = {row["receipt"] for row in rows if row["is"] == "receipt"}
        stored = self.stored()
        return Found(cases=self.cases(), stored=stored, mails=list(self.mail.mails()) if self.mail else [],
                     followed={r: self.follow(r) for r in receipts}, dead=self.stats["dead"])

    def stored(self):
        store = sqlite3.connect(f"file:{self.here.folder}/state/case/cases.db?mode=ro", uri=True)
        try:
            return [row[0] for row in store.execute("SELECT id FROM cases")]
        finally:
            store.close()

    def follow(self, receipt):
        answer = Citizen(self.here).status(receipt)
        return answer.json.get("reference") if answer.status == 200 else None

    def cases(self):
        """Each once, though sender and receiver of a transfer both see it; twice where one list has it
        twice."""
        seen, cases = set(), []
        for member in self.members:
            rows = self.listed(member)
            cases += [self.open(member, r) for r in rows if r not in seen]
            seen |= set(rows)
        return cases

    @staticmethod
    def listed(member):
        """Once the list stays as it is: a notice that is sent ends a clock, and its case moves down in
        the list while its pages are read."""
        lists = [None]

        def the_same_again():
            lists.append([row["reference"] for row in member.worklist(limit=200)])
            return lists[-1] == lists[-2]
        wait_until(120, the_same_again, f"the worklist of {member.user}")
        return lists[-1]

    def open(self, member, reference):
        """Once its notices are settled."""
        def settled():
            case = member.case(reference)
            return case if all(n["state"] not in ("waiting", "claimed")
                               for n in case["notices"]) else None
        case = wait_until(90, settled, f"the notices of {reference}")
        case["files"] = {f["name"]: self.sum(member, reference, f) for f in case["files"]}
        return case

    @staticmethod
    def sum(member, reference, file):
        answer = member.call("GET", f"cases/{reference}/files/{file['id']}")
        return hashlib.sha256(answer.body).hexdigest() if answer.status == 200 else str(answer)


class Crashes(unittest.TestCase):
    killer, end = Killer, End

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dw-crash-", dir="/tmp")  # what clients keep
        self.addCleanup(shutil.rmtree, self.folder)
        self.choice = random.Random(SEED)
        self.ledger = Ledger(f"{self.folder}/ledger")

    def install(self, *settings):
        self.here = Installation(*SETTINGS, *settings)
        self.addCleanup(self.here.__exit__, None, None, None)

    def check(self, found):
        return list(check(self.ledger.rows(), found))


class Campaign(Crashes):
    """Nothing is lost and nothing doubled."""
    kills, least = KILLS, dict.fromkeys(POINTS, KILLS // 50)

    def test_campaign(self):
        began = time.monotonic()
        say(f"seed {SEED}, {self.kills} kills")
        mail = MailServer(f"{self.folder}/smtp")
        self.addCleanup(mail.script, "stop")
        self.install(*mail.settings())
        load = Load(self.here, self.ledger, 4, [f"{FIRST}.inspector1", f"{FIRST}.inspector2",
                                                f"{SECOND}.inspector1"])
        killer = self.killer(self.here, load, self.choice, f"{self.folder}/kill")
        killer.start(*PARTS)
        self.here.wait_ready()
        with load:
            self.kill_one_by_one(killer)
            self.kill_the_rest(killer)
            killer.look()
        self.here.kill_all()
        killer.start("run")
        self.here.wait_ready()
        say(f"{killer.total()} kills in {time.monotonic() - began:.0f} s: "
            + ", ".join(f"{name} {n}" for name, n in sorted(killer.count.items())))
        found = self.end(self.here, mail).found(self.ledger.rows())
        failures = self.check(found)
        self.tell(found, failures, began)
        self.assertEqual(failures, [])
        self.assertNotRegex(self.here.all_logs(), "runtime error:|AddressSanitizer|run.part-died.* exit code")
        few = [p for p, least in self.least.items() if killer.count[p] < least]
        self.assertEqual(few, [], "steps at which too few died")
        self.check_the_checker(found)

    def plan(self):
        """Nine of ten kills: at every step equally often, mixed with the others."""
        many = self.kills * 9 // 10
        plan = list(POINTS) * (many * 2 // 3 // len(POINTS))
        plan += ["all"] * (self.kills // 20)
        return plan + ["any"] * (many - len(plan))

    def kill_the_rest(self, killer):
        self.here.kill(*PARTS)
        killer.start("run")
        while killer.total() < self.kills:
            killer.under_supervisor()
            self.choice_of_moment()

    def kill_one_by_one(self, killer):
        plan = self.plan()
        self.choice.shuffle(plan)
        for i, what in enumerate(plan):
            if what in POINTS:
                if not killer.at(what):
                    say(f"  nobody came by {what}")
            else:
                getattr(killer, what)()
            self.choice_of_moment()
            if i % 20 == 19:
                say(f"  {killer.total()} kills, {len(killer.load.filed)} filings acknowledged")

    def choice_of_moment(self):
        time.sleep(self.choice.uniform(0, 0.5))

    def tell(self, found, failures, began):
        kinds = collections.Counter(row["is"] for row in self.ledger.rows())
        say(f"  ledger: {dict(kinds)}")
        say(f"  found: {len(found.cases)} cases, {sum(len(c['files']) for c in found.cases)} files, "
            f"{len(found.mails)} mails ({len(set(found.mails))} different)")
        for failure in failures:
            say(f"  {failure.kind}: {failure.what}")
        say(f"  {time.monotonic() - began:.0f} s in all")

    def check_the_checker(self, right):
        """Made wrong in every way, the same state is called wrong by that name."""
        with_file = next(c for c in right.cases if c["files"])
        with_text = next(c for c in right.cases if c["messages"])
        with_mail = next(c for c in right.cases for n in c["notices"] if n["attempts"])
        without = [c for c in right.cases if c is not with_text]
        worked = next(c for c in right.cases if any(e["kind"] == "accepted" for e in c["events"]))
        def instead(old, **new):
            return [dict(c, **new) if c is old else c for c in right.cases]
        wrong = [
            ("lost", dict(cases=without)),
            ("doubled", dict(cases=right.cases + [with_text])),
            ("doubled", dict(stored=right.stored + right.stored[:1])),
            ("lost", dict(cases=instead(with_text, messages=[]))),
            ("doubled", dict(cases=instead(with_text, messages=with_text["messages"] * 2))),
            ("lost", dict(cases=instead(worked, events=[]))),
            ("order", dict(cases=instead(worked, events=worked["events"][1:]))),
            ("file", dict(cases=instead(with_file, files={}))),
            ("receipt", dict(followed=dict.fromkeys(right.followed, "CQ26-000000000"))),
            ("notice", dict(mails=[])),
            ("notice", dict(mails=right.mails * 9)),
            ("notice", dict(cases=instead(with_mail, notices=[]))),
            ("dead", dict(dead=1)),
        ]
        for kind, change in wrong:
            with self.subTest(kind, changed=list(change)):
                failures = self.check(dataclasses.replace(right, **change))
                self.assertIn(kind, [failure.kind for failure in failures])


class DeliberateBugs(Crashes):
    """The checker finds each of them out, and calls it by its name."""

    def kinds_with(self, bug, points, again):
        self.install()
        load = Load(self.here, self.ledger, 6, (), mail=0, again=again, adds=0)
        killer = self.killer(self.here, load, self.choice, f"{self.folder}/kill", DENGWEN_BUG=bug)
        killer.start(*PARTS)
        self.here.wait_ready()
        with load:
            for point in points:
                killer.at(point)
        failures = self.check(self.end(self.here).found(self.ledger.rows()))
        say(f"  {bug}: {dict(collections.Counter(f.kind for f in failures))} after "
            f"{killer.total()} kills")
        return {failure.kind for failure in failures}

    def test_acknowledged_before_commit(self):
        points = ["queue.inserted", "queue.before-commit"] * 6
        self.assertEqual(self.kinds_with("ack-before-commit", points, again=0), {"lost"})

    def test_uniqueness_dropped(self):
        points = ["case.committed", "case.before-reply", "store.committed"] * 3
        self.assertEqual(self.kinds_with("no-uniqueness", points, again=0.2), {"doubled"})

    def test_without_a_bug(self):
        points = ["queue.inserted", "case.before-reply"]
        self.assertEqual(self.kinds_with("none", points, again=0.2), set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
