#!/usr/bin/python3
"""Requests that are none, too many or too slow, at both ports: each ends in a clear refusal or, where
HTTP allows no answer any more, with the connection; nothing is registered and others are served."""
import json
import os
import re
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import a_filing, a_pdf, fresh_key, request, wait_until  # noqa: E402
from refusals import Refusals, connect, file_raw, first_answer, form, head, part, read_all, talk  # noqa: E402

FILING = json.dumps(a_filing()).encode()
CLOSE, HOST, JSON = "Connection: close", "Host: localhost", "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
# Where a POST of JSON is taken.
STATUS = re.compile(rb"HTTP/1[.]. (\d+)")
WEB, DESK = "/api/v1/status", "/api/v1/login"


def post(path, *lines, body=b"{}", length=True):
    lines = (HOST, JSON) + lines + ((f"Content-Length: {len(body)}",) if length else ())
    return head(f"POST {path} HTTP/1.1", *lines) + body


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def hidden():
    """What must not be taken for a request when it stands in or behind another."""
    return post("/api/v1/filings", f"Idempotency-Key: {fresh_key()}", CLOSE, body=FILING)


def two_readings(path):
    """(name, bytes, field): heads that two programs could read differently."""
    chunked, file = "Transfer-Encoding: chunked", hidden()
    both = post(path, chunked, body=b"0\r\n\r\n" + file)
    return [
        ("both, the length first",
         post(path, "Content-Length: 5", chunked, body=chunks(), length=False) + file, "Transfer-Encoding"),
        ("both, the length last", both, "Transfer-Encoding"),
        ("chunked", post(path, chunked, body=chunks(b"{}"), length=False) + file, "Transfer-Encoding"),
        ("chunked, a size that is none", post(path, chunked, body=b"zz\r\n{}\r\n0\r\n\r\n", length=False),
         "Transfer-Encoding"),
        ("chunked, a negative size", post(path, chunked, body=b"-2\r\n{}\r\n0\r\n\r\n", length=False),
         "Transfer-Encoding"),
        ("chunked, a size without end", post(path, chunked, body=b"f" * 5000, length=False),
         "Transfer-Encoding"),
        ("chunked, more than a size can say", post(path, chunked, body=b"1" + b"0" * 16 + b"2\r\n{}",
                                                   length=False), "Transfer-Encoding"),
        ("an unknown encoding", post(path, "Transfer-Encoding: gzip") + file, "Transfer-Encoding"),
        ("an encoding in disguise", post(path, "Transfer-Encoding: xchunked") + file, "Transfer-Encoding"),
        ("two lengths", post(path, f"Content-Length: {len(file) + 2}") + file, "Content-Length"),
        ("the same length twice", post(path, "Content-Length: 2") + file, "Content-Length"),
        ("a list of lengths", post(path, "Content-Length: 2, 2", length=False) + file, None),
        ("a negative length", post(path, "Content-Length: -2", length=False) + file, None),
        ("a length with a sign", post(path, "Content-Length: +2", length=False) + file, None),
        ("a length in hexadecimal", post(path, "Content-Length: 0x2", length=False) + file, None),
        ("no length in it", post(path, "Content-Length:", length=False) + file, None),
        ("two keys", post(path, f"Idempotency-Key: {fresh_key()}", f"Idempotency-Key: {fresh_key()}"),
         "Idempotency-Key"),
        ("two types", post(path, "Content-Type: text/plain"), "Content-Type"),
        ("two authorizations", post(path, "Authorization: Bearer a", "Authorization: Bearer b"),
         "Authorization"),
        ("two hosts", post(path, "Host: other") + file, "Host"),
        ("an empty host", head("GET / HTTP/1.1", "Host: ") + file, "Host"),
        ("a host with a blank", head("GET / HTTP/1.1", "Host: a b") + file, "Host"),
        ("no host", head("GET / HTTP/1.1", "Accept: */*") + file, "Host"),
        ("a blank before the colon", post(path, f"Content-Length : {len(file) + 2}", length=False) + file,
         None),
        ("a folded line", post(path, "X: a\r\n b") + file, None),
        ("bare line feeds", b"GET / HTTP/1.1\nHost: localhost\n\n" + file, None),
        ("a NUL in a field", post(path, "X: a\0b") + file, None),
        ("a field without a colon", post(path, "nothing") + file, None),
        ("another server's address", head("GET http://localhost/ HTTP/1.1", HOST) + file, None),
        ("another server's address, with its own host",
         head("GET http://evil.example/ HTTP/1.1", "Host: evil.example") + file, None),
        ("a tunnel", head("CONNECT localhost:443 HTTP/1.1", HOST) + file, None),
        ("a star", head("OPTIONS * HTTP/1.1", HOST) + file, None),
        ("another protocol", head("GET / HTTP/2.0", HOST) + file, None),
        ("the start of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        ("the start of TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(range(255)) + b"\r\n\r\n",
         None),
        ("no protocol", b"GET /\r\n\r\n", None),
        ("noise", bytes(range(256)) + b"\r\n\r\n", None)]


