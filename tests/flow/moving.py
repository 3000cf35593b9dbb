#!/usr/bin/python3
"""A store moves: from SQLite to MongoDB and back, into a backup and out of it, to another version of its
tables.  Killed in the middle it goes on, with a full disk too; what is in the wrong place is refused with
the reason; and in the end the inspector opens the case and its files, and the receipt follows it."""
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (BIN, SOURCE, Citizen, Installation, Member, a_filing, a_pdf, free_ports,  # noqa: E402
                          wait_until)
from bad_days import own_mounts  # noqa: E402
from mongo_tell import tell  # noqa: E402

DONE, NO, USAGE, DATA, AWAY, RETRY, CONFIG = 0, 1, 2, 65, 69, 75, 78
FILES = [("账单.pdf", "application/pdf", a_pdf(200_000, 1)), ("b.pdf", "application/pdf", a_pdf(5_000, 2))]
BULK = 3000  # objects of nobody: what a step that stopped leaves, and enough to be killed in
TABLES = {"cases": "id, version, timer, notice, fold, row, doc", "receipts": "handle, id",
          "refs": "reference, id", "objects": "id, part, bytes", "places": "slot",
          "work": "body, open, due, id", "mine": "body, assignee, due, id",
          "records": "collection, key, version, doc", "audit": "chain, seq, doc"}

server = os.environ.pop("DENGWEN_TEST_MONGODB", None)  # installations of this test begin with SQLite


def mongodb(word, *more):
    subprocess.run([f"{SOURCE}/tests/support/mongodb.sh", word, *more], check=True, stdout=subprocess.DEVNULL)


def setUpModule():
    global server
    if server:
        return
    folder = tempfile.mkdtemp(prefix="dw-mongodb-", dir="/tmp")
    unittest.addModuleCleanup(shutil.rmtree, folder, ignore_errors=True)
    mongodb("start", folder, str(free_ports(1)[0]))
    unittest.addModuleCleanup(mongodb, "stop", folder)
    with open(f"{folder}/uri") as f:
        server = f.read().strip()


def contents(path):
    """What a SQLite store holds, read without us; the copy's notes about itself are left out."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        found = {table: sorted(db.execute(f"SELECT {columns} FROM {table}"), key=repr)
                 for table, columns in TABLES.items()}
    db.close()
    found["records"] = [row for row in found["records"] if row[0] != "copy"]
    return found


# Of what version 3 and 2 made, what was there before; slots were drawn from all numbers.
VERSION_1 = """
    DROP TABLE places;
    CREATE TABLE worklist(id BLOB NOT NULL, body TEXT NOT NULL, due INTEGER NOT NULL,
        open INTEGER NOT NULL, assignee TEXT NOT NULL, PRIMARY KEY(id, body)) WITHOUT ROWID;
    INSERT INTO worklist SELECT id, body, due, open,
        coalesce((SELECT assignee FROM mine m WHERE m.id = w.id AND m.body = w.body), '') FROM work w;
    DROP TABLE work; DROP TABLE mine;
    ALTER TABLE cases RENAME COLUMN n TO slot; ALTER TABLE objects RENAME COLUMN n TO slot;
    UPDATE cases SET slot = slot + (1 << 60) WHERE slot % 3;
    UPDATE objects SET slot = slot + (1 << 60) WHERE slot % 3;
    CREATE INDEX worklist_all ON worklist(body, due, id);
    DROP INDEX cases_fold; ALTER TABLE cases DROP COLUMN fold; PRAGMA user_version=1;
