#!/usr/bin/python3
"""What each store does as cases grow, beside what it did with the fewest.

    DENGWEN_BIN=build/bin tests/bench/store.py [--long] [--nice N] [--json FILE]

SQLite at 10,000 and 100,000 cases (--long: and 1,000,000), MongoDB's protocol at 1,000 and 4,000
(--long: 10,000 and 50,000), 64 registrations in flight.  Where no mongod is, the server is SecantusDB, whose
speed says nothing of MongoDB's: what counts is that its figures stay flat.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.environ["DENGWEN_BIN"]
BENCH = os.environ.get("DENGWEN_BENCH") or os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests")
MONGODB = os.path.join(HERE, "..", "support", "mongodb.sh")
FLAT = 1.5
TIMES = ("one step", "worklist page", "follow by receipt", "object", "statistics page")


def run(uri, sizes):
    done = subprocess.run([f"{BENCH}/bench_store", uri, sizes], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def sqlite(sizes):
    folder = tempfile.mkdtemp(prefix="dw-bench-", dir="/var/tmp")
    try:
        return run(f"sqlite:{folder}/cases.db", sizes)
    finally:
        shutil.rmtree(folder)


def mongodb(sizes):
    folder = tempfile.mkdtemp(prefix="dw-bench-", dir="/var/tmp")
    try:
        started = subprocess.run([MONGODB, "start", folder, "27217"], check=True, stdout=subprocess.PIPE, text=True)
        with open(f"{folder}/uri") as f:
            host, _, options = f.read().strip().rpartition("/")
        return started.stdout.strip().splitlines()[-1], run(f"{host}/bench{options}", sizes)
    finally:
        subprocess.run([MONGODB, "stop", folder], check=False)
        shutil.rmtree(folder)


def print_rows(name, rows):
    first = rows[0]
    print(f"\n{name}\n{'cases':>10} {'registered/s':>13}" + "".join(f"{t + ', p50, p99 ms':>30}" for t in TIMES))
    for row in rows:
        cells = "".join(f"{row[t]['p50_ms']:>15.2f} {row[t]['p99_ms']:>7.2f} {row[t]['p50_ms'] / first[t]['p50_ms']:>5.2f}x"
                        for t in TIMES)
        print(f"{row['cases']:>10} {row['registrations_per_second']:>13.0f}{cells}")
    last = rows[-1]
    worst = max(last[t]["p50_ms"] / first[t]["p50_ms"] for t in TIMES[1:])
    print(f"  questions from the smallest to the largest: {worst:.2f}x (flat: within {FLAT}x)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="a million cases, and 50,000 at the server")
    parser.add_argument("--nice", type=int, default=0, help="below 0: go before others on the machine")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, options.nice)
    embedded = sqlite("10000,100000,1000000" if options.long else "10000,100000")
    print_rows("SQLite", embedded)
    name, served = mongodb("10000,50000" if options.long else "1000,4000")
    print_rows(name, served)
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"sqlite": embedded, name: served}, f, indent=1)


if __name__ == "__main__":
    sys.exit(main())