# first line, further lines, body, status, Allow; at both ports, at the portal and at the desk
COMMON = [
    ("GET /nothing", (), b"", 404, None), ("GET //", (), b"", 404, None), ("GET /api/v1", (), b"", 404, None),
    ("GET /API/V1/cases", (), b"", 404, None), ("GET /../etc/passwd", (), b"", 404, None),
    ("GET /%2e%2e/etc/passwd", (), b"", 404, None), ("GET /%2fetc", (), b"", 400, None),
    ("GET /%", (), b"", 400, None), ("GET /%00", (), b"", 400, None), ("GET /%ff", (), b"", 400, None),
    ("GET /?a=%zz", (), b"", 400, None), ("GET /?" + "a&" * 100, (), b"", 400, None),
    ("GET /" + "a/" * 100, (), b"", 400, None), ("GET /" + "x" * 4200, (), b"", 414, None),
    ("GET /?" + "x" * 9000, (), b"", 414, None), ("GET /", ("X: " + "x" * 20000,), b"", 431, None),
    ("GET /", ("X: x",) * 80, b"", 431, None), ("GET /", (JSON,), b"{}", 400, None),
    ("GET /nothing", (JSON,), b"{}", 404, None), ("POST /", (JSON,), b"{}", 405, "GET, HEAD"),
    ("DELETE /", (), b"", 405, "GET, HEAD"), ("TRACE /", (), b"", 405, "GET, HEAD"),
    ("OPTIONS /", (), b"", 405, "GET, HEAD"), ("get /", (), b"", 405, "GET, HEAD"),
    ("X /", (), b"", 405, "GET, HEAD")]
ONLY_WEB = [
    ("GET /api/v1/filings", (), b"", 405, "POST"), ("PUT /api/v1/filings", (JSON,), FILING, 405, "POST"),
    ("DELETE /file", (), b"", 405, "GET, HEAD, POST"), ("GET /api/v1/cases", (), b"", 404, None),
    ("POST /api/v1/catalogue", (JSON,), b"{}", 405, "GET, HEAD"),
    ("POST /api/v1/filings/", (JSON,), FILING, 404, None), ("POST /api/v1/login", (JSON,), b"{}", 404, None),
    ("POST /api/v1/status", (), b"{}", 415, None), ("POST /follow", (JSON,), b"{}", 415, None),
    ("POST /api/v1/status", ("Content-Type: text/plain",), b"{}", 415, None),
    ("POST /api/v1/messages", ("Content-Type: multipart/form-data; boundary=X",), b"--X--", 415, None),
    ("POST /api/v1/status", (JSON,), b" " * 300000, 413, None)]
ONLY_DESK = [
    ("GET /api/v1/login", (), b"", 405, "POST"), ("PUT /api/v1/cases/X", (JSON,), b"{}", 405, "GET, HEAD"),
    ("GET /api/v1/cases/X/commands", (), b"", 405, "POST"), ("GET /api/v1/cases/", (), b"", 404, None),
    ("POST /api/v1/filings", (JSON, f"Idempotency-Key: {fresh_key()}"), FILING, 404, None),
    ("POST /api/v1/login", ("Content-Type: text/plain",), b"{}", 415, None),
    ("POST /api/v1/login", (FORM,), b"user=x", 415, None),
    ("POST /api/v1/login", (JSON,), b" " * 300000, 413, None)]

# A form that another site has started: its lines, and what the two ports answer.
SITES = [(("Sec-Fetch-Site: cross-site",), 403), (("Sec-Fetch-Site: same-site",), 403),
         (("Sec-Fetch-Site: x",), 403), (("Sec-Fetch-Site: cross-site", "Origin: http://localhost"), 403),
         (("Origin: https://evil.example",), 403), (("Origin: null",), 403), (("Origin: ",), 403),
         (("Origin: http://localhost:1",), 403), (("Origin: http://localhost.evil.example",), 403),
         (("Sec-Fetch-Site: same-origin",), None), (("Sec-Fetch-Site: none",), None),
         (("Origin: http://localhost",), None), ((), None)]


