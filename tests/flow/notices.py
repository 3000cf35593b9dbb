#!/usr/bin/python3
"""Notices to reporters when mail and SMS work, and when they do not: a notice waits and its case does
not, it goes once, it is given up loudly, every attempt is on record, and nothing it says tells what the
portal is for."""
import email
import email.policy
import logging
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from asyncio import sleep

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from authority import Authority  # noqa: E402
from installation import (SOURCE, Citizen, Installation, Member, a_filing, free_ports,  # noqa: E402
                          request, wait_until)

BACKOFF, ATTEMPTS, TIMEOUT = 600, 3, 3
TELLING = ("举报", "投诉", "骗保", "欺诈", "医院", "挂床", "report", "complain", "fraud", "hospital",
           "case", "案", "CQ2")
INJECTIONS = ("a@example.org\r\nBcc: b@example.org", "a@example.org\nRCPT TO:<b@example.org>",
              "a@example.org\r", "\na@example.org", "a@example.org\u2028b", "a@example.org, b@example.org",
              "a@example.org>b", "<a@example.org>", "a b@example.org", "a@example.org\0", "a@b@example.org",
              "\"a\r\nb\"@example.org", "a@exam\tple.org")


# ---- peers ----

class Relay:
    """An SMTP server that answers as it is told: `says` has replies for an address and a verb, used up
    one by one."""

    def __init__(self, **server):
        (self.port,) = free_ports(1)
        self.says, self.received, self.server, self.controller = {}, [], server, None

    def start(self, **server):
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **dict(self.server, **server))
        self.controller.start()
        return self

    def stop(self):
        if self.controller:
            self.controller.stop()
            self.controller = None

    def reply(self, address, verb):
        replies = self.says.get((address, verb))
        return replies.pop(0) if replies else None

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.reply(address, "RCPT") or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        said = self.reply(envelope.rcpt_tos[0], "DATA")
        if said == "silence":
            self.received.append(envelope)
            await sleep(9 * TIMEOUT)
        elif not said:
            self.received.append(envelope)
        return said or "250 taken"

    def mails_to(self, address):
        return [email.message_from_bytes(e.content, policy=email.policy.default)
                for e in self.received if e.rcpt_tos == [address]]


class Stub:
    """Takes connections, says one thing or nothing, and holds them."""

    def __init__(self, port, greeting=b""):
        self.held, self.socket = [], socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.serve, args=(greeting,), daemon=True).start()

    def serve(self, greeting):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(connection)
            connection.sendall(greeting)

    def stop(self):
        if self.socket.fileno() < 0:
            return
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.held:
            connection.close()


def is_free(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) != 0


def four_free_ports():
    """The first of four in a row, below those that connections get by themselves."""
    while True:
        first = random.randrange(10000, 30000)
        if all(is_free(port) for port in range(first, first + 4)):
            return first


class Gateway:
    """Kannel and its telephone network."""

    def __init__(self, folder):
        self.folder = folder
        self.port = four_free_ports()

    def script(self, verb, *more):
        return subprocess.run([f"{SOURCE}/tests/support/kannel.sh", verb, self.folder, *map(str, more)],
                              check=True, text=True, capture_output=True, stdin=subprocess.DEVNULL).stdout

    def start(self):
        self.script("start", self.port)

    def stop(self):
        self.script("stop")

    def messages_to(self, phone):
        return [line for line in self.script("received").splitlines() if f"{phone} from" in line]


def write_secret(path, word):
    with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(word + "\n")


# ---- the case beside its notices ----

