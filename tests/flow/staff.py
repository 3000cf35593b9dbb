#!/usr/bin/python3
"""Members of staff: invited, enrolled, logged in a few at a time, shown what their body was granted and
nothing else, with a record of all of it; and the terminal client when it is given nonsense."""
import os
import re
import sqlite3
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (Citizen, Installation, Member, a_filing, fresh_key, request,  # noqa: E402
                          wait_until)

OWN, OTHER, NEW = "500108", "500103", "500106"
PASSWORD = "correct horse battery"
MEMORY_MIB = 64


def unused_reference():
    """A well-formed one: a mistyped one is told apart by its check character, and may be."""
    alphabet, p = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 32
    for c in "2600000000":
        p = ((p + alphabet.index(c)) % 32 or 32) * 2 % 33
    return "CQ26-00000000" + alphabet[(33 - p) % 32]


class Staff(unittest.TestCase):
    settings = ()

    @classmethod
    def setUpClass(cls):
        cls.here = Installation(*cls.settings)
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start_all()
        cls.citizen = Citizen(cls.here)

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertEqual(self.here.queue_stats()["dead"], 0)
        self.assertNotIn("runtime error:", self.here.all_logs())

    def post(self, path, body, **headers):
        headers["Content-Type"] = "application/json"
        return request(self.here.desk, "POST", f"/api/v1/{path}", body, headers)

    def log_in(self, user, password):
        return Member.call(Nobody(self.here), "POST", "login", {"user": user, "password": password})

    def a_case(self, district=OWN):
        filing = a_filing(against={"type": "hospital", "name": "某某医院", "district": district})
        return self.citizen.follow(self.citizen.receipt(filing))["reference"]

    def problem(self, answer, status, field=None):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual((answer.json["status"], answer.json.get("field")), (status, field), answer)
        self.assertTrue(answer.json["detail"])


class Nobody(Member):
    """Somebody who did not log in."""

    def __init__(self, here):
        self.here, self.token = here, None


