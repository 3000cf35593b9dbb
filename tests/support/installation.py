"""A real installation in a folder of its own, and those who use it.

    with Installation("queue.max_items=10") as here:
        here.run()                      # dengwen run; or here.start("keyd", "broker", ...)
        answer = Citizen(here).file(a_filing())
        inspector = Member(here, "500108.inspector1")

DENGWEN_BIN           folder of the built programs
DENGWEN_TEST_MONGODB  mongodb://HOST/?OPTIONS: cases are kept there (tests/support/mongodb.sh run)
KEEP=1                the folder stays when a test fails
"""
import datetime
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

BIN = os.environ["DENGWEN_BIN"]
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHANGHAI = datetime.timezone(datetime.timedelta(hours=8))
PARTS = ("keyd", "broker", "casework", "notify", "desk", "web", "ops")


PORTS = range(10000, 30000)  # below those that connections get by themselves
locks = []  # of the ports that this process has taken, until it ends


def take_port(port):
    """False when somebody listens there, or another test has taken it and may listen later."""
    folder = os.path.join(tempfile.gettempdir(), "dengwen-ports")
    os.makedirs(folder, exist_ok=True)
    lock = os.open(f"{folder}/{port}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
    except OSError:
        os.close(lock)
        return False
    locks.append(lock)
    return True


def free_ports(count):
    ports = []
    while len(ports) < count:
        port = random.choice(PORTS)
        if take_port(port):
            ports.append(port)
    return ports


def free_ports_in_a_row(count):
    """The first of them."""
    while True:
        first = random.choice(PORTS[:-count])
        if all(take_port(first + i) for i in range(count)):
            return first


def wait_until(seconds, ready, what):
    """The first answer of `ready` that is true."""
    end = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} seconds")
        time.sleep(0.02)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def request(port, method, path, body=None, headers=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


# Fifteen of them are made each time; tests that are about their price set it.
CHEAP_PASSWORDS = ("desk.kdf_memory_mib=8", "desk.kdf_operations=1")


class Installation:
    def __init__(self, *settings, demo=True, day=None):
        self.folder = tempfile.mkdtemp(prefix="dw-", dir="/tmp")
        self.web, self.desk, self.ops, self.broker = free_ports(4)
        self.processes = {}
        self.clock = f"{self.folder}/clock"
        self.logs = f"{self.folder}/log"
        os.mkdir(self.logs)
        self.settings = [f"web.listen=127.0.0.1:{self.web}", f"desk.listen=127.0.0.1:{self.desk}",
                         f"ops.listen=127.0.0.1:{self.ops}", "broker.bind=",
                         f"clock_file={self.clock}", *CHEAP_PASSWORDS, *settings]
        server = os.environ.get("DENGWEN_TEST_MONGODB")
        if server:
            host, _, options = server.rpartition("/")
            self.settings.insert(0, f"store.uri={host}/{os.path.basename(self.folder)}{options}")
        self.set_clock(0)
        if day:
            self.be_on(day)
        self.environment = dict(os.environ, DENGWEN_CONFIG=f"{self.folder}/dengwen.yaml")
        words = ["init"] + (["--demo"] if demo else [])
        for setting in self.settings:
            words += ["--set", setting]
        self.tool(*words, self.folder, check=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        self.kill_all()
        if kind and os.environ.get("KEEP"):
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- tools ----

    def tool(self, *words, check=False, cwd=None, **environment):
        done = subprocess.run([f"{BIN}/dengwen", *words], env=dict(self.environment, **environment), cwd=cwd,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"dengwen {' '.join(words)}: {done.returncode}\n{done.stderr}")
        return done

    def tool_json(self, *words):
        return json.loads(self.tool(*words, "--format", "json", check=True).stdout)

    # ---- processes ----

    def start(self, *parts, wait=True, **environment):
        """Starts programs one by one, without the supervisor."""
        for part in parts:
            log = open(f"{self.logs}/{part}", "ab")
            self.processes[part] = subprocess.Popen(
                [f"{BIN}/dengwen-{part}"], env=dict(self.environment, **environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            log.close()
            if part == "ops":  # what the others tell it before it listens, they tell again a second later
                wait_until(60, self.ops_listens, "ops listens")
        if wait:
            self.wait_ready()
        return self

    def start_all(self, **environment):
        return self.start("ops", *PARTS[:-1], **environment)

    def run(self):
        self.start("run")
        return self

    def readiness(self):
        try:
            return request(self.ops, "GET", "/readyz").json
        except (OSError, http.client.HTTPException, ValueError):
            return {}

    def wait_ready(self, seconds=60):
        """With ops: until it calls everything that was started ready.  Without: until who listens does."""
        if "ops" in self.processes or "run" in self.processes:
            started = [p for p in self.processes if p not in ("ops", "run")]
            wait_until(seconds, lambda: self.all_ready(started), f"{started} ready")
        for part, port in (("web", self.web), ("desk", self.desk)):
            if part in self.processes or "run" in self.processes:
                wait_until(seconds, lambda: self.answers(port), f"{part} listens")

    def all_ready(self, started):
        self.look_for_deaths()
        try:
            answer = request(self.ops, "GET", "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 200:
            return True
        parts = answer.json["parts"]
        name = {"casework": "case"}
        return "run" not in self.processes and all(parts[name.get(p, p)]["ready"] for p in started)

    def ops_listens(self):
        if self.processes["ops"].poll() is not None:
            raise AssertionError(f"ops ended:\n{self.log('ops')[-3000:]}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            return end.connect_ex(f"{self.folder}/run/ops.sock") == 0

    def answers(self, port):
        self.look_for_deaths()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def look_for_deaths(self):
        for part, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{part} ended with {process.returncode}:\n{self.log(part)[-3000:]}")

    def log(self, part):
        with open(f"{self.logs}/{part}", errors="replace") as f:
            return f.read()

    def all_logs(self):
        return "\n".join(self.log(name) for name in sorted(os.listdir(self.logs)))

    def kill(self, *parts, how=signal.SIGKILL):
        for part in parts:
            self.processes[part].send_signal(how)
        for part in parts:
            self.processes.pop(part).wait(timeout=60)

    def end(self, *parts):
        self.kill(*parts, how=signal.SIGTERM)

    def kill_all(self):
        self.kill(*[p for p in self.processes if self.processes[p].poll() is None])
        for part in list(self.processes):
            self.processes.pop(part).wait()

    def pid_of(self, part):
        """Of a part of `dengwen run` too."""
        if part in self.processes:
            return self.processes[part].pid
        run = self.processes["run"].pid
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{pid}/cmdline") as f:
                    name = f.read().split("\0")[0]
            except OSError:
                continue
            if parent == run and os.path.basename(name) == f"dengwen-{part}":
                return int(pid)
        return None

    # ---- looking in ----

    def set_clock(self, seconds):
        with open(f"{self.clock}.new", "w") as f:
            f.write(str(seconds))
        os.rename(f"{self.clock}.new", self.clock)
        if self.processes:
            time.sleep(0.2)  # each reads it ten times a second

    def be_on(self, day, hour=10):
        """It is ten in the morning of that day in Shanghai."""
        there = datetime.datetime.fromisoformat(day).replace(hour=hour, tzinfo=SHANGHAI)
        self.set_clock(int((there - datetime.datetime.now(SHANGHAI)).total_seconds()))

    def queue_stats(self):
        return self.tool_json("queue", "stats")

    def metrics(self):
        """{name with labels: value}, as ops tells them."""
        text = request(self.ops, "GET", "/metrics").body.decode()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in text.splitlines()
                                         if line and line[0] != "#")}


# ---- filings ----

def a_filing(**changes):
    filing = {"kind": "report", "language": "zh-CN",
              "against": {"type": "hospital", "name": "某某医院", "district": "500108"},
              "acts": ["PU01"], "facts": "该医院长期挂床住院,患者并未实际住院却产生费用,我在科室工作亲眼所见。",
              "privacy_version": "2026-1", "truthful": True}
    filing.update(changes)
    return filing


def a_pdf(size=3000, seed=1):
    """Looks like a PDF and compresses like noise."""
    return b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + random.Random(seed).randbytes(size) + b"\n%%EOF\n"


def multipart(filing, files, boundary="----dengwen-test-boundary"):
    """(content type, body) of a filing with [(name, type, bytes)]."""
    out = [f'--{boundary}\r\nContent-Disposition: form-data; name="filing"\r\n'
           f"Content-Type: application/json\r\n\r\n".encode(),
           json.dumps(filing).encode() if isinstance(filing, dict) else filing, b"\r\n"]
    for name, kind, data in files:
        out += [f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
                f"Content-Type: {kind}\r\n\r\n".encode(), data, b"\r\n"]
    out.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(out)


# ---- people ----

def fresh_key():
    return str(uuid.uuid4())


class Citizen:
    """Speaks to the public API."""

    def __init__(self, here):
        self.here = here

    def call(self, path, body, key=None, content_type="application/json", timeout=30):
        headers = {"Content-Type": content_type}
        if key:
            headers["Idempotency-Key"] = key
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return request(self.here.web, "POST", f"/api/v1/{path}", body, headers, timeout)

    def file(self, filing, key=None, files=()):
        key = key or fresh_key()
        if not files:
            return self.call("filings", filing, key)
        kind, body = multipart(filing, files)
        return self.call("filings", body, key, kind)

    def receipt(self, filing, **more):
        answer = self.file(filing, **more)
        if answer.status != 202:
            raise AssertionError(f"expected a receipt, got {answer}")
        return answer.json["receipt"]

    def status(self, receipt):
        return self.call("status", {"receipt": receipt})

    def follow(self, receipt, seconds=20):
        """The status once the case is stored."""
        def stored():
            answer = self.status(receipt)
            return answer.status == 200 and answer.json.get("reference") and answer.json
        return wait_until(seconds, stored, "the filing is stored")

    def say(self, receipt, text, key=None):
        return self.call("messages", {"receipt": receipt, "text": text}, key or fresh_key())

    def withdraw(self, receipt, text="", key=None):
        return self.call("withdraw", {"receipt": receipt, "text": text}, key or fresh_key())


class Member:
    """A member of staff, through the desk's API."""

    def __init__(self, here, user, password=None):
        self.here, self.user, self.token = here, user, None
        answer = self.call("POST", "login", {"user": user, "password": password or f"demo-{user}"})
        if answer.status != 200:
            raise AssertionError(f"{user} cannot log in: {answer}")
        self.token = answer.json["token"]

    def call(self, method, path, body=None, key=None):
        headers = {}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if key:
            headers["Idempotency-Key"] = key
        return request(self.here.desk, method, f"/api/v1/{path}", body, headers, 60)

    def worklist(self, name="all", limit=100):
        """All rows, page by page."""
        rows, after = [], ""
        while True:
            answer = self.call("GET", f"cases?worklist={name}&limit={limit}&after={after}")
            if answer.status != 200:
                raise AssertionError(f"worklist {name}: {answer}")
            rows += answer.json["cases"]
            after = answer.json.get("next")
            if not after:
                return rows

    def open(self, reference):
        return self.call("GET", f"cases/{reference}")

    def case(self, reference):
        answer = self.open(reference)
        if answer.status != 200:
            raise AssertionError(f"{self.user} opens {reference}: {answer}")
        return answer.json

    def command(self, reference, command, key=None, version=None, **more):
        if version is None:
            version = self.case(reference)["version"]
        return self.call("POST", f"cases/{reference}/commands",
                         dict(more, command=command, version=version), key or fresh_key())

    def do(self, reference, command, **more):
        answer = self.command(reference, command, **more)
        if answer.status != 200:
            raise AssertionError(f"{self.user} does {command} to {reference}: {answer}")
        return answer.json

    def logout(self):
        return self.call("POST", "logout", {})