"""


def place_of(name):
    """Of an object in one part: see sqlite_place.c."""
    mask = (1 << 64) - 1
    at, rest = struct.unpack("<Q", name[5:13])[0] * 0x9e3779b97f4a7c15 & mask, struct.unpack("<Q", name[8:])[0]
    mixed = (at ^ at >> 32 ^ rest) * 0xd6e8feb86659fd93 & mask
    return (int.from_bytes(name[:5], "big") << 22 | mixed >> 42) << 1 | 1


def add_bulk(path, seed=1):
    """A filing's worth of objects many times over, receipts, and audit entries of another worker."""
    rng = random.Random(seed)
    doc = b"\x05\0\0\0\0"
    with sqlite3.connect(path) as db:
        for n in range(BULK):
            name = rng.randbytes(16)
            row = db.execute("INSERT INTO objects(id, part, bytes) VALUES(?, 0, ?)",
                             (name, rng.randbytes(rng.choice((100, 1000, 20_000)))))
            db.execute("INSERT INTO places VALUES(?, ?)", (place_of(name), row.lastrowid))
            db.execute("INSERT INTO receipts VALUES(?, ?)", (rng.randbytes(16), name))
            db.execute("INSERT INTO audit VALUES('other/worker', ?, ?)", (n + 1, doc))
    db.close()


class Moving(unittest.TestCase):
    settings = ("store.uri=sqlite:state/case/cases.db",)

    def setUp(self):
        self.here = Installation(*self.settings)
        self.addCleanup(self.here.__exit__, None, None, None)
        self.folder = self.here.folder
        self.store = f"{self.folder}/state/case/cases.db"
        self.citizen = Citizen(self.here)

    # ---- a store with cases ----

    def file_and_work(self):
        """Three filings; the first has files and was accepted and answered."""
        self.here.start_all()
        self.receipts = [self.citizen.receipt(a_filing(), files=FILES if n == 0 else ()) for n in range(3)]
        self.references = [self.citizen.follow(r)["reference"] for r in self.receipts]
        member = Member(self.here, "500108.inspector1")
        member.do(self.references[0], "accept")
        member.do(self.references[0], "reply", text="正在调查，请放心。")

    def stop(self):
        self.here.end(*list(self.here.processes))

    def prepare(self):
        self.file_and_work()
        self.stop()
        add_bulk(self.store)

    def serve_from(self, uri):
        path = f"{self.folder}/dengwen.yaml"
        with open(path) as f:
            text = re.sub(r"^  #?uri: .*$", f'  uri: "{uri}"', f.read(), count=1, flags=re.M)
        with open(path, "w") as f:
            f.write(text)

    def everything_is_there(self):
        """For those for whom it is made."""
        self.here.start_all()
        case = Member(self.here, "500108.inspector1").case(self.references[0])
        self.assertEqual(case["state"], "accepted")
        member = Member(self.here, "500108.inspector2")
        self.assertEqual({row["reference"] for row in member.worklist()} & set(self.references),
                         set(self.references))
        self.assertEqual([f["name"] for f in case["files"]], [f[0] for f in FILES])
        for listed, (_, _, data) in zip(case["files"], FILES):
            answer = member.call("GET", f"cases/{self.references[0]}/files/{listed['id']}")
            self.assertEqual(hashlib.sha256(answer.body).digest(), hashlib.sha256(data).digest())
        for receipt, reference in zip(self.receipts, self.references):
            self.assertEqual(self.citizen.status(receipt).json["reference"], reference)
        self.assertIn("正在调查", str(self.citizen.status(self.receipts[0]).json["messages"]))
        self.assertEqual(self.citizen.say(self.receipts[1], "补充一点").status, 200)
        member.do(self.references[1], "accept")
        self.citizen.follow(self.citizen.receipt(a_filing()))
        self.stop()

    # ---- commands ----

    def ends(self, code, *words, says=None, **environment):
        done = self.here.tool(*words, **environment)
        self.assertEqual(done.returncode, code, f"{words}: {done.stderr[-1500:]}")
        if says:
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stdout, "")
        return done

    def holds(self, *words):
        """What a command says that a store holds."""
        return json.loads(self.ends(DONE, *words, "--format", "json").stdout)["holds"]

    def worker_refuses(self, says):
        self.here.start("casework", wait=False)
        process = self.here.processes.pop("casework")
        self.assertNotEqual(process.wait(timeout=60), 0)
        self.assertIn(says, self.here.log("casework"))

    def database(self, name):
        host, _, options = server.rpartition("/")
        return f"{host}/{os.path.basename(self.folder)}_{name}{options}"


