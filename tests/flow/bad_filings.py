#!/usr/bin/python3
"""Wrong filings and wrong receipts at the public API: each is refused by the field that is wrong, in
both languages, and nothing is registered."""
import copy
import datetime
import json
import os
import random
import statistics
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import a_filing, fresh_key, request  # noqa: E402
from refusals import CHINESE, KEYS, Page, Refusals, file_raw, receipt_of  # noqa: E402

GONE = object()
CANARY = "CANARY-7f3a"  # in what is refused; never in an answer or a log
FACTS = "该医院长期挂床住院,患者并未实际住院却产生费用。"
EVERYTHING = {
    "kind": "report", "language": "zh-CN",
    "against": {"type": "hospital", "name": "某某医院", "district": "500108", "address": "某路1号",
                "code": "H50010800123", "people": "某主任", "body": None},
    "acts": ["PU01", "PF02"], "when": {"from": "2026-03-01", "to": "2026-06-30", "ongoing": False},
    "facts": FACTS, "amount_yuan": 120000, "relation": "present_staff",
    "identity": {"name": "李四", "phone": "13800138000", "email": "a@example.org",
                 "id_number": "11010519491231002X", "wants_reward": True},
    "notify": {"sms": True, "email": True, "call": True}, "elsewhere": "没有",
    "privacy_version": "2026-1", "truthful": True}
COMPLAINT = {"kind": "complaint", "acts": GONE, "complaint": "CS2", "service": 26,
             "identity.wants_reward": False}
ANONYMOUS = {"identity": GONE, "notify": GONE}


def but(changes, base=None):
    """The full filing with changes: {"against.name": "x"} or GONE."""
    filing = copy.deepcopy(base or EVERYTHING)
    for path, value in changes.items():
        *objects, name = path.split(".")
        at = filing
        for o in objects:
            at = at.setdefault(o, {})
        if value is GONE:
            at.pop(name, None)
        else:
            at[name] = value
    return filing


