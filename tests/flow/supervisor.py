#!/usr/bin/python3
"""dengwen-run as its users and its parts see it.

The supervisor is the real one; the parts are tests/support/part.c under the names of the parts,
since what they do here - hang, refuse, outlive a signal - no finished part does on command.

DENGWEN_BIN  folder of the built programs
PART         the stand-in
"""
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

BIN = os.environ["DENGWEN_BIN"]
PART = os.environ["PART"]
PARTS = ["ops", "keyd", "broker", "casework", "notify", "desk", "web"]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


class Site:
    """A folder with programs, settings and what the parts wrote down."""

    def __init__(self, settings="", parts=PARTS):
        self.folder = tempfile.mkdtemp(prefix="dw-run-", dir="/tmp")
        self.runs = []
        for name in ("bin", "parts"):
            os.mkdir(f"{self.folder}/{name}")
        shutil.copy(f"{BIN}/dengwen-run", f"{self.folder}/bin/dengwen-run")
        for name in parts:
            shutil.copy(PART, f"{self.folder}/bin/dengwen-{name}")
        self.config = f"{self.folder}/dengwen.yaml"
        with open(self.config, "w") as f:
            f.write(settings or "supervisor: {ready_seconds: 20, stop_seconds: 10}\n")
        self.environment = dict(os.environ, PART_FOLDER=f"{self.folder}/parts")
        self.environment.pop("NOTIFY_SOCKET", None)

    def order(self, part, what):
        with open(f"{self.folder}/parts/{part}", "w") as f:
            f.write(what + "\n")

    def run(self, **more):
        err = open(f"{self.folder}/err{len(self.runs)}", "w+")
        process = subprocess.Popen([f"{self.folder}/bin/dengwen-run", "-c", self.config],
                                   env=dict(self.environment, **more), stdout=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, stderr=err, text=True)
        process.err = err
        self.runs.append(process)
        return process

    def said(self, process):
        process.err.seek(0)
        return process.err.read()

    def log(self):
        """[(what, part, number)]; what the parts noted, in order."""
        try:
            with open(f"{self.folder}/parts/log") as f:
                lines = [line.split() for line in f.read().splitlines()]
        except FileNotFoundError:
            return []
        return [(what.split(":")[0], part, int(number)) for what, part, number in lines]

    def noted(self, what, part=None):
        return [n for w, p, n in self.log() if w == what and part in (None, p)]

    def pids(self):
        """The newest process of each part."""
        return {p: n for w, p, n in self.log() if w == "start"}

    def close(self):
        for process in self.runs:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
            process.err.close()
        for pid in self.noted("start") + self.noted("grandchild"):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder)


