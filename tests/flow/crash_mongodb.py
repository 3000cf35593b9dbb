#!/usr/bin/python3
"""The crash campaign with cases in MongoDB: kill -9 of the case worker, at each of its steps and at
random, and of the server, under the same load and with the same account (crash_campaign.py).

    DW_KILLS=500 DW_SERVER_KILLS=100 crash_mongodb.py    more of them

What is in the store is read from a backup of it, which is made while everything runs."""
import os
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import crash_campaign  # noqa: E402
from crash_campaign import POINTS  # noqa: E402
from mongo_server import Server  # noqa: E402

WORKER_KILLS = int(os.environ.get("DW_KILLS", 100))
SERVER_KILLS = int(os.environ.get("DW_SERVER_KILLS", 20))
STEPS = [point for point, part in POINTS.items() if part == "casework"]


class Killer(crash_campaign.Killer):
    """Kills the case worker, and the server behind it."""

    def worker(self):
        self.look()
        self.here.processes["casework"].kill()
        self.bury("casework", "random")
        self.start("casework")

    def server(self):
        self.store.kill()
        self.count["server"] += 1
        self.random_wait()
        self.store.start()

    def random_wait(self):
        """Away for no time, or for longer than what notices it."""
        time.sleep(self.random.choice((0, 0.2, 1.5)))


class End(crash_campaign.End):
    def stored(self):
        path = f"{self.here.folder}/looked-into.db"
        self.here.tool("backup", path, check=True)
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
            ids = [row[0] for row in store.execute("SELECT id FROM cases")]
        store.close()
        return ids


class AtServer:
    """Its own server, below what the campaign installs."""
    killer, end = Killer, End

    def install(self, *settings):
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.addCleanup(self.server.serve())
        Killer.store = self.server
        super().install("store.select_ms=1000", *settings)


class Campaign(AtServer, crash_campaign.Campaign):
    kills = WORKER_KILLS + SERVER_KILLS
    least = dict(dict.fromkeys(STEPS, WORKER_KILLS // 20), server=SERVER_KILLS)

    def plan(self):
        """Two of three deaths of the worker at its steps, equally often."""
        at_steps = STEPS * (WORKER_KILLS * 2 // 3 // len(STEPS))
        return at_steps + ["worker"] * (WORKER_KILLS - len(at_steps)) + ["server"] * SERVER_KILLS

    def kill_the_rest(self, killer):
        """In place of those who never came by their step."""
        while killer.total() < self.kills:
            killer.worker()
            self.choice_of_moment()


class DeliberateBugs(AtServer, crash_campaign.DeliberateBugs):
    test_acknowledged_before_commit = None  # a bug of the queue
    test_without_a_bug = None               # which the campaign is


if __name__ == "__main__":
    unittest.main(verbosity=2)
