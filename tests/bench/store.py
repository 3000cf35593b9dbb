#!/usr/bin/python3
"""What each store does as cases grow, beside what it did with the fewest; and what a real case worker
makes of a queue full of real filings.

    DENGWEN_BIN=build/bin tests/bench/store.py [--long] [--nice N] [--json FILE]
    ... --sqlite 1000000 --keep FOLDER --only sqlite     a large store, made in portions

SQLite at 10,000 and 100,000 cases (--long: and 1,000,000), MongoDB at 10,000 and 50,000 (--long: 100,000 and
1,000,000), 64 registrations in flight.  Where no mongod can be had, the server is SecantusDB, which reads a
whole index for each question that names one: it is asked at 1,000 and 4,000, and says nothing of MongoDB.

Two rates of registering: of the store alone, given steps that are ready, with what one takes of
processor and disk (log and file); and of dengwen-casework, which takes filings from the broker, verifies
and routes each, and shares the machine with the broker.  The latter stands beside what one core can
verify.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from installation import BIN, Installation  # noqa: E402

BENCH = os.environ.get("DENGWEN_BENCH") or os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests")
MONGODB = os.path.join(HERE, "..", "support", "mongodb.sh")
FLAT = 1.5
TIMES = ("ping", "one step", "worklist page", "follow by receipt", "object", "statistics page")


def run(uri, sizes):
    done = subprocess.run([f"{BENCH}/bench_store", uri, sizes], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def kept(folder, rows):
    """With those of earlier portions, by size."""
    path = f"{folder}/rows.json"
    if os.path.exists(path):
        with open(path) as f:
            rows = json.load(f) + rows
    with open(path, "w") as f:
        json.dump(rows, f)
    return sorted(rows, key=lambda row: row["cases"])


def sqlite(options):
    folder = options.keep or tempfile.mkdtemp(prefix="dw-bench-", dir="/var/tmp")
    os.makedirs(folder, exist_ok=True)
    try:
        rows = run(f"sqlite:{folder}/cases.db", options.sqlite)
        return kept(folder, rows) if options.keep else rows
    finally:
        if not options.keep:
            shutil.rmtree(folder)


class Server:
    """One of a moment."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="dw-bench-", dir="/var/tmp")
        started = subprocess.run([MONGODB, "start", self.folder, "27217"], check=True, stdout=subprocess.PIPE,
                                 text=True)
        self.name = started.stdout.strip().splitlines()[-1]
        with open(f"{self.folder}/uri") as f:
            self.uri = f.read().strip()
        return self

    def __exit__(self, *_):
        subprocess.run([MONGODB, "stop", self.folder], check=False)
        shutil.rmtree(self.folder)


def mongodb(options):
    with Server() as server:
        host, _, rest = server.uri.rpartition("/")
        usual = "10000,100000,1000000" if options.long else "10000,50000"
        if server.name.startswith("SecantusDB"):
            usual = "1000,4000"
        return server.name, run(f"{host}/bench{rest}", options.server or usual)


# ---- a real case worker ----

def drained(here, count):
    """Registrations a second, from the first that is gone to the last."""
    here.start("casework", wait=False)
    began = None
    while True:
        items, now = here.queue_stats()["items"], time.monotonic()
        if items < count and began is None:
            began, first = now, items
        if items == 0 and first < count / 2:
            raise AssertionError(f"{count} filings are too few: they were gone before one could look")
        if items == 0:
            return first / max(now - began, 1e-3)
        time.sleep(0.05)


def worker(count):
    """Filings of real clients wait in the queue until all are there."""
    open_door = [f"{key}=1000000000" for key in ("web.filings_per_hour", "web.filings_burst", "keyd.per_second",
                                                 "keyd.burst")]
    with Installation(*open_door) as here:
        here.start("ops", "keyd", "broker", "web")
        subprocess.run([f"{BENCH}/bench_load", "-p", str(here.web), "-c", "32", "-n", str(count)], check=True,
                       stdout=subprocess.DEVNULL)
        here.kill("web", "keyd")
        count = here.queue_stats()["items"]
        return {"filings": count, "registrations_per_second": round(drained(here, count), 1)}


def verify_limit():
    """Filings a second that one core can verify, if it does nothing else."""
    done = subprocess.run([f"{BENCH}/bench_verify_limit", "2"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def workers(count):
    rows = {"SQLite": worker(count)}
    with Server() as server:
        os.environ["DENGWEN_TEST_MONGODB"] = server.uri
        try:
            rows[server.name] = worker(count // 4 if server.name.startswith("SecantusDB") else count)
        finally:
            del os.environ["DENGWEN_TEST_MONGODB"]
    return rows


def print_rows(name, rows):
    first = rows[0]
    print(f"\n{name}\n{'cases':>10} {'registered/s':>13}{'CPU us':>8}{'KiB':>7}"
          + "".join(f"{t + ', ms':>24}" for t in TIMES))
    for row in rows:
        cells = "".join(f"{row[t]['p50_ms']:>10.3f} {row[t]['p99_ms']:>7.2f} {row[t]['p50_ms'] / first[t]['p50_ms']:>5.2f}x"
                        for t in TIMES)
        print(f"{row['cases']:>10} {row['registrations_per_second']:>13.0f}{row['cpu_us']:>8.0f}"
              f"{row['kib_written']:>7.1f}{cells}")
    last = rows[-1]
    worst = max(last[t]["p50_ms"] / first[t]["p50_ms"] for t in TIMES[2:])
    print(f"  questions from the smallest to the largest: {worst:.2f}x (flat: within {FLAT}x)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="a million cases in each")
    parser.add_argument("--sqlite", metavar="SIZES", help="instead of those above")
    parser.add_argument("--server", metavar="SIZES", help="instead of those above")
    parser.add_argument("--keep", metavar="FOLDER", help="the SQLite store is there, is gone on with, and stays")
    parser.add_argument("--filings", type=int, default=4000, help="for the case worker")
    parser.add_argument("--only", choices=("sqlite", "server", "worker"), help="one of the three")
    parser.add_argument("--nice", type=int, default=0, help="below 0: go before others on the machine")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args()
    options.sqlite = options.sqlite or ("10000,100000,1000000" if options.long else "10000,100000")
    os.setpriority(os.PRIO_PROCESS, 0, options.nice)
    found = {}
    if options.only in (None, "sqlite"):
        found["sqlite"] = sqlite(options)
        print_rows("SQLite", found["sqlite"])
    if options.only in (None, "server"):
        name, found["server"] = mongodb(options)
        print_rows(name, found["server"])
    if options.only in (None, "worker"):
        limit = found["verify limit"] = verify_limit()
        found["worker"] = workers(options.filings)
        print(f"\ndengwen-casework, draining a queue; one core verifies {limit['per_second']} filings/s")
        for name, row in found["worker"].items():
            rate = row["registrations_per_second"]
            print(f"  {name:24} {row['filings']:>6} filings {rate:>8.0f} registered/s"
                  f" {rate / limit['per_second']:>6.2f} of the limit")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(found, f, indent=1)


if __name__ == "__main__":
    sys.exit(main())
