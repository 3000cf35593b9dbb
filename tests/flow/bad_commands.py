#!/usr/bin/python3
"""Bad input at the desk: logins, tokens, worklists, commands.  Each is refused by what is wrong, the
case stays as it was, and what belongs to another body does not exist."""
import json
import os
import random
import sys
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import Member, a_filing, fresh_key, request  # noqa: E402
from refusals import KEYS, Refusals  # noqa: E402

OWN, OTHER = "500108", "500103"
USER, PASSWORD = f"{OWN}.inspector1", f"demo-{OWN}.inspector1"
LOGIN = {"user": USER, "password": PASSWORD}
CANARY = "CANARY-5b1e"
UNKNOWN = "CQ26-00000000W"

NO_OBJECTS = [b"", b"x", b"null", b"1", b"[]", b"{", b'{"user":}', json.dumps([LOGIN]).encode(),
              json.dumps(LOGIN).encode() + b"x", json.dumps(LOGIN).encode() + b"\0",
              json.dumps(LOGIN).encode("utf-16"), b'{"user":1\0}', b'{"user":"\xff"}',
              b'{"user":"\\ud800"}', b"[" * 100000, b'{"a":' * 20000]
LOGINS = ([(field, {**LOGIN, field: v}) for field in LOGIN for v in (None, 1, True, ["x"], {}, "x" * 600)] +
          [("user", {**LOGIN, "user": v}) for v in ("x" * 97, "李" * 40)] +
          [("user", {}), ("user", {"password": PASSWORD}), ("password", {"user": USER}),
           ("extra", {**LOGIN, "extra": 1}), ("User", {**LOGIN, "User": USER}),
           ("???", {**LOGIN, "用": 1})])
NOBODY = ([(USER, p) for p in (PASSWORD + "x", PASSWORD[:-1], "", "demo")] +
          [(u, PASSWORD) for u in ("", "nobody", USER.upper(), USER + " ", "../" + USER, f"{OWN}.inspector9",
                                   "李督查", "a\nb", "' OR 1=1 --", "x" * 90)])

# What is wrong with a command before anybody looks at the case: field, changes of a good note.
NOTE = {"command": "note", "text": "内部记录:先查床位"}
WISHES = ([("command", {"command": v}) for v in (None, 1, ["note"], {}, True, "x" * 33, "x" * 200000)] +
          [("version", {"version": v}) for v in (None, "1", 1.5, True, [1], 0, -1, 2**31, 2**62)] +
          [("text", {"text": v}) for v in (1, ["x"], {}, " ", "\n \t", "字" * 5001, "a\x07b", "a\x1b[2J",
                                          "a\rb", "\u0085", "\x7f")] +
          [(f, {f: v}) for f in ("reason", "to", "outcome")
           for v in (1, ["x"], True, "x" * 97, "x" * 200000)] +
          [("with_internal", {"with_internal": v}) for v in (1, "true", None, [])] +
          [("extra", {"extra": 1}), ("Text", {"Text": "x"}), ("user", {"user": USER}), ("???", {"字": 1}),
           ("x" * 63, {"x" * 500: 1})])
REFUSALS = ("OUT_OF_SCOPE", "MATERIAL_MISSING")
# What the case worker refuses: field, the words of the refusal, command.
NEEDS = [
    ("command", ("accept", "archive", "transfer"), {"command": v}) for v in
    ("praise", "Accept", "accept ", "register", "", "字", "' OR 1=1")
] + [("command", (v, "role"), {"command": v, "text": "x"}) for v in ("message", "withdraw")
] + [("command", (v, "received"), {"command": v, **more}) for v, more in
     (("close", {}), ("archive", {}), ("receive", {}), ("return", {"reason": "NOT_IN_REMIT"}),
      ("decide", {"outcome": "punished", "text": "x"}))
] + [("reason", REFUSALS, {"command": "refuse", "text": "不属于职责。", "reason": v}) for v in
     (None, "", "NO", "out_of_scope", "OUT_OF_SCOPE ", "OTHER_DISTRICT", "字")
] + [("reason", ("OTHER_DISTRICT", "OTHER_BODY"), {"command": "transfer", "to": OTHER, "reason": v}) for v in
     (None, "", "OUT_OF_SCOPE", "x")
] + [("to", ("another body",), {"command": "transfer", "reason": "OTHER_DISTRICT", "to": v}) for v in
     (None, "", "nobody", OWN, "500103 ", USER)
] + [("to", ("inspector of your body",), {"command": "assign", "to": v}) for v in
     (None, "", "nobody", f"{OTHER}.inspector1", f"{OWN}.manager", f"{OWN}.custodian1", OWN, USER.upper())
] + [("text", ("wants one",), {"command": v, "reason": "OUT_OF_SCOPE"} if v == "refuse" else {"command": v})
     for v in ("refuse", "note", "ask", "reply")
] + [("text", ("no text",), {"command": "assign", "to": USER, "text": "x"})
] + [(f, ("none",), {**NOTE, f: v}) for f, v in
     (("reason", "OUT_OF_SCOPE"), ("reason", CANARY), ("outcome", "punished"), ("to", OTHER), ("to", USER))]