class BadRequests(Refusals):
    def ports(self):
        return (("web", self.here.web, WEB), ("desk", self.here.desk, DESK))

    def refused_by_any_layer(self, answer):
        """libmicrohttpd answers by itself, and without our form, what it cannot read."""
        self.assertIsNotNone(answer)
        self.assertTrue(400 <= answer.status < 500 or answer.status == 505, answer)

    def test_one_request_is_one_request(self):
        for port_name, port, path in self.ports():
            for name, data, field in two_readings(path):
                with self.subTest(port_name, name=name):
                    said = talk(port, data)
                    self.assertIsNotNone(said, "the connection stays open")
                    # libmicrohttpd says the head of its own answer to a bad length twice.
                    self.assertLessEqual(len(set(STATUS.findall(said))), 1, said)
                    self.assertNotIn(b'"receipt"', said)
                    if field:
                        self.refused(first_answer(said), 400, field)
                    elif said:
                        self.refused_by_any_layer(first_answer(said))

    def test_addresses_methods_and_types(self):
        for port_name, port, table in (("web", self.here.web, COMMON + ONLY_WEB),
                                       ("desk", self.here.desk, COMMON + ONLY_DESK)):
            for first, lines, body, status, allow in table:
                with self.subTest(port_name, first=first[:60], lines=str(lines)[:60]):
                    length = (f"Content-Length: {len(body)}",) if body else ()
                    said = talk(port, head(f"{first} HTTP/1.1", HOST, CLOSE, *lines, *length) + body)
                    answer = first_answer(said)
                    self.refused(answer, status, "Content-Type" if status == 415 else None)
                    self.assertEqual(answer.headers["Allow"], allow)
                    self.assertEqual(answer.headers["Cache-Control"], "no-store")
                    self.assertNotIn("passwd", answer.body.decode())

    def test_heads_beyond_all_measure(self):
        """Larger than libmicrohttpd's own memory for a connection."""
        for port_name, port, path in self.ports():
            for name, data in (("an address", b"GET /" + b"x" * 200000),
                               ("a field", head("GET / HTTP/1.1", HOST)[:-2] + b"X: " + b"x" * 200000),
                               ("many fields", head("GET / HTTP/1.1", HOST)[:-2] + b"X: x\r\n" * 30000),
                               ("a method", b"x" * 200000)):
                with self.subTest(port_name, name=name):
                    said = talk(port, data + b"\r\n\r\n")
                    self.assertIsNotNone(said)
                    if said:  # who is still sending may not get to read it
                        self.refused_by_any_layer(first_answer(said))

    def test_other_sites_may_not_start_a_form(self):
        pages = (("web", self.here.web, "/file", 400), ("web", self.here.web, "/follow", 422),
                 ("desk", self.here.desk, "/api/v1/login", 422))
        for port_name, port, path, otherwise in pages:
            kind = JSON if port_name == "desk" else FORM
            body = b"{}" if port_name == "desk" else b"receipt=x"
            for lines, status in SITES:
                with self.subTest(path, lines=lines):
                    said = talk(port, head(f"POST {path} HTTP/1.1", HOST, CLOSE, kind, *lines,
                                           f"Content-Length: {len(body)}") + body)
                    answer = first_answer(said)
                    self.assertEqual(answer.status, status or otherwise, answer)
                    if status:
                        self.assertIn("another site", self.refused(answer, status)["detail"])

    def test_a_foreign_host_is_not_repeated(self):
        for port_name, port, path in self.ports():
            for target in ("/", "/follow", "/nothing"):
                said = talk(port, head(f"GET {target} HTTP/1.1", "Host: evil.example", CLOSE,
                                       "X-Forwarded-Host: evil.example"))
                self.assertNotIn(b"evil", said, port_name)

    def test_a_length_that_is_too_long_to_drain(self):
        """Answered at once, or cut; never read to its end."""
        for port_name, port, path in self.ports():
            for length in (10**9, 10**14):
                with self.subTest(port_name, length=length):
                    said = talk(port, head(f"POST {path} HTTP/1.1", HOST, JSON, f"Content-Length: {length}"))
                    self.refused(first_answer(said), 413)

    def test_the_same_from_all_sides_at_once(self):
        """Good requests are served while bad ones come on many connections."""
        stop, seen = threading.Event(), []

        def be_bad(path, port):
            bad = [data for _, data, _ in two_readings(path)]
            while not stop.is_set():
                for data in bad:
                    seen.append(talk(port, data) is not None)
        threads = [threading.Thread(target=be_bad, args=(path, port))
                   for _, port, path in self.ports() for _ in range(4)]
        for t in threads:
            t.start()
        for _ in range(5):
            self.still_serves()
        stop.set()
        for t in threads:
            t.join()
        self.assertTrue(all(seen))


