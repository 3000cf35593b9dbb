#!/usr/bin/python3
"""The broker as a message queue, beside others and beside what the machine can do, in one run.

    DENGWEN_BIN=build/bin tests/bench/queue.py [--part compare|cycle|backlog]... [--rounds N] [--seconds S]
                                               [--rows N] [--nice N] [--json FILE]

compare   durable accepts of 1 KiB with confirmation, 1, 16 and 64 clients with one message on its way each:
          Dengwen over CURVE; RabbitMQ with a quorum and a classic queue and confirms; Redis with
          `appendfsync always`; the bare loop over CURVE, into SQLite and into a log; the disk alone
cycle     accept alone beside accept, deliver, done; 1, 4 and 16 services
backlog   accepts with --rows items waiting, beside an empty queue

Servers and generators share two cores.  Each generator is one thread that waits for all its connections, on plain
sockets (redis-benchmark is, and the two of ours); what it costs an item is in the JSON.  Each server runs alone and gets an empty queue each time; rounds go
through all of them, and the best of each counts: whatever else the machine does only takes away.
A peer that is not installed (group bench of conf/packages) is named, and the rest goes on.
Nothing here fails for being slow.  The goals are printed beside the figures; whoever reads decides.
"""
import argparse
import csv
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import queue_servers  # noqa: E402
from queue_servers import BENCH, Bare, Dengwen, RabbitMQ, Redis  # noqa: E402
from installation import wait_until  # noqa: E402
from run import loadavg, machine, pin, prefer, say  # noqa: E402

CLIENTS = (1, 16, 64)
MANY = CLIENTS[-1]
SERVICES = (1, 4, 16)
BYTES = 1024
# redis-benchmark wants a count, not a time: about so many a second are expected.
REDIS_COUNT = {1: 3000, 16: 15000, 64: 30000}
DISK = "pwrite + fdatasync alone"
OURS, OURS_KEYED = "Dengwen", "Dengwen, with handle and key of the sender"
QUORUM, CLASSIC, REDIS = "RabbitMQ quorum", "RabbitMQ classic", "Redis AOF always"
BARE_SQLITE, BARE_LOG = "bare loop, SQLite", "bare loop, log"


def bench(name, *words):
    done = subprocess.run([f"{BENCH}/bench_{name}", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"bench_{name}: {done.returncode}: {done.stderr}")
    row = json.loads(done.stdout)
    if row.get("refused"):
        raise AssertionError(f"bench_{name}: refused: {row}")
    return row


def put(server, clients, seconds, *more):
    return bench("queue", "put", server.key, "-c", clients, "-s", seconds, "-b", BYTES, *more)


def redis(server, clients, seconds):
    words = ["redis-benchmark", "-p", server.port, "-c", clients, "-n", int(REDIS_COUNT[clients] * seconds), "--csv",
             "XADD", "s", "*", "f", "x" * BYTES]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)
    row = list(csv.DictReader(done.stdout.splitlines()))[-1]
    return {"clients": clients, "per_second": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]),
            "p99_ms": float(row["p99_latency_ms"]), "max_ms": float(row["max_latency_ms"])}


def rabbitmq(server, kind, clients, seconds):
    return bench("rabbitmq", "-p", server.port, "-q", kind, "-c", clients, "-s", seconds, "-b", BYTES)


# ---- compare ----

def with_dengwen(seconds):
    with Dengwen() as server:
        for clients in CLIENTS:
            for name, more in ((OURS, ()), (OURS_KEYED, ("-k",))):
                server.empty()
                yield name, put(server, clients, seconds, *more)


def with_bare(seconds):
    for name, engine in ((BARE_SQLITE, "sqlite"), (BARE_LOG, "log")):
        for clients in CLIENTS:
            with Bare(engine) as server:
                yield name, put(server, clients, seconds)
    with Bare("log") as server:
        yield DISK, dict(bench("bare", "disk", f"{server.folder}/disk", seconds), clients=1)


def with_rabbitmq(seconds):
    with RabbitMQ() as server:
        for name, kind in ((QUORUM, "quorum"), (CLASSIC, "classic")):
            for clients in CLIENTS:
                yield name, rabbitmq(server, kind, clients, seconds)


def with_redis(seconds):
    for clients in CLIENTS:
        with Redis() as server:
            yield REDIS, redis(server, clients, seconds)


