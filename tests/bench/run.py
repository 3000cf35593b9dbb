#!/usr/bin/python3
"""How fast and how small a real installation is, each figure beside a limit of the same run.

    DENGWEN_BIN=build/bin tests/bench/run.py [--cases N] [--rounds N] [--seconds S] [--nice N]
                                             [--json FILE]

Everything, the load generator included, shares two cores.  Rounds alternate between the limit and
what is measured, and the best of each counts: whatever else the machine does only takes away.

Nothing here fails for being slow.  The goals are printed beside the figures; whoever reads decides.

DENGWEN_BIN    folder of the built programs: a release build, without sanitizers and test points
DENGWEN_BENCH  folder of bench_crypto_limit and bench_load; default: tests beside DENGWEN_BIN
"""
import argparse
import http.client
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import (BIN, PARTS, Citizen, Installation, Member, a_filing, fresh_key,  # noqa: E402
                          wait_until)

BENCH = os.environ.get("DENGWEN_BENCH") or os.path.join(os.path.dirname(os.path.abspath(BIN)), "tests")
CORES = 2
CLIENTS = 32
BODY = "500108"
FEW_CASES = 100
ASKED = 200  # requests per latency
IDLE_SECONDS = 5
PATIENCE = 1800
# RT 5.0.3 on PostgreSQL 15 and Starman, the same kind of machine, its best row with scrips on.
RT_CREATED_PER_SECOND = 15.3

OPEN = [f"{key}=1000000000" for key in
        ("web.filings_per_hour", "web.filings_burst", "web.lookups_per_minute", "web.lookups_burst",
         "desk.logins_per_minute", "desk.logins_burst", "keyd.per_second", "keyd.burst")]


# ---- small tools ----

def best(rows, key="per_second"):
    return max(rows, key=lambda row: row[key])


def percentiles(seconds):
    ordered = sorted(seconds)

    def at(p):
        return round(ordered[int(p * (len(ordered) - 1))] * 1000, 2)
    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1), "asked": len(ordered)}


def say(text):
    print(text, file=sys.stderr, flush=True)


