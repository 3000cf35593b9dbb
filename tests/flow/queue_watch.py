#!/usr/bin/python3
"""`dengwen queue watch`: a picture in a terminal, lines elsewhere, and an end when asked."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import BIN, Citizen, Installation, a_filing, wait_until  # noqa: E402

FILINGS = 3


class Terminal:
    """The command in a terminal of its own, and what its screen shows."""

    def __init__(self, here):
        self.terminal, child = pty.openpty()
        self.before = termios.tcgetattr(child)
        self.child, self.bytes, self.screens = child, b"", []
        self.process = subprocess.Popen([f"{BIN}/dengwen", "queue", "watch"], env=here.environment,
                                        stdin=child, stdout=child, stderr=child, start_new_session=True)

    def screen(self, seconds=0.2):
        """The last picture that is complete, as text."""
        end = time.monotonic() + seconds
        while select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
            self.bytes += os.read(self.terminal, 65536)
        pictures = re.findall(r"\x1b\[H(.*?)\x1b\[J", self.bytes.decode(), re.S)
        self.screens = pictures
        return pictures[-1].replace("\x1b[K", "").replace("\r", "") if pictures else ""

    def figure(self, name):
        found = re.search(rf"^{name} +([0-9.]+)", self.screen(), re.M)
        return float(found.group(1)) if found else None

    def ends(self, case):
        wait_until(20, lambda: (self.screen(), self.process.poll())[1] is not None, "it ends")
        case.assertEqual(self.process.returncode, 0)
        case.assertEqual(termios.tcgetattr(self.child), self.before, "the terminal is as it was")
        case.assertTrue(self.bytes.decode().endswith("\x1b[?25h\x1b[?1049l"), self.bytes[-60:])

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.terminal)
        os.close(self.child)


class Watch(unittest.TestCase):
    def setUp(self):
        self.here = Installation()
        self.addCleanup(self.here.__exit__, None, None, None)
        self.here.start("ops", "keyd", "broker", "web")

    def terminal(self):
        terminal = Terminal(self.here)
        self.addCleanup(terminal.close)
        return terminal

    def test_a_terminal(self):
        terminal, citizen = self.terminal(), Citizen(self.here)
        wait_until(30, lambda: terminal.figure("ready") == 0, "an empty queue is shown")
        for _ in range(FILINGS):
            citizen.receipt(a_filing())
        wait_until(30, lambda: terminal.figure("ready") == FILINGS, "what waits is shown")
        self.assertRegex(terminal.screen(), r"(?m)^bytes +\d+ of \d+ \(\d+ %\)$")
        accepted = [float(x) for screen in terminal.screens for x in re.findall(r"accepted +([0-9.]+)", screen)]
        self.assertGreater(max(accepted), 0, "it was seen to be accepted")
        self.assertGreater(terminal.figure("commits"), 0)
        wait_until(30, lambda: terminal.figure("oldest") >= 1, "it gets older")
        count = len(terminal.screens)
        wait_until(30, lambda: terminal.screen() and len(terminal.screens) > count + 1, "it goes on drawing")

        self.here.kill("broker")
        wait_until(30, lambda: "does not answer" in terminal.screen(), "a broker that is away is told")
        self.here.start("broker", "casework")
        wait_until(60, lambda: terminal.figure("ready") == 0, "and one that is back, with its work done")
        os.write(terminal.terminal, b"xq")
        terminal.ends(self)

        terminal = self.terminal()
        wait_until(30, lambda: terminal.figure("ready") == 0, "it starts again")
        terminal.process.send_signal(signal.SIGINT)
        terminal.ends(self)

    def test_lines(self):
        process = subprocess.Popen([f"{BIN}/dengwen", "queue", "watch"], env=self.here.environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=30)
        self.assertEqual((process.returncode, errors), (0, ""))
        for line in lines:
            self.assertRegex(line, r"^\d\d:\d\d:\d\d ready 0 leased 0 delayed 0 behind 0 dead 0 accepted/s 0\.0 "
                                   r"done/s 0\.0 oldest-s 0 bytes 0 of \d+ commit-p50-us \d+\n$")
        self.assertNotIn("\x1b", "".join(lines) + rest)


if __name__ == "__main__":
    unittest.main(verbosity=2)
