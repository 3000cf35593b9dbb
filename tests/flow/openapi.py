#!/usr/bin/python3
"""The OpenAPI documents say what the running servers do: every route and every answer is in them,
nothing is in them alone, and what their schemas refuse is refused."""
import contextlib
import json
import os
import re
import signal
import socket
import sys
import unittest
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import jsonschema

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from documents import (APIS, JSON, MULTIPART, OPERATIONS, PAIRS, PUBLIC, STAFF, routes_of,  # noqa: E402
                       spoiled, walk)
from installation import (SOURCE, Citizen, Installation, Member, a_filing, a_pdf, fresh_key,  # noqa: E402
                          wait_until)
from refusals import first_answer, form, part, read_all, receipt_of  # noqa: E402

FIRST, SECOND = "500108", "500103"
REF, FILE_ID = "CQ26-PEZBKQAZF", "0" * 32
MIB = 1024 * 1024

# Documented, and beyond what a test can bring about: (method, path, status), * for any.
NOT_PROVOKED = {
    ("*", "*", 500),                       # a fault
    ("POST", "/api/v1/messages", 403),     # the portal's key has left the directory
    ("POST", "/api/v1/withdraw", 403),
    ("POST", "/api/v1/messages", 409),     # the case changes in the same moment, again and again
    ("POST", "/api/v1/withdraw", 409),
    ("POST", "/follow", 409),
    ("POST", "/api/v1/enrol", 404),        # two use one code in the same moment
    ("POST", "/api/v1/enrol", 409),
}


class Reporter(Citizen):
    def call(self, path, body, *args, **more):
        return PUBLIC.check("POST", f"/api/v1/{path}", super().call(path, body, *args, **more))

    def page(self, path, fields, **headers):
        body = urllib.parse.urlencode(fields, doseq=True).encode()
        return PUBLIC.ask("POST", path, body, dict(headers, **{"Content-Type": PAIRS}))


class Colleague(Member):
    def call(self, method, path, *args, **more):
        return STAFF.check(method, f"/api/v1/{path}", super().call(method, path, *args, **more))


def set_at(value, path, new):
    """A copy with another value at "against.name"."""
    name, _, rest = path.partition(".")
    return {**value, name: set_at(value.get(name, {}), rest, new) if rest else new}


def names_of(value):
    """Of all fields."""
    inner = value.items() if isinstance(value, dict) else ()
    return {place for name, v in inner for place in {name} | {f"{name}.{n}" for n in names_of(v)}}


def names_in(schema):
    inner = PUBLIC.ref(schema).get("properties", {}).items()
    return {place for name, s in inner for place in {name} | {f"{name}.{n}" for n in names_in(s)}}


class Documents(unittest.TestCase):
    def test_schemas_are_closed_and_examples_fit(self):
        for api in APIS:
            for place, node in walk(api.document):
                if not isinstance(node, dict) or "/value" in place or "/examples/" in place:
                    continue
                conditional = re.search("/(if|then|else|anyOf)(/|$)|/schemas/ProblemMembers", place)
                if "schema" in node:
                    jsonschema.Draft202012Validator.check_schema(node["schema"])
                    examples = [e["value"] for e in node.get("examples", {}).values()]
                    for example in examples + ([node["example"]] if "example" in node else []):
                        self.assertEqual(api.problems(node["schema"], example), [], f"{api.name} {place}")
                elif node.get("type") == "object" and not conditional:
                    self.assertTrue({"additionalProperties", "unevaluatedProperties"} & set(node), place)
                if isinstance(node.get("examples"), list):
                    for example in node["examples"]:
                        self.assertEqual(api.problems(node, example), [], f"{api.name} {place}")

    def test_components_are_there_and_used(self):
        for api in APIS:
            used = {node["$ref"] for _, node in walk(api.document)
                    if isinstance(node, dict) and isinstance(node.get("$ref"), str)}
            for reference in used:
                api.resolver.resolve(reference)
            there = {f"#/components/{kind}/{name}" for kind, items in api.components.items()
                     for name in items if kind != "securitySchemes"}
            self.assertEqual({r.rsplit("/", 1)[1] for r in there - used}, {"UnknownAddress", "WrongMethod"})
            names = [operation["operationId"] for _, _, operation in api.operations()]
            self.assertEqual(len(names), len(set(names)))

    def test_routes_are_those_of_the_source(self):
        takes = {"NO_BODY": set(), "JSON": {JSON}, "FORM": {PAIRS, MULTIPART},
                 "MULTIPART": {PAIRS, MULTIPART, JSON}}
        for api in (PUBLIC, STAFF):
            routes = routes_of(api)
            self.assertEqual(set(routes), {(m, p) for m, p, _ in api.operations()})
            for (method, path), (body, rate, same_origin) in routes.items():
                operation = api.operation(method, path)
                types = set(operation.get("requestBody", {}).get("content", {}))
                self.assertTrue(types <= takes[body] and bool(types) == bool(takes[body]), path)
                self.assertEqual("429" in operation["responses"], rate != "NULL", path)
                self.assertTrue(same_origin == "false" or "403" in operation["responses"], path)
        with open(f"{SOURCE}/broker/ops_main.c") as f:
            pages = re.findall(r'^    \{"(/\w+)", ', f.read(), re.M)
        self.assertEqual({("GET", page) for page in pages}, {(m, p) for m, p, _ in OPERATIONS.operations()})


