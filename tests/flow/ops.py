#!/usr/bin/python3
"""dengwen-ops over its real socket and its real port.

DENGWEN_BIN  folder of the built programs
"""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import free_ports  # noqa: E402

BIN = os.environ["DENGWEN_BIN"]
EXPECTED = ["keyd", "broker", "case", "notify", "desk", "web"]


class Ops(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dw-ops-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.started = []
        self.addCleanup(self.end_all)
        self.configure(free_ports(1)[0])

    def configure(self, port, stale=10, host="127.0.0.1"):
        self.port = port
        with open(f"{self.folder}/dengwen.yaml", "w") as f:
            f.write(f"ops: {{listen: '{host}:{port}', stale_seconds: {stale}}}\n")

    def start(self):
        with open(f"{self.folder}/err", "a") as err:
            process = subprocess.Popen([f"{BIN}/dengwen-ops", "-c",
                                        f"{self.folder}/dengwen.yaml"], stderr=err)
        self.started.append(process)
        return process

    def start_and_wait(self):
        process = self.start()
        self.until(lambda: os.path.exists(f"{self.folder}/run/ops.sock"))
        return process

    def end_all(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def until(self, true, seconds=10):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end, "waited too long")
            time.sleep(0.02)

    def say(self, text):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            s.sendto(text if isinstance(text, bytes) else text.encode(),
                     f"{self.folder}/run/ops.sock")

    def say_all_ready(self):
        for name in EXPECTED:
            self.say(f"DENGWEN={name}\nDENGWEN_READY=1\nSTATUS=fine\n")

    def ask(self, path, method="GET", body=None, host="127.0.0.1"):
        connection = http.client.HTTPConnection(host, self.port, timeout=10)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def test_it_lives(self):
        self.start_and_wait()
        status, headers, body = self.ask("/livez")
        self.assertEqual((status, body), (200, "ok\n"))
        self.assertEqual(headers["Cache-Control"], "no-store")

    def test_readiness_names_the_reasons_until_all_are_ready(self):
        self.start_and_wait()
        self.say("DENGWEN=case\nDENGWEN_READY=0\nSTATUS=the store is away\n")
        self.until(lambda: "the store is away" in self.ask("/readyz")[2])
        status, headers, body = self.ask("/readyz")
        answer = json.loads(body)
        self.assertEqual((status, headers["Content-Type"]), (503, "application/json"))
        self.assertFalse(answer["ready"])
        self.assertEqual(answer["parts"]["case"], {"ready": False, "reason": "the store is away"})
        self.assertEqual(answer["parts"]["web"], {"ready": False, "reason": "never heard of"})
        self.say_all_ready()
        self.until(lambda: self.ask("/readyz")[0] == 200)
        self.assertEqual(json.loads(self.ask("/readyz")[2]),
                         {"ready": True, "parts": {name: {"ready": True} for name in EXPECTED}})

    def test_silence_is_noticed(self):
        self.configure(free_ports(1)[0], stale=1)
        self.start_and_wait()
        self.say_all_ready()
        self.until(lambda: self.ask("/readyz")[0] == 200)
        self.until(lambda: self.ask("/readyz")[0] == 503, 3)
        self.assertRegex(json.loads(self.ask("/readyz")[2])["parts"]["web"]["reason"],
                         r"^silent for \d+ seconds$")

    def test_metrics_are_text_that_a_scraper_reads(self):
        self.start_and_wait()
        self.say_all_ready()
        self.say("DENGWEN=web\nDENGWEN_READY=1\nDENGWEN_METRIC=dengwen_web_filings_total 3\n"
                 "DENGWEN_METRIC=dengwen_web_open 1\n")
        self.until(lambda: 'filings_total{program="web"} 3' in self.ask("/metrics")[2])
        status, headers, body = self.ask("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("version=0.0.4", headers["Content-Type"])
        self.assertIn("# TYPE dengwen_web_filings_total counter\n", body)
        self.assertIn("# TYPE dengwen_web_open gauge\n", body)
        self.assertIn('dengwen_part_ready{program="ops"} 1\n', body)
        typed = set()
        for line in body.splitlines():
            sample = re.fullmatch(r'([a-zA-Z_]\w*)\{program="\w+"\} -?\d+', line)
            kind = re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line)
            self.assertTrue(sample or kind, line)
            if kind:
                self.assertNotIn(kind[1], typed)
                typed.add(kind[1])
            else:
                self.assertIn(sample[1], typed)

    def test_malformed_datagrams_are_counted_and_change_nothing(self):
        self.start_and_wait()
        self.say_all_ready()
        self.until(lambda: self.ask("/readyz")[0] == 200)
        for bad in (b"", b"\0", b"nonsense", b"DENGWEN=we\"b\n", b"DENGWEN=web\nDENGWEN_READY=x",
                    b"DENGWEN=web\n" + b"\n" * 65536, os.urandom(1000)):
            self.say(bad)
        self.until(lambda: 'datagrams_ignored_total{program="ops"} 7' in self.ask("/metrics")[2])
        self.assertEqual(self.ask("/readyz")[0], 200)

    def test_other_paths_and_methods(self):
        self.start_and_wait()
        for path in ("/", "/readyz/", "/../metrics", "/livez%00", "/x" * 2000):
            self.assertEqual(self.ask(path)[0], 404, path)
        self.assertEqual(self.ask("/livez?verbose")[0], 200)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"):
            status, headers, _ = self.ask("/metrics", method)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), method)
        self.assertEqual(self.ask("/metrics", "POST", body=b"x" * 4096)[0], 405)
        status, headers, body = self.ask("/livez", "HEAD")
        self.assertEqual((status, headers["Content-Length"], body), (200, "3", ""))

    def test_idle_connections_do_not_shut_others_out_for_long(self):
        self.start_and_wait()
        held = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(40)]
        self.addCleanup(lambda: [s.close() for s in held])

        def lives():
            try:
                return self.ask("/livez")[0] == 200
            except OSError:
                return False

        self.until(lives, 25)

    def test_a_second_one_is_refused_and_takes_nothing_away(self):
        self.start_and_wait()
        second = self.start()
        self.assertEqual(second.wait(10), 69)
        self.say_all_ready()
        self.until(lambda: self.ask("/readyz")[0] == 200)

    def test_it_ends_when_told_and_can_be_started_again(self):
        process = self.start_and_wait()
        self.assertEqual(os.stat(f"{self.folder}/run/ops.sock").st_mode & 0o777, 0o660)
        process.terminate()
        self.assertEqual(process.wait(10), 0)
        self.assertFalse(os.path.exists(f"{self.folder}/run/ops.sock"))
        process = self.start_and_wait()
        process.kill()
        process.wait()
        self.start()  # over the dead one's socket
        self.until(self.alive)
        self.say_all_ready()
        self.until(lambda: self.ask("/readyz")[0] == 200)

    def alive(self):
        try:
            return 'dengwen_part_ready{program="ops"} 1' in self.ask("/metrics")[2]
        except OSError:
            return False

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::1", 0))
                port = s.getsockname()[1]
        except OSError:
            self.skipTest("no IPv6 here")
        self.configure(port, host="[::1]")
        self.start_and_wait()
        self.assertEqual(self.ask("/livez", host="::1")[0], 200)

    def test_a_bad_address_is_a_matter_of_configuration(self):
        for listen in ("localhost:80", "127.0.0.1", ":80", "127.0.0.1:70000", "[::1:80"):
            with open(f"{self.folder}/dengwen.yaml", "w") as f:
                f.write(f"ops: {{listen: '{listen}'}}\n")
            self.assertEqual(self.start().wait(10), 78, listen)


if __name__ == "__main__":
    unittest.main(verbosity=2)