class Copies(Moving):
    def copy_and_be_killed(self, first, step, *words):
        """At a named step of each run, a little later each time, until one comes to its end."""
        kills, at = 0, first
        while True:
            done = self.here.tool(*words, DENGWEN_KILL_AT=f"store.committed:{at}")
            if done.returncode == DONE:
                return kills
            self.assertEqual(done.returncode, -signal.SIGKILL, done.stderr)
            kills += 1
            at += step

    def kill_some_time(self, times, *words):
        """From outside, at any moment; how often it was not too late."""
        kills = 0
        for _ in range(times):
            process = subprocess.Popen([f"{BIN}/dengwen", *words], env=self.here.environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=random.uniform(0.05, 0.6))
                self.assertEqual(process.returncode, DONE)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += process.wait() == -signal.SIGKILL
        return kills

    def test_killed_again_and_again_it_goes_on_and_ends_the_same(self):
        self.prepare()
        copy = ("store", "copy", "--to", "sqlite:copy.db")
        before = contents(self.store)
        kills = self.copy_and_be_killed(2, 2, *copy)
        self.assertGreaterEqual(kills, 4)
        self.assertEqual(contents(f"{self.folder}/copy.db"), before)
        self.assertEqual(contents(self.store), before, "nobody wrote the source")
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("copy.db")], ["copy.db"])
        self.serve_from("sqlite:copy.db")
        self.everything_is_there()

    def test_to_mongodb_and_back(self):
        self.prepare()
        there = ("store", "copy", "--to", self.database("there"))
        kills = self.copy_and_be_killed(3, 4, *there)
        kills += self.kill_some_time(3, "store", "copy", "--from", self.database("there"), "--to", "sqlite:back.db")
        self.assertGreaterEqual(kills, 4)
        if not self.is_finished("back.db"):
            self.ends(DONE, "store", "copy", "--from", self.database("there"), "--to", "sqlite:back.db")
        self.assertEqual(contents(f"{self.folder}/back.db"), contents(self.store))
        self.serve_from(self.database("there"))
        self.everything_is_there()

    def is_finished(self, name):
        path = f"{self.folder}/{name}"
        if not os.path.exists(path):
            return False
        with sqlite3.connect(path) as db:
            tables = db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'records'").fetchone()[0]
            rows = tables and db.execute("SELECT count(*) FROM records").fetchone()[0]
            notes = tables and db.execute("SELECT count(*) FROM records WHERE collection = 'copy'").fetchone()[0]
        db.close()
        return bool(rows) and not notes

    def test_an_unfinished_copy_serves_nobody(self):
        self.prepare()
        for uri in ("sqlite:copy.db", self.database("half")):
            with self.subTest(uri):
                words = ("store", "copy", "--to", uri)
                self.ends(-signal.SIGKILL, *words, DENGWEN_KILL_AT="store.committed:8")
                self.serve_from(uri)
                self.worker_refuses("unfinished copy")
                self.serve_from("sqlite:state/case/cases.db")
                self.ends(CONFIG, "store", "copy", "--from", uri, "--to", "sqlite:y.db", says="unfinished copy")
                self.ends(CONFIG, "backup", "--from", uri, f"{self.folder}/y", says="unfinished copy")
                # It is a copy of something, and of nothing else.
                shutil.copy(self.store, f"{self.folder}/other.db")
                self.ends(NO, "store", "copy", "--from", "sqlite:other.db", "--to", uri,
                          says="unfinished copy of something else: sqlite:" + self.store)
                self.ends(DONE, *words)

    def test_a_source_that_is_written_meanwhile_is_noticed(self):
        self.prepare()
        words = ("store", "copy", "--to", "sqlite:copy.db")
        self.ends(-signal.SIGKILL, *words, DENGWEN_KILL_AT="store.committed:12")
        with sqlite3.connect(self.store) as db:  # a case, which has been copied
            db.execute("UPDATE cases SET version = version + 1")
        db.close()
        self.ends(NO, *words, says="its cases were written since the copy began")
        self.ends(NO, *words, says="its cases were written since the copy began")
        self.serve_from("sqlite:copy.db")
        self.worker_refuses("unfinished copy")

    def test_what_is_in_the_wrong_place_is_refused(self):
        self.prepare()
        with open(f"{self.folder}/noise.db", "wb") as f:
            f.write(random.randbytes(8192))
        with sqlite3.connect(f"{self.folder}/other.db") as db:
            db.execute("CREATE TABLE x(y)")
        db.close()
        shutil.copy(self.store, f"{self.folder}/newer.db")
        with sqlite3.connect(f"{self.folder}/newer.db") as db:
            db.execute("PRAGMA user_version=99")
        db.close()
        shutil.copy(self.store, f"{self.folder}/full.db")
        os.symlink(self.store, f"{self.folder}/link.db")
        kept = contents(f"{self.folder}/full.db")
        gone = free_ports(1)[0]
        for code, words, says in (
                (USAGE, ["--to", "sqlite:link.db"], "is the source itself"),
                (USAGE, ["--to", "redis://localhost"], "expected sqlite:FILE or mongodb://"),
                (USAGE, [], "Usage:"),
                (NO, ["--to", "sqlite:full.db"], "it holds cases already"),
                (CONFIG, ["--to", "sqlite:noise.db"], "not a database"),
                (CONFIG, ["--to", "sqlite:other.db"], "some other SQLite file"),
                (CONFIG, ["--to", "sqlite:newer.db"], "newer Dengwen"),
                (CONFIG, ["--to", "sqlite:nowhere/x.db"], "cannot be opened"),
                (CONFIG, ["--from", "sqlite:missing.db", "--to", "sqlite:x.db"], "cannot be opened"),
                (AWAY, ["--to", f"mongodb://127.0.0.1:{gone}/x"], "does not answer"),
                (CONFIG, ["--to", "mongodb://u:s3@cret@127.0.0.1/x"], "expected"),
                (CONFIG, ["--to", "mongodb://u:s3cret@127.0.0.1/x"], "no password"),
                (USAGE, ["--to", "mongodb+srv://u:s3cret@127.0.0.1/x"], "expected")):
            with self.subTest(words):
                done = self.ends(code, "store", "copy", *words, says=says)
                self.assertNotIn("cret", done.stderr)
        self.assertEqual(contents(f"{self.folder}/full.db"), kept)
        self.here.start("ops", "broker", "keyd", "casework")
        self.ends(RETRY, "store", "copy", "--to", "sqlite:x.db", says="the case worker is using it")

    @unittest.skipUnless(own_mounts(), "mounting is not allowed here")
    def test_a_full_disk(self):
        self.prepare()
        disk = f"{self.folder}/disk"
        os.mkdir(disk)
        copy = f"{BIN}/dengwen store copy --to sqlite:{disk}/copy.db"
        script = (f"mount -t tmpfs -o size=12m none {disk} && {{ {copy}; echo $?; {copy}; echo $?; "
                  f"mount -o remount,size=300m {disk} && {copy} >/dev/null; echo $?; cp {disk}/copy.db {self.folder}; }}")
        done = subprocess.run([*own_mounts(), "sh", "-c", script], env=self.here.environment,
                              capture_output=True, text=True)
        self.assertEqual(done.stdout.split(), ["75", "75", "0"], done.stderr[-3000:])
        self.assertIn("full", done.stderr)
        self.assertIn("cannot be written just now", done.stderr)
        self.assertEqual(contents(f"{self.folder}/copy.db"), contents(self.store))

    def test_one_sees_how_far_it_is(self):
        self.prepare()
        lines = self.ends(DONE, "store", "copy", "--to", "sqlite:copy.db").stderr.splitlines()
        for what in ("copying objects", "target: comparing audit", "source: comparing receipts"):
            self.assertTrue(any(line.startswith(what) and "100 %" in line for line in lines), (what, lines))
        self.assertFalse(any("\r" in line for line in lines))
        ours, theirs = pty.openpty()
        process = subprocess.Popen([f"{BIN}/dengwen", "store", "copy", "--to", "sqlite:again.db"],
                                   env=self.here.environment, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while True:
                seen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(), DONE)
        self.assertIn("copying objects", seen.decode())
        self.assertRegex(seen.decode(), r"\rcopying objects +\[#+\.*\] +\d+ %  \d+ of \d+")


