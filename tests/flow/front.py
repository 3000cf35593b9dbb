#!/usr/bin/python3
"""The front command and check-config.

DENGWEN_BIN     folder of the built programs
DENGWEN_SOURCE  folder of the sources
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

BIN = os.environ["DENGWEN_BIN"]
SOURCE = os.environ["DENGWEN_SOURCE"]

ECHO = """#!/bin/sh
printf '%s\\n' "config=$DENGWEN_CONFIG" "name=$0" "$@"
exit 65
"""


def run(*words, **environment):
    inherited = {k: v for k, v in os.environ.items() if k != "DENGWEN_CONFIG"}
    return subprocess.run([str(w) for w in words], env=dict(inherited, **environment), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dw-front-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text, mode=0o644):
        path = f"{self.folder}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path


class Front(Folder):
    def setUp(self):
        super().setUp()
        self.dengwen = shutil.copy(f"{BIN}/dengwen", f"{self.folder}/dengwen")
        self.write("dengwen-due", ECHO, 0o755)

    def test_help_lists_the_commands_in_their_groups(self):
        for words in (["--help"], ["help"]):
            done = run(self.dengwen, *words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(re.findall(r"^ (\w[\w ]*)$", done.stdout, re.M),
                             ["run it", "work with cases", "administration", "look things up",
                              "programs started by run"])
            self.assertEqual(set(re.findall(r"^  ([a-z]\S*) +\S", done.stdout, re.M)),
                             set("init run check-config doctor case staff key queue init-db store "
                                 "backup restore statistics audit due route states ops keyd broker "
                                 "casework notify desk web".split()))
            self.assertLess(max(map(len, done.stdout.splitlines())), 80)

    def test_without_a_command_it_is_misused(self):
        done = run(self.dengwen)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("check-config", done.stderr)

    def test_version(self):
        done = run(self.dengwen, "--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^dengwen \d+\.\d+\.\d+\n$")

    def test_a_command_gets_its_arguments_and_gives_its_exit_code(self):
        words = ["R1", "--on", "2026-01-01", "", "a b", "--help", "-c", "x", "--", "help"]
        done = run(self.dengwen, "due", *words)
        self.assertEqual(done.returncode, 65)
        self.assertEqual(done.stdout.splitlines()[2:], words)

    def test_settings_named_before_the_command_are_passed_on(self):
        for words in (["-c", "some.yaml"], ["-csome.yaml"], ["--config=some.yaml"]):
            done = run(self.dengwen, *words, "due", DENGWEN_CONFIG="other.yaml")
            self.assertEqual(done.stdout.splitlines()[0], "config=some.yaml")
        done = run(self.dengwen, "due", DENGWEN_CONFIG="other.yaml")
        self.assertEqual(done.stdout.splitlines()[0], "config=other.yaml")

    def test_help_of_a_command_is_its_own(self):
        done = run(self.dengwen, "help", "due")
        self.assertEqual(done.stdout.splitlines()[2:], ["--help"])
        done = run(f"{BIN}/dengwen", "help", "check-config")
        self.assertEqual(done.returncode, 0)
        self.assertIn("Usage: dengwen check-config", done.stdout)

    def test_what_is_not_a_command_is_refused_with_the_nearest_that_is(self):
        nearest = {"chek-config": "check-config", "brokr": "broker", "quue": "queue",
                   "Run": "run", "cofnig": None, "doc": "doctor", "rotue": "route",
                   "statse": "states", "zzzzzz": None, "": None, "x" * 5000: None}
        for name, meant in nearest.items():
            for words in ([name], ["help", name]):
                done = run(self.dengwen, *words)
                self.assertEqual((done.returncode, done.stdout), (2, ""), name)
                found = re.findall(r'mean "(\S+)"', done.stderr)
                self.assertEqual(found, [meant] if meant else [], name)

    def test_a_command_that_is_not_installed_says_so(self):
        done = run(self.dengwen, "states")
        self.assertEqual(done.returncode, 69)
        self.assertIn("dengwen-states lies neither", done.stderr)

    def test_it_is_found_through_a_link_from_elsewhere(self):
        os.mkdir(f"{self.folder}/elsewhere")
        os.symlink(self.dengwen, f"{self.folder}/elsewhere/dengwen")
        self.assertEqual(run(f"{self.folder}/elsewhere/dengwen", "due", "x").returncode, 65)


class CheckConfig(Folder):
    def check(self, text=None, *words):
        path = self.write("dengwen.yaml", text) if text is not None else None
        done = run(f"{BIN}/dengwen-check-config", *(words or [path]))
        problems = []
        for line in done.stderr.splitlines():
            found = re.fullmatch(r"(.+?):(\d+): (?:([a-z_.]+): )?(.+)", line)
            self.assertTrue(found, line)
            problems.append((int(found[2]), found[3]))
        return done, problems

    def expect(self, text, *problems):
        """These problems and, as there are no keys in the folder, those of the keys."""
        done, found = self.check(text)
        self.assertEqual(done.returncode, 78)
        self.assertEqual([p for p in found if not (p[1] or "").startswith("keys.")],
                         list(problems), done.stderr)

    def test_the_file_of_defaults_is_the_one_in_conf(self):
        done = run(f"{BIN}/dengwen-check-config", "--print-defaults")
        with open(f"{SOURCE}/conf/dengwen.yaml") as f:
            self.assertEqual(f.read(), done.stdout,
                             "\nconf/dengwen.yaml is old: make it anew with\n"
                             "  dengwen check-config --print-defaults > conf/dengwen.yaml")

    def test_every_default_can_be_written_as_it_stands_there(self):
        text = run(f"{BIN}/dengwen-check-config", "--print-defaults").stdout
        self.expect(text)
        bare = re.sub(r"^( *)#([a-z_]+:)", r"\1\2", text, flags=re.M)
        self.assertGreater(len(re.findall(r"^ *[a-z_]+: ", bare, re.M)), 100)
        self.expect(bare)

    def test_all_problems_are_told_with_their_lines(self):
        self.expect("web:\n  threads: 0\n  listen: localhost:80\nfoo: 1\nbroker:\n"
                    "  bind: ['tcp://x', 'tcp://0.0.0.0:70000']\n"
                    "  connect: ['tcp://h:1', 'b=tcp://h:1']\n"
                    "run: /tmp/" + "r" * 100 + "\nops: {listen: '127.0.0.1:8081'}\n",
                    (2, "web.threads"), (4, "foo"), (8, "run"), (3, "web.listen"),
                    (9, "ops.listen"), (6, "broker.bind"), (6, "broker.bind"),
                    (7, "broker.connect"))

    def test_what_can_be_listened_on(self):
        for good in ("127.0.0.1:1", "0.0.0.0:65535", "[::1]:8080", "[::]:0"):
            self.expect(f"web: {{listen: '{good}'}}\n")
        for bad in ("", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[::1]",
                    "[]:80", "[:80", "[::1]80", "127.0.0.1:8x", "127.0.0.1:+8", "host:80",
                    "[127.0.0.1]:80", "[::1%lo]:80", "1" * 300 + ":80"):
            self.expect(f"web: {{listen: '{bad}'}}\n", (1, "web.listen"))

    def test_endpoints_of_brokers(self):
        self.expect("broker: {bind: ['tcp://*:5570', 'tcp://eth0:1', 'tcp://[::1]:5570'],\n"
                    "  connect: ['b2=tcp://b2.example:5570']}\n")
        for bad in ("tcp://", "tcp://:1", "tcp://h:", "tcp://h", "tcp://h:x"):
            self.expect(f"broker: {{bind: ['{bad}']}}\n", (1, "broker.bind"))

    def test_passwords_must_be_there_and_be_kept(self):
        text = "notify:\n  smtp_password_file: secret\n"
        self.expect(text, (2, "notify.smtp_password_file"))
        self.write("secret", "x", 0o640)
        self.expect(text, (2, "notify.smtp_password_file"))
        self.write("secret", "x", 0o600)
        self.expect(text)

    def test_keys_must_be_there_and_not_be_writable_by_others(self):
        _, found = self.check("")
        self.assertEqual(found, [(0, "keys.root"), (0, "keys.directory")])
        self.write("keys/root.pub", "A" * 43 + "\n", 0o664)
        self.write("keys/directory", "dengwen-directory 1 x\n", 0o644)
        done, found = self.check("keys:\n  root: keys/root.pub\n")
        self.assertEqual(found, [(2, "keys.root")])
        self.assertIn("chmod go-w", done.stderr)
        os.chmod(f"{self.folder}/keys/root.pub", 0o644)
        _, found = self.check("keys:\n  root: keys/root.pub\n")
        self.assertEqual(found, [(0, "keys.directory")])  # signed by nobody
        self.write("keys/root.pub", "not a key\n")
        _, found = self.check("keys:\n  root: keys/root.pub\n")
        self.assertEqual(found, [(2, "keys.root")])

    def test_data_must_be_complete(self):
        os.mkdir(f"{self.folder}/d")
        self.expect("data: d\n", *[(1, "data")] * 5)
        os.mkdir(f"{self.folder}/d/rules")
        self.write("d/calendar", "a file, not a folder")
        for name in ("bodies", "routing", "catalogue"):
            self.write(f"d/{name}.yaml", "")
        self.expect("data: d\n", (1, "data"))
        self.expect("data: nowhere\n", (1, "data"))

    def test_state_must_not_be_open_to_others(self):
        os.mkdir(f"{self.folder}/state")
        os.chmod(f"{self.folder}/state", 0o777)
        self.expect("state: state\n", (1, "state"))
        os.chmod(f"{self.folder}/state", 0o700)
        self.expect("state: state\n")

    def test_the_store_must_have_a_folder(self):
        # The usual trap: `state` is set and the default of the store still lies below the old one.
        self.expect("state: elsewhere\n", (0, "store.uri"))
        self.expect("state: elsewhere\nstore: {uri: 'sqlite:elsewhere/case/c.db'}\n")
        os.mkdir(f"{self.folder}/db")
        self.expect(f"store: {{uri: 'sqlite:{self.folder}/db/c.db'}}\n")
        self.expect(f"store: {{uri: 'sqlite:{self.folder}/none/c.db'}}\n", (1, "store.uri"))

    def test_a_file_that_is_no_file(self):
        for words in ([f"{self.folder}/none"], [self.folder], ["-c", f"{self.folder}/none"]):
            done, found = self.check(None, *words)
            self.assertEqual((done.returncode, [key for _, key in found]), (78, [None]))
        _, found = self.check("name:\n  en: x\nweb: [\n")
        self.assertEqual(found, [(4, None)])

    def test_misuse(self):
        self.assertEqual(run(f"{BIN}/dengwen-check-config", "a", "b").returncode, 2)
        self.assertEqual(run(f"{BIN}/dengwen-check-config", "--nonsense").returncode, 2)

    @unittest.skipUnless(os.access(f"{BIN}/dengwen-init", os.X_OK), "dengwen-init is not built")
    def test_what_init_makes_is_right(self):
        done = run(f"{BIN}/dengwen", "init", "--demo", f"{self.folder}/site")
        self.assertEqual(done.returncode, 0, done.stderr)
        path = f"{self.folder}/site/dengwen.yaml"
        done = run(f"{BIN}/dengwen", "-c", path, "check-config")
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", f"{path}: ok\n"))
        os.chmod(f"{self.folder}/site/keys/directory", 0o666)
        self.assertEqual(run(f"{BIN}/dengwen", "check-config", path).returncode, 78)


if __name__ == "__main__":
    unittest.main(verbosity=2)
