#!/usr/bin/python3
"""Prints what a mail server or a telephone network received.

received.py mail FOLDER [LAST]   the mails of a maildir's folder `new`
received.py sms FILE [LAST]      the messages in the log of Kannel's fakesmsc

LAST: so many, the latest.
"""
import email
import email.policy
import os
import re
import sys
import urllib.parse


def mails(folder):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for path in sorted((os.path.join(folder, n) for n in names), key=os.path.getmtime):
        with open(path, "rb") as f:
            mail = email.message_from_binary_file(f, policy=email.policy.default)
        body = mail.get_body(preferencelist=("plain",))
        heads = [f"{name}: {mail[name]}" for name in ("From", "To", "Subject", "Message-ID")]
        text = body.get_content().strip() if body else "(no plain text)"
        yield "\n".join(heads + ["", text, "-" * 40])


def unquote(text):
    return urllib.parse.unquote_to_bytes(text.replace("+", " "))


def sms_text(kind, data):
    """Kannel says `ucs-2` and `text`; of a part of a long message it says only `data`."""
    if kind == "text":
        return data
    raw = unquote(data)
    wide = kind == "ucs-2" or any(b == 0 or b > 127 for b in raw)
    return raw.decode("utf-16-be" if wide else "ascii", "replace")


def messages(log):
    """Parts of a long message are put together, in the place of the first."""
    found = {}
    line_of = re.compile(r"Got message \d+: <(\S+) (\S+) (?:udh (\S+) )?(text|ucs-2|data) (.*)>$")
    if not os.path.exists(log):
        return
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            got = line_of.search(line)
            if not got:
                continue
            sender, to, udh, kind, data = got.groups()
            head = unquote(udh) if udh else b""
            is_part = head[:3] == b"\5\0\3"  # then: reference, count, number of this part
            key = (sender, to, head[3]) if is_part else len(found)
            part = (head[5] if is_part else 1, sms_text(kind, data))
            found.setdefault(key, (to, sender, []))[2].append(part)
    for to, sender, parts in found.values():
        yield f"to {to} from {sender}: " + "".join(text for _, text in sorted(parts))


def main():
    kinds = {"mail": mails, "sms": messages}
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in kinds:
        sys.exit(__doc__)
    last = int(sys.argv[3]) if len(sys.argv) == 4 else 0
    for text in list(kinds[sys.argv[1]](sys.argv[2]))[-last:]:
        print(text)


main()