class Notices(unittest.TestCase):
    count, member = 0, None

    @classmethod
    def install(cls, *settings, day=None):
        cls.here = Installation(f"notify.backoff_seconds={BACKOFF}", "notify.backoff_max_seconds=1000",
                                f"notify.attempts={ATTEMPTS}", f"notify.timeout_seconds={TIMEOUT}",
                                *settings, day=day)
        cls.addClassCleanup(cls.here.__exit__, None, None, None)
        cls.citizen, cls.now = Citizen(cls.here), 0

    @classmethod
    def a_relay(cls, **server):
        cls.relay = Relay(**server)
        cls.addClassCleanup(cls.relay.stop)
        return cls.relay

    def tearDown(self):
        self.here.look_for_deaths()
        self.assertNotIn("runtime error:", self.here.all_logs())

    def time_passes(self, seconds):
        type(self).now += seconds
        self.here.set_clock(self.now)

    @staticmethod
    def next_address():
        return f"r{Notices.count}@example.org"

    def file(self, sms=False, mail=True, language="zh-CN", name="李四"):
        """(address, phone, reference, receipt) of somebody new."""
        address, phone = self.next_address(), f"138001380{Notices.count:02}"
        Notices.count += 1
        identity = {"phone": phone, "email": address}
        if name:
            identity["name"] = name
        filing = a_filing(language=language, identity=identity,
                          notify={"sms": sms, "email": mail, "call": False})
        receipt = self.citizen.receipt(filing)
        return address, phone, self.citizen.follow(receipt)["reference"], receipt

    def case(self, reference):
        return self.inspector().case(reference)

    @classmethod
    def inspector(cls):
        cls.member = cls.member or Member(cls.here, "500108.inspector1")
        return cls.member

    def first(self, reference):
        return self.case(reference)["notices"][0]

    def outcomes(self, reference):
        return [a["outcome"] for a in self.first(reference)["attempts"]]

    def wait_outcomes(self, reference, *expected):
        wait_until(20, lambda: self.outcomes(reference) == list(expected), f"{reference}: {expected}")

    def wait_state(self, reference, state):
        return wait_until(20, lambda: self.first(reference)["state"] == state and self.first(reference),
                          f"the notice of {reference} is {state}")

    def stays(self, reference, *outcomes):
        """Through two looks of the notifier nothing is tried."""
        time.sleep(1.2)
        self.assertEqual(self.outcomes(reference), list(outcomes))

    def codes(self, reference):
        return [a["code"] for a in self.first(reference)["attempts"]]

    def metric(self, name):
        return self.here.metrics()[f'dengwen_notify_{name}_total{{program="notify"}}']


