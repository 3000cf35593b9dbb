#!/usr/bin/python3
"""Words put into every field of 1,000 filings are nowhere: in no file of the installation, whatever
waits or is stored, in no log, and not in the memory of those who only carry (broker, case worker).

    DW_FILINGS=10000 canaries.py    more of them

Looked at twice: while all filings wait in the queue, and when they are cases that were worked on.  The
search is checked too: it finds each way of writing in a file, and a filing in the process that is just
receiving it.  Reading the memory of these processes wants root.

Files of clients and of the mail server lie elsewhere and are not looked at."""
import collections
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (SOURCE, Citizen, Installation, Member, a_filing, a_pdf, free_ports,  # noqa: E402
                          fresh_key, multipart, request, wait_until)
from canary import CHUNK, Canaries, files_below, forms_of, in_file, in_memory  # noqa: E402

FILINGS = int(os.environ.get("DW_FILINGS", 1000))
WORKED_ON = 60   # so many get answers and notes
CLIENTS = 4
SEED = int(os.environ.get("DW_SEED", random.SystemRandom().randrange(1 << 32)))
BODY, OTHER = "500108", "500103"

# May hold nothing of ours, ever; the others hold what they are just working on.
CARRIERS = ("broker", "casework", "ops")
WORKERS = ("keyd", "notify", "desk", "web")


def say(text):
    print(text, file=sys.stderr, flush=True)


def told(kinds):
    counted = collections.defaultdict(list)
    for what, how in sorted(kinds):
        counted[what].append(how)
    return "; ".join(f"{what} as {', '.join(hows)}" for what, hows in counted.items())


