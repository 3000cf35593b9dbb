#!/usr/bin/python3
"""Cases on several machines: a replica set that loses its primary or its majority, and shards, made by the
commands of conf/mongodb/README.md.  Whatever was answered with a receipt is there afterwards, once."""
import concurrent.futures
import http.client
import os
import re
import sqlite3
import subprocess
import sys
import time
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (BIN, SOURCE, Citizen, Installation, Member, a_filing, a_pdf,  # noqa: E402
                          fresh_key, wait_until)
from mongo_cluster import ELECTION_MS, Cluster, shell  # noqa: E402

KILLS = 4
README = f"{SOURCE}/conf/mongodb/README.md"
SETTINGS = ("web.call_timeout_ms=3000", "store.select_ms=1000",
            "queue.backoff_max_ms=1000", "web.filings_per_hour=1000000", "web.filings_burst=1000000",
            "web.lookups_per_minute=1000000", "web.lookups_burst=1000000")


class Filers:
    """File one after the other, each until there is a receipt for it."""

    def __init__(self, here, count=4):
        self.citizen, self.receipts, self.stopping = Citizen(here), [], False
        self.pool = concurrent.futures.ThreadPoolExecutor(count)
        self.running = [self.pool.submit(self.run) for _ in range(count)]

    def run(self):
        while not self.stopping:
            key, answer, until = fresh_key(), None, time.monotonic() + 90
            while not answer or answer.status != 202:
                if time.monotonic() > until:
                    raise AssertionError(f"no receipt: {answer}")
                try:
                    answer = self.citizen.file(a_filing(), key)
                except (OSError, http.client.HTTPException):
                    answer = None
                if answer and answer.status not in (202, 503):
                    raise AssertionError(answer)
                time.sleep(0.02)
            self.receipts.append(answer.json["receipt"])

    def some_more(self, count=5):
        there = len(self.receipts)
        wait_until(60, lambda: len(self.receipts) >= there + count or any(r.done() for r in self.running),
                   "filings are taken")

    def stop(self):
        self.stopping = True
        for running in self.running:
            running.result()
        self.pool.shutdown()
        return self.receipts


class OnSeveral(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.remove)

    def install(self, uri, *parts, receipt_after="store"):
        self.here = Installation(f"store.uri={uri}", f"web.receipt_after={receipt_after}", *SETTINGS)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.here.start(*(parts or ("ops", "keyd", "broker", "casework", "notify", "desk", "web")))
        self.citizen = Citizen(self.here)

    def filers(self):
        filers = Filers(self.here)
        self.addCleanup(filers.stop)
        return filers

    def stored(self):
        """What a backup, made while all runs, says."""
        path = f"{self.here.folder}/{fresh_key()}.db"
        wait_until(60, lambda: self.here.tool("backup", path).returncode == 0, "a backup is made")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
            count = store.execute("SELECT count(*) FROM cases").fetchone()[0]
        store.close()
        return count

    def each_is_there_once(self, receipts):
        references = {self.citizen.follow(receipt)["reference"] for receipt in receipts}
        self.assertEqual(len(references), len(receipts))
        self.assertEqual(self.stored(), len(receipts))
        self.assertEqual(self.here.queue_stats()["dead"], 0)
        listed = {row["reference"] for row in Member(self.here, "500108.inspector1").worklist()}
        self.assertEqual(listed, references)


class ReplicaSet(OnSeveral):
    def setUp(self):
        super().setUp()
        self.set = self.cluster.set("rs0", 3)
        host, _, options = self.set.uri().rpartition("/")
        self.uri = f"{host}/dengwen{options}"

    def freeze_the_others(self):
        """What the primary writes now only it has; soon it steps down."""
        primary = self.set.primary()
        others = [member for member in self.set.members if member is not primary]
        for member in others:
            member.freeze()
        return primary, others

    def test_primaries_die_one_after_the_other(self):
        self.install(self.uri)
        filers = self.filers()
        filers.some_more()
        inspector = Member(self.here, "500108.inspector1")
        for n in range(KILLS):
            reference, key = self.citizen.follow(filers.receipts[n])["reference"], fresh_key()
            version = inspector.case(reference)["version"]
            dead = self.set.primary()
            dead.kill()
            # A command in the middle of it is done once, whatever was answered to it.
            wait_until(60, lambda: inspector.command(reference, "accept", key, version).status == 200,
                       "the command is done")
            self.assertIsNot(wait_until(60, self.set.primary, "another primary"), dead)
            filers.some_more()
            dead.start()
            wait_until(60, dead.is_secondary, "the dead one follows")
            kinds = [event["kind"] for event in inspector.case(reference)["events"]]
            self.assertEqual(kinds.count("accepted"), 1, kinds)
        self.each_is_there_once(filers.stop())

    def test_what_no_majority_has_is_not_confirmed(self):
        self.install(self.uri)
        first = self.citizen.receipt(a_filing())
        _, others = self.freeze_the_others()
        key = fresh_key()
        for _ in range(3):
            refused = self.citizen.file(a_filing(), key)
            self.assertEqual(refused.status, 503, refused)
            self.assertNotIn("receipt", refused.json)
        for member in others:
            member.thaw()
        wait_until(60, lambda: self.citizen.file(a_filing(), key).status == 202, "the same filing is taken")
        second = self.citizen.receipt(a_filing(), key=key)
        self.each_is_there_once([first, second])

    def lose_a_primary(self):
        """With what it alone has; the receipts that were given out."""
        self.install(self.uri, receipt_after="queue")
        receipts = [self.citizen.receipt(a_filing())]
        self.citizen.follow(receipts[0])
        primary, others = self.freeze_the_others()
        receipts += [self.citizen.receipt(a_filing()) for _ in range(10)]
        time.sleep(ELECTION_MS / 2000)
        self.waiting = self.here.queue_stats()["items"]
        primary.kill()
        for member in others:
            member.thaw()
        wait_until(60, self.set.primary, "another primary")
        primary.start()
        wait_until(60, primary.is_secondary, "the dead one follows")
        return receipts

    def test_what_no_majority_has_is_kept_in_the_queue(self):
        receipts = self.lose_a_primary()
        self.assertEqual(self.waiting, 10)
        self.each_is_there_once(receipts)

    def test_a_driver_that_waits_for_no_majority_would_be_noticed(self):
        with unittest.mock.patch.dict(os.environ, DENGWEN_BUG="one-is-enough"):
            receipts = self.lose_a_primary()
        self.assertEqual(self.waiting, 0)
        self.assertLess(self.stored(), len(receipts))


