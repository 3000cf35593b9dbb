#!/usr/bin/python3
"""conf/Dockerfile and docker-compose.yml, built and run without a container engine: every program in
namespaces of its own with the user, the capabilities, the volumes and the networks of the file.  One
report goes all the way through nginx.

    containers.py FOLDER TARBALL CHECKOUT    called by tests/fresh.sh --container

DENGWEN_MONGODB    secantusd-py, which stands for MongoDB
DENGWEN_MONGOSH    mongosh, which runs conf/mongodb/init.js"""
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from containers import Host, run  # noqa: E402

PROGRAMS = ("ops", "keyd", "broker", "case", "notify", "desk", "web")
BODY, CITY, PASSWORD = "500108", "500000", "correct horse battery"


def step(text):
    print(f"\n== {text}", flush=True)


def expect(good, what):
    if not good:
        raise AssertionError(what)
    print(f"  {what}", flush=True)


class Busy(AssertionError):
    pass


class Front:
    """A client outside, who sees nginx only."""

    def __init__(self, host):
        self.address = host.address("nginx", "outside")
        self.context = ssl.create_default_context(cafile=f"{host.folder}/tls.crt")

    def call(self, port, method, path, body=None, **headers):
        connection = http.client.HTTPSConnection(self.address, port, timeout=60, context=self.context)
        headers = {"Content-Type": "application/json", **headers}
        connection.request(method, f"/api/v1/{path}", json.dumps(body).encode() if body else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise (Busy if answer.status == 503 else AssertionError)(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def file(self, key):
        filing = {"kind": "report", "language": "zh-CN",
                  "against": {"type": "hospital", "name": "某某医院", "district": BODY}, "acts": ["PU01"],
                  "facts": "该医院长期挂床住院,患者并未实际住院却产生费用,我在科室工作亲眼所见。",
                  "privacy_version": "2026-1", "truthful": True}
        for _ in range(30):  # as any client does; the portal reads a new directory once a second
            try:
                return self.call(443, "POST", "filings", filing, **{"Idempotency-Key": key * 22})["receipt"]
            except Busy as busy:
                said = busy
                time.sleep(1)
        raise said

    def status(self, receipt):
        return self.call(443, "POST", "status", {"receipt": receipt})

    def staff(self, method, path, body=None, token=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.call(8443, method, path, body, **headers)


# ---- the store ----

class Store:
    """SecantusDB at the address of the service mongo: today's shell, which init.js is for, does not
    speak with the mongod that the tests can have (3.6)."""

    def __init__(self, host):
        self.host, self.secrets = host, f"{host.folder}/deployment/secrets"
        host.make_namespace("mongo")
        host.make_namespace("mongo-init")
        self.address = f"{host.address('mongo', 'store')}:27017"
        self.process = None

    def start(self, *more):
        with open(f"{self.host.folder}/mongo.log", "ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", "dw-mongo", os.environ["DENGWEN_MONGODB"], "--host", "0.0.0.0",
                 "--port", "27017", "--storage-path", f"{self.host.folder}/mongo", "--sync-on-commit",
                 "--log-level", "WARNING", *more], stdout=log, stderr=log)
        self.host.wait(60, lambda: reaches("mongo-init", self.address), "the store listens")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def script(self, path):
        done = subprocess.run(["ip", "netns", "exec", "dw-mongo-init", os.environ["DENGWEN_MONGOSH"], "--nodb",
                               "--quiet", "--file", path], capture_output=True, text=True, timeout=120,
                              env=dict(os.environ, HOME=self.host.folder, MONGO_HOST=self.address,
                                       MONGO_SECRETS=self.secrets))
        if done.returncode != 0:
            raise AssertionError(f"{path} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def make_root(self):
        """As the image of MongoDB does at its first start."""
        path = f"{self.host.folder}/root.js"
        with open(path, "w") as f:
            f.write('const password = require("fs").readFileSync(`${process.env.MONGO_SECRETS}/mongo_root`, "utf8");\n'
                    'new Mongo(`mongodb://${process.env.MONGO_HOST}/?directConnection=true`).getDB("admin")\n'
                    '.createUser({user: "root", pwd: password.trim(), roles: ["root"]});\n')
        self.start()
        self.script(path)
        self.stop()


def reaches(service, address):
    """Can this container open a connection there?"""
    host, port = address.split(":")
    code = f"import socket; socket.create_connection(('{host}', {port}), 2)"
    return subprocess.run(["ip", "netns", "exec", f"dw-{service}", "/usr/bin/python3", "-c", code],
                          capture_output=True).returncode == 0


# ---- steps ----

def all_files(folder):
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path, st = f"{at}/{name}", os.lstat(f"{at}/{name}")
            with open(path, "rb") as f:
                found[path] = (hashlib.sha256(f.read()).hexdigest(), oct(st.st_mode), st.st_uid)
    return found


def initialise(host):
    step("docker compose run --rm init, twice")
    for line in host.job("init").strip().splitlines():
        print(f"  | {line}")
    made = all_files(host.folder + "/deployment") | all_files(host.folder + "/volumes")
    host.job("init")
    expect(made == (all_files(host.folder + "/deployment") | all_files(host.folder + "/volumes")),
           f"the second time changed none of {len(made)} files")
    etc = set(os.listdir(f"{host.folder}/deployment/etc"))
    expect(etc == {"dengwen.yaml", "keys"}, "in deployment/etc lie dengwen.yaml and keys, nothing else")
    for name in ("store_password", "mongo_root", "mongo_keyfile"):
        st = os.stat(f"{host.folder}/deployment/secrets/{name}")
        expect((st.st_mode & 0o777, st.st_uid) == (0o400, 5504 if name == "store_password" else 999),
               f"{name} is read by its owner only")


def make_certificates(host):
    tls, address = f"{host.folder}/deployment/tls", host.address("nginx", "outside")
    os.makedirs(tls)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=dengwen", "-addext", f"subjectAltName=IP:{address}", "-keyout", f"{tls}/public.key",
        "-out", f"{host.folder}/tls.crt", stderr=subprocess.DEVNULL)
    for name in ("public", "staff"):
        run("cp", f"{host.folder}/tls.crt", f"{tls}/{name}.crt")
    run("cp", f"{tls}/public.key", f"{tls}/staff.key")
    for name in ("public", "staff"):
        os.chmod(f"{tls}/{name}.key", 0o400)
        os.chown(f"{tls}/{name}.key", 33, 33)


def enrol(host, front):
    for user in (f"{body}.{name}" for body in (BODY, CITY) for name in ("li", "wang")):
        said = host.job("admin", "staff", "add", "--body", user.split(".")[0], "--role", "inspector", user, "新同事")
        code = re.search(r"one-time code: (\S+)", said).group(1)
        front.staff("POST", "enrol", {"user": user, "code": code, "password": PASSWORD})
    renewed = host.job("admin", "key", "renew")
    expect("2 new key" in renewed, "admin: two members of staff of two bodies, whose keys are in the directory")


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def look_at_processes(host):
    users = {"nginx": 33, **{p: 5501 + i for i, p in enumerate(PROGRAMS)}, "case-2": 5504}
    for service, uid in users.items():
        pid = host.pid(service)
        st = status_of(pid)
        if (st["Uid"].split() != [str(uid)] * 4 or int(st["CapBnd"], 16) or int(st["CapEff"], 16) or
                st["NoNewPrivs"] != "1" or st["NSpid"].split()[-1] != "1"):
            raise AssertionError(f"{service}: {st}")
        with open(f"/proc/{pid}/mountinfo") as f:
            mounts = {line.split()[4]: line.split()[5].split(",")[0] for line in f}
        if mounts["/"] != "ro" or mounts.get("/etc/dengwen", "ro") != "ro":
            raise AssertionError(f"{service} could write to its image or its settings: {mounts}")
        if st["Uid"].split()[0] != "33":
            with open(f"/proc/{pid}/limits") as f:
                limits = f.read()
            if not re.search(r"Max core file size +0 ", limits):
                raise AssertionError(f"{service}: {limits}")
    expect(True, "each has its own user, no capability, a read-only root, and is process 1 of its container")


def look_at_networks(host, store):
    for service in ("keyd", "broker"):
        done = run("ip", "-n", f"dw-{service}", "-o", "link", capture_output=True, text=True)
        expect(done.stdout.count("\n") == 1, f"{service} has no network")
    web = host.address("web", "front")
    expect(reaches("nginx", f"{web}:8080"), "nginx reaches web")
    expect(reaches("case", store.address), "case reaches the store")
    for service in ("web", "desk", "notify", "nginx", "ops"):
        if reaches(service, store.address):
            raise AssertionError(f"{service} reaches the store")
    expect(not reaches("case", f"{web}:8080"), "nobody but the case workers reaches the store; they reach nothing else")


def one_report(host, front):
    receipt = front.file("a")
    host.wait(30, lambda: front.status(receipt).get("reference"), "the case is stored")
    case = front.status(receipt)
    expect(case["body"]["id"] == BODY, f"filed, stored and followed: {case['reference']}, {case['body']['name']}")
    token = front.staff("POST", "login", {"user": f"{BODY}.li", "password": PASSWORD})["token"]
    rows = front.staff("GET", "cases?worklist=all", token=token)["cases"]
    expect([r["reference"] for r in rows] == [case["reference"]], "it stands in the inspector's worklist")
    front.staff("POST", f"cases/{case['reference']}/commands", {"command": "accept", "version": rows[0]["version"]},
                token=token, **{"Idempotency-Key": "k" * 22})
    expect(front.status(receipt)["state"] == "accepted", "accepted, which the reporter reads")


def the_other_case_worker(host, front):
    expect(host.stop("case") == 0, "the first case worker ends when it is asked to")
    receipt = front.file("b")
    host.wait(30, lambda: front.status(receipt).get("reference"), "the case is stored")
    expect(True, "the second one goes on: another report is stored")
    host.up("case")
    host.wait(30, lambda: host.healthy("ops"), "all ready again")


def main(folder, tarball, checkout):
    settings = {"STORE_URI": "mongodb://dengwen@mongo/dengwen?directConnection=true"}
    with Host(folder, tarball, checkout, settings) as host:
        step("The steps of conf/Dockerfile")
        host.build("run", "front")
        host.make_networks()
        initialise(host)

        step("The store: SecantusDB for MongoDB, conf/mongodb/init.js by mongosh, twice")
        store = Store(host)
        store.make_root()
        store.start("--auth")
        for _ in range(2):
            for line in store.script(f"{checkout}/conf/mongodb/init.js").strip().splitlines():
                print(f"  | {line}")

        step("docker compose --profile several up")
        host.make_namespace("nginx")
        make_certificates(host)
        host.up(*PROGRAMS, "case-2", "nginx")
        host.wait(60, lambda: host.healthy("ops"), "/readyz says that all are ready")
        for service in ("ops", "web", "desk"):
            host.wait(20, lambda: host.healthy(service), f"{service} is healthy")
        expect(True, "the health checks of ops, web and desk are good")
        look_at_processes(host)
        look_at_networks(host, store)

        step("One report")
        front = Front(host)
        enrol(host, front)
        host.wait(30, lambda: host.healthy("ops"), "all ready")
        one_report(host, front)
        the_other_case_worker(host, front)
        for service in host.processes:
            for word in ("172.", "case.chain", "process.aborted"):
                if service == "nginx" and word in host.log(service):
                    raise AssertionError(f"{service}'s log has {word}:\n{host.log(service)}")

        step("docker compose run --rm admin doctor")
        try:
            said = host.job("admin", "doctor")
        except AssertionError as e:
            said = str(e)
        for line in said.strip().splitlines():
            print(f"  | {line}")
        expect("WRONG" not in said, "nothing is wrong")

        step("docker compose down")
        codes = {service: host.stop(service) for service in list(host.processes)}
        expect(set(codes.values()) == {0}, "all ended with 0")
        store.stop()


if __name__ == "__main__":
    main(*sys.argv[1:4])
