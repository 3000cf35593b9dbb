"""The servers that queue.py measures: each is started in a folder of its own, on ports of its own, for
as long as the `with` lasts, and ended with all it started, also on error."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import yaml
import zmq

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import BIN, Installation, free_ports, wait_until  # noqa: E402
from run import prefer  # noqa: E402

BENCH = os.environ.get("DENGWEN_BENCH") or os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests")
RABBITMQ = sorted(glob.glob("/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"))
START_SECONDS, STOP_SECONDS = 120, 60


nice = 0  # of every server; set by queue.py before the first is started


def preferred(process):
    """A session of its own is a group of its own, whose value does not come from us."""
    if nice:
        prefer(process.pid, nice)
    return process


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Server:
    """Its processes lead sessions of their own, so that whatever they start ends with them."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="dw-bench-", dir="/tmp")
        self.processes = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            self.end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self, process):
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
            os.killpg(process.pid, signal.SIGKILL)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        except ProcessLookupError:
            process.wait()

    def run(self, *words, port=None, **environment):
        with open(f"{self.folder}/output", "ab") as log:
            process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=dict(os.environ, **environment), start_new_session=True)
        self.processes.append(preferred(process))
        if port:
            wait_until(START_SECONDS, lambda: self.is_up(process, port), f"{words[0]} listens")

    def is_up(self, process, port):
        if process.poll() is not None:
            with open(f"{self.folder}/output", errors="replace") as f:
                raise AssertionError(f"{process.args[0]} ended with {process.returncode}:\n{f.read()[-3000:]}")
        return answers(port)


class Bare(Server):
    """The loop of bench_bare, for bench_queue to speak to."""

    def __init__(self, engine):
        super().__init__()
        self.engine, (self.port,) = engine, free_ports(1)

    def start(self):
        public, secret = zmq.curve_keypair()
        _, mine = zmq.curve_keypair()
        endpoint = f"tcp://127.0.0.1:{self.port}"
        self.key = f"{self.folder}/key"
        with open(self.key, "w") as f:
            f.write(f"{endpoint}\n{public.decode()}\n{mine.decode()}\n")
        self.run(f"{BENCH}/bench_bare", self.engine, f"{self.folder}/queue", endpoint, secret.decode(), port=self.port)


class Redis(Server):
    missing = None if shutil.which("redis-server") and shutil.which("redis-benchmark") else "redis-server"

    def start(self):
        (self.port,) = free_ports(1)
        self.run("redis-server", "--port", self.port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync",
                 "always", "--save", "", "--dir", self.folder, port=self.port)


class RabbitMQ(Server):
    missing = (None if RABBITMQ and shutil.which("epmd") else "rabbitmq-server") or \
        (None if os.path.exists(f"{BENCH}/bench_rabbitmq") else "librabbitmq-dev (then build again)")

    def start(self):
        self.port, names, between = free_ports(3)
        for name in ("mnesia", "log"):
            os.mkdir(f"{self.folder}/{name}")
        with open(f"{self.folder}/plugins", "w") as f:
            f.write("[].\n")
        with open(f"{self.folder}/rabbitmq.conf", "w") as f:
            f.write(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        # The name server of Erlang would start by itself and stay; as our own child it ends with us.
        self.run("epmd", "-port", names, "-address", "127.0.0.1", port=names)
        self.run(RABBITMQ[-1], port=self.port, HOME=self.folder, ERL_EPMD_PORT=str(names),
                 RABBITMQ_CONF_ENV_FILE="/dev/null", RABBITMQ_CONFIG_FILE=f"{self.folder}/rabbitmq.conf",
                 RABBITMQ_NODENAME=f"bench{os.getpid()}@localhost", RABBITMQ_DIST_PORT=str(between),
                 RABBITMQ_MNESIA_BASE=f"{self.folder}/mnesia", RABBITMQ_LOG_BASE=f"{self.folder}/log",
                 RABBITMQ_ENABLED_PLUGINS_FILE=f"{self.folder}/plugins")


class Dengwen:
    """An installation of which only the broker runs, with an address and keys for programs of others."""
    ROOM = ("queue.guest_share_percent=100", "queue.max_items=1000000000", "queue.max_bytes=1000000000000")

    def __init__(self, services=1):
        self.services, (self.port,) = services, free_ports(1)
        self.here = Installation(f"broker.guests=tcp://127.0.0.1:{self.port}", *self.ROOM, demo=False)
        self.queue_file = f"{self.here.folder}/state/broker/queue.db"

    def __enter__(self):
        try:
            self.key = self.make_key("client", "bench")
            self.worker_keys = [self.make_key(f"worker:bench{i}", f"bench{i}", f"bench{i}")
                                for i in range(self.services)]
            self.start()
        except BaseException:
            self.here.__exit__(None)
            raise
        return self

    def __exit__(self, *_):
        self.here.__exit__(None)

    def make_key(self, role, name, service=""):
        self.here.tool("key", "add", "--role", role, name, cwd=self.here.folder, check=True)
        with open(f"{self.here.folder}/{name}.yaml") as f:
            key = yaml.safe_load(f)
        path = f"{self.here.folder}/{name}.key"
        with open(path, "w") as f:
            f.write(f"tcp://127.0.0.1:{self.port}\n{key['broker']}\n{key['secret']}\n{service}\n")
        return path

    def start(self):
        """Seconds until it listens."""
        began = time.monotonic()
        self.here.start("broker", wait=False)
        preferred(self.here.processes["broker"])
        wait_until(600, lambda: self.here.answers(self.port), "the broker listens")
        return time.monotonic() - began

    def empty(self):
        """A queue without anything, as the peers get for each measurement."""
        self.here.end("broker")
        for path in glob.glob(f"{self.queue_file}*"):
            os.remove(path)
        self.start()

    def waiting(self):
        return self.here.queue_stats()["items"]