def compare(options):
    """{name: {clients: best row}}"""
    found, parties = {}, [with_dengwen, with_bare]
    for peer, party in ((RabbitMQ, with_rabbitmq), (Redis, with_redis)):
        if peer.missing:
            say(f"not measured: {peer.__name__}, as {peer.missing} is not installed (conf/packages, group bench)")
        else:
            parties.append(party)
    for i in range(options.rounds):
        for party in parties:
            for name, row in party(options.seconds):
                say(f"  round {i + 1}: {name}, {row['clients']} clients: {row['per_second']:.0f}/s, "
                    f"p50 {row['p50_ms']:.2f} ms, p99 {row['p99_ms']:.2f} ms")
                rows = found.setdefault(name, {})
                if row["per_second"] > rows.get(row["clients"], {"per_second": 0})["per_second"]:
                    rows[row["clients"]] = row
    return found


def print_compare(found):
    print(f"\n{'1 KiB accepted durably, with confirmation':44}" +
          "".join(f"{f'{c} client' + 's' * (c > 1):>26}" for c in CLIENTS))
    print(f"{'':44}" + f"{'a second':>10}{'p50, p99 ms':>16}" * len(CLIENTS))
    for name, rows in found.items():
        cells = (f"{rows[c]['per_second']:>10.0f}{rows[c]['p50_ms']:>8.2f}{rows[c]['p99_ms']:>8.2f}" if c in rows
                 else " " * 26 for c in CLIENTS)
        print(f"{name:44}" + "".join(cells))
    ours = found[OURS]
    print(f"\n{'ratios':62}{'ratio':>8}  goal")
    for figure, ratio, goal, met in ratios(found, ours):
        mark = "" if met is None else "met" if met else "MISSED"
        print(f"{figure:62}{ratio:>8.2f}  {goal:7}{mark}")


def ratios(found, ours):
    """(figure, ratio, goal, is it met)"""
    def rate(name, clients):
        return ours[clients]["per_second"] / found[name][clients]["per_second"]

    def time_of(name, clients, which):
        return ours[clients][which] / found[name][clients][which]
    if QUORUM in found:
        ratio = rate(QUORUM, MANY)
        yield f"{MANY} clients: rate beside {QUORUM}", ratio, ">= 1.5", ratio >= 1.5
        ratio = time_of(QUORUM, MANY, "p99_ms")
        yield "  its p99 beside theirs", ratio, "< 1", ratio < 1
        for name in (QUORUM, CLASSIC):
            ratio = time_of(name, 1, "p50_ms")
            yield f"1 client: p50 beside {name}", ratio, "< 1", ratio < 1
    for name in found:
        if name not in (OURS, QUORUM, DISK):
            yield f"{MANY} clients: rate beside {name}", rate(name, MANY), "", None
    yield f"1 client: rate beside {DISK}", rate(DISK, 1), "", None


# ---- cycle ----