WORKLISTS = ([("worklist", v) for v in ("", "x", "ALL", "mine ", "mine,due", "x" * 2000, "所有")] +
             [("limit", v) for v in ("", "0", "-1", "+5", "1.5", "1e1", "abc", "5x", " 5", "201", "999999",
                                     "9" * 50, "0x10")] +
             [("after", v) for v in ("x", "-", "1", "1-", "1-zz", "1-" + "0" * 31, "1-" + "0" * 33,
                                     "-1-" + "0" * 32, "9" * 30 + "-" + "0" * 32, "x-" + "0" * 32)])


class BadCommands(Refusals):
    settings = ("case.login_failures=100",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.member, cls.stranger = Member(cls.here, USER), Member(cls.here, f"{OTHER}.inspector1")

    def new_case(self):
        """(reference, version)"""
        reference = self.citizen.status(self.still_serves()).json["reference"]
        return reference, self.member.case(reference)["version"]

    def post(self, path, body, token=None, key=None):
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = token
        if key is not None:
            headers["Idempotency-Key"] = key.encode() if isinstance(key, str) else key
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return request(self.here.desk, "POST", f"/api/v1/{path}", body, headers)

    def give(self, reference, wish, key=None):
        return self.post(f"cases/{reference}/commands", wish, f"Bearer {self.member.token}",
                         key or fresh_key())

    # ---- who asks ----

    def test_logins_that_are_none(self):
        for body in NO_OBJECTS:
            with self.subTest(body[:30]):
                self.refused(self.post("login", body), 400)
                self.refused(self.post("enrol", body), 400)
        self.refused(self.post("login", b'{"user":"a",' + json.dumps(LOGIN).encode()[1:]), 422, "user")
        for field, body in LOGINS:
            with self.subTest(field, body=str(body)[:80]):
                self.refused(self.post("login", body), 422, field)
        for user, password in NOBODY:
            with self.subTest(user):
                answer = self.post("login", {"user": user, "password": password})
                problem = self.refused(answer, 403, "user")
                self.assertEqual(problem["detail"], "user or password is wrong", "nobody learns which")

    def test_enrolments_that_are_none(self):
        good = {"user": "nobody", "code": "AAAA-BBBB-CCCC", "password": "long enough to be fair"}
        table = [("code", {**good, "code": None}), ("password", {**good, "password": "short"}),
                 ("password", {**good, "password": "my name is nobody"}), ("extra", {**good, "extra": 1})]
        for field, body in table:
            self.refused(self.post("enrol", body), 422, field)
        for user in ("nobody", USER, "a b"):  # unknown, enrolled before, impossible
            self.refused(self.post("enrol", {**good, "user": user}), 403, "code")

    def test_tokens(self):
        reference, version = self.new_case()
        gone = Member(self.here, f"{OWN}.inspector2")
        gone.logout()
        token = self.member.token
        other = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
        table = [None, "", "Bearer", "Bearer ", "Bearer x", f"Bearer {other}", f"Bearer {gone.token}",
                 f"Bearer {token}x", f"Bearer {token[:-1]}", f"Bearer  {token}", f"Bearer {token} x",
                 f"Bearer {token}, Bearer {token}", f"Basic {token}", token, f"Bearer {'A' * 5000}",
                 "Bearer %00", f"Bearer {token.swapcase()}"]
        case = f"cases/{reference}"
        calls = (("GET", "cases"), ("GET", case), ("GET", f"{case}/files/{'0' * 32}"),
                 ("POST", f"{case}/commands"), ("POST", "logout"))
        for authorization in table:
            for method, path in calls:
                with self.subTest(path, authorization=str(authorization)[:60]):
                    headers = {"Content-Type": "application/json", "Idempotency-Key": fresh_key()}
                    if authorization is not None:
                        headers["Authorization"] = authorization
                    body = json.dumps({**NOTE, "version": version}) if method == "POST" else None
                    answer = request(self.here.desk, method, f"/api/v1/{path}", body, headers)
                    self.refused(answer, 401, "Authorization")
                    self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
        answer = request(self.here.desk, "GET", f"/api/v1/cases?token={token}")
        self.assertEqual(answer.status, 401, "a token in an address is none")
        self.assertEqual(self.member.case(reference)["version"], version)

    # ---- worklists and cases ----

    def test_worklists(self):
        self.new_case()
        for field, value in WORKLISTS:
            with self.subTest(field, value=value[:60]):
                query = urllib.parse.urlencode({field: value})
                problem = self.refused(self.member.call("GET", f"cases?{query}"), 422, field)
                if field == "worklist" and len(value) < 100:
                    for name in ("mine", "unassigned", "due", "overdue", "all"):
                        self.assertIn(name, problem["detail"])
        for role in ("manager", "custodian1"):
            self.refused(Member(self.here, f"{OWN}.{role}").call("GET", "cases"), 403, "worklist")

    def test_what_is_not_ones_own_does_not_exist(self):
        reference, version = self.new_case()
        files = [("a.txt", "text/plain", b"seen it\n" * 9)]
        receipt = self.accepted(self.citizen.file(a_filing(), files=files))
        with_file = self.citizen.status(receipt).json["reference"]
        (file,) = self.member.case(with_file)["files"]
        self.assertEqual(self.member.call("GET", f"cases/{with_file}/files/{file['id']}").status, 200)
        others = [Member(self.here, f"{OWN}.{role}") for role in ("manager", "custodian1")]
        for who in [self.stranger] + others:
            table = [lambda r: who.open(r), lambda r: who.call("GET", f"cases/{r}/files/{file['id']}"),
                     lambda r: who.command(r, "accept", version=version),
                     lambda r: who.command(r, "praise", version=99)]
            for i, ask in enumerate(table):
                with self.subTest(who.user, i=i):
                    # In nothing different from a case that nobody has.
                    self.assertEqual(self.refused(ask(with_file), 404, "reference"),
                                     self.refused(ask(UNKNOWN), 404, "reference"))
        for wrong in (UNKNOWN[:-1] + "0", "x", "CQ26-", reference + "0", reference[:-1], "%F0%9F%98%80",
                      "x" * 3000, "..;"):
            with self.subTest(wrong[:20]):
                self.assertEqual(self.member.open(wrong).status, 404)
                self.assertEqual(self.member.command(wrong, "accept", version=1).status, 404)
        for wrong in ("0" * 32, "x", file["id"][:-1], file["id"] + "0", "..", "a.txt"):
            with self.subTest(file=wrong):
                self.refused(self.member.call("GET", f"cases/{with_file}/files/{wrong}"), 404, "file")
        self.refused(self.member.call("GET", f"cases/{reference}/files/{file['id']}"), 404, "file")

    # ---- commands ----

    def unchanged(self, reference, version):
        case = self.member.case(reference)
        self.assertEqual((case["state"], case["version"]), ("received", version))
        self.assertNotIn(CANARY, str(case))

    def test_commands_that_are_none(self):
        reference, version = self.new_case()
        good = {**NOTE, "version": version}
        for body in NO_OBJECTS:
            with self.subTest(body[:30]):
                self.refused(self.give(reference, body), 400)
        twice = b'{"text":"x",' + json.dumps(good).encode()[1:]
        self.refused(self.give(reference, twice), 422, "text")
        for name in good:
            missing = {k: v for k, v in good.items() if k != name}
            self.refused(self.give(reference, missing), 422, name)
        for field, changes in WISHES:
            with self.subTest(field, changes=str(changes)[:60]):
                problem = self.refused(self.give(reference, {**good, **changes}), 422, field)
                self.assertIn("expected", problem["detail"])
        self.unchanged(reference, version)

    def test_commands_that_cannot_be_done(self):
        reference, version = self.new_case()
        for field, words, wish in NEEDS:
            status = 403 if "role" in words else 422
            with self.subTest(field, wish=wish):
                problem = self.refused(self.give(reference, {**wish, "version": version}), status, field)
                for word in words:
                    self.assertIn(word, problem["detail"])
        self.unchanged(reference, version)
        for wrong in (version + 1, version + 99, 2**31 - 1):
            for _, _, wish in NEEDS[:1] + [(0, 0, NOTE), (0, 0, {"command": "accept"})]:
                self.refused(self.give(reference, {**wish, "version": wrong}), 409, "version")
        self.assertEqual(self.give(reference, {**NOTE, "version": version}).status, 200)
        self.refused(self.give(reference, {"command": "accept", "version": version}), 409, "version")

    def test_keys(self):
        reference, version = self.new_case()
        wish = {**NOTE, "version": version}
        for key in KEYS:
            with self.subTest(key):
                answer = self.post(f"cases/{reference}/commands", wish, f"Bearer {self.member.token}", key)
                self.refused(answer, 400, "Idempotency-Key")
        self.unchanged(reference, version)
        key = fresh_key()
        self.assertEqual(self.give(reference, wish, key).status, 200)
        for change in ({"text": "另一条"}, {"command": "reply"}, {"version": version + 1}):
            other = {**wish, **change}
            self.refused(self.give(reference, other, key), 422, "Idempotency-Key")
        again = self.give(reference, wish, key)
        self.assertEqual((again.status, again.json["version"]), (200, version + 1))
        self.assertEqual(len(self.member.case(reference)["notes"]), 1)

    def test_noise(self):
        """A command with some of its bytes changed: refused, or a note that was meant so."""
        reference, version = self.new_case()
        noise = random.Random(1)
        for _ in range(100):
            body = bytearray(json.dumps({**NOTE, "version": version + 50}).encode())
            for _ in range(noise.randrange(1, 4)):
                body[noise.randrange(len(body))] = noise.randrange(256)
            self.assertIn(self.give(reference, bytes(body)).status, (400, 409, 422), bytes(body))
        self.unchanged(reference, version)

    def test_nothing_of_it_is_logged(self):
        reference, version = self.new_case()
        self.post("login", {"user": USER, "password": CANARY})
        self.post("login", {"user": USER, CANARY: CANARY})
        self.give(reference, {**NOTE, "version": version, "text": CANARY, CANARY: 1})
        self.give(reference, b"{" + CANARY.encode())
        self.member.call("GET", f"cases?worklist={CANARY}")
        for secret in (CANARY, self.member.token, PASSWORD):
            self.assertNotIn(secret, self.here.all_logs())


class TooManyLogins(Refusals):
    settings = ("case.login_failures=3", "case.login_wait_seconds=7", "desk.sessions=6")

    def login(self, user, password):
        body = json.dumps({"user": user, "password": password}).encode()
        return request(self.here.desk, "POST", "/api/v1/login", body, {"Content-Type": "application/json"})

    def test_wrong_passwords_slow_a_name_down(self):
        """Whether anybody has the name or not; and nobody else."""
        for user in (f"{OWN}.inspector2", "nobody-here"):
            for _ in range(3):
                self.refused(self.login(user, "wrong-password"), 403, "user")
            for password in ("wrong-password", f"demo-{user}"):
                answer = self.login(user, password)
                self.refused(answer, 429, "user")
                self.assertEqual(answer.headers["Retry-After"], "7")
        Member(self.here, USER).logout()

    def test_more_sessions_than_there_may_be(self):
        more = [Member(self.here, USER) for _ in range(3)]  # three are open already
        answer = self.login(USER, PASSWORD)
        self.refused(answer, 503)
        self.assertTrue(int(answer.headers["Retry-After"]) >= 1)
        more.pop().logout()
        more.append(Member(self.here, USER))
        for member in more:
            member.logout()


if __name__ == "__main__":
    unittest.main(verbosity=2)