class Backups(Moving):
    def lose_everything_but_keys(self):
        self.here.kill_all()
        for name in os.listdir(os.path.dirname(self.store)):
            if name.startswith("cases.db"):
                os.rename(f"{os.path.dirname(self.store)}/{name}", f"{self.folder}/lost-{name}")

    def test_saved_under_load_and_brought_back(self):
        self.file_and_work()
        going, filed = threading.Event(), []

        def file_more():
            while not going.is_set():
                filed.append(self.citizen.receipt(a_filing(), files=FILES[1:]))
        clients = [threading.Thread(target=file_more) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            wait_until(60, lambda: len(filed) > 5, "somebody files")
            early = [(r, self.citizen.follow(r)["reference"]) for r in filed[:5]]
            files = []
            for _ in range(3):
                files.append(f"{self.folder}/backup-{len(files)}.db")
                self.ends(DONE, "backup", files[-1])
        finally:
            going.set()
            for client in clients:
                client.join()
        self.assertEqual(os.stat(files[0]).st_mode & 0o777, 0o600)
        self.assertEqual([n for n in os.listdir(self.folder) if "unfinished" in n], [])
        counts = [self.holds("restore", "--dry-run", name)["cases"]["count"] for name in files]
        self.assertEqual(counts, sorted(counts))
        self.assertGreaterEqual(counts[0], 3 + len(early))

        # One moment: whatever a case names is there, and nothing of a case that is not.
        with sqlite3.connect(files[0]) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM receipts WHERE id NOT IN (SELECT id FROM cases)"
                                        ).fetchone()[0], 0)
        db.close()

        self.ends(RETRY, "restore", files[0], says="the case worker is using it")
        self.lose_everything_but_keys()
        read_only = f"{self.folder}/medium"
        os.mkdir(read_only)
        os.rename(files[0], f"{read_only}/it.db")
        os.chmod(f"{read_only}/it.db", 0o400)
        os.chmod(read_only, 0o500)
        self.ends(DONE, "restore", f"{read_only}/it.db")
        self.assertEqual(os.listdir(read_only), ["it.db"])
        self.here.start_all()
        for receipt, reference in early:
            self.assertEqual(self.citizen.status(receipt).json["reference"], reference)
        self.stop()
        self.everything_is_there()

    def test_of_mongodb_into_sqlite_and_the_other_way(self):
        self.file_and_work()
        self.stop()
        uri = self.database("live")
        self.ends(DONE, "store", "copy", "--to", uri)
        self.serve_from(uri)
        self.here.start_all()
        self.ends(DONE, "backup", f"{self.folder}/b.db")
        self.stop()
        self.serve_from("sqlite:new.db")
        self.ends(DONE, "restore", f"{self.folder}/b.db")
        self.everything_is_there()
        self.ends(DONE, "backup", f"{self.folder}/c.db")
        self.serve_from(self.database("again"))
        self.ends(-signal.SIGKILL, "restore", f"{self.folder}/c.db", DENGWEN_KILL_AT="store.committed:6")
        self.worker_refuses("unfinished copy")
        self.ends(NO, "restore", f"{self.folder}/b.db", says="something else: the backup of")
        os.rename(f"{self.folder}/c.db", f"{self.folder}/moved.db")
        self.ends(DONE, "restore", f"{self.folder}/moved.db")
        self.assertEqual(self.holds("restore", "-n", f"{self.folder}/moved.db"),
                         self.holds("store", "copy", "--to", "sqlite:d.db"))

    def test_a_damaged_backup_is_not_restored(self):
        self.prepare()
        whole = f"{self.folder}/whole.db"
        self.ends(DONE, "backup", whole)

        def damaged(statement):
            path = f"{self.folder}/damaged.db"
            shutil.copy(whole, path)
            with sqlite3.connect(path) as db:
                db.execute(statement)
            db.close()
            return path
        for statement, table in (
                ("UPDATE objects SET bytes = zeroblob(length(bytes)) WHERE n = (SELECT max(n) FROM objects)",
                 "objects"),
                ("DELETE FROM receipts WHERE handle = (SELECT max(handle) FROM receipts)", "receipts"),
                ("UPDATE cases SET version = 99", "cases"),
                ("UPDATE audit SET seq = -seq WHERE seq = 7", "audit"),
                ("UPDATE records SET doc = x'0500000000' WHERE collection = 'staff'", "records"),
                ("DELETE FROM refs", "references")):
            with self.subTest(table):
                for dry in ([], ["--dry-run"]):
                    self.ends(DATA, "restore", *dry, "--to", "sqlite:target.db", damaged(statement),
                              says=f"its {table} are not as they were")
        self.assertFalse(os.path.exists(f"{self.folder}/target.db"))
        self.ends(DATA, "restore", "-n", damaged("DELETE FROM records WHERE collection = 'copy'"), says="no backup")
        self.ends(DATA, "restore", "-n", self.store, says="no backup")
        size = os.path.getsize(whole)
        for cut in (size // 2, 100, 0):
            shutil.copy(whole, f"{self.folder}/cut.db")
            os.truncate(f"{self.folder}/cut.db", cut)
            self.ends(DATA, "restore", "-n", f"{self.folder}/cut.db")
        self.ends(DATA, "restore", "-n", f"{self.folder}/missing.db", says="no such file")
        rng = random.Random(3)
        noticed = 0
        with open(whole, "rb") as f:
            data = f.read()
        for _ in range(12):  # a byte anywhere, as a tired disk does
            at = rng.randrange(4096, size)
            with open(f"{self.folder}/flipped.db", "wb") as f:
                f.write(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1:])
            done = self.here.tool("restore", "--to", "sqlite:flipped-target.db", f"{self.folder}/flipped.db")
            if done.returncode == DONE:  # it was in an index or in free space: what was read is what was saved
                self.assertEqual(self.holds("restore", "-n", whole),
                                 self.holds("store", "copy", "--from", "sqlite:flipped-target.db",
                                            "--to", "sqlite:flipped-copy.db"))
                os.remove(f"{self.folder}/flipped-copy.db")
                os.remove(f"{self.folder}/flipped-target.db")
            else:
                self.assertEqual(done.returncode, DATA, done.stderr)
                noticed += 1
        self.assertGreater(noticed, 6)

    def test_files_and_names(self):
        self.prepare()
        store = contents(self.store)
        done = self.ends(DONE, "backup", self.folder)
        (name,) = [n for n in os.listdir(self.folder) if n.startswith("dengwen-2")]
        self.assertRegex(name, r"^dengwen-\d{8}-\d{6}\.db$")
        self.assertIn(name, done.stdout)
        self.ends(NO, "backup", f"{self.folder}/{name}", says="is there already")
        relative = subprocess.run([f"{BIN}/dengwen", "backup", "here.db"], cwd=f"{self.folder}/state",
                                  env=self.here.environment, capture_output=True)
        self.assertEqual(relative.returncode, DONE, relative.stderr)
        self.assertEqual(contents(f"{self.folder}/state/here.db"), store)
        self.ends(NO, "restore", f"{self.folder}/{name}", says="it holds cases already")
        # Interrupted: nothing under that name, and the next one of it is whole.
        self.ends(-signal.SIGKILL, "backup", f"{self.folder}/b.db", DENGWEN_KILL_AT="store.committed:9")
        self.assertFalse(os.path.exists(f"{self.folder}/b.db"))
        self.ends(DONE, "backup", f"{self.folder}/b.db")
        self.assertEqual(contents(f"{self.folder}/b.db"), store)
        self.assertEqual([n for n in os.listdir(self.folder) if "unfinished" in n], [])
        self.ends(CONFIG, "backup", f"{self.folder}/nowhere/b.db")


