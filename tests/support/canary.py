"""Words that occur nowhere else, and a search for them in files and in the memory of processes.

All words of one run begin alike, so one search per way of writing finds every one of them, whole or cut
off.  Half of the beginning is Chinese: what escapes or recodes characters must not hide a word.
"""
import base64
import os
import random
import re
import stat
import string
import urllib.parse

CHUNK = 1 << 20
OVERLAP = 256        # more than the longest way of writing
SHADOW = 64 << 30    # bytes; what is larger is reserved by a sanitizer: states of memory, no data
LETTERS = "abcdefghipqrstuvwxy"  # in hexadecimal they have no letters


def base64_of(data):
    """The characters that these bytes make wherever they stand in a text, in both alphabets."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data + b"\0\0").decode()
        core = text[-(-before * 8 // 6):(before + len(data)) * 8 // 6]
        yield core.encode()
        yield core.translate(str.maketrans("+/", "-_")).encode()


def forms_of(text):
    """{bytes: way of writing}"""
    raw = text.encode()
    forms = {raw: "utf-8", raw.hex().encode(): "hex"}
    forms.update(dict.fromkeys(base64_of(raw), "base64"))
    if text.isascii():  # without the zeros at the ends, which tell big from little
        forms.update({text.upper().encode(): "utf-8", text.encode("utf-16-le")[:-1]: "utf-16",
                      text.encode("utf-32-le")[:-3]: "utf-32"})
        return forms
    percent = urllib.parse.quote(text)
    json_small, json_large = ("".join(form % ord(c) for c in text) for form in ("\\u%04x", "\\u%04X"))
    forms.update({text.encode("utf-16-le"): "utf-16", text.encode("utf-16-be"): "utf-16",
                  text.encode("utf-32-le"): "utf-32", text.encode("gb18030"): "gb18030",
                  raw.hex().upper().encode(): "hex", percent.encode(): "percent",
                  percent.lower().encode(): "percent", json_small.encode(): "json",
                  json_large.encode(): "json", "".join(f"&#{ord(c)};" for c in text).encode(): "html",
                  "".join(f"\\{b:03o}" for b in raw).encode(): "octal"})
    return forms


class Canaries:
    """Words and numbers of one run.  `receipts` are added as they come."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.latin = self.letters(9)
        self.chinese = "".join(chr(self.random.randrange(0x9F00, 0x9FA0)) for _ in range(5))
        self.phone = "139" + self.digits(5)
        self.id_number = "500108" + f"{self.random.randrange(1950, 2000)}{self.random.randrange(10, 13)}" + \
            f"{self.random.randrange(10, 29)}"
        self.amount = "7" + self.digits(7)
        self.receipts = set()
        beginnings = {"latin": self.latin, "chinese": self.chinese, "phone": self.phone,
                      "id number": self.id_number, "amount": self.amount}
        self.forms = {form: (what, how) for what, text in beginnings.items()
                      for form, how in forms_of(text).items()}

    def letters(self, count):
        return "".join(self.random.choices(LETTERS, k=count))

    def digits(self, count):
        return "".join(self.random.choices(string.digits, k=count))

    def latin_word(self):
        return self.latin + self.letters(14)

    def word(self):
        return self.chinese + self.latin_word()

    def phone_number(self, i):
        return f"{self.phone}{i % 1000:03}"

    def identity_card(self, i):
        """With the check character of GB 11643."""
        body = f"{self.id_number}{i % 1000:03}"
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body)) % 11]

    def yuan(self, i):
        return int(f"{self.amount}{i % 1000:03}")

    # ---- searching ----

    DIGITS = re.compile(rb"\d[\d -]{23,}")

    def receipts_in(self, data, wide=False):
        for found in self.DIGITS.finditer(data):
            run = found.group().replace(b"-", b"").replace(b" ", b"").decode()
            if self.has_receipt(run):
                yield "receipt", "utf-16" if wide else "digits"
            for shift in (0, 1):  # the hexadecimal form of digits is digits
                if self.has_receipt("".join(d for three, d in zip(run[shift::2], run[shift + 1::2])
                                            if three == "3")):
                    yield "receipt", "hex"
        if not wide:
            yield from self.receipts_in(data[::2], True)
            yield from self.receipts_in(data[1::2], True)

    def has_receipt(self, run):
        return any(run[i:i + 24] in self.receipts for i in range(len(run) - 23))

    def kinds_in(self, data):
        """What of ours stands in these bytes, and how it is written."""
        if not data.strip(b"\0"):
            return set()
        return {kind for form, kind in self.forms.items() if form in data} | set(self.receipts_in(data))


def chunks(file, at, end):
    """Overlapping, so that nothing hides across a border.  What cannot be read ends it."""
    while at < end:
        try:
            file.seek(at)
            data = file.read(min(CHUNK, end - at))
        except (OSError, ValueError, OverflowError):
            return
        if not data:
            return
        yield data
        if len(data) <= OVERLAP or at + len(data) >= end:
            return
        at += len(data) - OVERLAP


def files_below(folder):
    return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]


def in_file(canaries, path):
    """(kinds, bytes read); the name counts too, and of a socket there is nothing else."""
    kinds, size = canaries.kinds_in(path.encode()), 0
    if stat.S_ISREG(os.lstat(path).st_mode):
        with open(path, "rb") as f:
            for data in chunks(f, 0, os.fstat(f.fileno()).st_size):
                kinds |= canaries.kinds_in(data)
                size += len(data)
    return kinds, size


def regions(pid):
    """(start, end) of all that holds anything, in memory or swapped out."""
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            first, *rest = line.split()
            if "-" in first:
                start, end = (int(x, 16) for x in first.split("-"))
                held = 0
            elif first in ("Rss:", "Swap:"):
                held += int(rest[0])
            elif first == "VmFlags:" and held and end - start < SHADOW:
                yield start, end


def memory(pid):
    """All there is, in chunks: undumpable processes show it to root alone."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
        for start, end in list(regions(pid)):
            yield from chunks(f, start, end)


def in_memory(canaries, pid, known):
    """(kinds, bytes read); `known` are bytes that must be there, or nothing was read at all."""
    kinds, size, seen = set(), 0, False
    for data in memory(pid):
        kinds |= canaries.kinds_in(data)
        size += len(data)
        seen = seen or known in data
    if not seen:
        raise AssertionError(f"the memory of {pid} could not be read: {size} bytes, without {known!r}")
    return kinds, size
