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
from mongo_tell import tell  # noqa: E402


class Server:
    """`how`: standalone, auth, tls."""
    before = ()  # words before the command that starts it

    def __init__(self, *how):
        self.folder = tempfile.mkdtemp(prefix="dw-mongodb-", dir="/tmp")
        self.data = f"{self.folder}/data"
        (self.port,) = free_ports(1)
        self.start(*how)

    def script(self, verb, *more, text=""):
        words = [f"{SOURCE}/tests/support/mongodb.sh", verb, self.folder, *map(str, more)]
        subprocess.run([*self.before, *words], check=True, input=text, text=True, stdout=subprocess.DEVNULL)

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

    def insert(self, database, **fields):
        tell(self.port, database, insert="planted", documents=[fields], writeConcern={"j": True})

    def remove(self):
        if self.answers():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def serve(self):
        """What is installed from now on keeps its cases here; returns what ends that."""
        os.environ["DENGWEN_TEST_MONGODB"] = self.uri()
        return lambda: os.environ.pop("DENGWEN_TEST_MONGODB", None)


class SmallServer(Server):
    """Its data folder is a disk of its own of so many MB, which outlives it."""

    def __init__(self, size, own_mounts):
        self.size, self.own_mounts = size, own_mounts
        self.holder = None
        super().__init__()

    def start(self, *how):
        if not self.holder:
            os.mkdir(self.data)
            # It ends with us, however we end.
            mount = f"mount -t tmpfs -o size={self.size}m none {self.data} && echo && exec cat"
            self.holder = subprocess.Popen([*self.own_mounts, "sh", "-c", mount], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE)
            self.holder.stdout.readline()
            user = ["-U", "--preserve-credentials"] if "--user" in self.own_mounts else []
            # Where we are in a root of our own, its mounts begin at another; mongod wants a folder to be in.
            self.before = ["nsenter", "-t", str(self.holder.pid), "-m", "-r", "-w", *user]
        super().start(*how)

    def make_room(self, size):
        subprocess.run([*self.before, "mount", "-o", f"remount,size={size}m", self.data], check=True)

    def remove(self):
        super().remove()
        self.holder.kill()
        self.holder.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