class Versions(Moving):
    told = ("cases to be counted", "rows to be found")

    def test_made_and_made_again(self):
        for uri in ("sqlite:fresh.db", self.database("fresh")):
            with self.subTest(uri):
                first = json.loads(self.ends(DONE, "init-db", "--uri", uri, "--format", "json").stdout)
                self.assertEqual(first["found"], 0)
                again = json.loads(self.ends(DONE, "init-db", "--uri", uri, "--format", "json").stdout)
                self.assertEqual(again["found"], again["version"])
                self.assertEqual(first["version"], again["version"])
        self.here.start_all()
        self.ends(DONE, "init-db")  # of today, and in use
        self.stop()
        gone = free_ports(1)[0]
        self.ends(AWAY, "init-db", "--uri", f"mongodb://127.0.0.1:{gone}/x", says="does not answer")
        self.ends(CONFIG, "init-db", "--uri", f"sqlite:{self.folder}/dengwen.yaml", says="not a database")
        self.ends(CONFIG, "init-db", "-c", f"{self.folder}/no.yaml")
        with sqlite3.connect(f"{self.folder}/fresh.db") as db:
            db.execute("PRAGMA user_version=99")
        db.close()
        self.ends(CONFIG, "init-db", "--uri", "sqlite:fresh.db", says="newer Dengwen")

    def test_an_older_store_with_cases(self):
        """As version 1 was: no case says whether it is counted."""
        self.file_and_work()
        wait_until(60, self.all_are_counted, "all are counted")
        self.stop()
        self.make_older()
        self.worker_refuses("older Dengwen")
        self.ends(CONFIG, "store", "copy", "--to", "sqlite:x.db", says="older Dengwen")
        done = self.ends(DONE, "init-db")
        self.assertIn("brought from version 1 to", done.stdout)
        for what in self.told:
            self.assertIn(what, done.stderr)
        self.assertIn("already", self.ends(DONE, "init-db").stdout)
        self.everything_is_there()

    def make_older(self):
        with sqlite3.connect(self.store) as db:
            db.executescript(VERSION_1)
        db.close()

    def all_are_counted(self):
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as db:
            waiting = db.execute("SELECT count(*) FROM cases WHERE fold > 0").fetchone()[0]
        db.close()
        return waiting == 0