class Mail(Notices):
    @classmethod
    def setUpClass(cls):
        relay = cls.a_relay()
        cls.install(f"notify.smtp_url=smtp://127.0.0.1:{relay.port}", "notify.smtp_from=news@example.net")
        cls.here.start_all()

    def setUp(self):
        if not self.relay.controller:
            self.relay.start()

    def test_down_and_back(self):
        """The case goes on meanwhile; then each notice goes once, and never again."""
        self.relay.stop()
        address, _, reference, receipt = self.file()
        self.wait_outcomes(reference, "failed")
        self.assertIn("onnect", self.codes(reference)[0])
        self.inspector().do(reference, "accept")
        self.assertEqual(self.citizen.status(receipt).json["state"], "accepted")
        self.assertEqual(self.here.tool("doctor").returncode, 1)
        self.assertIn("notices wait and are tried again", self.here.tool("doctor").stdout)
        self.relay.start()
        self.stays(reference, "failed")
        self.time_passes(BACKOFF + 60)
        wait_until(20, lambda: {n["state"] for n in self.case(reference)["notices"]} == {"sent"}, "all sent")
        self.assertEqual(self.outcomes(reference), ["failed", "accepted"])
        self.assertEqual(self.codes(reference)[1], "SMTP 250")
        mails = self.relay.mails_to(address)
        self.assertEqual(len(mails), 2)
        self.assertEqual(len({m["Message-ID"] for m in mails}), 2)
        self.here.kill("notify", "casework")
        self.here.start("casework", "notify")
        self.time_passes(86400)
        self.stays(reference, "failed", "accepted")
        self.assertEqual(len(self.relay.mails_to(address)), 2)

    def test_given_up_loudly(self):
        """The wait doubles up to its limit; then the log, the metric and the case tell."""
        before = self.metric("given_up")
        address, reference = self.file_saying("RCPT", *[f"451 4.3.{i} greylisted" for i in range(9)])
        self.wait_outcomes(reference, "failed")
        self.time_passes(BACKOFF + 60)
        self.wait_outcomes(reference, "failed", "failed")
        self.time_passes(BACKOFF + 60)
        self.stays(reference, "failed", "failed")
        self.time_passes(1000 - BACKOFF)
        notice = self.wait_state(reference, "failed")
        self.assertEqual([(a["n"], a["channel"], a["outcome"], a["code"]) for a in notice["attempts"]],
                         [(i + 1, "email", "failed", "SMTP 451") for i in range(ATTEMPTS)])
        self.assertIn("notice_failed", [e["kind"] for e in self.case(reference)["events"]])
        wait_until(10, lambda: self.metric("given_up") > before, "it is counted")
        self.assertRegex(self.here.log("notify"), r"ERROR.*notify\.given-up.*after 3 tries: SMTP 451")
        self.time_passes(86400)
        time.sleep(1)
        self.assertEqual(len(self.first(reference)["attempts"]), ATTEMPTS)
        self.assertEqual(self.relay.mails_to(address), [])
        self.assertNotIn(address, self.here.all_logs())

    def test_try_again_or_refused(self):
        """4xx is tried again and 5xx is final, but for what is our own trouble."""
        table = (("RCPT", "450 4.2.1 busy", "failed"), ("DATA", "452 4.3.1 full", "failed"),
                 ("DATA", "421 4.3.2 closing", "failed"), ("RCPT", "530 5.7.0 log in first", "failed"),
                 ("RCPT", "550 5.1.1 no such user", "refused"), ("DATA", "554 5.7.1 policy", "refused"))
        filed = [self.file_saying(verb, said) for verb, said, _ in table]
        for (address, reference), (verb, said, expected) in zip(filed, table):
            with self.subTest(verb=verb, said=said):
                self.wait_outcomes(reference, expected)
                self.assertEqual(self.codes(reference), ["SMTP " + said[:3]])
        self.time_passes(BACKOFF + 60)
        for (address, reference), (verb, said, expected) in zip(filed, table):
            with self.subTest(verb=verb, said=said):
                self.wait_state(reference, "failed" if expected == "refused" else "sent")
                self.assertEqual(len(self.relay.mails_to(address)), expected == "failed")

    def file_saying(self, verb, *replies):
        """(address, reference) of one whose mails are answered so."""
        self.relay.says[self.next_address(), verb] = list(replies)
        address, _, reference, _ = self.file()
        return address, reference

    def test_turned_away_at_the_door(self):
        """A relay that does not want us says nothing about this address."""
        self.relay.stop()
        stub = Stub(self.relay.port, b"554 5.3.2 go away\r\n")
        self.addCleanup(stub.stop)
        address, _, reference, _ = self.file()
        self.wait_outcomes(reference, "failed")
        self.assertEqual(self.codes(reference), ["SMTP 554"])
        stub.stop()
        self.relay.start()
        self.time_passes(BACKOFF + 60)
        self.wait_state(reference, "sent")
        self.assertEqual(len(self.relay.mails_to(address)), 1)

    def test_a_relay_that_says_nothing(self):
        """It holds up nobody for longer than its time."""
        self.relay.stop()
        stub = Stub(self.relay.port)
        self.addCleanup(stub.stop)
        _, _, reference, receipt = self.file()
        wait_until(10, lambda: self.outcomes(reference) == ["sending"], "written down before it leaves")
        self.assertEqual(self.citizen.say(receipt, "补充一点").status, 200)
        self.wait_outcomes(reference, "failed")
        self.assertIn("Timeout", self.codes(reference)[0])
        stub.stop()
        self.relay.start()
        self.time_passes(BACKOFF + 60)
        self.wait_state(reference, "sent")

    def test_no_word_after_the_mail(self):
        """Perhaps it was taken: it goes again, as the same mail."""
        address, reference = self.file_saying("DATA", "silence")
        self.wait_outcomes(reference, "failed")
        self.time_passes(BACKOFF + 60)
        self.wait_state(reference, "sent")
        self.assertEqual(len(self.relay.mails_to(address)), 2)
        self.assertEqual(len({m["Message-ID"] for m in self.relay.mails_to(address)}), 1)

    def test_the_notifier_dies_after_sending(self):
        """Nobody knows that it was taken: once the claim is over it goes again, as the same mail."""
        self.here.kill("notify")
        self.here.start("notify", wait=False, DENGWEN_KILL_AT="notify.sent:1")
        address, _, reference, _ = self.file()
        self.here.processes.pop("notify").wait(30)
        self.here.start("notify")
        self.stays(reference, "sending")
        self.time_passes(200)
        self.wait_state(reference, "sent")
        self.assertEqual(self.outcomes(reference), ["sending", "accepted"])
        self.assertEqual(len({m["Message-ID"] for m in self.relay.mails_to(address)}), 1)

    def test_languages_and_nothing_told(self):
        for language, subject, word in (("zh-CN", "您提交的事项已登记", "回执"),
                                        ("en", "Your submission is registered", "receipt")):
            with self.subTest(language):
                address, phone, reference, receipt = self.file(language=language)
                self.wait_state(reference, "sent")
                (mail,) = self.relay.mails_to(address)
                text = mail.get_content()
                self.assertEqual(mail["Subject"], subject)
                self.assertEqual((mail["To"], mail["From"]), (address, "news@example.net"))
                self.assertIn(word, text)
                self.assertIn(f"http://127.0.0.1:{self.here.web}/follow\n", text)
                whole = str(mail["Subject"]) + text
                for telling in TELLING + (reference, receipt, phone, "李四", "某某医院"):
                    self.assertNotIn(telling.lower(), whole.lower())
                self.assertNotRegex(text.replace(str(self.here.web), ""), r"\d{4}")

    def test_no_header_gets_in(self):
        for address in INJECTIONS:
            with self.subTest(address):
                filing = a_filing(identity={"name": "李四", "email": address},
                                  notify={"sms": False, "email": True, "call": False})
                answer = self.citizen.file(filing)
                self.assertEqual((answer.status, answer.json.get("field")), (422, "identity.email"), answer)
                self.assertNotIn("Bcc", answer.body.decode())


