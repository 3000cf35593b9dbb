#!/usr/bin/python3
"""Which program can do what, read from the machine code of every program in DENGWEN_BIN.

CAN names functions and the programs that can come to them: by calls from main, or from a function
whose address stands in a table.  What a library brings along and nobody calls does not count there;
it does in HAS, which is about names that a program contains at all.  Both hold in both directions:
whoever has a power is in the row, and whoever is in the row has it.  So a function that was renamed
does not make its row true by itself, and a new program with a power must be entered by hand.  A row
names what is called from another file: within one, an optimiser may merge it into its caller."""
import os
import re
import subprocess
import tempfile
import unittest

BIN = os.environ["DENGWEN_BIN"]

# Function: who can come to it.  The names are those of the programs, without "dengwen-".
CAN = {
    # What is sealed is opened where a person asks for it: staff, the reporter with the receipt; and the
    # notifier, which has the keys of contacts.  Never by the case worker, and never by the broker.
    "dw_envelope_open": "desk notify web",
    "dw_grant_open": "desk notify web",
    "crypto_aead_xchacha20poly1305_ietf_decrypt": "desk notify web",
    "crypto_box_seal_open": "desk notify web",
    "dw_file_reader_put": "desk",
    "crypto_secretstream_xchacha20poly1305_pull": "desk",
    "dw_envelope_seal": "desk web",
    "dw_file_writer_put": "web",
    # Keys of members and of bodies are unlocked in a session and nowhere else; `init --demo` makes some.
    "dw_member_unwrap": "desk",
    "dw_epoch_open": "desk",
    "dw_epoch_seal": "desk init",
    "dw_member_enrol": "desk init",
    # The administrator's commands sign with the site key; no server can.
    "dw_site_load": "init key staff",
    "dw_member_invite": "init staff",
    "dw_directory_publish": "init key",
    # Receipts are made at the intake; their pepper is in keyd.
    "dw_receipt_derive": "web",
    "dw_receipt_stretch": "web",
    "dw_keyd_receipt": "web",
    "answer_receipt": "keyd",
    "answer_index": "keyd",
    # One program at the store, one at the queue; only the former decides.  `dengwen queue adopt` opens the
    # file of a broker that is gone.  What moves whole stores reads no case: it cannot open one by its id.
    "dw_store_case": "casework statistics",
    "dw_store_apply": "backup casework init restore statistics store",
    "dw_copy": "backup restore store",
    "dw_store_make": "init-db",
    "dw_case_command": "casework",
    "dw_case_register": "casework",
    "dw_queue_open": "broker",
    "dw_source_open": "queue",
    "sqlite3_open_v2": "audit backup broker casework init init-db queue restore statistics store",
    # Who listens and who calls out.
    "zmq_bind": "broker",
    "dw_worker_new": "casework",
    "dw_bus_call_any": "desk notify web",
    "dw_bus_call": "casework desk doctor key notify queue staff web",
    "MHD_start_daemon": "desk ops web",
    "curl_easy_perform": "case doctor notify",
    "magic_buffer": "web",
    "fork": "run",
    "execv": "dengwen",
}

# Beginning of names: who contains any of them, called or not.
HAS = {
    "dw_store_": "audit backup casework init init-db restore statistics store",
    "dw_receipt_": "casework web",
    "dw_envelope_": "casework desk notify web",
    "dw_grant_": "audit backup casework desk init init-db key notify restore staff statistics store web",
    "dw_case_": "audit backup casework desk init init-db key notify restore staff states "
                "statistics store web",
    "dw_route": "casework route web",
    "dw_rule_": "audit casework desk due web",
    "dw_file_": "desk web",
    "dw_http_": "desk web",
    "dw_queue_": "broker queue",
    "crypto_aead_": "casework desk init key notify staff web",
    "crypto_box_": "audit backup casework desk init init-db key notify restore staff statistics store web",
    "crypto_sign_final_create": "audit casework desk init key notify staff web",
    "sqlite3_": "audit backup broker casework init init-db queue restore statistics store",
    "mongoc_": "audit backup casework init init-db restore statistics store",
    "zmq_": "audit broker casework desk doctor init key notify queue staff web",
    "curl_": "case doctor notify",
    "MHD_": "desk ops web",
}

# Nobody: a shell between us and a command, or code that is read while we run.
NOBODY = ("system", "popen", "dlopen", "gets", "strcpy", "sprintf", "tmpnam")