class Enrolment(Staff):
    def staff(self, *words):
        return self.here.tool("staff", *words)

    def invite(self, user, role="inspector", body=NEW):
        done = self.staff("add", "--body", body, "--role", role, user, "新同事")
        self.assertEqual(done.returncode, 0, done.stderr)
        return re.search(r"one-time code: (\S+)", done.stdout).group(1)

    def enrol(self, user, code, password=PASSWORD):
        return Member.call(Nobody(self.here), "POST", "enrol",
                           {"user": user, "code": code, "password": password})

    def listed(self):
        return {m["user"]: m["state"] for m in self.here.tool_json("staff", "list")}

    def test_from_the_invitation_to_the_first_case(self):
        """Two of a body that had nobody; a colleague who comes later; one who forgot; one who goes."""
        first, second = f"{NEW}.first", f"{NEW}.second"
        code = self.invite(first)
        self.assertEqual(self.listed()[first], "invited")
        self.problem(self.log_in(first, PASSWORD), 403, "user")
        unknown = self.enrol(f"{NEW}.nobody", code)
        wrong = self.enrol(first, code[:-1] + ("2" if code[-1] != "2" else "3"))
        self.problem(wrong, 403, "code")
        self.assertEqual(wrong.body, unknown.body, "whether somebody was invited is not told")
        for weak in ("short", "x" * 9, f"my name is {first}", ""):
            self.problem(self.enrol(first, code, weak), 422, "password")
        answer = self.enrol(first, code)
        self.assertEqual((answer.status, answer.json["body"], answer.json["roles"]), (200, NEW, ["inspector"]))
        self.problem(self.enrol(first, code), 403, "code")
        self.assertEqual(self.listed()[first], "active")
        self.assertEqual(self.enrol(second, self.invite(second)).status, 200)
        renewed = self.here.tool("key", "renew", check=True)
        self.assertIn("1 new keys", renewed.stdout)
        wait_until(20, lambda: self.goes_to_new_body(), "filings are sealed to the new key")

        reference = self.a_case(NEW)
        one, two = Member(self.here, first, PASSWORD), Member(self.here, second, PASSWORD)
        for member in (one, two):
            self.assertTrue(self.reads(member, reference))
        third = f"{NEW}.third"
        answer = self.enrol(third, self.invite(third))
        self.assertEqual(answer.status, 200)
        late = Nobody(self.here)
        late.token, late.user = answer.json["token"], third
        self.assertFalse(self.reads(late, reference), "nobody has given the key on")
        Member(self.here, first, PASSWORD).logout()  # this does
        self.assertTrue(self.reads(Member(self.here, third, PASSWORD), reference))

        again = re.search(r"one-time code: (\S+)", self.staff("reset", second).stdout).group(1)
        self.assertEqual(two.open(reference).status, 403, "old keys are void at once")
        self.problem(self.log_in(second, PASSWORD), 403, "user")
        self.assertEqual(self.enrol(second, again, PASSWORD + "!").status, 200)
        Member(self.here, first, PASSWORD).logout()
        self.assertTrue(self.reads(Member(self.here, second, PASSWORD + "!"), reference))

        self.assertEqual(self.staff("disable", third).returncode, 0)
        self.assertEqual(self.listed()[third], "disabled")
        self.assertEqual(late.call("GET", "cases").status, 403)
        self.problem(self.log_in(third, PASSWORD), 403, "user")

    def reads(self, member, reference):
        """What is sealed, beside what is clear."""
        case = member.case(reference)
        self.assertEqual(case["facts"]["against"]["district"], NEW)
        return case["facts"]["against"].get("name") == "某某医院"

    def goes_to_new_body(self):
        return self.citizen.follow(self.citizen.receipt(a_filing(
            against={"type": "hospital", "name": "某某医院", "district": NEW})))["body"]["id"] == NEW

    def test_what_the_command_refuses(self):
        taken = f"{OWN}.inspector1"
        table = ((("add", "--body", OWN, "--role", "inspector", taken, "李"), 1, "reset"),
                 (("add", "--body", "999999", "--role", "inspector", "new.one", "李"), 1, "body"),
                 (("add", "--body", f"{OWN}-agency", "--role", "inspector", "new.one", "李"), 1, "body"),
                 (("add", "--body", OWN, "--role", "king", "new.one", "李"), 2, "role"),
                 (("add", "--body", OWN, "new.one", "李"), 2, "role"),
                 (("add", "--body", OWN, "--role", "inspector", "New One", "李"), 2, "USER"),
                 (("add", "--body", OWN, "--role", "inspector", "../../etc", "李"), 2, "USER"),
                 (("reset", "nobody.here"), 1, "no member"), (("disable", "nobody.here"), 1, ""),
                 (("reset",), 2, "USER"), (("dance",), 2, "expected"), ((), 2, ""))
        before = self.listed()
        for words, status, said in table:
            with self.subTest(words):
                done = self.staff(*words)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(said, done.stderr)
                self.assertNotIn("code:", done.stdout)
        self.assertEqual(self.listed(), before)