def commands_of_the_readme():
    """{last line before it: the commands} of the part about shards."""
    with open(README, encoding="utf-8") as f:
        part = f.read().split("\n## Shards\n")[1].split("\n## ")[0]
    blocks = re.findall(r"([^\n]+)\n\n((?:    [^\n]*\n)+)", part)
    return {before: "".join(line[4:] + "\n" for line in block.splitlines()) for before, block in blocks}


class Shards(OnSeveral):
    def setUp(self):
        super().setUp()
        self.router = self.cluster.shards(2)
        self.uri = f"mongodb://127.0.0.1:{self.router.port}/dengwen"
        self.to_shard, self.index_first = commands_of_the_readme().values()

    def on_shards(self, collection):
        """How many documents each has."""
        counts = shell(self.router.port, f"""
            db.getSiblingDB("dengwen").{collection}.aggregate([{{$collStats: {{count: {{}}}}}}]).toArray()
                .forEach(row => print(row.shard + " " + row.count))""")
        return {line.split()[0]: int(line.split()[1]) for line in counts.splitlines() if line}

    def work(self, receipts):
        inspector = Member(self.here, "500108.inspector1")
        for receipt in receipts:
            reference = self.citizen.follow(receipt)["reference"]
            inspector.do(reference, "accept")
            self.assertEqual(self.citizen.say(receipt, "还有一张发票。").status, 200)
        for receipt in receipts:
            kinds = [event["kind"] for event in inspector.case(self.citizen.follow(receipt)["reference"])["events"]]
            self.assertEqual((kinds.count("accepted"), kinds.count("message")), (1, 1), kinds)

    def test_an_empty_store(self):
        self.install(self.uri, "ops", "keyd", "broker")
        self.assertEqual(self.here.tool("init-db").returncode, 0)
        shell(self.router.port, self.to_shard)
        self.here.start("casework", "notify", "desk", "web")
        receipts = [self.citizen.receipt(a_filing(), files=[("a.pdf", "application/pdf", a_pdf())])
                    for _ in range(20)]
        self.work(receipts[:5])
        self.each_is_there_once(receipts)
        for collection in ("cases", "objects", "receipts", "refs"):
            found = self.on_shards(collection)
            self.assertEqual(len([n for n in found.values() if n > 0]), 2, f"{collection}: {found}")

    def test_a_store_that_has_cases(self):
        """They move to the other shard while more come, and while they are worked on."""
        self.install(self.uri)
        filers = self.filers()
        filers.some_more(20)
        shell(self.router.port, self.index_first + self.to_shard)
        shell(self.router.port, """
            for (let name of ["cases", "objects", "receipts", "refs"]) {
                const ns = `dengwen.${name}`;
                const from = db.getSiblingDB("config").chunks.findOne({ns: ns}).shard;
                const to = db.getSiblingDB("config").shards.findOne({_id: {$ne: from}})._id;
                const split = db.adminCommand({split: ns, middle: {_id: NumberLong(0)}});
                const moved = db.adminCommand({moveChunk: ns, bounds: [{_id: NumberLong(0)}, {_id: MaxKey}], to: to,
                                               _waitForDelete: true});
                if (!split.ok || !moved.ok)
                    throw Error(tojson([split, moved]));
            }""")
        filers.some_more(20)
        receipts = filers.stop()
        self.work(receipts[:3] + receipts[-3:])
        self.each_is_there_once(receipts)
        for collection in ("cases", "objects", "receipts", "refs"):
            found = self.on_shards(collection)
            self.assertEqual(len([n for n in found.values() if n > 0]), 2, f"{collection}: {found}")

    def test_the_contract(self):
        contract = f"{os.path.dirname(os.path.abspath(BIN))}/tests/test_store"
        done = subprocess.run([contract], env=dict(os.environ, DENGWEN_TEST_MONGODB=self.uri.replace("dengwen", "")),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])


if __name__ == "__main__":
    unittest.main(verbosity=2)