class Slow(Refusals):
    """The portal cuts by the clock, the desk by the rate too, which has ten seconds of grace."""
    settings = ("web.idle_seconds=2", "web.total_seconds=6", "web.min_bytes_per_second=0",
                "desk.idle_seconds=2", "desk.total_seconds=600", "desk.min_bytes_per_second=1000")
    MULTIPART = form([part("filing", FILING), part("file", a_pdf(60000), "a.pdf")])

    def cases(self):
        """(name, port, what is sent at once, what follows byte by byte, not cut before)"""
        kind, body = self.MULTIPART
        upload = head("POST /api/v1/filings HTTP/1.1", HOST, f"Content-Type: {kind}",
                      f"Idempotency-Key: {fresh_key()}", f"Content-Length: {len(body)}")
        filing = head("POST /api/v1/filings HTTP/1.1", HOST, JSON, f"Idempotency-Key: {fresh_key()}",
                      f"Content-Length: {len(FILING)}")
        for port, path, total in ((self.here.web, WEB, 6), (self.here.desk, DESK, 10)):
            login = head(f"POST {path} HTTP/1.1", HOST, JSON, "Content-Length: 9000")
            yield from (("says nothing", port, b"", b"", 2), ("half a method", port, b"PO", b"", 2),
                        ("half a head", port, login[:-2], b"", 2),
                        ("a head byte by byte", port, b"GET / HTTP/1.1\r\nX: ", b"x", 2),
                        ("no body", port, login, b"", 2), ("half a body", port, login + b"{", b"", 2),
                        ("a body byte by byte", port, login, b" ", total))
        yield from (("a filing byte by byte", self.here.web, filing, b" ", 6),
                    ("a file byte by byte", self.here.web, upload + body[:30000], b"x", 6),
                    ("a file that stops", self.here.web, upload + body[:-1], b"", 2),
                    ("a refused body byte by byte", self.here.web,
                     head("POST /nothing HTTP/1.1", HOST, "Content-Length: 50000"), b"x", 6))

    def be_slow(self, name, port, first, again, least):
        began = time.monotonic()
        with connect(port) as connection:
            try:
                connection.sendall(first)
                said = read_all(connection, 0.2) if again else read_all(connection, 40)
                while said is None and again and time.monotonic() - began < 40:
                    connection.sendall(again)
                    said = read_all(connection, 0.2)
            except ConnectionError:
                said = b""
        self.results.append((name, port, time.monotonic() - began, least, said))

    def test_each_way_of_being_slow_ends_in_time(self):
        self.results = []
        threads = [threading.Thread(target=self.be_slow, args=case) for case in self.cases()]
        for t in threads:
            t.start()
        self.still_serves()
        for t in threads:
            t.join()
        self.assertEqual(len(self.results), len(threads))
        for name, port, took, least, said in self.results:
            with self.subTest(name, port="desk" if port == self.here.desk else "web"):
                self.assertIsNotNone(said, "the connection stays open")
                self.assertGreater(took, least - 0.5)
                self.assertNotIn(b'"receipt"', said)
        self.still_serves()