class Phones(Notices):
    """Both ways at once: what one cannot do does not hold up the other."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="dw-peers-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.gateway, cls.password = Gateway(f"{folder}/kannel"), f"{folder}/password"
        write_secret(cls.password, "demo")
        relay = cls.a_relay().start()
        cls.install(f"notify.smtp_url=smtp://127.0.0.1:{relay.port}", "notify.sms_driver=kannel",
                    "notify.sms_user=dengwen", f"notify.sms_password_file={cls.password}",
                    f"notify.sms_url=http://127.0.0.1:{cls.gateway.port}/cgi-bin/sendsms")
        cls.addClassCleanup(cls.gateway.stop)
        cls.here.start_all()

    def by(self, reference, channel):
        return [(a["outcome"], a["code"]) for a in self.first(reference)["attempts"]
                if a["channel"] == channel]

    def test_down_wrong_password_and_back(self):
        address, phone, reference, _ = self.file(sms=True)
        wait_until(20, lambda: len(self.by(reference, "sms")) == 1 and
                   self.by(reference, "sms")[0][0] == "failed", "no gateway")
        wait_until(20, lambda: self.by(reference, "email") == [("accepted", "SMTP 250")], "the mail went")
        self.gateway.start()
        write_secret(self.password, "wrong")
        self.time_passes(BACKOFF + 60)
        wait_until(20, lambda: "HTTP 403" in self.by(reference, "sms")[-1][1], "a wrong password")
        self.assertEqual(self.by(reference, "sms")[-1][0], "failed", "that is our own trouble")
        self.assertEqual(self.gateway.messages_to(phone), [])
        write_secret(self.password, "demo")
        self.time_passes(1060)
        self.wait_state(reference, "sent")
        self.assertEqual(self.by(reference, "sms")[-1][1][:8], "HTTP 202")
        wait_until(10, lambda: self.gateway.messages_to(phone), "it is on the telephone")
        self.assertEqual(len(self.gateway.messages_to(phone)), 1)
        self.assertEqual(len(self.relay.mails_to(address)), 1, "the mail went once")
        (message,) = self.gateway.messages_to(phone)
        for telling in TELLING:
            self.assertNotIn(telling, message.lower())
        for secret in (phone, address, "demo&", "wrong"):
            self.assertNotIn(secret, self.here.log("notify"))

        _, phone, reference, _ = self.file(sms=True, mail=False, language="en")
        self.wait_state(reference, "sent")
        wait_until(10, lambda: self.gateway.messages_to(phone), "it is on the telephone")
        self.assertIn("your submission is registered", self.gateway.messages_to(phone)[0])


class Login(Notices):
    """The relay wants a user and a password; a wrong one is our own trouble, and no end."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="dw-peers-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.password, cls.asked = f"{folder}/password", []
        relay = cls.a_relay(authenticator=cls.authenticate, auth_required=True, auth_require_tls=False).start()
        cls.install(f"notify.smtp_url=smtp://127.0.0.1:{relay.port}", "notify.smtp_user=dengwen",
                    f"notify.smtp_password_file={cls.password}")
        cls.here.start_all()

    @classmethod
    def authenticate(cls, server, session, envelope, mechanism, data):
        cls.asked.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def test_wrong_and_right(self):
        write_secret(self.password, "wrong")
        address, _, reference, _ = self.file()
        self.wait_outcomes(reference, "failed")
        self.assertEqual(self.codes(reference), ["SMTP 535"])
        write_secret(self.password, "right")
        self.time_passes(BACKOFF + 60)
        self.wait_state(reference, "sent")
        self.assertEqual(set(self.asked), {(b"dengwen", b"wrong"), (b"dengwen", b"right")})
        self.assertEqual(len(self.relay.mails_to(address)), 1)
        for word in ("wrong", "right"):
            self.assertNotIn(word, self.here.log("notify"))