class Servers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.here = Installation("case.messages_per_day=3", "case.login_failures=2",
                                "broker.request_ttl_ms=2000", day="2026-11-24")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start_all()
        PUBLIC.port, STAFF.port, OPERATIONS.port = cls.here.web, cls.here.desk, cls.here.ops
        cls.citizen, cls.members = Reporter(cls.here), {}

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertNotIn("runtime error:", self.here.all_logs())

    def member(self, user):
        if user not in self.members:
            self.members[user] = Colleague(self.here, user)
        return self.members[user]

    def restart(self, settings):
        self.here.end("web", "desk")
        with open(f"{self.here.folder}/dengwen.yaml", "w") as f:
            f.write(settings)
        self.here.start("web", "desk")
        self.members.clear()  # their sessions have ended

    @contextlib.contextmanager
    def other_settings(self, change):
        with open(f"{self.here.folder}/dengwen.yaml") as f:
            usual = f.read()
        self.restart(change(usual))
        try:
            yield
        finally:
            self.restart(usual)

    # ---- what every address has in common ----

    def every_operation(self, *apis):
        for api in apis:
            for method, path, operation in api.operations():
                yield api, method, path.replace("{ref}", REF).replace("{id}", FILE_ID), operation

    def test_addresses_and_methods(self):
        for api in APIS:
            self.assertEqual(api.ask("GET", "/nothing").status, 404)
            for path in api.document["paths"]:
                target = path.replace("{ref}", REF).replace("{id}", FILE_ID)
                methods = {m for m, p, _ in api.operations() if p == path}
                allowed = set(api.ask("DELETE", target).headers["Allow"].split(", "))
                self.assertEqual(allowed, methods | ({"HEAD"} if "GET" in methods else set()), path)

    def test_head_is_get_without_a_body(self):
        for api, method, target, _ in self.every_operation(*APIS):
            if method == "GET":
                got, head = api.ask("GET", target), api.ask("HEAD", target)
                self.assertEqual((head.status, head.body), (got.status, b""), target)

    def test_malformed_requests(self):
        for api, method, target, operation in self.every_operation(PUBLIC, STAFF):
            filler = {f"X-{i}": "" for i in range(65 - 2)}
            self.assertEqual(api.ask(method, f"{target}?a=%zz").status, 400, target)
            self.assertEqual(api.ask(method, f"{target}?a=".ljust(4097, "a")).status, 414, target)
            self.assertEqual(api.ask(method, target, headers=filler).status, 431, target)
            if "requestBody" not in operation:
                self.assertEqual(api.ask(method, target, b"x").status, 400, target)
                continue
            kind = min(operation["requestBody"]["content"])  # one that has no files
            for body, sent_as, status in ((b"x", "text/plain", 415), (b" " * 262145, kind, 413)):
                answer = api.ask(method, target, body, {"Content-Type": sent_as})
                self.assertEqual(answer.status, status, target)

    def test_the_longest_address_and_the_most_headers(self):
        filler = {f"X-{i}": "" for i in range(64 - 2)}
        target = "/api/v1/catalogue?a="
        self.assertEqual(PUBLIC.ask("GET", target.ljust(4096, "a"), headers=filler).status, 200)

    def test_other_sites_and_nobody(self):
        for api, method, target, operation in self.every_operation(PUBLIC, STAFF):
            path, _ = api.responses_of(method, target)
            if routes_of(api)[method, path][2] == "true":
                answer = api.ask(method, target, b"", {"Sec-Fetch-Site": "cross-site"})
                self.assertEqual(answer.status, 403, target)
            if api is STAFF and operation.get("security") != []:
                self.assertEqual(api.ask(method, target, headers={"Authorization": "Bearer x"}).status, 401)

    # ---- filings ----

    def filed(self, **changes):
        """(receipt, reference) of a filing that is stored."""
        receipt = self.citizen.receipt(a_filing(**changes))
        return receipt, self.citizen.follow(receipt)["reference"]

    def test_filings_are_taken_as_their_schema_says(self):
        """With each field left out, null, of another type, and with one more."""
        schema, examples = PUBLIC.schema("/api/v1/filings"), PUBLIC.examples("/api/v1/filings")
        everything = {**examples["report"], "elsewhere": "没有"}
        for place, value in (("against.address", "某路1号"), ("against.people", "某主任"),
                             ("against.body", "500000"), ("identity.email", "a@example.org"),
                             ("identity.id_number", "11010519491231002X"), ("notify.email", True),
                             ("notify.call", True)):
            everything = set_at(everything, place, value)
        self.assertEqual(names_of(everything), names_in(schema) - {"complaint", "service"})
        for example in [*examples.values(), everything]:
            for what, filing in [("as it is", example), *spoiled(example)]:
                with self.subTest(what, example=example["kind"]):
                    answer = self.citizen.file(filing)
                    self.assertIn(answer.status, (202, 422))
                    self.assertEqual(answer.status == 202, not PUBLIC.problems(schema, filing), answer)

    def test_limits_of_filings(self):
        """Everything as long as it may be is taken; one more of anything is not."""
        schemas = PUBLIC.components["schemas"]
        filing, against = schemas["Filing"]["properties"], schemas["Against"]["properties"]
        identity = filing["identity"]["properties"]
        email = "@".join(["e" * 64, ".".join(["d" * 63, "d" * 63, "d" * 57, "org"])])
        codes = [act["code"] for act in PUBLIC.ask("GET", "/api/v1/catalogue").json["acts"]]
        full, over = a_filing(), {}
        for place, schema, letter in (
                ("against.name", against["name"], "举"), ("against.address", against["address"], "举"),
                ("against.code", against["code"], "H"), ("against.people", against["people"], "举"),
                ("facts", filing["facts"], "举"), ("elsewhere", filing["elsewhere"], "举"),
                ("identity.name", identity["name"], "举"), ("identity.email", identity["email"], email)):
            longest = (letter * schema["maxLength"])[:schema["maxLength"]]
            full, over[place] = set_at(full, place, longest), letter[0] + longest
        acts, amount = filing["acts"]["maxItems"], filing["amount_yuan"]["maximum"]
        full.update(acts=codes[:acts], amount_yuan=amount)
        over.update({"acts": codes[:acts + 1], "amount_yuan": amount + 1,
                     "identity.phone": "1" * (identity["phone"]["maxLength"] + 1)})
        short = a_filing(facts="举" * filing["facts"]["minLength"], amount_yuan=filing["amount_yuan"]["minimum"])
        under = {"facts": short["facts"][1:], "amount_yuan": short["amount_yuan"] - 1}
        self.assertEqual(PUBLIC.problems(schemas["Filing"], full), [])
        for good in (full, short):
            self.assertEqual(self.citizen.file(good).status, 202)
        for place, value in [*over.items(), *under.items()]:
            wrong = set_at(full, place, value)
            answer = self.citizen.file(wrong)
            self.assertEqual((answer.status, answer.json["field"]), (422, place))
            self.assertTrue(PUBLIC.problems(schemas["Filing"], wrong), place)
        complaint = PUBLIC.examples("/api/v1/filings")["complaint"]
        least, most = filing["service"]["minimum"], filing["service"]["maximum"]
        for service, status in ((least, 202), (most, 202), (least - 1, 422), (most + 1, 422)):
            self.assertEqual(self.citizen.file({**complaint, "service": service}).status, status)

    def test_files(self):
        most = PUBLIC.components["schemas"]["Files"]["maxItems"]
        text, small = ("a.txt", "", b"seen it\n"), a_pdf()[:-6]
        full, half = ("a.pdf", "", small.ljust(20 * MIB)), ("a.pdf", "", small.ljust(10 * MIB))
        over, half_over = ("a.pdf", "", full[2] + b" "), ("a.pdf", "", half[2] + b" ")
        for files, status in (([text] * most, 202), ([text] * (most + 1), 413), ([full, full, half], 202),
                              ([full, full, half_over], 413), ([over], 413),
                              ([("a.exe", "", b"MZ")], 415), ([("a.txt", "", b"")], 415)):
            self.assertEqual(self.citizen.file(a_filing(), files=files).status, status)
        filing = json.dumps(a_filing())
        for parts, status in (([part("filing", filing.ljust(65536))], 202),
                              ([part("filing", filing.ljust(65537))], 400),
                              ([part("filing", filing), part("evidence", "x\n", "a.txt")], 400),
                              ([part("file", "seen it\n", "a.txt")], 400)):
            kind, body = form(parts)
            self.assertEqual(self.citizen.call("filings", body, fresh_key(), kind).status, status)
        pairs = urllib.parse.urlencode({"filing": filing}).encode()
        self.assertEqual(self.citizen.call("filings", pairs, fresh_key(), PAIRS).status, 202)

    def test_keys_and_language_of_filings(self):
        key = PUBLIC.components["parameters"]["IdempotencyKey"]["schema"]
        for text, status in (("k" * 22, 202), ("k" * 64, 202), ("k" * 21, 400), ("k" * 65, 400),
                             ("k" * 21 + "+", 400)):
            self.assertEqual(self.citizen.file(a_filing(), text).status, status)
            self.assertEqual(not PUBLIC.problems(key, text), status == 202)
        for answer, status in ((self.citizen.file(a_filing(facts="另一件事" * 9), "k" * 22), 422),
                               (self.citizen.call("filings", a_filing()), 400)):
            self.assertEqual((answer.status, answer.json["field"]), (status, "Idempotency-Key"))
        self.assertEqual(self.citizen.call("filings", b"{", fresh_key()).status, 400)
        self.assertEqual(self.citizen.call("filings?lang=zh-CN", {}, fresh_key()).status, 422)
        for lang in ("?lang=en", "?lang=zh-CN", ""):
            self.assertEqual(PUBLIC.ask("GET", f"/api/v1/catalogue{lang}").status, 200)

    # ---- with a receipt ----

    def test_calls_with_a_receipt(self):
        for path, twice in (("status", 200), ("messages", 422), ("withdraw", 422)):
            receipt, _ = self.filed()
            schema, key = PUBLIC.schema(f"/api/v1/{path}"), fresh_key()
            (example,) = PUBLIC.examples(f"/api/v1/{path}").values()
            body = {**example, "receipt": receipt}
            for what, wrong in spoiled(body):
                if PUBLIC.problems(schema, wrong):
                    self.assertEqual(self.citizen.call(path, wrong, fresh_key()).status, 422, what)
            self.assertEqual(self.citizen.call(path, body, key).status, 200)
            again = self.citizen.call(path, {**body, **({"text": "别的"} if "text" in body else {})}, key)
            self.assertEqual(again.status, twice)
            for other, status in ((receipt[:-1] + str(9 - int(receipt[-1])), 422),
                                  (REF, 422), (receipt_of("1" * 22), 404)):
                answer = self.citizen.call(path, {**body, "receipt": other}, fresh_key())
                self.assertEqual(answer.status, status)
            for raw, status in ((b"[]", 400), (b'{"receipt": "", "receipt": ""}', 422)):
                self.assertEqual(self.citizen.call(path, raw, fresh_key()).status, status)
            if path != "status":
                self.assertEqual(self.citizen.call(path, body).status, 400)
            self.assertEqual(self.citizen.status(receipt).status, 200)

    def test_messages_have_a_length_and_a_number(self):
        receipt, _ = self.filed()
        most = PUBLIC.components["schemas"]["MessageText"]["maxLength"]
        self.assertEqual(self.citizen.say(receipt, "字" * most).status, 200)
        self.assertEqual(self.citizen.say(receipt, "字" * (most + 1)).status, 422)
        self.assertEqual(self.citizen.say(receipt, "\x07").status, 422)
        padded = json.dumps({"receipt": receipt, "text": "x"}).encode().ljust(262144)
        self.assertEqual(self.citizen.call("messages", padded, fresh_key()).status, 200)
        self.assertEqual(self.citizen.say(receipt, "x").status, 200)
        self.assertEqual(self.citizen.say(receipt, "x").status, 429)
        self.assertEqual(self.citizen.withdraw(receipt).status, 429)
        fields = {"receipt": receipt, "action": "message", "key": fresh_key(), "text": "x"}
        self.assertEqual(self.citizen.page("/follow", fields).status, 429)

    def a_form(self, **changes):
        return {"key": fresh_key(), "kind": "report", "against.type": "hospital", "against.name": "某某医院",
                "against.district": FIRST, "acts": ["PU01", "PF02"], "facts": a_filing()["facts"],
                "truthful": "1", **changes}

    def test_pages(self):
        for target in ("/", "/file", "/file?kind=complaint&lang=en", "/follow", "/privacy", "/style.css",
                       "/icon.svg"):
            self.assertEqual(PUBLIC.ask("GET", target).status, 200)

    def test_the_page_that_files(self):
        schema = {"$ref": "#/components/schemas/FilingForm"}
        for what, fields in [("as it is", self.a_form()), *spoiled(self.a_form())]:
            if "null" in what or "type" in what:
                continue  # a form knows neither
            answer = self.citizen.page("/file", fields)
            self.assertEqual(answer.status, {"as it is": 200, "no key": 400}.get(what, 422), what)
            self.assertEqual(answer.status == 200, not PUBLIC.problems(schema, fields), what)
        for name, data, status in (("a.exe", "MZ", 415), ("a.txt", "x" * (20 * MIB + 1), 413)):
            parts = [part(n, v[0] if n == "acts" else v) for n, v in self.a_form().items()]
            kind, body = form(parts + [part("file", data, name)])
            self.assertEqual(PUBLIC.ask("POST", "/file", body, {"Content-Type": kind}).status, status)

    def test_the_page_that_follows(self):
        receipt, _ = self.filed()
        for more, status in (({}, 200), ({"action": "message", "text": "补充", "key": fresh_key()}, 200),
                             ({"action": "withdraw", "key": fresh_key()}, 422), ({"receipt": "1"}, 422),
                             ({"receipt": receipt_of("1" * 22)}, 404)):
            self.assertEqual(self.citizen.page("/follow", {"receipt": receipt, **more}).status, status)

    # ---- staff ----

    COMMANDS = "/api/v1/cases/{ref}/commands"

    def command(self, member, reference, command, **more):
        """What the schema refuses is refused; what it takes first is done."""
        schema, examples = STAFF.schema(self.COMMANDS), STAFF.examples(self.COMMANDS)
        version, path = member.case(reference)["version"], f"cases/{reference}/commands"
        good = {**examples.get(command, {}), "command": command, **more, "version": version}
        self.assertEqual(STAFF.problems(schema, good), [])
        for what, body in [*spoiled(good), ("with a text", {"text": "x", **good}), ("as it is", good)]:
            taken, key = not STAFF.problems(schema, body), fresh_key()
            answer = member.call("POST", path, body, key)
            self.assertEqual(answer.status, 200 if taken else 422, f"{command}, {what}: {answer}")
            if taken:
                break
        again = member.call("POST", path, body, key)
        self.assertEqual(again.status, 404 if command == "return" else 200)
        return answer.json["state"]

    def test_every_command(self):
        first, second = self.member(f"{FIRST}.inspector1"), self.member(f"{SECOND}.inspector1")
        files = [("材料.pdf", "application/pdf", a_pdf()), ("b.txt", "text/plain", b"seen it\n")]
        receipt = self.citizen.receipt(PUBLIC.examples("/api/v1/filings")["report"], files=files)
        reference = self.citizen.follow(receipt)["reference"]
        for listed, (_, _, data) in zip(first.case(reference)["files"], files):
            self.assertEqual(first.call("GET", f"cases/{reference}/files/{listed['id']}").body, data)
        self.assertEqual(first.call("GET", f"cases/{reference}/files/{FILE_ID}").status, 404)
        for who, command, more, state in (
                (first, "assign", {"to": first.user}, "reviewing"),
                (first, "ask", {"text": "请补充"}, "reviewing"), (first, "note", {"text": "内部"}, "reviewing"),
                (first, "accept", {}, "accepted"),
                (first, "reply", {"text": "x" * 5000}, "accepted"), (first, "transfer", {}, "transferred"),
                (second, "return", {"reason": "NOT_IN_REMIT"}, "accepted"),
                (first, "transfer", {}, "transferred"),
                (second, "receive", {}, "reviewing"), (second, "accept", {"text": "受理"}, "accepted"),
                (second, "decide", {}, "decided"), (second, "close", {}, "closed"),
                (second, "archive", {}, "archived")):
            self.assertEqual(self.command(who, reference, command, **more), state, command)
            self.citizen.status(receipt)
            who.open(reference)
        _, reference = self.filed()
        self.assertEqual(self.command(first, reference, "refuse"), "not_accepted")

    def test_commands_that_are_refused(self):
        first, second = self.member(f"{FIRST}.inspector1"), self.member(f"{SECOND}.inspector1")
        _, reference = self.filed()
        path, accept = f"cases/{reference}/commands", {"command": "accept", "version": 1}
        self.assertEqual(second.open(reference).status, 404)
        self.assertEqual(first.open("CQ26-000000000").status, 404)
        self.assertEqual(second.call("POST", path, accept, fresh_key()).status, 404)
        self.assertEqual(first.call("POST", path, accept).status, 400)
        self.assertEqual(first.command(reference, "accept", version=2).status, 409)
        self.assertEqual(first.command(reference, "reply", text="x" * 5001).status, 422)
        self.assertEqual(first.command(reference, "close").status, 422)
        transfer = {**STAFF.examples(self.COMMANDS)["transfer"], "version": 1}
        self.assertEqual(first.call("POST", path, transfer, fresh_key()).status, 200)
        self.assertEqual(first.command(reference, "receive").status, 403)
        headers = {"Authorization": f"Bearer {first.token}", "Content-Type": JSON,
                   "Idempotency-Key": fresh_key()}
        for body, status in ((b"[]", 400), (b'{"command": "note", "command": "note"}', 422)):
            self.assertEqual(STAFF.ask("POST", f"/api/v1/{path}", body, headers).status, status)

    def test_worklists(self):
        member, manager = self.member(f"{FIRST}.inspector1"), self.member(f"{FIRST}.manager")
        names, limit, _ = (p["schema"] for p in STAFF.operation("GET", "/api/v1/cases")["parameters"])
        self.filed()
        for name in names["enum"]:
            member.worklist(name, 1)
        least, most = limit["minimum"], limit["maximum"]
        for query, status in ((f"limit={most}", 200), (f"limit={most + 1}", 422), (f"limit={least - 1}", 422),
                              ("after=x", 422), ("worklist=none", 422)):
            self.assertEqual(member.call("GET", f"cases?{query}").status, status, query)
        self.assertEqual(manager.call("GET", "cases").status, 403)

    def test_statistics(self):
        manager, inspector = self.member(f"{FIRST}.manager"), self.member(f"{FIRST}.inspector1")
        names = STAFF.components["schemas"]["StatisticsBy"]["enum"]
        _, reference = self.filed()
        inspector.do(reference, "accept")
        wait_until(20, lambda: not manager.call("GET", "statistics").json["behind"], "everything is counted")
        for name in names:
            answer = manager.call("GET", f"statistics?by={name}")
            self.assertEqual((answer.status, answer.json["by"]), (200, name))
        refused = manager.call("GET", "statistics?by=name").json["detail"]
        self.assertEqual(set(re.findall(r"\w+", refused.partition("one of")[2])) - {"or"}, set(names))
        for query, field in (("by=name", "by"), (f"by={'x' * 100}", "by"), ("from=2026-11-31", "from"),
                             ("to=2026", "to"), ("by=act&from=2026-11-02", "from"), ("to=2026-11-29", "to"),
                             ("by=state&from=2026-11-01", "from"), ("by=day&from=2026-01-01", "to"),
                             ("by=day&from=2026-11-02&to=2026-11-01", "to"), ("from=2020-01-01", "to")):
            answer = manager.call("GET", f"statistics?{query}")
            self.assertEqual((answer.status, answer.json["field"]), (422, field), query)
            self.assertIn("expected", answer.json["detail"])
        self.assertEqual(inspector.call("GET", "statistics").status, 403)

    def test_sessions(self):
        user, password = "500108.newcomer", "x" * 512
        words = ("staff", "add", "--body", FIRST, "--role", "inspector", user, "新同事")
        code = re.search("code: (.*)", self.here.tool(*words, check=True).stdout)[1]
        nobody = Colleague.__new__(Colleague)
        nobody.here, nobody.token = self.here, None
        for path, body in (("enrol", {"user": user, "code": code, "password": password}),
                           ("login", {"user": user, "password": password})):
            for what, wrong in spoiled(body):
                self.assertEqual(nobody.call("POST", path, wrong).status, 422, what)
            for name in body:
                wrong = {**body, name: "x" * 513}
                self.assertTrue(STAFF.problems(STAFF.schema(f"/api/v1/{path}"), wrong))
                self.assertEqual(nobody.call("POST", path, wrong).status, 422, name)
            self.assertEqual(nobody.call("POST", path, []).status, 400)
            if path == "enrol":
                self.assertEqual(nobody.call("POST", path, {**body, "password": "x" * 9}).status, 422)
                self.assertEqual(nobody.call("POST", path, {**body, "code": "x"}).status, 403)
            answer = nobody.call("POST", path, body)
            self.assertEqual(answer.status, 200, answer)
        member = Colleague(self.here, user, password)
        self.assertEqual(member.logout().status, 204)
        member = Colleague(self.here, user, password)
        self.here.tool("staff", "disable", user, check=True)
        for path in ("cases", f"cases/{REF}", f"cases/{REF}/files/{FILE_ID}"):
            self.assertEqual(member.call("GET", path).status, 403)
        self.assertEqual(member.command(REF, "accept", version=1).status, 403)
        for status in (403, 403, 429):
            wrong = {"user": f"{SECOND}.inspector2", "password": "not the password"}
            self.assertEqual(nobody.call("POST", "login", wrong).status, status)

    def test_names_are_those_of_the_transitions(self):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in
                self.here.tool("states", check=True).stdout.splitlines()[2:]]
        schemas, shown = STAFF.components["schemas"], STAFF.document["info"]["description"]
        commands = {row[1] for row in rows if row[2] not in ("intake", "reporter")}
        states = {row[0] for row in rows} | {row[3] for row in rows}
        self.assertEqual(set(schemas["CommandName"]["enum"]), commands)
        self.assertEqual(set(re.findall(r"^\| `(\w+)`", shown, re.M)), commands)
        self.assertTrue({row[4] for row in rows} <= set(schemas["EventKind"]["enum"]))
        for api in (PUBLIC, STAFF):
            names = set(api.components["schemas"]["StateName"]["enum"])
            self.assertTrue(names <= states, names - states)
            self.assertTrue(states - names <= {"(new)", "(as before the transfer)"}, states - names)

    # ---- operations, and bad days ----

    def test_operations(self):
        for target in ("/livez", "/readyz", "/metrics"):
            self.assertEqual(OPERATIONS.ask("GET", target).status, 200)

    def test_without_a_case_worker_and_without_keyd(self):
        receipt, reference = self.filed()
        member, case = self.member(f"{FIRST}.inspector1"), f"cases/{reference}"
        self.here.end("casework")
        waiting = self.citizen.receipt(a_filing())
        self.assertEqual(self.citizen.status(waiting).json["state"], "received")
        message = {"receipt": waiting, "action": "message", "text": "补充", "key": fresh_key()}
        self.assertEqual(self.citizen.page("/follow", {"receipt": waiting}).status, 200)
        login = {"user": member.user, "password": f"demo-{member.user}"}
        calls = [lambda: self.citizen.status(receipt), lambda: self.citizen.say(waiting, "补充"),
                 lambda: self.citizen.withdraw(waiting), lambda: self.citizen.page("/follow", message),
                 lambda: member.call("POST", "login", login), lambda: member.call("GET", "cases"),
                 lambda: member.call("GET", "statistics"),
                 lambda: member.call("POST", "enrol", {**login, "code": "x", "password": "x" * 10}),
                 lambda: member.open(reference), lambda: member.call("GET", f"{case}/files/{FILE_ID}"),
                 lambda: member.command(reference, "accept", version=1),
                 lambda: OPERATIONS.ask("GET", "/readyz")]
        self.assertEqual(self.all_at_once(calls), {503})
        self.here.end("keyd")
        calls = [lambda: self.citizen.file(a_filing()), lambda: self.citizen.page("/file", self.a_form())]
        self.assertEqual(self.all_at_once(calls), {503})
        self.here.start("keyd", "casework")
        self.citizen.follow(waiting)

    @staticmethod
    def all_at_once(calls):
        with ThreadPoolExecutor(len(calls)) as pool:
            return {answer.status for answer in pool.map(lambda call: call(), calls)}

    def test_asked_too_often(self):
        def narrow(settings):
            return re.sub(r"(_per_hour|_per_minute|_burst): \d+", r"\1: 1", settings)
        with self.other_settings(narrow):
            for api in (PUBLIC, STAFF):
                for (method, path), (_, rate, _) in routes_of(api).items():
                    if rate != "NULL":
                        statuses = [api.ask(method, path).status for _ in range(2)]
                        self.assertEqual(statuses[1], 429, path)

    def test_a_stopping_portal_says_so(self):
        """It is busy with a question that the broker does not answer."""
        receipt, _ = self.filed()
        broker, others = self.here.processes["broker"], self.begin_all(PUBLIC)
        broker.send_signal(signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as after:
            after.callback(broker.send_signal, signal.SIGCONT)
            pool.submit(Citizen(self.here).status, receipt)
            wait_until(10, lambda: self.here.metrics()['dengwen_web_in_work{program="web"}'],
                       "the question is asked")
            self.turned_away(PUBLIC, "web", others)

    def test_a_stopping_desk_says_so(self):
        """It is busy with sending a file that the client does not read."""
        receipt = self.citizen.receipt(a_filing(), files=[("a.pdf", "", a_pdf()[:-6].ljust(20 * MIB))])
        case = f"cases/{self.citizen.follow(receipt)['reference']}"
        member = self.member(f"{FIRST}.inspector1")
        (file,) = member.call("GET", case).json["files"]
        others = self.begin_all(STAFF)
        with self.begin("GET", self.here.desk, f"/api/v1/{case}/files/{file['id']}",
                        f"Authorization: Bearer {member.token}\r\n\r\n") as download:
            download.recv(1)
            self.turned_away(STAFF, "desk", others)

    def turned_away(self, api, part, others):
        """Requests that were not complete when the process was told to end."""
        process = self.here.processes.pop(part)
        process.terminate()
        wait_until(10, lambda: not self.here.answers(api.port), "it listens no more")
        for method, target, connection in others:
            with connection:
                connection.sendall(b"\r\n{}" if method == "POST" else b"\r\n")
                answer = first_answer(read_all(connection, 10))
            self.assertEqual(api.check(method, target, answer).status, 503)
        self.addCleanup(self.start_again, process, part)

    def start_again(self, process, part):
        self.assertEqual(process.wait(30), 0)
        self.here.start(part)
        self.members.clear()

    def begin_all(self, api):
        """One request of each kind, without the end of its head."""
        begun = []
        for _, method, target, operation in self.every_operation(api):
            body = ""
            if method == "POST":
                body = f"Content-Type: {min(operation['requestBody']['content'])}\r\nContent-Length: 2\r\n"
            begun.append((method, target, self.begin(method, api.port, target, body)))
        return begun

    @staticmethod
    def begin(method, port, target, head):
        connection = socket.create_connection(("127.0.0.1", port), 10)
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}".encode())
        return connection

    def test_zz_all_that_is_documented_was_seen(self):
        documented = {(method, path, int(status), api.name) for api in APIS
                      for method, path, operation in api.operations() for status in operation["responses"]}
        seen = {(*call, api.name) for api in APIS for call in api.seen}
        missing = [call for call in documented - seen if not {call[:3], ("*", "*", call[2])} & NOT_PROVOKED]
        self.assertEqual(sorted(missing), [])
        self.assertFalse(NOT_PROVOKED & {call[:3] for call in seen})


if __name__ == "__main__":
    unittest.main(verbosity=2)
