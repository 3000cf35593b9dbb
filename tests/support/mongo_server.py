"""A server of MongoDB's protocol that belongs to one test, which stops, kills and replaces it.

Started through tests/support/mongodb.sh, which says which one it is; a missing one is a failure."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from installation import SOURCE, free_ports, wait_until  # noqa: E402


class Server:
    """`how`: standalone, auth.  `before`: words before the command that starts it."""

    def __init__(self, *how, before=()):
        self.folder = tempfile.mkdtemp(prefix="dw-mongodb-", dir="/tmp")
        self.data = f"{self.folder}/data"
        self.before = before
        (self.port,) = free_ports(1)
        self.start(*how)

    def script(self, verb, *more):
        subprocess.run([*self.before, f"{SOURCE}/tests/support/mongodb.sh", verb, self.folder, *map(str, more)],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def start(self, *how):
        self.script("start", self.port, *how)

    def stop(self):
        self.script("stop")

    def kill(self):
        self.script("kill")
        wait_until(10, lambda: not self.answers(), "the server is dead")

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def remove(self):
        if self.answers():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self):
        """What is installed from now on keeps its cases here; returns what ends that."""
        os.environ["DENGWEN_TEST_MONGODB"] = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
        return lambda: os.environ.pop("DENGWEN_TEST_MONGODB", None)