class TooOften(Refusals):
    settings = ("web.filings_burst=3", "web.filings_per_hour=1", "web.lookups_burst=4",
                "web.lookups_per_minute=1", "web.messages_burst=2", "web.messages_per_hour=1",
                "desk.logins_burst=5", "desk.logins_per_minute=1", "web.trusted_proxies=127.0.0.90")

    def ask(self, port, path, body, source, *lines):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = FORM if isinstance(body, bytes) else JSON
        said = talk(port, head(f"POST {path} HTTP/1.1", HOST, kind, CLOSE, f"Idempotency-Key: {fresh_key()}",
                               f"Content-Length: {len(data)}", *lines) + data, source=source)
        return first_answer(said)

    def limited(self, answer, longest):
        self.refused(answer, 429)
        self.assertRegex(answer.headers["Retry-After"], r"^\d+$")
        self.assertTrue(1 <= int(answer.headers["Retry-After"]) <= longest, answer.headers["Retry-After"])

    def test_each_address_has_its_share(self):
        bad = a_filing(kind="praise")
        x = {"receipt": "x"}
        table = [  # what counts together: calls in turn, their status, how many, longest wait
            (self.here.web, [("/api/v1/filings", bad, 422), ("/file", b"kind=x", 400)], 3, 3600),
            (self.here.web, [("/api/v1/status", x, 422), ("/follow", b"receipt=x", 422)], 4, 60),
            (self.here.web, [("/api/v1/messages", x, 422), ("/api/v1/withdraw", x, 422)], 2, 3600),
            (self.here.desk, [("/api/v1/login", x, 422), ("/api/v1/enrol", x, 422)], 5, 60)]
        for port, calls, burst, longest in table:
            for source in ("127.0.0.2", "127.0.0.3", "127.1.2.3"):
                with self.subTest(calls[0][0], source=source):
                    for i in range(burst):
                        path, body, status = calls[i % 2]
                        self.assertEqual(self.ask(port, path, body, source).status, status)
                    for path, body, _ in calls:
                        self.limited(self.ask(port, path, body, source), longest)
                        self.limited(self.ask(port, path, body, source, "X-Forwarded-For: 192.0.2.1"), longest)
        self.assertEqual(request(self.here.web, "GET", "/").status, 200, "pages are not counted")

    def test_good_filings_are_limited_too(self):
        key = "127.0.0.4"
        for _ in range(3):
            self.accepted_quietly(self.ask(self.here.web, "/api/v1/filings", a_filing(), key))
        self.limited(self.ask(self.here.web, "/api/v1/filings", a_filing(), key), 3600)

    def accepted_quietly(self, answer):
        """Without looking it up, which counts."""
        self.assertEqual(answer.status, 202, answer)
        type(self).good += 1

    def test_behind_a_trusted_proxy_the_client_counts(self):
        bad = a_filing(kind="praise")
        for client in ("192.0.2.1", "2001:db8::1"):
            lines = (f"X-Forwarded-For: 203.0.113.9, {client}",)
            for _ in range(3):
                answer = self.ask(self.here.web, "/api/v1/filings", bad, "127.0.0.90", *lines)
                self.assertEqual(answer.status, 422)
            self.limited(self.ask(self.here.web, "/api/v1/filings", bad, "127.0.0.90", *lines), 3600)

    def test_it_is_counted_and_nobody_is_named(self):
        for _ in range(5):
            self.ask(self.here.web, "/api/v1/status", {}, "127.0.0.77")
        wait_until(10, lambda: self.here.metrics().get(
            'dengwen_web_rate_limited_total{program="web"}', 0) >= 1, "it is counted")
        self.assertNotIn("127.0.0.77", self.here.all_logs())


def resident(pid, what):
    """MiB"""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"{what}:\s+(\d+) kB", f.read()).group(1)) / 1024


class TooMany(Refusals):
    settings = ("web.connections=40", "desk.connections=10", "web.max_body_bytes=100000")
    # What was freed would count as used for long.
    environment = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}

    def test_connections_wait_their_turn(self):
        """More than there may be wait in the kernel, and are served when others leave."""
        for name, port, most in (("web", self.here.web, 40), ("desk", self.here.desk, 10)):
            with self.subTest(name):
                idle = [connect(port) for _ in range(most)]
                with connect(port) as late:
                    late.sendall(head("GET / HTTP/1.1", HOST, CLOSE))
                    self.assertIsNone(read_all(late, 1), "there is no limit")
                    idle.pop().close()
                    self.assertEqual(first_answer(read_all(late, 30)).status, 200)
                for connection in idle:
                    connection.close()

    def test_memory_is_bounded(self):
        """Many clients, each of which sends much and comes to no end."""
        kind, body = form([part("filing", FILING), part("file", a_pdf(8000000), "a.pdf")], end=False)
        upload = head("POST /api/v1/filings HTTP/1.1", HOST, f"Content-Type: {kind}",
                      f"Idempotency-Key: {fresh_key()}", f"Content-Length: {len(body) + 100}") + body
        text = head("POST /api/v1/filings HTTP/1.1", HOST, JSON, f"Idempotency-Key: {fresh_key()}",
                    "Content-Length: 99999") + b" " * 99998
        login = head("POST /api/v1/login HTTP/1.1", HOST, JSON, "Content-Length: 99999") + b" " * 99998
        endless = head("GET / HTTP/1.1", HOST)[:-2] + b"X: x\r\n" * 100000
        for name, port, clients in (("web", self.here.web, [upload] * 12 + [text] * 24 + [endless] * 24),
                                    ("desk", self.here.desk, [login] * 24 + [endless] * 24)):
            with self.subTest(name):
                pid = self.here.pid_of(name)
                before = resident(pid, "VmRSS")
                with open(f"/proc/{pid}/clear_refs", "w") as f:
                    f.write("5")  # the highest mark is set anew
                threads = [threading.Thread(target=talk, args=(port, data, 2)) for data in clients]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                self.assertLess(resident(pid, "VmHWM") - before, 60)
                self.assertEqual(request(port, "GET", "/").status, 200)
        self.still_serves()


if __name__ == "__main__":
    unittest.main(verbosity=2)
