"""Several servers that are one: a replica set whose members die and freeze, and shards behind a mongos.

Only mongod can be that (tests/support/mongodb.sh, words)."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from installation import SOURCE, free_ports, wait_until  # noqa: E402
from mongo_tell import tell  # noqa: E402

ELECTION_MS = 2000  # without a sign of life, then the others choose


def words(program):
    script = f"{SOURCE}/tests/support/mongodb.sh"
    return subprocess.run([script, "words", program], check=True, stdout=subprocess.PIPE, text=True).stdout.split()


class Process:
    """{folder} in its options is its own."""

    def __init__(self, folder, program, *options):
        (self.port,) = free_ports(1)
        self.folder = f"{folder}/{self.port}"
        os.mkdir(self.folder)
        self.command = [*words(program), "--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket",
                        *(option.format(folder=self.folder) for option in options)]
        self.process = None
        self.start()

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(60, self.answers, "it answers")

    def answers(self):
        if self.process.poll() is not None:
            with open(f"{self.folder}/log", errors="replace") as log:
                raise AssertionError(f"it ended: {log.read()[-2000:]}")
        return self.says("isMaster") != b""

    def says(self, command):
        """Nothing when it cannot be asked."""
        try:
            return tell(self.port, "admin", seconds=1, **{command: 1})
        except (OSError, AssertionError):
            return b""

    def is_primary(self):
        return b"\x08ismaster\0\x01" in self.says("isMaster")

    def is_secondary(self):
        return b"\x08secondary\0\x01" in self.says("isMaster")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Member(Process):
    def __init__(self, folder, name, *options):
        super().__init__(folder, "mongod", "--dbpath", "{folder}", "--replSet", name, "--oplogSize", "64",
                         "--wiredTigerCacheSizeGB", "0.25", *options)


class Set:
    def __init__(self, folder, name, size, *options):
        self.name = name
        self.members = [Member(folder, name, *options) for _ in range(size)]
        config = {"_id": name, "settings": {"electionTimeoutMillis": ELECTION_MS},
                  "members": [{"_id": n, "host": host} for n, host in enumerate(self.hosts())]}
        if "--configsvr" in options:
            config["configsvr"] = True
        tell(self.members[0].port, "admin", replSetInitiate=config)
        wait_until(60, self.primary, f"{name} has a primary")

    def hosts(self):
        return [f"127.0.0.1:{member.port}" for member in self.members]

    def primary(self):
        return next((member for member in self.members if member.is_primary()), None)

    def uri(self):
        return f"mongodb://{','.join(self.hosts())}/?replicaSet={self.name}"


class Cluster:
    """What it starts ends with it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="dw-mongodb-", dir="/tmp")
        self.processes = []

    def set(self, name, size, *options):
        made = Set(self.folder, name, size, *options)
        self.processes += made.members
        return made

    def shards(self, count):
        """The mongos in front of so many."""
        config = self.set("config", 1, "--configsvr")
        sets = [self.set(f"s{n}", 1, "--shardsvr") for n in range(count)]
        router = Process(self.folder, "mongos", "--configdb", f"config/{config.hosts()[0]}")
        self.processes.append(router)
        for one in sets:
            tell(router.port, "admin", addShard=f"{one.name}/{one.hosts()[0]}")
        return router

    def remove(self):
        for process in self.processes:
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def shell(port, script):
    """What MongoDB's shell prints."""
    done = subprocess.run([*words("mongo"), "--quiet", "--norc", "--port", str(port), "--eval", script],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{script}\n{done.stdout}")
    return done.stdout
