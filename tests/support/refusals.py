"""What tests of bad input share: bytes sent as they are, forms put together by hand, and the proof
that nothing came of what was refused."""
import html.parser
import http.client
import io
import re
import socket
import unittest

from installation import Answer, Citizen, Installation, Member, a_filing, fresh_key, wait_until

BODIES = ("500000", "500103", "500108")
CHINESE = re.compile("[\u4e00-\u9fff]")
# What is no Idempotency-Key.
KEYS = (None, "", "short", "x" * 21, "x" * 65, "x" * 30 + "!", "a b" + "x" * 30, "x" * 30 + "=",
        "{" + fresh_key() + "}", "钥匙" * 8, "x" * 5000)


# ---- bytes as they are ----

class Bytes:
    """A socket's end, for http.client to read an answer from."""

    def __init__(self, data):
        self.data = data

    def makefile(self, *_):
        return io.BytesIO(self.data)


def first_answer(data):
    """The first answer in what a server said, or None."""
    answer = http.client.HTTPResponse(Bytes(data))
    try:
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())
    except http.client.HTTPException:
        return None


def connect(port, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))


def read_all(connection, seconds):
    """Everything until the server closes; None when it does not within that time."""
    connection.settimeout(seconds)
    said = b""
    try:
        while True:
            data = connection.recv(65536)
            if not data:
                return said
            said += data
    except TimeoutError:
        return None
    except ConnectionError:
        return said


def talk(port, data, seconds=15, half_close=False, **more):
    """Sends bytes; what the server says until it closes."""
    with connect(port, **more) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (ConnectionError, TimeoutError):
            pass  # it may have closed, or stopped reading, before all was sent
        return read_all(connection, seconds)


def head(first, *lines):
    return b"\r\n".join((first.encode(),) + tuple(x.encode() if isinstance(x, str) else x for x in lines)
                        + (b"", b""))


# ---- forms ----

def part(name, data, filename=None, *more):
    """One part of a form; names may be bytes."""
    def raw(x):
        return x if isinstance(x, bytes) else x.encode()
    disposition = b'Content-Disposition: form-data; name="' + raw(name) + b'"'
    if filename is not None:
        disposition += b'; filename="' + raw(filename) + b'"'
    return b"\r\n".join((disposition,) + tuple(raw(x) for x in more) + (b"", raw(data)))


def form(parts, boundary="XX", end=True):
    """(content type, body)"""
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + p + b"\r\n" for p in parts)
    return f"multipart/form-data; boundary={boundary}", body + (mark + b"--\r\n" if end else b"")


# ---- pages ----

class Page(html.parser.HTMLParser):
    """What stands in a form: {name: [values]}, and what the page says is wrong."""

    def __init__(self, text):
        super().__init__()
        self.fields, self.alert = {}, ""
        self.inside = self.area = self.select = None
        self.feed(text.replace("\r\n", "\n"))  # as browsers read it

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "input" and (a.get("type") not in ("checkbox", "radio", "file") or "checked" in a):
            self.fields.setdefault(a.get("name"), []).append(a.get("value"))
        elif tag == "option" and "selected" in a:
            self.fields.setdefault(self.select, []).append(a.get("value"))
        elif tag == "select":
            self.select = a.get("name")
        elif tag == "textarea":
            self.area = a.get("name")
            self.fields[self.area] = [""]
        elif a.get("role") == "alert":
            self.inside = tag

    def handle_data(self, data):
        if self.area:
            self.fields[self.area][0] += data
        if self.inside:
            self.alert += data

    def handle_endtag(self, tag):
        self.area = None if tag == "textarea" else self.area
        self.inside = None if tag == self.inside else self.inside


# ---- receipts ----

def receipt_of(digits):
    """22 digits and their two check digits."""
    check = 98 - int(digits + "00") % 97
    return f"{digits}{check:02}"


# ---- refused ----

class Refusals(unittest.TestCase):
    """An installation to which bad things are said.  After each test, no more cases exist than good
    filings were made, nothing waits, and every process is well."""
    settings = ()
    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.here = Installation(*cls.settings)
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.start_all(**cls.environment)
        cls.citizen = Citizen(cls.here)
        cls.members = [Member(cls.here, f"{body}.inspector1") for body in BODIES]
        cls.good = 0

    def tearDown(self):
        wait_until(10, lambda: self.here.queue_stats()["items"] == 0, "nothing waits")
        self.assertEqual(self.here.queue_stats()["dead"], 0)
        self.assertEqual(sum(len(member.worklist()) for member in self.members), self.good)
        self.here.look_for_deaths()
        self.assertNotIn("runtime error:", self.here.all_logs())

    def accepted(self, answer):
        """The receipt of a good filing, once it is a case."""
        self.assertEqual(answer.status, 202, answer)
        type(self).good += 1
        receipt = answer.json["receipt"]
        self.citizen.follow(receipt)
        return receipt

    def still_serves(self):
        return self.accepted(self.citizen.file(a_filing()))

    def refused(self, answer, status, field=None):
        """As a problem that names the field."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        problem = answer.json
        self.assertEqual((problem["status"], problem.get("field")), (status, field), answer)
        self.assertTrue(problem["title"])
        self.assertTrue(problem["detail"])
        self.assertNotIn("receipt", problem)
        return problem

    def refused_in_both_languages(self, ask, status, field=None):
        """`ask` takes a language; `errors` names every field, the first of them on top."""
        for language in ("en", "zh-CN"):
            problem = self.refused(ask(language), status, field)
            errors = problem["errors"]
            self.assertEqual(errors[0], {"field": field or "", "detail": problem["detail"]})
            for error in errors:
                self.assertEqual(bool(CHINESE.search(error["detail"])), language == "zh-CN", error)
        return problem


def file_raw(here, body, language="en", content_type="application/json", key=None):
    return Citizen(here).call(f"filings?lang={language}", body, key or fresh_key(), content_type)
