"""What clients were promised, what there is, and whether the two agree.

A client writes to a `Ledger` before it asks for something and again when it has an answer; each line
is on disk before the client goes on, so nothing it counts on lives in the servers.  `check` compares
the lines with what was found in the end.  It does nothing else, and can be tried with wrong states.

Lines, by `is`:
    filing    mark, files, email    about to be filed; the mark stands in its text
    receipt   mark, receipt         answered 202
    message   mark, of              about to be added by the reporter of that filing
    command   mark, reference, event   about to be given; `mark` stands in its text where it has one
    taken     mark                  message or command answered 200
    refused   mark, status          answered for good that it was not done
"""
import collections
import dataclasses
import json
import os
import threading


class Ledger:
    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.lock = threading.Lock()

    def write(self, kind, mark, **row):
        line = json.dumps({"is": kind, "mark": mark, **row}) + "\n"
        with self.lock:
            os.write(self.fd, line.encode())
            os.fsync(self.fd)

    def rows(self):
        with open(self.path) as f:
            return [json.loads(line) for line in f]


@dataclasses.dataclass
class Found:
    """What there is after everything came back."""
    cases: list     # as an inspector opens them; `files` are {name: sha256} of what was downloaded
    stored: list    # id of each case row in the store
    followed: dict  # {receipt: reference}
    mails: list     # (recipient, Message-ID) of each mail that arrived
    dead: int       # dead letters


class Failure(collections.namedtuple("Failure", "kind what")):
    """kind: lost, doubled, receipt, file, notice, order, stray, refused or dead"""


def mark_of(text):
    """Marks are words of their own in a text."""
    return text.split(" ", 1)[0]


def filing_of(case):
    return mark_of(case["facts"]["facts"])


def texts_of(case):
    """{mark: how often}, of messages and notes."""
    return collections.Counter(mark_of(m["text"] or "") for m in case["messages"] + case["notes"])


class Book:
    """The lines of a ledger by what they are about."""

    def __init__(self, rows):
        def of(kind):
            return {row["mark"]: row for row in rows if row["is"] == kind}
        self.filings, self.messages, self.commands = of("filing"), of("message"), of("command")
        self.taken, self.refused = of("taken"), of("refused")
        self.receipts = collections.defaultdict(set)
        for row in rows:
            if row["is"] == "receipt":
                self.receipts[row["mark"]].add(row["receipt"])

    def bounds(self, mark):
        """How often it may be there: answered exactly once, refused never, unanswered at most once."""
        return (1, 1) if mark in self.taken else (0, 0) if mark in self.refused else (0, 1)


def how(count, least, most):
    return "lost" if count < least else "doubled" if count > most else None


def check(rows, found):
    book = Book(rows)
    cases = collections.defaultdict(list)
    for case in found.cases:
        cases[filing_of(case)].append(case)
    yield from check_rows(found)
    yield from check_filings(book, cases, found)
    for case in found.cases:
        filing = book.filings.get(filing_of(case))
        if filing:
            yield from check_files(filing, case)
            yield from check_notices(filing, case, found)
        yield from check_events(case)
    yield from check_texts(book, found)
    yield from check_commands(book, found)
    if found.dead:
        yield Failure("dead", f"{found.dead} dead letters")


def check_rows(found):
    twice = [i for i, n in collections.Counter(found.stored).items() if n > 1]
    if twice:
        yield Failure("doubled", f"{len(twice)} ids with more than one case in the store")
    if len(set(found.stored)) != len(found.cases):
        yield Failure("stray", f"{len(set(found.stored))} cases in the store, "
                               f"{len(found.cases)} on the worklists")


def check_filings(book, cases, found):
    for mark in book.filings:
        receipts, there = book.receipts[mark], cases[mark]
        if mark in book.refused:
            yield Failure("refused", f"filing {mark}: {book.refused[mark]['status']}")
        if len(receipts) > 1:
            yield Failure("receipt", f"filing {mark} was given {len(receipts)} receipts")
        wrong = how(len(there), 1 if receipts else 0, 1)
        if wrong:
            yield Failure(wrong, f"filing {mark}: {len(there)} cases")
        for receipt in receipts if len(there) == 1 else ():
            if found.followed[receipt] != there[0]["reference"]:
                yield Failure("receipt", f"filing {mark}: the receipt leads to "
                                         f"{found.followed[receipt]}, not {there[0]['reference']}")
    for mark in cases.keys() - book.filings.keys():
        yield Failure("stray", f"a case that nobody filed: {mark}")


def check_files(filing, case):
    if case["files"] != filing["files"]:
        yield Failure("file", f"{case['reference']}: {case['files']}, expected {filing['files']}")


def check_texts(book, found):
    count, where = collections.Counter(), {}
    for case in found.cases:
        for mark, n in texts_of(case).items():
            count[mark] += n
            where[mark] = case
    for mark, row in {**book.messages, **book.commands}.items():
        if row.get("text", True):
            wrong = how(count[mark], *book.bounds(mark))
            if wrong:
                yield Failure(wrong, f"text {mark}: {count[mark]} times")
            if row["mark"] in book.refused and "of" in row:
                yield Failure("refused", f"message {mark}: {book.refused[mark]['status']}")
            if count[mark] and "of" in row and filing_of(where[mark]) != row["of"]:
                yield Failure("stray", f"message {mark} is in another case")
    for mark in count.keys() - book.messages.keys() - book.commands.keys():
        yield Failure("stray", f"a text that nobody wrote: {mark}")


def check_commands(book, found):
    """Events carry no mark: of each kind a case has as many as there were answers, and at most one more
    for each command that was never answered."""
    bounds = collections.defaultdict(lambda: [0, 0])
    for mark, row in book.commands.items():
        least, most = book.bounds(mark)
        bounds[row["reference"], row["event"]][0] += least
        bounds[row["reference"], row["event"]][1] += most
    given = {row["event"] for row in book.commands.values()}
    for case in found.cases:
        events = collections.Counter(e["kind"] for e in case["events"])
        for event in given:
            least, most = bounds[case["reference"], event]
            wrong = how(events[event], least, most)
            if wrong:
                yield Failure(wrong, f"{case['reference']}: {event} {events[event]} times, "
                                     f"expected {least} to {most}")


def check_events(case):
    numbers = [e["seq"] for e in case["events"]]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Failure("order", f"{case['reference']}: events {numbers}")


def check_notices(filing, case, found):
    """At least once, and never without a record: an attempt is written down before the mail leaves.  So
    every accepted attempt has its mail, and there are at most as many more as attempts whose outcome was
    lost with a killed process.  A notice keeps its Message-ID, so that a mail program shows it once."""
    if not filing["email"]:
        return
    mails = [message_id for to, message_id in found.mails if to == filing["email"]]
    attempts = [a["outcome"] for n in case["notices"] for a in n["attempts"]]
    accepted = attempts.count("accepted")
    unsent = [n["template"] for n in case["notices"] if n["state"] != "sent"]
    if unsent:
        yield Failure("notice", f"{case['reference']}: not sent: {unsent}")
    if len(set(mails)) != len(case["notices"]):
        yield Failure("notice", f"{case['reference']}: {len(set(mails))} Message-IDs for "
                                f"{len(case['notices'])} notices")
    if not accepted <= len(mails) <= len(attempts):
        yield Failure("notice", f"{case['reference']}: {len(mails)} mails, {accepted} of "
                                f"{len(attempts)} attempts accepted")