class Anonymous(Notices):
    """A notice must not tell by its time who filed; who left no contact reads it all the same."""

    @classmethod
    def setUpClass(cls):
        relay = cls.a_relay().start()
        cls.install(f"notify.smtp_url=smtp://127.0.0.1:{relay.port}", "notify.delay_min_minutes=30",
                    "notify.delay_max_minutes=90")
        cls.here.start_all()

    def test_leaves_later_and_is_kept_by_day(self):
        _, _, named, _ = self.file()
        self.wait_state(named, "sent")
        _, _, nameless, _ = self.file(name=None)
        self.time_passes(29 * 60)
        self.stays(nameless)
        self.time_passes(62 * 60)
        notice = self.wait_state(nameless, "sent")
        self.assertRegex(notice["attempts"][0]["day"], r"^\d{4}-\d\d-\d\d$")
        self.assertEqual({e["at"] for e in self.case(nameless)["events"]}, {None})

    def test_no_contact_reads_the_same(self):
        receipt = self.citizen.receipt(a_filing())
        reference = self.citizen.follow(receipt)["reference"]
        self.inspector().do(reference, "accept")
        with open(f"{SOURCE}/conf/templates/notices.yaml", encoding="utf-8") as f:
            templates = f.read()
        for language, texts in (("zh-CN", re.findall('page_zh: "(.*)"', templates)),
                                ("en", re.findall('page_en: "(.*)"', templates))):
            answer = self.citizen.call(f"status?lang={language}", {"receipt": receipt})
            self.assertEqual([n["text"] for n in answer.json["notices"]], texts)
            page = request(self.here.web, "POST", f"/follow?lang={language}", f"receipt={receipt}",
                           {"Content-Type": "application/x-www-form-urlencoded"}).body.decode()
            for text in texts:
                self.assertIn(text, page)
        self.assertEqual({n["state"] for n in self.case(reference)["notices"]}, {"page"})
        self.assertEqual([e["kind"] for e in self.case(reference)["events"]].count("notice_sent"), 2)


# ---- TLS ----

@unittest.skipIf(os.environ.get("DENGWEN_TEST_MONGODB"), "certificates of mail servers are no matter of the store")
class Tls(Notices):
    """The machine trusts one authority, and the notifier sends to nobody whom that does not vouch for."""
    scheme = "smtps"

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="dw-peers-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, folder, True)
        cls.trusted, cls.other = Authority(folder, "trusted"), Authority(folder, "other")
        relay = cls.a_relay()
        cls.install(f"notify.smtp_url={cls.scheme}://127.0.0.1:{relay.port}", "notify.smtp_tls=true")
        cls.here.start("ops", "keyd", "broker", "casework", "desk", "web")
        cls.start_where_trusted(folder)

    @classmethod
    def start_where_trusted(cls, folder):
        """As after update-ca-certificates, for the notifier alone."""
        notify = f"{os.environ['DENGWEN_BIN']}/dengwen-notify"
        script = f"mount --bind {cls.trusted.certificate} /etc/ssl/certs/ca-certificates.crt && exec {notify}"
        with open(f"{cls.here.logs}/notify", "ab") as log:
            cls.here.processes["notify"] = subprocess.Popen(
                ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]),
                 "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=cls.here.environment)
        cls.here.wait_ready()

    def serve(self, context):
        self.relay.stop()
        self.relay.start(**({"ssl_context": context} if self.scheme == "smtps" else {"tls_context": context}))

    def refused_then_sent(self, bad, words):
        if bad != "in clear":
            self.serve(bad)
        else:
            self.relay.stop()
            self.relay.start()
        address, _, reference, _ = self.file()
        self.wait_outcomes(reference, "failed")
        self.assertRegex(self.codes(reference)[0], words)
        self.assertEqual(self.relay.mails_to(address), [])
        self.serve(self.trusted.context("IP:127.0.0.1"))
        self.time_passes(BACKOFF + 60)
        self.wait_state(reference, "sent")
        (mail,) = self.relay.mails_to(address)
        self.assertEqual(mail["To"], address)

    def test_somebody_elses_authority(self):
        self.refused_then_sent(self.other.context("IP:127.0.0.1"), "certificate")

    def test_another_name(self):
        self.refused_then_sent(self.trusted.context("DNS:mail.example.net"), "certificate")

    def test_no_tls_at_all(self):
        self.refused_then_sent("in clear", "SSL|timed|Timeout")


class StartTls(Tls):
    scheme = "smtp"


if __name__ == "__main__":
    logging.disable()  # aiosmtpd tells of every client that does not like its certificate
    unittest.main(verbosity=2)