class Passwords(Staff):
    """After a few wrong ones the name must wait, whether anybody has it or not."""
    settings = ("case.login_failures=3", "case.login_wait_seconds=4", "desk.sessions=4")

    def test_wrong_ones(self):
        real, made_up = f"{OWN}.inspector2", f"{OWN}.nobody"
        for user in (real, made_up):
            answers = [self.log_in(user, "wrong password") for _ in range(3)]
            for answer in answers:
                self.problem(answer, 403, "user")
            self.assertEqual(len({a.body for a in answers}), 1)
        both = [self.log_in(user, f"demo-{user}") for user in (real, made_up)]
        for answer in both:
            self.problem(answer, 429, "user")
        self.assertEqual(both[0].body, both[1].body)
        Member(self.here, f"{OWN}.inspector1").logout()  # others do not wait
        wait_until(30, lambda: self.log_in(real, f"demo-{real}").status == 200, "the wait is over")

    def test_what_is_no_login(self):
        table = ((b"", "body"), (b"{", "body"), (b"[]", "body"), (b'"x"', "body"), (b"{}", "user"),
                 (b'{"user":"a"}', "password"), (b'{"user":1,"password":"x"}', "user"),
                 (b'{"user":"a","password":null}', "password"),
                 (b'{"user":"a","password":"' + b"x" * 600 + b'"}', "password"),
                 (b'{"user":"a","password":"b","root":true}', "root"),
                 (b'{"user":"a","user":"b","password":"c"}', "body"),
                 (b'{"user":"a\\u0000b","password":"c"}', "body"))
        for body, field in table:
            with self.subTest(body[:60]):
                answer = self.post("login", body)
                self.assertIn(answer.status, (400, 422), answer)
                self.assertNotIn("token", answer.json)
                if field != "body":
                    self.problem(answer, 422, field)
        for user in ("", "A B", "../x", "x" * 400, "500108.inspector1\n", "李四", "' OR 1=1 --"):
            with self.subTest(user):
                self.assertIn(self.log_in(user, PASSWORD).status, (403, 422))

    def test_sessions(self):
        """As many as there may be; a token is worth nothing after the logout, nor when it is spoilt."""
        members = [Member(self.here, f"{OWN}.inspector1") for _ in range(4)]
        full = self.log_in(f"{OWN}.inspector1", f"demo-{OWN}.inspector1")
        self.problem(full, 503)
        self.assertGreater(int(full.headers["Retry-After"]), 0)
        gone = members.pop()
        self.assertEqual(gone.logout().status, 204)
        self.problem(gone.call("GET", "cases"), 401, "Authorization")
        self.problem(gone.logout(), 401, "Authorization")
        member = members[0]
        for header in ("", "Bearer", "Bearer ", f"bearer{member.token}", f"Basic {member.token}",
                       f"Bearer {member.token}x", f"Bearer {member.token[:-1]}", f"Bearer  {member.token}",
                       "Bearer " + "A" * len(member.token), "Bearer " + "x" * 4000):
            with self.subTest(header[:60]):
                answer = request(self.here.desk, "GET", "/api/v1/cases", None, {"Authorization": header})
                self.problem(answer, 401, "Authorization")
                self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
        # Five commands at the terminal in the one place that is left: each of them logs out.
        for _ in range(5):
            self.here.tool("case", "list", check=True, DENGWEN_USER=f"{OWN}.inspector1",
                           DENGWEN_PASSWORD=f"demo-{OWN}.inspector1")
        for m in members:
            self.assertEqual(m.call("GET", "cases").status, 200)
            m.logout()
        self.assertNotIn(f"demo-{OWN}", self.here.all_logs())
        self.assertNotIn(member.token, self.here.all_logs())


class Rates(Staff):
    settings = ("desk.logins_per_minute=1", "desk.logins_burst=3")

    def test_an_address_may_ask_so_often(self):
        user = f"{OWN}.inspector1"
        statuses = [self.log_in(user, f"demo-{user}").status for _ in range(3)]
        self.assertEqual(statuses, [200] * 3)
        for answer in (self.log_in(user, f"demo-{user}"),
                       self.post("enrol", b'{"user":"a","code":"b","password":"c"}')):
            self.assertEqual(answer.status, 429, answer)
            self.assertGreater(int(answer.headers["Retry-After"]), 0)


