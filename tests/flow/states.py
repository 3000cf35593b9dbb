#!/usr/bin/python3
"""The diagram of states in ARCHITECTURE.md is the transition table of the code, printed; nobody draws."""
import os
import re
import subprocess
import unittest

BIN = os.environ["DENGWEN_BIN"]
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLACE = re.compile(r"<!-- states -->\n```mermaid\n(.*?)```\n<!-- /states -->\n", re.DOTALL)


def states(*words):
    return subprocess.run([f"{BIN}/dengwen", "states", *words], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)


def printed(form):
    done = states("--format", form)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def difference(page, diagram):
    """What is wrong with the diagram on a page; None when nothing is."""
    found = PLACE.findall(page)
    if len(found) != 1:
        return f"expected one diagram between <!-- states --> and <!-- /states -->, found {len(found)}"
    if found[0] != diagram:
        return "not the output of `dengwen states --format mermaid`; paste it again"
    return None


class States(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(f"{SOURCE}/ARCHITECTURE.md", encoding="utf-8") as f:
            cls.page = f.read()
        cls.diagram = printed("mermaid")

    def test_the_diagram_is_the_table(self):
        self.assertIsNone(difference(self.page, self.diagram))

    def test_a_diagram_that_is_not_is_noticed(self):
        arrow = self.diagram.splitlines(keepends=True)[3]
        for page in ("", self.page.replace("<!-- states -->", ""), self.page.replace("<!-- /states -->", ""),
                     self.page + self.page, self.page.replace(arrow, ""), self.page.replace(arrow, arrow * 2),
                     self.page.replace("reviewing", "viewing")):
            self.assertIsNotNone(difference(page, self.diagram))

    def test_every_form_tells_the_same(self):
        """What changes the state, in each of the three; a return leads back to where it came from."""
        edges = set(re.findall(r"^ +(\S+) --> (\S+) : (\S+)$", self.diagram, re.MULTILINE))
        self.assertEqual(len(edges), len(self.diagram.splitlines()) - 1)
        dot = set(re.findall(r'"(\S+)" -> "(\S+)" \[label="(\S+)"', printed("dot")))
        self.assertEqual({("[*]" if a == "new" else a, b, c) for a, b, c in dot}, edges)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed("markdown").splitlines()[2:]]
        table = {("[*]" if a == "(new)" else a, "reviewing" if b.startswith("(as") else b, c)
                 for a, c, _, b, *_ in rows}
        self.assertEqual({edge for edge in table if edge[0] != edge[1]}, edges)
        self.assertGreater(len(edges), 15)

    def test_what_it_does_not_print(self):
        for words in (("--format", "png"), ("--format",), ("nonsense",), ("--colour",)):
            done = states(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertTrue(done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
