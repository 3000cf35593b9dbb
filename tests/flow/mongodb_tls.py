#!/usr/bin/python3
"""Cases in MongoDB over TLS, with a user and a password: a filing travels, and a server whose certificate
is another's, or that speaks no TLS, gets nothing and is named in the log; filings wait meanwhile."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from authority import Authority  # noqa: E402
from installation import Citizen, Installation, Member, a_filing, request, wait_until  # noqa: E402
from mongo_server import Server  # noqa: E402

AWAY, CONFIG = 69, 78
PASSWORD = "kaifeng-8341-drum"


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.remove)
        folder = cls.server.folder
        cls.trusted, cls.other = Authority(folder, "ca"), Authority(folder, "other")
        cls.server.script("user", "dengwen", "cases", text=PASSWORD + "\n")
        cls.password = f"{folder}/password"
        with open(cls.password, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(PASSWORD + "\n")
        cls.serve(cls.trusted)
        cls.here = Installation(f"store.uri={cls.uri()}", f"store.password_file={cls.password}",
                                "queue.backoff_max_ms=1000", "store.select_ms=1000")
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.citizen = Citizen(cls.here)

    @classmethod
    def uri(cls, authority=None, tls=True):
        words = f"&tls=true&tlsCAFile={authority or cls.trusted.certificate}" if tls else ""
        return f"mongodb://dengwen@127.0.0.1:{cls.server.port}/cases?directConnection=true&authSource=admin{words}"

    @classmethod
    def serve(cls, authority=None, who="IP:127.0.0.1"):
        """From now on with a certificate of that authority; without one not over TLS."""
        cls.server.stop()
        if authority:
            with open(f"{cls.server.folder}/tls.pem", "w") as pem:
                for path in authority.issue(who):
                    with open(path) as f:
                        pem.write(f.read())
        cls.server.start("auth", *(["tls"] if authority else []))

    def refused(self, code, says, uri):
        done = self.here.tool("init-db", "--uri", uri, "--password-file", self.password)
        self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
        self.assertIn(says, done.stderr)
        self.assertNotIn(PASSWORD, done.stderr)

    def test_who_is_trusted_and_who_is_not(self):
        self.serve(self.trusted)
        self.here.start_all()
        receipts = [self.citizen.receipt(a_filing())]
        self.citizen.follow(receipts[0])
        for what, authority, who, says in (
                ("another authority", self.other, "IP:127.0.0.1", "certificate is of another name, or of nobody"),
                ("another name", self.trusted, "DNS:db.example.net", "certificate is of another name"),
                ("in clear", None, None, "not with TLS")):
            with self.subTest(what):
                before = len(self.here.log("casework"))
                self.serve(authority, who)
                wait_until(20, lambda: says in self.here.log("casework")[before:], "the log says why")
                wait_until(20, lambda: "store is away" in self.case_part().get("reason", ""), "ready does too")
                self.refused(AWAY, says, self.uri())
                receipts.append(self.citizen.receipt(a_filing()))
                self.assertEqual(self.citizen.status(receipts[-1]).json["state"], "received")
        self.serve(self.trusted)
        self.here.wait_ready()
        references = {self.citizen.follow(r, 60)["reference"] for r in receipts}
        rows = [row["reference"] for row in Member(self.here, "500108.inspector1").worklist()]
        self.assertEqual(sorted(rows), sorted(references))
        self.assertEqual(len(rows), len(receipts))
        self.assertNotIn(PASSWORD, self.here.all_logs())

    def case_part(self):
        return request(self.here.ops, "GET", "/readyz").json["parts"]["case"]

    def test_settings_that_cannot_be(self):
        self.serve(self.trusted)
        self.refused(AWAY, "only with TLS (tls=true)", self.uri(tls=False))
        self.refused(AWAY, "nobody whom tlsCAFile", self.uri(self.other.certificate))
        self.refused(AWAY, "tlsCAFile or tlsCertificateKeyFile names cannot be used", self.uri(self.password))
        self.refused(CONFIG, "/nowhere.crt cannot be read", self.uri("/nowhere.crt"))
        self.refused(CONFIG, "expected no password in it", self.uri() + "&tlsCertificateKeyFilePassword=x")


if __name__ == "__main__":
    unittest.main(verbosity=2)