class Workers:
    """One process that serves all services and says 200 to everything."""

    def __init__(self, keys):
        self.process = subprocess.Popen([f"{BENCH}/bench_queue", "work", *keys], stdout=subprocess.PIPE, text=True)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return json.loads(self.process.communicate(timeout=60)[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def full_cycle(server, services, seconds):
    """From the first that is put until the last is done."""
    with Workers(server.worker_keys[:services]) as workers:
        time.sleep(1)
        row = put(server, MANY, seconds, "-n", services)
        waited = server.waiting()
        wait_until(600, lambda: server.waiting() == 0, "every item is done")
        done = workers.end()
    if done["done"] != row["accepted"]:
        raise AssertionError(f"accepted {row['accepted']}, done {done['done']}")
    in_all = (done["last_us"] - row["began_us"]) / 1e6
    return {"accepted_meanwhile": row["per_second"], "per_second": round(row["accepted"] / in_all, 1),
            "waiting_at_the_end": waited, "p50_ms": row["p50_ms"], "p99_ms": row["p99_ms"]}


def cycle(options):
    found = {}
    with Dengwen(max(SERVICES)) as server:
        for i in range(options.rounds):
            for services in SERVICES:
                server.empty()
                alone = put(server, MANY, options.seconds, "-n", services)
                server.empty()
                row = dict(full_cycle(server, services, options.seconds), alone=alone["per_second"])
                say(f"  round {i + 1}, services {services}: accept alone {row['alone']:.0f}/s, accept, deliver, done "
                    f"{row['per_second']:.0f}/s, {row['waiting_at_the_end']} waited at the end")
                best = found.setdefault(services, row)
                found[services] = dict(max(best, row, key=lambda r: r["per_second"]),
                                       alone=max(best["alone"], row["alone"]))
    return found


def print_cycle(found):
    print(f"\n{f'{MANY} clients':20}{'accept alone/s':>16}{'accept, deliver, done/s':>26}{'ratio':>8}"
          f"{'beside 1 service':>18}")
    for services, row in found.items():
        name = f"{services} service{'s' * (services > 1)}"
        print(f"{name:20}{row['alone']:>16.0f}{row['per_second']:>26.0f}"
              f"{row['per_second'] / row['alone']:>8.2f}{row['per_second'] / found[1]['per_second']:>18.2f}")


# ---- backlog ----

def fill(path, rows):
    """Items as guests put them."""
    body = struct.pack(">II", 1, BYTES) + b"x" * BYTES
    step, now = (1 << 64) // rows, int(time.time() * 1000)
    db = sqlite3.connect(path)
    for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-262144", "locking_mode=EXCLUSIVE"):
        db.execute(f"PRAGMA {setting}").fetchall()
    statement = ("INSERT INTO items(id, service, class, handle, attempt, parts, bytes, day, created, state, fence, "
                 "attempts, delays, next_at, reason, body, origin, expires) "
                 f"VALUES(?1, 'bench0', 1, zeroblob(16), zeroblob(16), 0, {BYTES}, 20000, {now}, 0, 0, 0, 0, 0, '', ?2, 2, "
                 f"{now + 7 * 86400000})")
    part = max(1, rows // 10)
    for at in range(0, rows, part):
        with db:
            db.executemany(statement, ((struct.pack(">QQ", i * step, i), body)
                                       for i in range(at, min(at + part, rows))))
        say(f"  {min(at + part, rows)} of {rows} rows")
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    db.close()


def best_put(server, options, fresh):
    best = None
    for _ in range(options.rounds):
        if fresh:
            server.empty()
        row = put(server, MANY, options.seconds)
        say(f"  {row['per_second']:.0f}/s, p50 {row['p50_ms']:.2f} ms, p99 {row['p99_ms']:.2f} ms")
        best = row if not best or row["per_second"] > best["per_second"] else best
    return best


def backlog(options):
    with Dengwen() as server:
        say("an empty queue")
        found = {"rows": options.rows, "empty": best_put(server, options, True)}
        server.empty()
        server.here.end("broker")
        say("filling")
        began = time.monotonic()
        fill(server.queue_file, options.rows)
        found["fill_seconds"] = round(time.monotonic() - began, 1)
        found["file_bytes"] = os.path.getsize(server.queue_file)
        found["start_seconds"] = round(server.start(), 1)
        say(f"{options.rows} items wait; the broker started in {found['start_seconds']} s")
        found["full"] = best_put(server, options, False)
    return found


def print_backlog(found):
    empty, full = found["empty"], found["full"]
    ratio = empty["per_second"] / full["per_second"]
    print(f"\n{f'{MANY} clients':28}{'accepts/s':>12}{'p50, p99 ms':>18}")
    for name, row in (("an empty queue", empty), (f"{found['rows']} items wait", full)):
        print(f"{name:28}{row['per_second']:>12.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}")
    print(f"  empty beside full: {ratio:.2f}x (goal: within 1.3x) {'met' if ratio <= 1.3 else 'MISSED'}; the file has "
          f"{found['file_bytes'] / 1e9:.1f} GB and was opened in {found['start_seconds']} s")


PARTS = {"compare": (compare, print_compare), "cycle": (cycle, print_cycle), "backlog": (backlog, print_backlog)}


def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would end what ends the servers
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    parser.add_argument("--seconds", type=float, default=4, help="of load in each measurement")
    parser.add_argument("--rows", type=int, default=1000000, help="of backlog; 10,000,000 want 15 GB of disk")
    parser.add_argument("--nice", type=int, default=0, help="below 0: go before others on the machine")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end)
    found = {"machine": machine(pin())}
    if options.nice:
        prefer(os.getpid(), options.nice)
        queue_servers.nice = options.nice
    for part in options.part or PARTS:
        say(part)
        found[part] = PARTS[part][0](options)
    found["machine"]["loadavg_after"] = loadavg()
    for part in options.part or PARTS:
        PARTS[part][1](found[part])
    print(f"\n{found['machine']}")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(found, f, indent=1)


if __name__ == "__main__":
    main()
