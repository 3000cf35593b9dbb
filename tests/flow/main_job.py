#!/usr/bin/python3
"""One case from its filing to the archive, through all real processes, seen from both sides:
two attachments, acceptance, a reply, a transfer to another body, its receipt, decision, closing;
told to the reporter by a real SMTP server and a real SMS gateway."""
import hashlib
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (SOURCE, Citizen, Installation, Member, a_filing, a_pdf, free_ports,  # noqa: E402
                          free_ports_in_a_row, fresh_key, wait_until)

FIRST, SECOND = "500108", "500103"
NAME, PHONE, EMAIL = "李四", "13800138000", "a@example.org"


class Peers:
    """A mail server and an SMS gateway with its telephone network."""

    def __init__(self, folder):
        self.folder = folder
        (self.smtp,) = free_ports(1)
        self.sms = free_ports_in_a_row(4)
        self.script("smtp", "start", self.smtp)
        self.script("kannel", "start", self.sms)

    def script(self, name, verb, *more):
        return subprocess.run([f"{SOURCE}/tests/support/{name}.sh", verb, f"{self.folder}/{name}",
                               *map(str, more)], check=True, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL).stdout

    def settings(self):
        os.makedirs(self.folder, exist_ok=True)
        password = f"{self.folder}/sms.password"
        with open(password, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("demo\n")
        return [f"notify.smtp_url=smtp://127.0.0.1:{self.smtp}", "notify.smtp_tls=false",
                "notify.sms_driver=kannel", "notify.sms_user=dengwen",
                f"notify.sms_url=http://127.0.0.1:{self.sms}/cgi-bin/sendsms",
                f"notify.sms_password_file={password}"]

    def mails(self):
        return self.script("smtp", "received")

    def messages(self):
        return self.script("kannel", "received")

    def stop(self):
        self.script("smtp", "stop")
        self.script("kannel", "stop")


class MainJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.peers = Peers(f"/tmp/dw-peers-{os.getpid()}")
        cls.addClassCleanup(cls.peers.stop)
        cls.here = Installation(*cls.peers.settings())
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.here.run()
        cls.citizen = Citizen(cls.here)

    def file_one(self):
        self.files = [("账单.pdf", "application/pdf", a_pdf(3 << 20)),
                      ("说明.txt", "text/plain", "住院清单与本人不符\n".encode() * 50)]
        filing = a_filing(identity={"name": NAME, "phone": PHONE, "email": EMAIL, "wants_reward": True},
                          notify={"sms": True, "email": True, "call": False},
                          acts=["PU01", "PF02"], relation="present_staff", amount_yuan=120000)
        return self.citizen.receipt(filing, files=self.files)

    def test_the_whole_way(self):
        receipt = self.file_one()
        seen = self.citizen.follow(receipt)
        reference = seen["reference"]
        self.assertEqual(seen["body"]["id"], FIRST)
        self.assertEqual(seen["due"][0]["rule"], "D08")

        first = Member(self.here, f"{FIRST}.inspector1")
        self.assertIn(reference, [r["reference"] for r in first.worklist("unassigned")])
        case = first.case(reference)
        self.assertEqual(case["facts"]["against"]["name"], "某某医院")
        self.assertNotIn(NAME, str(case))
        self.assertNotIn(PHONE, str(case))
        self.check_files(first, reference, case)

        first.do(reference, "assign", to=f"{FIRST}.inspector2")
        self.assertEqual(first.do(reference, "accept")["state"], "accepted")
        first.do(reference, "reply", text="您好,材料已收到,正在调查。")
        first.do(reference, "note", text="内部记录:先查床位")
        self.assertEqual(self.citizen.say(receipt, "补充:还有护士知情").status, 200)
        first.do(reference, "transfer", to=SECOND, reason="OTHER_DISTRICT", text="转交渝中区")
        # Until the receiver takes it, it is the sender's.
        self.assertEqual(self.citizen.status(receipt).json["body"]["id"], FIRST)
        self.assertEqual(first.case(reference)["state"], "transferred")

        second = Member(self.here, f"{SECOND}.inspector1")
        self.assertEqual(second.command(reference, "accept").status, 422)
        second.do(reference, "receive")
        self.assertEqual(first.open(reference).status, 404)
        self.assertEqual(first.command(reference, "note", version=1, text="x").status, 404)
        self.assertEqual(self.citizen.status(receipt).json["body"]["id"], SECOND)
        case = second.case(reference)
        self.assertIn("补充:还有护士知情", str(case["messages"]))
        self.assertNotIn("先查床位", str(case), "an internal note went along unasked")
        self.check_files(second, reference, case)

        second.do(reference, "accept")
        self.assertEqual(self.citizen.say(receipt, "谢谢").status, 200)
        second.do(reference, "decide", outcome="punished", text="已作出处理决定。")
        second.do(reference, "close")
        second.do(reference, "archive")

        seen = self.citizen.status(receipt).json
        self.assertEqual(seen["state"], "archived")
        said = str(seen["messages"])
        for text in ("您好,材料已收到,正在调查。", "补充:还有护士知情", "谢谢", "已作出处理决定。"):
            self.assertIn(text, said)
        self.assertNotIn("先查床位", said)
        self.assertEqual(second.command(reference, "note", text="x").status, 422, "archived is over")
        self.check_notices(second, reference)

    def check_files(self, member, reference, case):
        self.assertEqual([f["name"] for f in case["files"]], [f[0] for f in self.files])
        for listed, (_, kind, data) in zip(case["files"], self.files):
            answer = member.call("GET", f"cases/{reference}/files/{listed['id']}")
            self.assertEqual(answer.status, 200)
            self.assertEqual(hashlib.sha256(answer.body).digest(), hashlib.sha256(data).digest())
            self.assertTrue(answer.headers["Content-Type"].startswith(kind))
            self.assertTrue(answer.headers["Content-Disposition"].startswith("attachment"))
            self.assertIn("sandbox", answer.headers["Content-Security-Policy"])

    def check_notices(self, member, reference):
        """Every notice is on record as sent, and lies at the real peers, without a word of the case."""
        notices = wait_until(30, lambda: self.all_sent(member, reference), "all notices sent")
        attempts = [a for n in notices for a in n["attempts"]]
        by_mail = [a for a in attempts if a["channel"] == "email"]
        by_sms = [a for a in attempts if a["channel"] == "sms"]
        self.assertGreaterEqual(len(notices), 4)
        self.assertEqual((len(by_mail), len(by_sms)), (len(notices), len(notices)))
        self.assertEqual({a["code"][:8] for a in attempts}, {"SMTP 250", "HTTP 202"})
        mails, messages = self.peers.mails(), self.peers.messages()
        self.assertEqual(mails.count("To: " + EMAIL), len(by_mail))
        self.assertEqual(messages.count(PHONE), len(by_sms))
        for secret in (NAME, "某某医院", "骗保", "举报", "fraud", "report", reference, "挂床"):
            self.assertNotIn(secret, mails)
            self.assertNotIn(secret, messages)

    def all_sent(self, member, reference):
        notices = member.case(reference)["notices"]
        return notices if all(n["state"] == "sent" for n in notices) else None

    def test_a_return_gives_it_back(self):
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        first = Member(self.here, f"{FIRST}.inspector1")
        second = Member(self.here, f"{SECOND}.inspector1")
        first.do(reference, "accept")
        first.do(reference, "transfer", to=SECOND, reason="OTHER_DISTRICT")
        second.do(reference, "return", reason="NOT_IN_REMIT")
        self.assertEqual(second.open(reference).status, 404)
        self.assertEqual(first.case(reference)["state"], "accepted")
        self.assertEqual(self.citizen.status(receipt).json["body"]["id"], FIRST)

    def test_withdrawn_is_withdrawn(self):
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        key = fresh_key()
        for _ in range(2):  # a repeated click does no more
            answer = self.citizen.withdraw(receipt, "不想继续", key)
            self.assertEqual((answer.status, answer.json["state"]), (200, "withdrawn"))
        self.assertEqual(self.citizen.say(receipt, "又改主意了").status, 422)
        first = Member(self.here, f"{FIRST}.inspector1")
        self.assertEqual(first.case(reference)["state"], "withdrawn")

    def test_who_may_what(self):
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        stranger = Member(self.here, "500103.inspector1")
        self.assertEqual(stranger.open(reference).status, 404)
        self.assertEqual(stranger.command(reference, "note", version=1, text="x").status, 404)
        self.assertNotIn(reference, str(stranger.worklist()))
        manager = Member(self.here, f"{FIRST}.manager")
        self.assertIn(manager.command(reference, "accept", version=1).status, (403, 404))
        own = Member(self.here, f"{FIRST}.inspector1")
        self.assertEqual(own.command(reference, "accept", version=99).status, 409)
        self.assertEqual(own.command(reference, "close").status, 422)
        key = fresh_key()
        once = own.command(reference, "accept", key=key, version=1)
        twice = own.command(reference, "accept", key=key, version=1)
        self.assertEqual((once.status, twice.status, once.json["version"]),
                         (200, 200, twice.json["version"]))
        own.logout()
        self.assertEqual(own.open(reference).status, 401)

    def test_the_terminal_client_does_the_same(self):
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        who = {"DENGWEN_USER": f"{FIRST}.inspector1", "DENGWEN_PASSWORD": f"demo-{FIRST}.inspector1"}
        listed = self.here.tool("case", "list", check=True, **who).stdout
        self.assertIn(reference, listed)
        self.assertIn("某某医院", self.here.tool("case", "show", reference, check=True, **who).stdout)
        self.here.tool("case", "do", reference, "accept", check=True, **who)
        self.assertEqual(self.citizen.status(receipt).json["state"], "accepted")
        refused = self.here.tool("case", "do", reference, "archive", **who)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("archive", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