def output(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def plain(name):
    """Without version, and without what the compiler adds to parts of a function."""
    return name.split("@")[0].split(".")[0]


class Program:
    def __init__(self, path):
        self.names, self.functions = set(), {}
        for line in output("nm", path).splitlines():
            kind, name = line[17:].split(" ", 1)
            self.names.add(plain(name))
            if kind in "TtWw" and line[0] != " ":
                self.functions[int(line[:16], 16)] = plain(name)
        self.calls = self.read_code(path)
        self.reached = self.all_from({"main"} | self.in_tables(path))

    @staticmethod
    def read_code(path):
        """{function: those whose addresses its code names}"""
        calls, here = {}, None
        for line in output("objdump", "-d", "--no-show-raw-insn", path).splitlines():
            names = [plain(n) for n in re.findall(r"<([^>+]+)(?:\+0x[0-9a-f]+)?>", line)]
            if names and line.endswith(">:"):
                here = calls.setdefault(names[0], set())
            elif here is not None:
                here.update(names)
        return calls

    def in_tables(self, path):
        """Functions whose addresses the loader writes somewhere."""
        rows = [line.split() for line in output("readelf", "-rW", path).splitlines()]
        return {self.functions[int(row[3], 16)] for row in rows
                if len(row) == 4 and row[2].endswith("_RELATIVE") and int(row[3], 16) in self.functions}

    def all_from(self, roots):
        reached, waiting = set(), list(roots)
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self.calls.get(name, ())
        return reached

    def has(self, beginning):
        return any(name.startswith(beginning) for name in self.names)


def wrong(programs, table, test):
    """What a table says wrongly, one line each."""
    found = []
    for what, row in table.items():
        said, seen = set(row.split()), {name for name, program in programs.items() if test(program, what)}
        found += [f"{name} has {what}, which it must not" for name in sorted(seen - said)]
        found += [f"{name} does not have {what}, or it is called otherwise now" for name in sorted(said - seen)]
    return found


def can(program, function):
    return function in program.reached


def has(program, beginning):
    return program.has(beginning)


class Boundaries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.programs = {name.removeprefix("dengwen-"): Program(f"{BIN}/{name}") for name in os.listdir(BIN)}

    def test_who_can_do_what(self):
        self.assertEqual(wrong(self.programs, CAN, can), [])

    def test_who_contains_what(self):
        self.assertEqual(wrong(self.programs, HAS, has), [])

    def test_what_nobody_does(self):
        self.assertEqual(wrong(self.programs, dict.fromkeys(NOBODY, ""), lambda p, name: name in p.names), [])

    def test_the_secrets_of_keyd_are_named_there_only(self):
        for secret in (b"pepper.key", b"index.key"):
            naming = set()
            for name in os.listdir(BIN):
                with open(f"{BIN}/{name}", "rb") as f:
                    if secret in f.read():
                        naming.add(name)
            self.assertEqual(naming, {"dengwen-keyd", "dengwen-init"}, secret)

    # ---- the checker is checked ----

    def test_wrong_rows_are_reported(self):
        for table, test, row in ((CAN, can, "dw_envelope_open"), (HAS, has, "dw_store_")):
            for change, reported in (
                    ({row: table[row].split(" ", 1)[1]}, "which it must not"),
                    ({row: table[row] + " broker"}, f"broker does not have {row}"),
                    ({row: table[row] + " nobody"}, f"nobody does not have {row}"),
                    ({"dw_renamed": "desk"}, "desk does not have dw_renamed")):
                with self.subTest(change):
                    found = wrong(self.programs, dict(table, **change), test)
                    self.assertEqual(len(found), 1, found)
                    self.assertIn(reported, found[0])

    def test_linked_is_not_called(self):
        """The case worker contains what opens envelopes, as a neighbour of what checks them."""
        self.assertIn("dw_envelope_open", self.programs["casework"].names)
        self.assertNotIn("dw_envelope_open", self.programs["casework"].reached)

    def test_ways_to_a_function(self):
        """Called, called by the called, named in a table, in a table of tables, given away; or not."""
        source = """
            #include <stdlib.h>
            #include <stdio.h>
            #define FUNCTION(name) __attribute__((noinline)) int name(int n) { return printf(#name "%d", n); }
            FUNCTION(by_call) FUNCTION(by_table) FUNCTION(by_tables) FUNCTION(unused) FUNCTION(deep)
            __attribute__((noinline)) int middle(int n) { return deep(n + 1) + 1; }
            __attribute__((noinline)) int unused_too(int n) { return unused(n) + 1; }
            int given(const void *a, const void *b) { return *(const char *)a - *(const char *)b; }
            static int (*const table[])(int) = {by_table, by_table};
            static const struct { const char *name; int (*run)(int); } tables[] = {{"x", by_tables}};
            int main(int argc, char **argv)
            {
                qsort(argv[0], 1, 1, given);
                return by_call(argc) + middle(argc) + table[argc & 1](1) + tables[argc & 0].run(1);
            }"""
        with tempfile.TemporaryDirectory() as folder:
            for level in ("-O0", "-O2"):
                subprocess.run(["cc", level, "-fPIE", "-pie", "-x", "c", "-", "-o", f"{folder}/p"],
                               input=source, check=True, text=True)
                reached = Program(f"{folder}/p").reached
                for name in ("by_call", "middle", "deep", "by_table", "by_tables", "given", "qsort", "printf"):
                    self.assertIn(name, reached, level)
                for name in ("unused", "unused_too"):
                    self.assertNotIn(name, reached, level)


if __name__ == "__main__":
    unittest.main(verbosity=2)