def id_number(digits):
    """Seventeen digits with the check character that fits."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return digits + "10X98765432"[sum(w * int(d) for w, d in zip(weights, digits)) % 11]


def day(days):
    shanghai = datetime.timezone(datetime.timedelta(hours=8))
    return (datetime.datetime.now(shanghai) + datetime.timedelta(days)).date().isoformat()


# ---- what is wrong, by field ----

REQUIRED = [(path, {path: value}) for value in (GONE, None) for path in
            ("kind", "against.type", "against.name", "against.district", "acts", "facts", "truthful")
            ] + [("against.type", {"against": GONE}), ("acts", {"acts": []}),
                 ("against.name", {"against.name": " "}), ("facts", {"facts": "\n" * 30}),
                 ("facts", {"facts": ""}),
                 ("facts", {"facts": "　" * 30}), ("complaint", dict(COMPLAINT, complaint=GONE)),
                 ("complaint", dict(COMPLAINT, complaint=None))]

TEXTS = ("kind", "language", "against.type", "against.name", "against.district", "against.address",
         "against.code", "against.people", "against.body", "when.from", "when.to", "facts", "relation",
         "identity.name", "identity.phone", "identity.email", "identity.id_number", "elsewhere",
         "privacy_version")
FLAGS = ("when.ongoing", "identity.wants_reward", "notify.sms", "notify.email", "notify.call",
         "truthful")
OBJECTS = ("against", "when", "notify")
NO_OBJECTS = ("x", 1, False, [], [{"name": "x"}])
TYPES = ([(p, {p: v}) for p in TEXTS for v in (5, 1.5, True, ["x"], {"a": "b"})] +
         [(p, {p: v}) for p in FLAGS for v in (0, 1, "true", "", [True], {})] +
         [(p, {p: v}) for p in OBJECTS for v in NO_OBJECTS] +
         [("identity", {"identity": v, "notify": GONE}) for v in NO_OBJECTS] +
         [("acts", {"acts": v}) for v in ("PU01", 1, {"PU01": True}, True)] +
         [("acts[1]", {"acts": ["PU01", v]}) for v in (1, None, ["PU02"], {}, True)] +
         [("amount_yuan", {"amount_yuan": v}) for v in ("120000", True, [1], {}, 1.5, 1e30)] +
         [("complaint", dict(COMPLAINT, complaint=v)) for v in (2, ["CS2"], True)] +
         [("service", dict(COMPLAINT, service=v)) for v in ("26", 26.0, [26], True)])

CHOICES = ([("kind", {"kind": v}) for v in ("praise", "Report", "report ", "")] +
           [("language", {"language": v}) for v in ("fr", "zh", "EN", "")] +
           [("against.type", {"against.type": v}) for v in ("school", "Hospital", "")] +
           [("against.district", {"against.district": v})
            for v in ("999999", "500000", "500108 ", "50010", "南岸区", "")] +
           [("against.body", {"against.body": v}) for v in ("nobody", "999999", "")] +
           [("acts[0]", {"acts": [v]}) for v in ("XX01", "pu01", "PU99", "", "CS2")] +
           [("acts[1]", {"acts": ["PU01", "PU01"]}), ("acts[2]", {"acts": ["PU01", "PU02", "PU01"]}),
            ("relation", {"relation": "boss"}), ("relation", {"relation": ""}),
            ("privacy_version", {"privacy_version": "2020-1"})] +
           [("complaint", dict(COMPLAINT, complaint=v)) for v in ("CS99", "PU01", "")] +
           [("service", dict(COMPLAINT, service=v)) for v in (0, 36, -1, 2**40, 2**62)] +
           [("acts", dict(COMPLAINT, acts=["PU01"])), ("complaint", {"complaint": "CS2"}),
            ("service", {"service": 26})])

LENGTHS = ([(path, {path: c * n}) for c in "x字😀" for path, n in
            (("facts", 19), ("facts", 5001), ("against.name", 201), ("against.address", 301),
             ("against.people", 501), ("elsewhere", 1001), ("identity.name", 61))] +
           [("against.code", {"against.code": "H" * 33}),
            ("identity.email", {"identity.email": "a" * 243 + "@example.org"}),
            ("facts", {"facts": "x" * 19 + " " * 50})])

FORMS = ([(p, {p: v}) for p in ("when.from", "when.to") for v in
          ("2026-02-30", "2026-13-01", "2026-00-01", "2026/03/01", "2026-3-1", "20260301", "yesterday",
           "2026-03-01T00:00:00Z", "0000-00-00", "-2026-03-01")] +
         [(p, {"when": {p[5:]: v}}) for p in ("when.from", "when.to") for v in (day(2), "9999-12-31")] +
         [("when.to", {"when.from": "2026-06-30", "when.to": "2026-06-29"}),
          ("against.code", {"against.code": "H500 108"}), ("against.code", {"against.code": "机构"})] +
         [("identity.phone", {"identity.phone": v, "notify": GONE}) for v in
          ("123", "110", "12800138000", "1380013800", "138001380001", "+1 202 555 0100", "021", "x",
           "13800138000 ext 5", "１２３", "٠١٢٣٤٥٦٧٨٩٠", "0" * 39)] +
         [("identity.email", {"identity.email": v, "notify": GONE}) for v in
          ("a", "a@", "@b.cn", "a@b", "a b@example.org", "a@b..cn", "a@-b.cn", "a@b@c.cn", ".a@b.cn",
           "a@1.2.3.4", "李@example.org", "a@example.org,b@example.org", "<a@example.org>")] +
         [("identity.id_number", {"identity.id_number": v}) for v in
          ("11010519491231002Y", "110105194912310021", "1101051949123100", "11010519491231002X1",
           id_number("11010519491331002"), id_number("11010519490230002"),
           id_number("11010520991231002"), "X1010519491231002X")] +
         [("amount_yuan", {"amount_yuan": v}) for v in (-1, -2**63, 10**11 + 1, 2**63 - 1)])

CHARACTERS = [(path, {path: f"{CANARY} {c} 很长很长很长很长的一段话"})
              for path in ("against.name", "facts", "identity.name", "elsewhere")
              for c in ("\x00", "\x07", "\x1b[31m", "\x7f", "\u0085", "\t")
              ] + [("against.name", {"against.name": "a\nb"}), ("facts", {"facts": FACTS + "\rx"}),
                   ("identity.email", {"identity.email": "a@example.org\r\nBcc: b@example.org"})]

NEEDS = [("identity.wants_reward", {"identity.name": GONE}),
         ("identity.wants_reward", {"identity": {"wants_reward": True}, "notify": GONE}),
         ("notify.sms", dict(ANONYMOUS, notify={"sms": True})),
         ("notify.sms", {"identity.phone": "023-63892206"}),
         ("notify.email", {"identity.email": GONE}),
         ("notify.call", dict(ANONYMOUS, notify={"call": True})),
         ("truthful", {"truthful": False})]

UNKNOWN = [(path, {path: CANARY}) for path in
           ("extra", "Kind", "facts2", "receipt", "__proto__", "against.extra", "against.kind",
            "when.until", "identity.address", "notify.wechat")
           ] + [("?script?", {"<script>": 1}), ("???", {"举": 1}), ("?", {" ": 1}),
                ("x" * 24, {"x" * 500: 1})]

BY_FIELD = {"required": REQUIRED, "types": TYPES, "choices": CHOICES, "lengths": LENGTHS,
            "forms": FORMS, "characters": CHARACTERS, "needs": NEEDS, "unknown": UNKNOWN}

# ---- what is wrong before there are fields ----

TEXT = json.dumps(a_filing()).encode()
BYTES = [  # name, bytes, status, field
    ("nothing", b"", 400, None),
    ("words", b"hello", 400, None),
    ("a number", b"1", 400, None),
    ("null", b"null", 400, None),
    ("an array", b"[]", 422, None),
    ("an array of filings", b"[" + TEXT + b"]", 422, None),
    ("cut short", TEXT[:-1], 400, None),
    ("two of them", TEXT + TEXT, 400, None),
    ("something behind", TEXT + b";", 400, None),
    ("a comment", b"/* */" + TEXT, 400, None),
    ("single quotes", TEXT.replace(b'"', b"'"), 400, None),
    ("a last comma", TEXT[:-1] + b",}", 400, None),
    ("a byte order mark", b"\xef\xbb\xbf" + TEXT, 400, None),
    ("deep objects", b'{"a":' * 9 + b"1" + b"}" * 9, 400, None),
    ("very deep objects", b'{"a":' * 40000, 400, None),
    ("very deep arrays", b"[" * 200000, 400, None),
    ("half a surrogate pair", TEXT.replace(b"PU01", rb"\ud83d"), 400, None),
    ("the other half", TEXT.replace(b"PU01", rb"\ude00"), 400, None),
    ("no number", TEXT[:-1] + b',"amount_yuan":NaN}', 400, None),
    ("a leading zero", TEXT[:-1] + b',"amount_yuan":012}', 400, None),
    ("a number beyond 64 bits", TEXT[:-1] + b',"amount_yuan":99999999999999999999}', 422, "amount_yuan"),
    ("a number beyond a double", TEXT[:-1] + b',"amount_yuan":1e999}', 422, "amount_yuan"),
    ("broken UTF-8", TEXT.replace(b"PU01", b"\xff\xfe"), 422, "acts"),
    ("overlong UTF-8", TEXT.replace(b"PU01", b"\xc0\xaf"), 422, "acts"),
    ("a surrogate in UTF-8", TEXT.replace(b"PU01", b"\xed\xa0\x80"), 422, "acts"),
    ("beyond Unicode", TEXT.replace(b"PU01", b"\xf4\x90\x80\x80"), 422, "acts"),
    ("broken UTF-8 in a name", TEXT.replace(b'"kind"', b'"k\xff"'), 422, "k?"),
    ("a NUL in a text", TEXT.replace(b"PU01", rb"PU01\u0000"), 422, "acts"),
    ("a NUL in a name", TEXT.replace(b'"truthful"', rb'"truthful\u0000"'), 422, "truthful?u0000"),
    ("a field twice", b'{"kind":"report",' + TEXT[1:], 422, "kind"),
    ("a field twice, the first one wrong", b'{"kind":1,' + TEXT[1:], 422, "kind"),
    ("a field of an object twice", TEXT.replace(b'"name"', b'"type":"hospital","name"'), 422,
     "against.type"),
]
# The server's own refusals come before anybody knows a language.
SERVER = [("a bare NUL behind a word", TEXT[:-1] + b"\0}", 400, None),
          ("a bare NUL behind all", TEXT + b"\0", 400, None),
          ("UTF-16", json.dumps(a_filing()).encode("utf-16"), 400, None),
          ("too much", b" " * 300000 + TEXT, 413, None)]


class BadFilings(Refusals):
    def test_what_the_tables_change_is_good_without_the_change(self):
        for changes in ({}, COMPLAINT, ANONYMOUS, {"when.to": day(0)}):
            self.accepted(self.citizen.file(but(changes)))

    def test_each_wrong_field_is_named(self):
        for name, table in BY_FIELD.items():
            for field, changes in table:
                body = json.dumps(but(changes)).encode()
                with self.subTest(name, field=field, changes=changes):
                    problem = self.refused_in_both_languages(
                        lambda language: file_raw(self.here, body, language), 422, field)
                    self.assertEqual(len(problem["errors"]), 1 if changes != {"against": GONE} else 3)
                    self.assertNotIn(CANARY, str(problem))

    def test_all_that_is_wrong_is_told(self):
        wrong = but({"facts": "短", "against.district": "1", "when.to": "x", "extra": 1, "truthful": False,
                     "identity.email": "x", "notify.sms": 1, "acts": ["PU01", "x", "PU01"]})
        problem = self.refused(self.citizen.file(wrong), 422, "against.district")
        self.assertEqual([e["field"] for e in problem["errors"]],
                         ["against.district", "acts[1]", "acts[2]", "when.to", "facts",
                          "identity.email", "notify.sms", "truthful", "extra"])

    def test_bytes_that_are_no_filing(self):
        for name, body, status, field in BYTES:
            with self.subTest(name):
                self.refused_in_both_languages(lambda language: file_raw(self.here, body, language),
                                               status, field)
        for name, body, status, field in SERVER:
            with self.subTest(name):
                self.refused(file_raw(self.here, body), status, field)

    def test_noise(self):
        """A filing with some of its bytes changed: refused, or still a filing that was meant so."""
        noise = random.Random(1)
        for _ in range(150):
            body = bytearray(json.dumps(but({"truthful": False})).encode())
            for _ in range(noise.randrange(1, 4)):
                body[noise.randrange(len(body))] = noise.randrange(256)
            self.assertIn(file_raw(self.here, bytes(body)).status, (400, 422), bytes(body))

    def test_other_types_of_body(self):
        for kind in ("text/plain", "", "text/json", "application/jsonx", "application/xml", "*/*"):
            with self.subTest(kind):
                self.refused(file_raw(self.here, TEXT, content_type=kind), 415, "Content-Type")
        self.refused(file_raw(self.here, b"kind=report&acts=PU01", content_type="application/"
                              "x-www-form-urlencoded"), 400, "kind")

    def test_lengths_are_counted_in_characters(self):
        for c in "x字😀":
            for n in (20, 5000):
                self.accepted(self.citizen.file(but({"facts": c * n})))

    def test_without_a_key_nothing_is_done(self):
        receipt = self.still_serves()
        calls = (("filings", a_filing()), ("messages", {"receipt": receipt, "text": "补充"}),
                 ("withdraw", {"receipt": receipt}))
        for path, body in calls:
            for key in KEYS:
                headers = {"Content-Type": "application/json"}
                if key is not None:
                    headers["Idempotency-Key"] = key.encode()
                with self.subTest(path, key=key):
                    answer = request(self.here.web, "POST", f"/api/v1/{path}",
                                     json.dumps(body).encode(), headers)
                    self.refused(answer, 400, "Idempotency-Key")
        seen = self.citizen.status(receipt).json
        self.assertEqual((seen["state"], seen["messages"]), ("received", []))

    def test_nothing_of_it_is_logged(self):
        file_raw(self.here, json.dumps(but({"facts": CANARY, CANARY: CANARY})).encode())
        file_raw(self.here, b"{" + CANARY.encode())
        self.citizen.call(f"status?{CANARY}={CANARY}", {"receipt": CANARY}, CANARY)
        for secret in (CANARY, FACTS, "李四", "13800138000"):
            self.assertNotIn(secret, self.here.all_logs())


class BadReceipts(Refusals):
    def test_wrong_check_digits(self):
        receipt = self.still_serves().replace("-", "")
        wrong = {receipt[:-1] + d for d in "0123456789"} - {receipt}
        wrong |= {receipt[1] + receipt[0] + receipt[2:], receipt[:-1], receipt + "0", "0" * 24, "", "x",
                  "１" * 24, "9" * 5000, receipt[:12] + "\n" + receipt[13:]} - {receipt}
        for text in wrong:
            with self.subTest(text):
                self.refused(self.citizen.status(text), 422, "receipt")
                self.refused(self.citizen.say(text, "补充"), 422, "receipt")
                self.refused(self.citizen.withdraw(text), 422, "receipt")

    def test_nobody_has_this_receipt(self):
        for digits in ("1" * 22, "0" * 22, "9" * 22):
            receipt = receipt_of(digits)
            self.refused(self.citizen.status(receipt), 404, "receipt")
            self.refused(self.citizen.say(receipt, "补充"), 404, "receipt")
            self.refused(self.citizen.withdraw(receipt), 404, "receipt")

    def test_wrong_fields(self):
        receipt = self.still_serves()
        for path, more in (("status", {}), ("messages", {"text": "补充"}), ("withdraw", {"text": ""})):
            good = dict(more, receipt=receipt)
            table = [({}, 422, "receipt"), ({"receipt": None}, 422, "receipt"),
                     ({"receipt": 1}, 422, "receipt"), ({"receipt": [receipt]}, 422, "receipt"),
                     (dict(good, extra=1), 422, "extra"), (dict(good, Receipt=receipt), 422, "Receipt"),
                     ([], 400, None), ([good], 400, None), (receipt, 400, None),
                     (b"", 400, None), (b"x", 400, None), (b"[" * 100000, 400, None),
                     (b'{"receipt":"1","receipt":"2"}', 422, "receipt"),
                     (json.dumps(good).encode() + b"\0", 400, None),
                     (json.dumps(good).encode("utf-16"), 400, None)]
            if path == "status":
                table.append((dict(good, text="x"), 422, "text"))
            else:
                table += [(dict(good, text=t), 422, "text") for t in
                          (1, None, ["x"], "字" * 5001, "a\x07b", "a\x1b[2J", "\u0085")]
            if path == "messages":
                table += [(dict(good, text=t), 422, "text") for t in ("", " ", "\n\n")]
                table += [({"receipt": receipt}, 422, "text")]
            for body, status, field in table:
                with self.subTest(path, body=body):
                    self.refused(self.citizen.call(path, body, fresh_key()), status, field)
        self.assertEqual(self.citizen.status(receipt).json["messages"], [])

    def test_the_page(self):
        """The same for people: it says what is wrong, and keeps a message that was written."""
        receipt, key = self.still_serves(), fresh_key()
        message, sure = {"action": "message", "key": key}, {"action": "withdraw", "key": key, "sure": "1"}
        table = [(422, {}), (422, {"receipt": ""}), (422, {"receipt": receipt[:-1]}),
                 (404, {"receipt": receipt_of("1" * 22)}), (404, {**message, "receipt": receipt_of("1" * 22)}),
                 (422, {**message, "text": ""}), (422, {**message, "text": " \r\n"}),
                 (422, {**message, "text": "字" * 5001}), (422, {**message, "text": "a\x07b"}),
                 (422, {**message, "key": "", "text": "补充"}),
                 (422, {**message, "key": "x", "text": "补充"}), (422, {**sure, "sure": ""}),
                 (422, {**sure, "sure": "yes"}), (422, {**sure, "key": "x"}),
                 (422, {**sure, "text": "字" * 5001}), (422, {**sure, "text": "\x1b[2J"})]
        for language in ("zh-CN", "en"):
            for status, fields in table:
                with self.subTest(language, fields=str(fields)[:80]):
                    body = urllib.parse.urlencode({"receipt": receipt, "lang": language, **fields} if fields
                                                  else {"lang": language})
                    answer = request(self.here.web, "POST", "/follow", body,
                                     {"Content-Type": "application/x-www-form-urlencoded"})
                    self.assertEqual(answer.status, status, answer)
                    page = Page(answer.body.decode())
                    self.assertEqual(bool(CHINESE.search(page.alert)), language == "zh-CN", page.alert)
                    self.assertTrue(page.alert.strip())
                    if fields.get("action") == "message" and "receipt" not in fields:
                        self.assertEqual(page.fields["text"][0].strip(), fields["text"].strip())
        seen = self.citizen.status(receipt).json
        self.assertEqual((seen["state"], seen["messages"]), ("received", []))
        body = urllib.parse.urlencode({"receipt": receipt, **message, "text": "字\r\n" * 2500})
        answer = request(self.here.web, "POST", "/follow", body,
                         {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertEqual(answer.status, 200, "line ends count once")
        self.assertEqual(len(self.citizen.status(receipt).json["messages"]), 1)

    def test_how_long_it_takes_tells_nothing(self):
        """An unknown receipt costs the same memory-hard step as a known one, so that guessing is slow
        and an early answer does not tell a guesser to stop.  The searches afterwards differ by a
        few messages between processes; hence medians and a factor of four, either way."""
        known, unknown = self.still_serves(), receipt_of("1234567890" * 2 + "12")
        wrong = unknown[:-1] + str((int(unknown[-1]) + 1) % 10)
        took = {known: [], unknown: [], wrong: []}
        for _ in range(10):
            for receipt, times in took.items():  # by turns, so that a busy machine slows all of them
                began = time.monotonic()
                self.citizen.status(receipt)
                times.append(time.monotonic() - began)
        medians = {receipt: statistics.median(times) for receipt, times in took.items()}
        self.assertLess(medians[known], 4 * medians[unknown], took)
        self.assertLess(medians[unknown], 4 * medians[known], took)
        # Without the step they would be as quick as a slip of the pen, which is told at once.
        self.assertLess(medians[wrong], medians[unknown], took)


if __name__ == "__main__":
    unittest.main(verbosity=2)
