#!/usr/bin/python3
"""Both portals behind nginx with the files of conf/nginx: TLS, the client's address and nobody's word
for it, limits, an honest 503, and nothing about a client or a body left behind."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (SOURCE, Answer, Installation, a_filing, a_pdf, free_ports, fresh_key,  # noqa: E402
                          multipart, wait_until)

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
BURST = 4


class Nginx:
    """conf/nginx as it stands, on ports of its own and with its folders below another one."""

    def __init__(self, folder, web, desk):
        self.folder, self.web, self.desk = folder, web, desk
        self.plain, self.public, self.staff = free_ports(3)
        for name in ("tmp", "dengwen", "tls"):
            os.mkdir(f"{folder}/{name}")
        for name in ("public", "staff"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=DNS:localhost,IP:127.0.0.1",
                            "-keyout", f"{folder}/tls/{name}.key", "-out", f"{folder}/tls/{name}.crt"],
                           check=True, stderr=subprocess.DEVNULL)
        for name in os.listdir(f"{SOURCE}/conf/nginx"):
            with open(f"{SOURCE}/conf/nginx/{name}", encoding="utf-8") as f:
                text = f.read()
            for ours, here in (("/tmp/", f"{folder}/tmp/"), ("/etc/dengwen/tls/", f"{folder}/tls/"),
                               ("listen 80;", f"listen {self.plain};"),
                               ("listen 443 ", f"listen {self.public} "),
                               ("listen 8443 ", f"listen {self.staff} "),
                               ("web:8080", f"127.0.0.1:{web}"), ("desk:8081", f"127.0.0.1:{desk}"),
                               ("127.0.0.1:8080", f"127.0.0.1:{web}"), ("127.0.0.1:8081", f"127.0.0.1:{desk}")):
                text = text.replace(ours, here)
            place = folder if name == "nginx.conf" else f"{folder}/dengwen"
            with open(f"{place}/{name}", "w", encoding="utf-8") as f:
                f.write(text)
        self.words = [NGINX, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/log"]
        self.process = None

    def check(self):
        return subprocess.run([*self.words, "-t"], capture_output=True, text=True)

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)

    def log(self):
        with open(f"{self.folder}/log", errors="replace") as f:
            return f.read()

    def open_files(self):
        """All that nginx's processes have open, deleted files too."""
        master, found = self.process.pid, []
        with open(f"/proc/{master}/task/{master}/children") as f:
            pids = [str(master), *f.read().split()]
        for pid in pids:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        return found

    def left_behind(self):
        below = [os.path.join(at, name) for at, _, names in os.walk(f"{self.folder}/tmp") for name in names]
        return [f for f in below + self.open_files()
                if f.startswith(f"{self.folder}/tmp/") and not f.endswith("nginx.pid")]


