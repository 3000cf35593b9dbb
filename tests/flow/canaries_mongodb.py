#!/usr/bin/python3
"""The canaries (canaries.py) with cases in MongoDB: nowhere in the data folder of the server either, as
somebody finds it who takes the disk while it runs.

    DW_FILINGS=1000 canaries_mongodb.py    more of them

That the search sees what is in there is checked with a word that the server was given in clear."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import canaries  # noqa: E402
from canary import files_below, in_file  # noqa: E402
from mongo_server import Server  # noqa: E402

canaries.FILINGS = int(os.environ.get("DW_FILINGS", 100))
canaries.WORKED_ON = 20
canaries.CARRIERS = ("casework",)  # the only one that knows where cases are


class Nowhere(canaries.Nowhere):
    @classmethod
    def prepare(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.remove)
        cls.addClassCleanup(cls.server.serve())

    def folders(self):
        return [self.here.folder, self.server.folder]

    def nowhere(self, when):
        """Killed, so that its journal is still there and no file changes meanwhile.  What waits has not
        come to it yet."""
        if "casework" not in self.here.processes:
            return
        self.server.kill()
        super().nowhere(when)
        self.server.start()

    def tell_of_workers(self):
        """In place of that: the search sees what the server holds."""
        word = self.canaries.word()
        self.server.insert("planted", x=word)
        self.server.kill()
        found = set().union(*(in_file(self.canaries, path)[0] for path in files_below(self.server.data)))
        self.assertIn(("chinese", "utf-8"), found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