class Memory(Staff):
    """Checking a password takes much memory: two at once, whatever comes; a few wait."""
    settings = (f"desk.kdf_memory_mib={MEMORY_MIB}", "desk.kdf_operations=3", "desk.threads=32",
                "desk.kdf_waiting=4")

    def resident(self, what):
        with open(f"/proc/{self.here.pid_of('desk')}/status") as f:
            return int(re.search(rf"{what}:\s+(\d+)", f.read()).group(1)) // 1024

    def test_many_at_once(self):
        user = f"{OWN}.inspector1"
        Member(self.here, user).logout()
        with open(f"/proc/{self.here.pid_of('desk')}/clear_refs", "w") as f:
            f.write("5")  # forget the highest so far
        before = self.resident("VmRSS")
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: self.log_in(user, f"demo-{user}"), range(24)))
        grown = self.resident("VmHWM") - before
        statuses = [a.status for a in answers]
        self.assertEqual(set(statuses), {200, 503})
        self.assertGreaterEqual(statuses.count(200), 2 + 4)
        for answer in answers:
            if answer.status == 503:
                self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertGreater(grown, MEMORY_MIB // 2, "or this measures nothing")
        self.assertLess(grown, 3 * MEMORY_MIB)


class Sight(Staff):
    """What a body was not granted does not exist for it."""

    def answers(self, member, reference):
        """All ways to touch a case, as (status, body)."""
        ways = [member.open(reference), member.call("GET", f"cases/{reference}/files/{'0' * 32}")]
        ways += [member.command(reference, name, version=1, text="x", **more) for name, more in (
            ("note", {}), ("accept", {}), ("refuse", {"reason": "NOT_IN_REMIT"}), ("ask", {}),
            ("transfer", {"to": OTHER, "reason": "OTHER_DISTRICT"}), ("receive", {}), ("archive", {}))]
        return [(a.status, a.body, sorted(k for k, _ in a.headers.items())) for a in ways]

    def test_a_stranger_cannot_tell_it_from_nothing(self):
        reference = self.a_case()
        for user in (f"{OTHER}.inspector1", "500000.inspector1", f"{OWN}.manager", f"{OWN}.custodian1"):
            with self.subTest(user):
                member = Member(self.here, user)
                nothing = self.answers(member, unused_reference())
                self.assertEqual({status for status, _, _ in nothing}, {404})
                self.assertEqual(self.answers(member, reference), nothing)
                if "inspector" in user:
                    self.assertNotIn(reference, str(member.worklist()))
        self.assertEqual(Member(self.here, f"{OWN}.inspector2").open(reference).status, 200)

    def test_roles_without_cases_have_no_worklist(self):
        for user in (f"{OWN}.manager", f"{OWN}.custodian1"):
            self.assertEqual(Member(self.here, user).call("GET", "cases").status, 403)

    def test_questions_that_are_none(self):
        member = Member(self.here, f"{OWN}.inspector1")
        for query, field in (("worklist=theirs", "worklist"), ("limit=0", "limit"), ("limit=-1", "limit"),
                             ("limit=1e3", "limit"), ("limit=99999999999999999999", "limit"),
                             ("after=x", "after"), ("after=1-00", "after"), ("after=99999999999-" + "0" * 32,
                                                                             "after")):
            with self.subTest(query):
                self.problem(member.call("GET", f"cases?{query}"), 422, field)
        for path in ("cases/", "cases/..", "cases/%00", "cases/" + "A" * 2000, "cases/%2e%2e/login",
                     "cases/CQ26-00000000X/files", "cases/CQ26-00000000X/files/x", "nothing"):
            with self.subTest(path[:40]):
                self.assertIn(member.call("GET", path).status, (400, 404, 414))

    def test_commands_that_are_none(self):
        member, reference = Member(self.here, f"{OWN}.inspector1"), self.a_case()
        table = (({}, "command"), ({"command": "dance", "version": 1}, "command"),
                 ({"command": 1, "version": 1}, "command"), ({"command": "note"}, "version"),
                 ({"command": "note", "version": "1", "text": "x"}, "version"),
                 ({"command": "note", "version": 1.5, "text": "x"}, "version"),
                 ({"command": "note", "version": -1, "text": "x"}, "version"),
                 ({"command": "note", "version": 1, "text": ["x"]}, "text"),
                 ({"command": "note", "version": 1}, "text"),
                 ({"command": "note", "version": 1, "text": "x", "boss": 1}, "boss"),
                 ({"command": "refuse", "version": 1, "reason": "NO_MOOD", "text": "x"}, "reason"),
                 ({"command": "assign", "version": 1, "to": f"{OTHER}.inspector1"}, "to"),
                 ({"command": "assign", "version": 1, "to": "nobody"}, "to"),
                 ({"command": "transfer", "version": 1, "to": "mars", "reason": "OTHER_DISTRICT"}, "to"),
                 ({"command": "transfer", "version": 1, "to": OWN, "reason": "OTHER_DISTRICT"}, "to"))
        for body, field in table:
            with self.subTest(body):
                self.problem(member.call("POST", f"cases/{reference}/commands", body, fresh_key()), 422, field)
        note = {"command": "note", "version": 1, "text": "x"}
        for key in (None, "short", "x" * 65, "has space here and there", "not-base64url-because-of-ü".encode()):
            with self.subTest(key):
                answer = member.call("POST", f"cases/{reference}/commands", note, key)
                self.problem(answer, 400, "Idempotency-Key")
        case = member.case(reference)
        self.assertEqual((case["version"], case["state"], case["notes"]), (1, "received", []))


class Records(Staff):
    """Who asked for what is written down before it is answered."""

    def entries(self):
        db = sqlite3.connect(f"file:{self.here.folder}/state/case/cases.db?mode=ro", uri=True)
        rows = db.execute("SELECT seq, doc FROM audit WHERE chain = 'staff' ORDER BY seq").fetchall()
        db.close()
        self.assertEqual([seq for seq, _ in rows], list(range(1, len(rows) + 1)))
        return [doc for _, doc in rows]

    def test_every_question_leaves_one(self):
        user, reference = f"{OWN}.inspector1", None
        files = [("a.txt", "text/plain", b"seen it\n" * 9)]
        receipt = self.citizen.receipt(a_filing(), files=files)
        reference = self.citizen.follow(receipt)["reference"]
        member = Member(self.here, user)
        listed = member.case(reference)["files"][0]["id"]
        steps = ((lambda: self.log_in(user, "wrong password"), "login refused", user),
                 (lambda: self.log_in("no.such.user", "wrong"), "login refused", "unknown user"),
                 (lambda: self.log_in(user, f"demo-{user}"), "logged in", user),
                 (lambda: member.worklist("due"), "listed", "due"),
                 (lambda: member.open(reference), "read", reference),
                 (lambda: member.call("GET", f"cases/{reference}/files/{listed}"), "read file", reference),
                 (lambda: member.command(reference, "accept", version=1), "accept", reference),
                 (lambda: self.here.tool("staff", "disable", f"{OWN}.manager"), "staff disabled",
                  f"{OWN}.manager"))
        for act, verb, of in steps:
            with self.subTest(verb):
                before = len(self.entries())
                act()
                new = self.entries()[before:]
                found = [doc for doc in new if b"\0%s\0" % verb.encode() in doc and of.encode() in doc]
                self.assertEqual(len(found), 1, new)
        for doc in self.entries():
            for secret in ("wrong password", PASSWORD, f"demo-{user}", "某某医院", member.token, receipt):
                self.assertNotIn(secret.encode(), doc)

    def test_no_record_no_answer(self):
        reference, member = self.a_case(), Member(self.here, f"{OWN}.inspector1")
        other = sqlite3.connect(f"{self.here.folder}/state/case/cases.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            answer = member.open(reference)
            self.problem(answer, 503)
            self.assertNotIn("某某医院", answer.body.decode())
        finally:
            other.execute("ROLLBACK")
            other.close()
        self.assertEqual(member.open(reference).status, 200)

    settings = ("store.busy_ms=200",)


class Terminal(Staff):
    who = {"DENGWEN_USER": f"{OWN}.inspector1", "DENGWEN_PASSWORD": f"demo-{OWN}.inspector1"}

    def case(self, *words, **environment):
        return self.here.tool("case", *words, **(environment or self.who))

    def test_nonsense(self):
        reference = self.a_case()
        table = (((), 2), (("dance",), 2), (("show",), 2), (("show", reference, "twice"), 2),
                 (("do", reference), 2), (("do", reference, "note", "text"), 2),
                 (("do", reference, "accept", "version=one"), 2), (("list", "--colour"), 2),
                 (("show", "CQ26-00000000X"), 1), (("show", "../login"), 1), (("show", ".."), 1),
                 (("show", ""), 1), (("show", "a b?c#d%e"), 1), (("show", reference + "/files/x"), 1),
                 (("show", "x" * 2000), 65), (("show", "李" * 30), 1), (("do", "..", "note", "version=1"), 1),
                 (("do", reference, "dance"), 1), (("do", reference, "note", "version=7", "text=x"), 75),
                 (("do", reference, "note", "=x"), 1), (("do", reference, "note", "boss=1", "text=x"), 1),
                 (("do", reference, "note", "text=\udcff"), 65), (("show", reference + "\r\nX: y"), 65),
                 (("do", reference, "note", "text=x", "--key", "short"), 1),
                 (("do", reference, "note", "text=x", "--key", "x" * 30 + "\r\nX: y"), 65),
                 (("list", "-w", "theirs"), 1), (("list", "-w", "all&limit=1"), 1), (("list", "-n", "many"), 1),
                 (("list", "-n", "-5"), 1), (("file", reference, "0" * 32), 1),
                 (("--desk", "http://127.0.0.1:1", "list"), 69), (("--desk", "file:///etc/passwd", "list"), 69),
                 (("-c", "/nonexistent/dengwen.yaml", "list"), 78), (("--login", "/nonexistent", "list"), 2))
        for words, status in table:
            with self.subTest(words):
                done = self.case(*words)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertTrue(done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertNotIn("Sanitizer", done.stderr)
                self.assertNotIn(self.who["DENGWEN_PASSWORD"], done.stderr)
        case = Member(self.here, f"{OWN}.inspector1").case(reference)
        self.assertEqual((case["version"], case["notes"]), (1, []))

    def test_who(self):
        for environment in ({"DENGWEN_USER": "", "DENGWEN_PASSWORD": ""}, dict(self.who, DENGWEN_USER="")):
            self.assertEqual(self.case("list", **environment).returncode, 2)
        done = self.case("list", **dict(self.who, DENGWEN_PASSWORD="wrong password"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("user or password is wrong", done.stderr)
        self.assertEqual(self.case("list", **dict(self.who, DENGWEN_PASSWORD="\udcff" * 12)).returncode, 65)
        path = f"{self.here.folder}/login"
        with open(path, "w") as f:
            f.write("\n".join(self.who.values()) + "\n")
        self.assertEqual(self.here.tool("case", "list", "--login", path).returncode, 0)

    def test_repeated_with_its_key_it_is_done_once(self):
        reference, key = self.a_case(), fresh_key()
        words = ("do", reference, "note", "version=1", "text=一次", "--key", key)
        self.assertEqual([self.case(*words).returncode for _ in range(2)], [0, 0])
        self.assertEqual(len(Member(self.here, f"{OWN}.inspector1").case(reference)["notes"]), 1)


class Browser(Staff):
    def test_it_says_what_this_is(self):
        answer = request(self.here.desk, "GET", "/")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["Content-Type"].startswith("text/html"))
        for words in ("工作人员", "dengwen case", "Staff", "lang=\"en\"", "lang=\"zh-CN\""):
            self.assertIn(words, answer.body.decode())
        for header, words in (("Content-Security-Policy", "default-src 'none'"), ("Cache-Control", "no-store"),
                              ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")):
            self.assertIn(words, answer.headers[header])
        self.assertIsNone(answer.headers["Set-Cookie"])

    def test_what_is_not_there(self):
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/api/v1/filings", 404),
                                     ("POST", "/", 405), ("GET", "/api/v1/login", 405),
                                     ("DELETE", "/api/v1/cases", 405), ("GET", "/..", 400)):
            with self.subTest(method=method, path=path):
                self.assertIn(request(self.here.desk, method, path).status, (status, 404))
        for path in ("cases", "cases/CQ26-00000000X"):
            self.problem(request(self.here.desk, "GET", f"/api/v1/{path}"), 401, "Authorization")


if __name__ == "__main__":
    unittest.main(verbosity=2)