class Supervisor(unittest.TestCase):
    def site(self, *args, **more):
        site = Site(*args, **more)
        self.addCleanup(site.close)
        return site

    def until(self, true, what, seconds=20):
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                self.fail(f"not within {seconds} s: {what}")
            time.sleep(0.01)

    def all_ready(self, site, process=None):
        process = process or site.runs[-1]
        self.until(lambda: "process.ready" in site.said(process), "all parts ready")

    def ends(self, process, code, seconds=20):
        self.assertEqual(process.wait(seconds), code)

    def test_parts_start_in_order_each_after_the_one_before_is_ready(self):
        site = self.site()
        site.run()
        self.all_ready(site)
        self.assertEqual([(w, p) for w, p, _ in site.log()],
                         [(w, p) for p in PARTS for w in ("start", "ready")])

    def test_parts_find_the_surroundings_that_were_promised(self):
        site = self.site()
        site.run()
        self.all_ready(site)
        with open(f"{site.folder}/parts/log") as f:
            starts = re.findall(r"^start:(\w*)", f.read(), re.M)
        # killed with the supervisor, own group, empty mask, SIGPIPE, /dev/null, -c FILE, no files
        self.assertEqual(starts, ["dgmpicf"] * len(PARTS))

    def test_the_socket_is_for_its_owner_only(self):
        site = self.site()
        site.run()
        self.all_ready(site)
        self.assertEqual(os.stat(f"{site.folder}/run/supervisor.sock").st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(f"{site.folder}/run").st_mode & 0o777, 0o750)

    def test_a_killed_part_is_started_at_once_and_the_others_are_left_alone(self):
        site = self.site()
        site.run()
        self.all_ready(site)
        before = site.pids()
        os.kill(before["broker"], signal.SIGKILL)
        self.until(lambda: len(site.noted("ready", "broker")) == 2, "broker ready again", 2)
        after = site.pids()
        self.assertNotEqual(before.pop("broker"), after.pop("broker"))
        self.assertEqual(before, after)
        self.assertEqual(site.noted("term"), [])

    def test_what_a_dead_part_leaves_behind_is_killed(self):
        site = self.site()
        site.order("web", "parent")
        site.run()
        self.all_ready(site)
        child = site.noted("grandchild")[0]
        os.kill(site.pids()["web"], signal.SIGKILL)
        self.until(lambda: gone(child), "the grandchild gone", 2)

    def test_deaths_at_the_start_wait_longer_each_time_and_stop_nobody_else(self):
        site = self.site()
        site.order("notify", "exit 3")
        process = site.run()
        self.until(lambda: len(site.noted("start", "notify")) == 2, "second start")
        time.sleep(1.2)
        # 0, 0, 100, 300, 700 ms; the sixth would come after 1500
        self.assertLessEqual(len(site.noted("start", "notify")), 5)
        self.until(lambda: len(site.noted("start", "notify")) >= 4, "it is tried again")
        self.assertEqual(set(site.pids()), set(PARTS[:5]))
        self.assertIsNone(process.poll())
        self.assertEqual([p for p in PARTS[:4] if gone(site.pids()[p])], [])
        self.assertEqual(site.noted("term"), [])
        site.order("notify", "ready")
        self.all_ready(site)
        self.assertEqual(len(site.noted("start", "ops")), 1)

    def test_a_part_that_never_gets_ready_is_killed_and_tried_again(self):
        site = self.site("supervisor: {ready_seconds: 1}\n")
        site.order("desk", "hang")
        process = site.run()
        self.until(lambda: len(site.noted("start", "desk")) == 2, "second start of desk")
        self.assertEqual(site.noted("term", "desk"), [])
        self.assertTrue(gone(site.noted("start", "desk")[0]))
        self.assertNotIn("web", site.pids())
        self.assertRegex(site.said(process), "desk: was not ready in time.*thinking about it")
        site.order("desk", "ready")
        self.all_ready(site)
        self.assertEqual([len(site.noted("start", p)) for p in PARTS if p != "desk"], [1] * 6)

    def test_readiness_that_is_only_repeated_is_believed(self):
        site = self.site()
        site.order("keyd", "by-repetition")
        site.run()
        self.all_ready(site)

    def test_strangers_are_not_believed(self):
        site = self.site()
        site.order("notify", "hang")
        site.run()
        self.until(lambda: "notify" in site.pids(), "notify started")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            for text in (b"READY=1\nDENGWEN=notify\nDENGWEN_READY=1", b"", b"\0" * 100,
                         b"x" * 70000):
                s.sendto(text, f"{site.folder}/run/supervisor.sock")
        time.sleep(0.5)
        self.assertNotIn("desk", site.pids())

    def test_sigterm_ends_parts_in_reverse_order(self):
        site = self.site()
        process = site.run()
        self.all_ready(site)
        process.terminate()
        self.ends(process, 0)
        ending = [(w, p) for w, p, _ in site.log() if w in ("term", "end")]
        self.assertEqual(ending, [(w, p) for p in reversed(PARTS) for w in ("term", "end")])
        self.assertEqual([p for p in site.noted("start") if not gone(p)], [])
        self.assertFalse(os.path.exists(f"{site.folder}/run/supervisor.sock"))

    def test_sigterm_during_the_start_ends_what_runs(self):
        site = self.site()
        site.order("broker", "hang")
        process = site.run()
        self.until(lambda: "broker" in site.pids(), "broker started")
        time.sleep(0.2)
        process.terminate()
        self.ends(process, 0)
        self.assertEqual([p for w, p, _ in site.log() if w == "end"], ["broker", "keyd", "ops"])

    def test_a_part_that_does_not_end_is_killed(self):
        site = self.site("supervisor: {stop_seconds: 1}\n")
        site.order("casework", "deaf")
        process = site.run()
        self.all_ready(site)
        process.terminate()
        self.ends(process, 0)
        self.assertEqual([p for p in site.noted("start") if not gone(p)], [])
        self.assertEqual([p for w, p, _ in site.log() if w == "end"],
                         ["web", "desk", "notify", "broker", "keyd", "ops"])

    def test_a_second_signal_kills_all(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)):
            site = self.site()
            site.order("web", "deaf")
            process = site.run()
            self.all_ready(site)
            process.send_signal(first)
            self.until(lambda: site.noted("term", "web"), "web told to end")
            self.assertIsNone(process.poll())
            process.send_signal(second)
            self.ends(process, 130, 3)
            self.assertEqual([p for p in site.noted("start") if not gone(p)], [])
            self.assertEqual(site.noted("end"), [])

    def test_nothing_outlives_a_killed_supervisor(self):
        site = self.site()
        site.order("web", "deaf")
        process = site.run()
        self.all_ready(site)
        pids = site.noted("start")
        self.assertEqual([p for p in pids if gone(p)], [])
        process.kill()
        self.until(lambda: all(gone(p) for p in pids), "all parts gone", 1)
        process.wait()
        # Nor does it stand in the way of the next one.
        second = site.run()
        self.all_ready(site, second)

    def test_nothing_outlives_a_supervisor_killed_while_it_starts(self):
        for delay in (0.01, 0.03, 0.06, 0.1, 0.15):
            site = self.site()
            process = site.run()
            self.until(lambda: site.log(), "a first part")
            time.sleep(delay)
            process.kill()
            process.wait()
            time.sleep(0.5)
            self.assertEqual([p for p in site.noted("start") if not gone(p)], [])

    def test_a_second_instance_is_refused(self):
        site = self.site()
        first = site.run()
        self.all_ready(site)
        second = site.run()
        self.ends(second, 75)
        self.assertIn(f"another dengwen-run (process {first.pid})", site.said(second))
        self.assertEqual(len(site.noted("start")), len(PARTS))
        os.kill(site.pids()["web"], signal.SIGKILL)  # the first still hears of readiness
        self.until(lambda: site.said(first).count("process.ready") == 2, "ready again")

    def test_wrong_configuration_at_the_first_start_ends_everything(self):
        site = self.site()
        site.order("notify", "exit 78")
        process = site.run()
        self.ends(process, 78)
        self.assertEqual(len(site.noted("start", "notify")), 1)
        self.assertNotIn("desk", site.pids())
        self.assertEqual([p for w, p, _ in site.log() if w == "end"],
                         ["casework", "broker", "keyd", "ops"])
        self.assertIn("notify says that the configuration is wrong", site.said(process))

    def test_wrong_configuration_later_is_a_death_like_any_other(self):
        site = self.site()
        process = site.run()
        self.all_ready(site)
        site.order("notify", "once 78")
        os.kill(site.pids()["notify"], signal.SIGKILL)
        self.until(lambda: len(site.noted("ready", "notify")) == 2, "notify ready again")
        self.assertEqual(len(site.noted("start", "notify")), 3)
        self.assertIsNone(process.poll())

    def test_a_missing_program_starts_nothing(self):
        site = self.site(parts=[p for p in PARTS if p != "desk"])
        process = site.run()
        self.ends(process, 78)
        self.assertIn("dengwen-desk lies neither", site.said(process))
        self.assertEqual(site.log(), [])

    def test_a_run_folder_with_a_long_name_is_refused(self):
        site = self.site("run: " + "r" * 100 + "\n")
        process = site.run()
        self.ends(process, 78)
        self.assertIn("set `run` to a shorter one", site.said(process))

    def test_reload_is_passed_on(self):
        site = self.site()
        process = site.run()
        self.all_ready(site)
        process.send_signal(signal.SIGHUP)
        self.until(lambda: len(site.noted("hup")) == len(PARTS), "all parts told")
        self.assertIsNone(process.poll())

    def test_its_own_supervisor_is_told_when_all_are_ready(self):
        site = self.site()
        site.order("web", "hang")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(f"{site.folder}/systemd.sock")
            s.settimeout(0.3)

            def told(seconds):
                heard, end = b"", time.monotonic() + seconds
                while b"READY=1\n" not in heard.replace(b"DENGWEN_READY=1", b"") and \
                        time.monotonic() < end:
                    try:
                        word = s.recv(65536)
                    except TimeoutError:
                        continue
                    self.assertLessEqual(len(word), 4096)
                    heard += word
                return b"READY=1\n" in heard.replace(b"DENGWEN_READY=1", b"")

            site.run(NOTIFY_SOCKET=f"{site.folder}/systemd.sock")
            self.until(lambda: "web" in site.pids(), "web started")
            self.assertFalse(told(1))
            site.order("web", "ready")
            os.kill(site.pids()["web"], signal.SIGKILL)
            self.assertTrue(told(10))

    def test_restarts_are_counted_for_ops(self):
        site = self.site()
        os.mkdir(f"{site.folder}/run")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(f"{site.folder}/run/ops.sock")
            s.settimeout(5)
            site.run()
            self.all_ready(site)
            for _ in range(2):
                count = len(site.noted("ready", "keyd"))
                os.kill(site.pids()["keyd"], signal.SIGKILL)
                self.until(lambda: len(site.noted("ready", "keyd")) > count, "keyd ready again")
            end = time.monotonic() + 5
            word = ""
            while "restarts_keyd_total 2\n" not in word and time.monotonic() < end:
                word = s.recv(65536).decode()
            self.assertIn("DENGWEN=run\n", word)
            self.assertIn("DENGWEN_METRIC=dengwen_run_restarts_keyd_total 2\n", word)
            self.assertIn("DENGWEN_METRIC=dengwen_run_restarts_case_total 0\n", word)

    def test_ctrl_c_in_a_terminal_reaches_the_supervisor_only(self):
        site = self.site("supervisor: {stop_seconds: 10}\nweb: {listen: '127.0.0.1:18080'}\n"
                         "desk: {origin: 'https://desk.example'}\n")
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.clear()
            os.environ.update(site.environment)
            os.execv(f"{site.folder}/bin/dengwen-run", ["dengwen-run", "-c", site.config])
        screen = ""

        def shown(text):
            nonlocal screen
            if select.select([terminal], [], [], 0)[0]:
                try:
                    screen += os.read(terminal, 65536).decode()
                except OSError:
                    pass
            return text in screen

        self.until(lambda: shown("operations"), "the addresses on the terminal")
        self.assertIn("http://127.0.0.1:18080/", screen)
        self.assertIn("https://desk.example/", screen)
        os.write(terminal, b"\x03")
        status = None

        def ended():
            nonlocal status
            shown("")
            done, status = os.waitpid(pid, os.WNOHANG)
            return done == pid

        self.until(ended, "the supervisor to end")
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)
        ending = [p for w, p, _ in site.log() if w == "end"]
        self.assertEqual(ending, list(reversed(PARTS)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