class VersionsInMongodb(Versions):
    settings = ()
    told = ("cases to be counted",)
    test_made_and_made_again = None  # which does both

    def setUp(self):
        with unittest.mock.patch.dict(os.environ, DENGWEN_TEST_MONGODB=server):
            super().setUp()

    def tell(self, **command):
        port = int(re.search(r":(\d+)", server.removeprefix("mongodb:")).group(1))
        tell(port, os.path.basename(self.folder), **command, writeConcern={"w": "majority"})  # as we read

    def set_version(self, version):
        self.tell(update="schema", updates=[{"q": {"_id": "dengwen"}, "u": {"$set": {"version": version}}}])

    def make_older(self):
        self.tell(dropIndexes="cases", index="fold")
        self.tell(update="cases", updates=[{"q": {}, "u": {"$unset": {"fold": "", "ix.fold": ""}}, "multi": True}])
        self.set_version(1)

    def all_are_counted(self):
        """They are in the copy that a backup is."""
        path = f"{self.folder}/counted.db"
        if os.path.exists(path):
            os.remove(path)
        self.ends(DONE, "backup", path)
        with sqlite3.connect(path) as db:
            waiting = db.execute("SELECT count(*) FROM cases WHERE fold > 0").fetchone()[0]
        db.close()
        return waiting == 0

    def test_a_newer_one(self):
        self.ends(DONE, "init-db")
        self.set_version(99)
        for words in (("init-db",), ("backup", "x.db"), ("store", "copy", "--to", "sqlite:x.db")):
            self.ends(CONFIG, *words, says="newer Dengwen (version 99")
        self.here.start("keyd", "broker")
        self.worker_refuses("install that one")


if __name__ == "__main__":
    unittest.main(verbosity=2)