def bench(name, *words):
    done = subprocess.run([f"{BENCH}/bench_{name}", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"bench_{name}: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def loadavg():
    return [round(x, 2) for x in os.getloadavg()]


def pin():
    """This process and all it starts."""
    mine = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, mine)
    return mine


def prefer(pid, nice):
    """On a machine that is not ours alone (root).  Where the kernel groups processes by session, it is
    the group's value that counts."""
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    try:
        with open(f"/proc/{pid}/autogroup", "w") as f:
            f.write(str(nice))
    except FileNotFoundError:
        pass


def build_settings():
    """Of the CMake cache, where there is one."""
    wanted = ("CMAKE_BUILD_TYPE", "DW_SANITIZE", "DW_TEST_POINTS")
    try:
        with open(os.path.join(os.path.dirname(os.path.abspath(BIN)), "CMakeCache.txt")) as f:
            rows = [line.strip().partition("=") for line in f if "=" in line and line[0] not in "#/"]
    except OSError:
        return {}
    return {name.split(":")[0]: value for name, _, value in rows if name.split(":")[0] in wanted}


def read_line(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return ""


def machine(cores):
    with open("/proc/cpuinfo") as f:
        model = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    build = build_settings()
    if build.get("DW_SANITIZE") or build.get("DW_TEST_POINTS") == "ON":
        say("warning: sanitizers or test points are built in; these figures mean little")
    return {"cpu": model[0] if model else "", "cores_used": cores, "cores": os.cpu_count(),
            "kernel": platform.release(), "build": build, "loadavg_before": loadavg(),
            "huge_pages": read_line("/sys/kernel/mm/transparent_hugepage/enabled")}


# ---- processes ----

def pids(here):
    return {"run": here.processes["run"].pid, **{part: here.pid_of(part) for part in PARTS}}


def pss_mb(here):
    """{part: MB}; the processes are undumpable, so this wants root."""
    result = {}
    for part, pid in pids(here).items():
        with open(f"/proc/{pid}/smaps_rollup") as f:
            kib = next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        result[part] = round(kib * 1024 / 1e6, 2)
    return result


def cpu_seconds(here):
    """{part: (user, system)}"""
    tick, result = os.sysconf("SC_CLK_TCK"), {}
    for part, pid in pids(here).items():
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        result[part] = (int(fields[11]) / tick, int(fields[12]) / tick)
    return result


def cpu_ms_each(before, after, count):
    """What one filing cost in each process."""
    rows = {part: {"user": round((after[part][0] - before[part][0]) * 1000 / count, 3),
                   "system": round((after[part][1] - before[part][1]) * 1000 / count, 3)}
            for part in before}
    rows["all"] = {kind: round(sum(r[kind] for r in rows.values()), 3) for kind in ("user", "system")}
    return rows


def backlog(here):
    stats = here.queue_stats()
    if stats["dead"]:
        raise AssertionError(f"dead letters: {stats}")
    return stats["items"]


def registered(here):
    """Waits until every filing that was acknowledged is a case; (seconds, how many waited)."""
    began, waited = time.monotonic(), backlog(here)
    if waited:
        wait_until(PATIENCE, lambda: backlog(here) == 0, "every filing is a case")
    return time.monotonic() - began, waited


# ---- (a) and (b): filings a second ----

def crypto_limit(seconds):
    """Two threads of one process, and two processes: which one is faster is the kernel's business
    (the memory-hard step maps 8 MiB each time).  The limit is the better one."""
    threads = bench("crypto_limit", "-t", CORES, "-s", seconds)
    started = [subprocess.Popen([f"{BENCH}/bench_crypto_limit", "-t", "1", "-s", str(seconds)],
                                stdout=subprocess.PIPE) for _ in range(CORES)]
    each = [json.loads(p.communicate()[0]) for p in started]
    both = {"per_second": round(sum(row["per_second"] for row in each), 2),
            "cpu_ms_per_filing": round(sum(row["cpu_ms_per_filing"] for row in each) / CORES, 4)}
    return {"threads": threads, "processes": both,
            "per_second": max(threads["per_second"], both["per_second"]),
            "cpu_ms_per_filing": min(threads["cpu_ms_per_filing"], both["cpu_ms_per_filing"])}


def filing_round(here, seconds):
    limit = crypto_limit(min(seconds, 3))
    before = cpu_seconds(here)
    load = bench("load", "-p", here.web, "-c", CLIENTS, "-s", seconds)
    drain, waited = registered(here)
    after = cpu_seconds(here)
    count, accepted = load["accepted_in_all"], load["per_second"]
    if not count:
        raise AssertionError(f"no filing was accepted: {load}")
    in_all = load["seconds"] + drain
    row = {"limit": limit, "load": load, "per_second": accepted,
           "ratio": round(accepted / limit["per_second"], 3),
           "backlog": waited, "backlog_seconds": round(drain, 2),
           "registered_per_second": round(count / in_all, 2), "loadavg": loadavg(),
           "cpu_ms_per_filing": cpu_ms_each(before, after, count)}
    cpu = row["cpu_ms_per_filing"]["all"]
    row["cpu_ratio"] = round(limit["cpu_ms_per_filing"] / (cpu["user"] + cpu["system"]), 3)
    say(f"  limit {limit['per_second']}/s, accepted {accepted}/s, ratio {row['ratio']}, "
        f"backlog {waited}")
    return row


def fill(here, count, receipts):
    """Real filings until there are so many more; they are timed too."""
    before = cpu_seconds(here)
    load = bench("load", "-p", here.web, "-c", CLIENTS, "-n", count, "-r", receipts)
    drain, waited = registered(here)
    return {"load": load, "backlog": waited, "backlog_seconds": round(drain, 2),
            "registered_per_second": round(load["accepted_in_all"] / (load["seconds"] + drain), 2),
            "cpu_ms_per_filing": cpu_ms_each(before, cpu_seconds(here), load["accepted_in_all"])}


# ---- (c): from nothing to the first receipt ----

def first_receipt(here, nice):
    """Seconds from `dengwen run` to the first 202, and until all parts are ready."""
    citizen, filing, key = Citizen(here), a_filing(), fresh_key()
    began = time.monotonic()
    here.start("run", wait=False)
    if nice:
        prefer(here.processes["run"].pid, nice)

    def acknowledged():
        here.look_for_deaths()
        try:
            return citizen.file(filing, key).status == 202
        except (OSError, http.client.HTTPException):
            return False
    while not acknowledged():
        if time.monotonic() - began > 60:
            raise AssertionError("no filing is taken within 60 s")
        time.sleep(0.005)
    seconds = time.monotonic() - began
    here.wait_ready()
    return {"seconds": round(seconds, 3), "all_ready": round(time.monotonic() - began, 3)}


def starts(here, rounds, nice):
    """The last one stays up."""
    rows = []
    for i in range(rounds):
        rows.append(first_receipt(here, nice))
        if i + 1 < rounds:
            here.kill("run", how=signal.SIGTERM)
    return rows


# ---- (e): answers with many cases ----

class Connection:
    """One connection that stays open."""

    def __init__(self, port, headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = headers

    def ask(self, method, path, body=None):
        """(seconds, JSON)"""
        began = time.perf_counter()
        self.connection.request(method, path, body=body, headers=self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise AssertionError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return seconds, json.loads(text)


def follow_latency(here, receipts):
    public = Connection(here.web, {"Content-Type": "application/json"})
    times = []
    for receipt in receipts:
        seconds, answer = public.ask("POST", "/api/v1/status", json.dumps({"receipt": receipt}))
        if not answer.get("reference"):
            raise AssertionError(f"not stored: {answer}")
        times.append(seconds)
    return percentiles(times)


def worklist_latency(desk, name, asked):
    times, rows = [], []
    for _ in range(asked):
        seconds, answer = desk.ask("GET", f"/api/v1/cases?worklist={name}&limit=50")
        times.append(seconds)
        rows = answer["cases"]
    return dict(percentiles(times), rows=len(rows)), [row["reference"] for row in rows]


def latencies(here, receipts, cases):
    with open(receipts) as f:
        known = f.read().split()
    asked = [random.choice(known) for _ in range(ASKED)]
    desk = Connection(here.desk, {"Authorization": f"Bearer {Member(here, f'{BODY}.inspector1').token}"})
    result, references = {"cases": cases, "follow": follow_latency(here, asked)}, []
    for name in ("unassigned", "due", "all"):
        result[f"worklist {name}"], found = worklist_latency(desk, name, ASKED)
        references += found
    result["open a case"] = percentiles([desk.ask("GET", f"/api/v1/cases/{random.choice(references)}")[0]
                                         for _ in range(ASKED)])
    return result


# ---- the table ----

def rows_of(found):
    """(figure, value, limit or peer, ratio, goal, is it met)"""
    top, limit = best(found["rounds"]), best([r["limit"] for r in found["rounds"]])
    accepted, most = top["per_second"], limit["per_second"]
    first = min(row["seconds"] for row in found["starts"])
    memory = round(sum(found["pss_mb"].values()), 1)
    cpu = max(row["cpu_ratio"] for row in found["rounds"])
    yield ("accepted filings/s, 32 clients", accepted, f"{most} cryptography alone",
           accepted / most, ">= 0.6", accepted / most >= 0.6)
    yield ("  the same as CPU time of a filing", "", "cryptography / all processes", cpu, "", None)
    yield ("  beside RT 5.0.3 (measured before)", accepted, f"{RT_CREATED_PER_SECOND} tickets/s",
           accepted / RT_CREATED_PER_SECOND, "> 10", accepted / RT_CREATED_PER_SECOND > 10)
    yield ("  p50, p99 of these", f"{top['load']['p50_ms']}, {top['load']['p99_ms']} ms", "", "", "", None)
    for name, row in (("best round", top), ("filling", found["fill"])):
        if row:
            yield (f"registered cases/s, {name}", row["registered_per_second"],
                   f"{row['load']['per_second']} accepted/s",
                   row["registered_per_second"] / row["load"]["per_second"], "", None)
            yield ("  waiting when the last was accepted",
                   f"{row['backlog']}, {row['backlog_seconds']} s", "", "", "", None)
    yield ("run to first receipt", f"{first} s", "2 s", first / 2, "< 1", first < 2)
    yield ("memory of all, idle (PSS)", f"{memory} MB", "150 MB", memory / 150, "< 1", memory < 150)
    few, many = found["few"], found["many"]
    for name in (k for k in many if k != "cases"):
        p50, p99 = many[name]["p50_ms"], many[name]["p99_ms"]
        yield (f"{name}, {many['cases']} cases, p50, p99", f"{p50}, {p99} ms", "50 ms", p99 / 50,
               "< 1", p99 < 50)
        yield (f"  beside {few['cases']} cases, p50", f"{p50} ms", f"{few[name]['p50_ms']} ms",
               p50 / few[name]["p50_ms"], "flat", None)


def print_table(found):
    print(f"{'figure':44} {'value':>20}  {'limit or peer':30} {'ratio':>7}  {'goal':7}")
    for figure, value, beside, ratio, goal, met in rows_of(found):
        ratio = f"{ratio:.2f}" if ratio != "" else ""
        mark = "" if met is None else "met" if met else "MISSED"
        print(f"{figure:44} {value!s:>20}  {beside!s:30} {ratio:>7}  {goal:7}{mark}")
    row = best(found["rounds"])["cpu_ms_per_filing"]
    print(f"\n{'process':10} {'PSS idle, MB':>13} {'after load, MB':>15} {'CPU of a filing, ms: user':>26} "
          f"{'system':>8}")
    for part, mb in found["pss_mb"].items():
        print(f"{part:10} {mb:13.1f} {found['pss_after_mb'][part]:15.1f} {row[part]['user']:26.2f} "
              f"{row[part]['system']:8.2f}")
    print(f"{'all':10} {sum(found['pss_mb'].values()):13.1f} {sum(found['pss_after_mb'].values()):15.1f} "
          f"{row['all']['user']:26.2f} {row['all']['system']:8.2f}")
    print(f"\n{found['machine']}")


def measure(options):
    found = {"machine": machine(pin()), "rounds": [], "fill": None}
    if options.nice:
        prefer(os.getpid(), options.nice)
    say("making an installation")
    with Installation(*OPEN) as here:
        files = [f"{here.folder}/receipts.{i}" for i in range(2)]
        say("starting it, several times")
        found["starts"] = starts(here, options.rounds, options.nice)
        time.sleep(IDLE_SECONDS)
        found["pss_mb"] = pss_mb(here)
        bench("load", "-p", here.web, "-c", CLIENTS, "-n", FEW_CASES, "-r", files[0])
        registered(here)
        cases = options.rounds + FEW_CASES
        found["few"] = latencies(here, files[0], cases)
        for i in range(options.rounds):
            say(f"filings, round {i + 1} of {options.rounds}")
            found["rounds"].append(filing_round(here, options.seconds))
            cases += found["rounds"][-1]["load"]["accepted_in_all"]
        if cases < options.cases:
            say(f"filling: {cases} cases of {options.cases}")
            found["fill"] = fill(here, options.cases - cases, files[1])
            cases = options.cases
        say(f"answers with {cases} cases")
        found["many"] = latencies(here, files[1] if found["fill"] else files[0], cases)
        found["pss_after_mb"] = pss_mb(here)
        found["machine"]["loadavg_after"] = loadavg()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10000, help="for the answers with many cases")
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    parser.add_argument("--seconds", type=float, default=10, help="of load in each round")
    parser.add_argument("--nice", type=int, default=0, help="below 0: go before others on the machine")
    parser.add_argument("--json", metavar="FILE", help="all figures")
    options = parser.parse_args()
    found = measure(options)
    print_table(found)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(found, f, indent=1)


if __name__ == "__main__":
    main()