@unittest.skipUnless(NGINX, "no nginx here")
class Front(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.here = Installation("web.trusted_proxies=127.0.0.1", "desk.trusted_proxies=127.0.0.1",
                                f"web.filings_burst={BURST}", "web.filings_per_hour=1")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        folder = f"{cls.here.folder}/nginx"
        os.mkdir(folder)
        os.chmod(cls.here.folder, 0o755)
        cls.nginx = Nginx(folder, cls.here.web, cls.here.desk)
        checked = cls.nginx.check()
        if checked.returncode != 0:
            raise AssertionError(checked.stderr)
        cls.here.run()
        cls.nginx.start()
        cls.addClassCleanup(cls.nginx.stop)
        cls.context = ssl.create_default_context(cafile=f"{folder}/tls/public.crt")
        cls.context.load_verify_locations(f"{folder}/tls/staff.crt")
        wait_until(20, lambda: cls.here.answers(cls.nginx.public), "nginx listens")

    def request(self, method, path, body=None, headers=None, port=None, source="127.0.0.1", secure=True):
        port = port or self.nginx.public
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        more = {"context": self.context} if secure else {}
        connection = kind("127.0.0.1", port, timeout=30, source_address=(source, 0), **more)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def post(self, path, body, **more):
        headers = {"Content-Type": "application/json", "Idempotency-Key": fresh_key(), **more.pop("headers", {})}
        return self.request("POST", f"/api/v1/{path}", json.dumps(body).encode(), headers, **more)

    def test_the_files_are_good(self):
        done = self.nginx.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("[warn]", done.stderr)
        # The other upstreams, as on one machine.
        other = f"{self.nginx.folder}/local.conf"
        with open(f"{self.nginx.folder}/nginx.conf") as f, open(other, "w") as out:
            out.write(f.read().replace("upstreams-containers", "upstreams"))
        done = subprocess.run([NGINX, "-p", self.nginx.folder, "-c", other, "-e", "stderr", "-t"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_report_with_a_file(self):
        kind, body = multipart(a_filing(), [("proof.pdf", "application/pdf", a_pdf(3 << 20))])
        answer = self.request("POST", "/api/v1/filings", body,
                              {"Content-Type": kind, "Idempotency-Key": fresh_key()}, source="127.0.0.9")
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(answer.headers["Strict-Transport-Security"], "max-age=31536000")
        self.assertEqual(len(answer.headers.get_all("Strict-Transport-Security")), 1)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        receipt = answer.json["receipt"]
        status = wait_until(20, lambda: (lambda a: a.json.get("reference") and a.json)(
            self.post("status", {"receipt": receipt})), "the case is stored")
        self.assertEqual(status["state"], "received")

    def test_nothing_is_kept_while_it_arrives(self):
        kind, body = multipart(a_filing(), [("proof.pdf", "application/pdf", a_pdf(4 << 20))])
        raw = socket.create_connection(("127.0.0.1", self.nginx.public), 30, source_address=("127.0.0.8", 0))
        with self.context.wrap_socket(raw, server_hostname="localhost") as s:
            s.sendall(f"POST /api/v1/filings HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
                      f"Idempotency-Key: {fresh_key()}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            for at in range(0, len(body), 1 << 20):
                s.sendall(body[at:at + (1 << 20)])
                self.assertEqual(self.nginx.left_behind(), [])
            self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 202"))
        self.assertEqual(self.nginx.left_behind(), [])

    def test_whose_limit(self):
        """Each client has its own, whatever it says of itself."""
        def file(n):
            return self.post("filings", a_filing(), source="127.0.0.7",
                             headers={"X-Forwarded-For": f"192.0.2.{n}", "Forwarded": f"for=192.0.2.{n}",
                                      "X-Real-IP": f"192.0.2.{n}"}).status
        self.assertEqual([file(n) for n in range(BURST + 2)], [202] * BURST + [429] * 2)
        self.assertEqual(self.post("filings", a_filing(), source="127.0.0.6").status, 202)

    def test_plain_http(self):
        answer = self.request("GET", "/follow?lang=en", port=self.nginx.plain, secure=False,
                              headers={"Host": "report.example.org"})
        self.assertEqual((answer.status, answer.headers["Location"]),
                         (301, "https://report.example.org/follow?lang=en"))
        answer = self.request("POST", "/api/v1/status", b"{}", port=self.nginx.plain, secure=False)
        self.assertEqual((answer.status, answer.headers["Location"]), (403, None))

    def test_limits(self):
        too_much = self.request("POST", "/api/v1/filings", headers={
            "Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": fresh_key(),
            "Content-Length": str(52 << 20)})
        self.assertEqual(too_much.status, 413)
        self.assertEqual(self.request("GET", "/", headers={"X-Long": "x" * 9000}).status, 400)

    def test_staff(self):
        port, user = self.nginx.staff, "500108.inspector1"
        origin = f"https://127.0.0.1:{port}"
        answer = self.post("login", {"user": user, "password": f"demo-{user}"}, port=port,
                           headers={"Origin": origin})
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(answer.headers["Strict-Transport-Security"])
        token = {"Authorization": f"Bearer {answer.json['token']}"}
        answer = self.request("GET", "/api/v1/cases?worklist=all", headers=token, port=port)
        self.assertEqual(answer.status, 200, answer)
        # The two portals are two origins.
        self.assertEqual(self.request("GET", "/api/v1/cases", headers=token).status, 404)

    def test_zz_a_portal_that_is_away(self):
        """The last one: then nothing has been said of all those clients."""
        try:
            self.request("GET", "/", port=self.nginx.public, secure=False)  # speaks no TLS
        except (OSError, http.client.HTTPException):
            pass
        web = self.here.pid_of("web")
        os.kill(web, signal.SIGSTOP)
        try:
            raw = socket.create_connection(("127.0.0.1", self.nginx.public), 10)
            with self.context.wrap_socket(raw, server_hostname="localhost") as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        finally:
            os.kill(web, signal.SIGCONT)
        self.here.end("run")
        answer = self.request("GET", "/")
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "30"))
        self.assertTrue(answer.headers["Strict-Transport-Security"])
        self.assertIn("请稍后再试", answer.body.decode())
        self.nginx.stop()
        for address in ("127.0.0.", "192.0.2.", "client:"):
            self.assertNotIn(address, self.nginx.log())
        self.assertEqual([f for _, _, names in os.walk(f"{self.nginx.folder}/tmp") for f in names], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