class CanaryFilings:
    """The same words in every way a filing can come in."""

    def __init__(self, here, canaries):
        self.here, self.canaries, self.citizen = here, canaries, Citizen(here)

    def filing(self, i):
        c = self.canaries
        filing = a_filing(
            against={"type": "hospital", "name": c.word(), "district": BODY,
                     "address": f"{c.word()}\n{c.word()}", "code": c.latin_word(), "people": c.word()},
            acts=["PU01", "PF02"], facts=f"{c.word()} 住院清单与本人不符 {c.word()}", elsewhere=c.word(),
            amount_yuan=c.yuan(i), relation="present_staff")
        if i % 2:
            filing["identity"] = {"name": c.word(), "phone": c.phone_number(i),
                                  "email": f"{c.latin_word()}@{c.latin_word()}.example.org",
                                  "id_number": c.identity_card(i), "wants_reward": True}
            filing["notify"] = {"email": i % 10 == 1}
        return filing

    def files(self):
        c = self.canaries
        return [(f"{c.word()}.pdf", "application/pdf", a_pdf(9000) + c.word().encode() + a_pdf(90000)),
                (f"{c.word()}.txt", "text/plain", f"{c.word()}\n".encode() * 999)]

    def by_api(self, i):
        key = self.canaries.latin_word() + fresh_key().replace("-", "")
        files = self.files() if i % 5 == 0 else ()
        return self.citizen.receipt(self.filing(i), key=key, files=files)

    def by_page(self, i):
        """As a browser sends the form."""
        page = request(self.here.web, "GET", "/file").body.decode()
        fields = dict(re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', page))
        for name, value in self.filing(i).items():
            inner = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
            fields.update({k: "1" if v is True else v for k, v in inner.items() if v is not False})
        answer = request(self.here.web, "POST", "/file", urllib.parse.urlencode(fields, True).encode(),
                         {"Content-Type": "application/x-www-form-urlencoded"})
        shown = re.search(r'id="receipt">(.*?)</p>', answer.body.decode())
        if not shown:
            raise AssertionError(f"no receipt on the page: {answer}")
        return re.sub(r"<[^>]*>", "", shown.group(1))

    def one(self, i):
        receipt = self.by_page(i) if i % 10 == 9 else self.by_api(i)
        self.canaries.receipts.add(receipt.replace("-", ""))
        return receipt

    def refused(self):
        """What is refused must not be written down either."""
        c, word = self.canaries, self.canaries.word()
        quoted = urllib.parse.quote(word)
        wrong = [a_filing(**{word: 1}), a_filing(facts=word[:9]), a_filing(acts=[word]),
                 a_filing(against={"type": word, "name": word, "district": word}), f'{{"{word}'.encode()]
        for filing in wrong:
            self.expect(self.citizen.file(filing, c.latin_word() * 2), 400, 422)
        self.expect(self.citizen.file(a_filing(), word.encode().hex()[:80]), 400)
        self.expect(self.citizen.file(a_filing(), files=[(f"{word}.exe", "x/y", word.encode())]), 415)
        self.expect(self.citizen.status(word), 422)
        for port in (self.here.web, self.here.desk):
            self.expect(request(port, "GET", f"/{quoted}?{quoted}={quoted}",
                                headers={"User-Agent": c.latin_word(), "Referer": quoted}), 404)
        for login in ({"user": f"{BODY}.manager", "password": word}, {"user": word, word: word}):
            self.expect(request(self.here.desk, "POST", "/api/v1/login", json.dumps(login).encode(),
                                {"Content-Type": "application/json"}), 403, 422)

    @staticmethod
    def expect(answer, *statuses):
        if answer.status not in statuses:
            raise AssertionError(f"expected {statuses}, got {answer}")


class Nowhere(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise AssertionError("reading the memory of undumpable processes wants root")
        cls.folder = tempfile.mkdtemp(prefix="dw-canaries-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        (port,) = free_ports(1)
        cls.smtp("start", port)
        cls.addClassCleanup(cls.smtp, "stop")
        cls.prepare()
        cls.here = Installation("log_level=debug", "store.busy_ms=20000",
                                f"notify.smtp_url=smtp://127.0.0.1:{port}")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        say(f"seed {SEED}, {FILINGS} filings")
        cls.canaries = Canaries(SEED)
        cls.filings = CanaryFilings(cls.here, cls.canaries)

    @classmethod
    def prepare(cls):
        """What the installation wants to find."""

    def folders(self):
        return [self.here.folder]

    @classmethod
    def smtp(cls, verb, *more):
        subprocess.run([f"{SOURCE}/tests/support/smtp.sh", verb, f"{cls.folder}/smtp", *map(str, more)],
                       check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    # ---- looking ----

    def memory_of(self, part):
        return in_memory(self.canaries, self.here.pid_of(part), self.here.folder.encode())

    def look(self, parts, files):
        """{where: (kinds, bytes)}, two at a time."""
        known = self.here.folder.encode()
        with ProcessPoolExecutor(2) as pool:
            looks = {f"memory of {part}": pool.submit(in_memory, self.canaries, self.here.pid_of(part),
                                                      known) for part in parts}
            looks.update({path: pool.submit(in_file, self.canaries, path) for path in files})
            return {where: look.result() for where, look in looks.items()}

    def nowhere(self, when):
        began = time.monotonic()
        carriers = [part for part in CARRIERS if part in self.here.processes]
        found = self.look(carriers, [f for folder in self.folders() for f in files_below(folder)])
        size = sum(read for _, read in found.values())
        self.assertGreater(size, FILINGS * 2000)
        say(f"  {when}: looked through {size / 1e6:.0f} MB in {time.monotonic() - began:.0f} s")
        self.assertEqual({where: told(kinds) for where, (kinds, _) in found.items() if kinds}, {}, when)

    def tell_of_workers(self):
        """Not a promise: who works with a text has it while it does, and may keep traces.  Where more than
        usual are asked for."""
        if FILINGS <= 1000:
            return
        for where, (kinds, size) in self.look(WORKERS, ()).items():
            say(f"  {where}, idle, {size / 1e6:.0f} MB: {told(kinds) or 'nothing'}")

    # ---- one after the other ----

    def test_nowhere(self):
        began = time.monotonic()
        self.here.start("ops", "keyd", "broker", "web")
        self.search_finds_files()
        self.search_finds_memory()
        with ThreadPoolExecutor(CLIENTS) as pool:
            receipts = list(pool.map(self.filings.one, range(FILINGS)))
        self.assertEqual(self.here.queue_stats()["items"], FILINGS)
        say(f"  {FILINGS} filings wait after {time.monotonic() - began:.0f} s")
        self.nowhere("while they wait")

        self.here.start("casework", "notify", "desk")
        self.filings.refused()
        wait_until(120, lambda: self.here.queue_stats()["items"] == 0, "all are cases")
        self.assertEqual(self.here.queue_stats()["dead"], 0)
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self.write_to, receipts[:WORKED_ON]))
        self.work_on_them()
        say(f"  worked on after {time.monotonic() - began:.0f} s")
        self.nowhere("when they are cases")
        self.tell_of_workers()
        say(f"  {time.monotonic() - began:.0f} s in all")

    def write_to(self, receipt):
        citizen = Citizen(self.here)
        self.assertTrue(citizen.follow(receipt)["reference"])
        key = self.canaries.latin_word() * 2
        self.assertEqual(citizen.say(receipt, self.canaries.word(), key).status, 200)

    def work_on_them(self):
        """Opened, answered, noted, sent on, taken, decided; each with words."""
        c = self.canaries
        first, second = Member(self.here, f"{BODY}.inspector1"), Member(self.here, f"{OTHER}.inspector1")
        rows = first.worklist()
        self.assertEqual(len(rows), FILINGS)
        withdrawn = self.filings.one(FILINGS)
        self.citizen_withdraws(withdrawn)
        for i, row in enumerate(rows[:WORKED_ON]):
            reference = row["reference"]
            case = first.case(reference)
            self.assertIn(c.latin, str(case["facts"]))
            for file in case["files"]:
                self.assertIn(c.latin.encode(),
                              first.call("GET", f"cases/{reference}/files/{file['id']}").body)
            first.do(reference, "accept", text=c.word())
            first.do(reference, "note", text=c.word(), key=c.latin_word() * 2)
            if i % 3 == 0:
                first.do(reference, "transfer", to=OTHER, reason="OTHER_DISTRICT", text=c.word(),
                         with_internal=True)
                second.do(reference, "receive")
                second.do(reference, "reply", text=c.word())
            elif i % 3 == 1:
                first.do(reference, "decide", outcome="punished", text=c.word())
                first.do(reference, "close", text=c.word())
            self.assertEqual(first.call("GET", f"cases/{c.latin_word()}").status, 404)

    def citizen_withdraws(self, receipt):
        citizen = Citizen(self.here)
        citizen.follow(receipt)
        self.assertEqual(citizen.withdraw(receipt, self.canaries.word()).status, 200)

    # ---- the search is checked ----

    def search_finds_files(self):
        """Every way of writing, in the middle of a file and across the border of two reads."""
        folder = f"{self.here.folder}/log/planted"
        os.mkdir(folder)
        self.canaries.receipts.add("123456789012345678901234")
        texts = [("chinese", self.canaries.word()), ("latin", self.canaries.latin_word()),
                 ("phone", self.canaries.phone_number(1)), ("amount", str(self.canaries.yuan(1))),
                 ("id number", self.canaries.identity_card(1))]
        planted = [(what, how, form) for what, text in texts for form, how in forms_of(text).items()]
        planted += [("receipt", "digits", b"1234-5678-9012-3456-7890-1234"),
                    ("receipt", "utf-16", "123456789012345678901234".encode("utf-16-be")),
                    ("receipt", "hex", b"123456789012345678901234".hex().encode())]
        for i, (what, how, form) in enumerate(planted):
            for name, before in (("middle", 99), ("border", CHUNK - 3), ("odd", CHUNK - 100 + i)):
                with open(f"{folder}/{name}", "wb") as f:
                    f.write(b"\0" * before + b"<" + form + b">")
            for path in files_below(folder):
                self.assertIn((what, how), in_file(self.canaries, path)[0], path)
        shutil.rmtree(folder)
        self.canaries.receipts.clear()

    def search_finds_memory(self):
        """A filing that is arriving is in the memory of who receives it, and nowhere else."""
        kind, body = multipart(self.filings.filing(1), self.filings.files())
        head = (f"POST /api/v1/filings HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                f"Idempotency-Key: {fresh_key()}\r\nContent-Length: {len(body)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", self.here.web)) as connection:
            connection.sendall(head + body[:len(body) // 2])
            wait_until(10, lambda: ("chinese", "utf-8") in self.memory_of("web")[0],
                       "the search finds it in the memory of web")
            self.assertEqual(self.memory_of("broker")[0], set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
