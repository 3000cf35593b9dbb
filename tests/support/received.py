#!/usr/bin/python3
"""Prints what a mail server or a telephone network received.

received.py mail FOLDER   the mails of a maildir's folder `new`
received.py sms FILE      the messages in the log of Kannel's fakesmsc
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
        print(f"From: {mail['From']}\nTo: {mail['To']}\nSubject: {mail['Subject']}")
        print(f"Message-ID: {mail['Message-ID']}\n")
        print(body.get_content().strip() if body else "(no plain text)")
        print("-" * 40)


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
    """(to, from, text), parts of a long message put together, in the order of their first part."""
    found = {}
    line_of = re.compile(r"Got message (\d+): <(\S+) (\S+) (?:udh (\S+) )?(text|ucs-2|data) (.*)>$")
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            got = line_of.search(line)
            if not got:
                continue
            number, sender, to, udh, kind, data = got.groups()
            head = unquote(udh) if udh else b""
            # 05 00 03 REF COUNT PART: a part of a long message
            key = (sender, to, head[3]) if head[:3] == b"\5\0\3" else number
            found.setdefault(key, (to, sender, []))[2].append(
                (head[5] if head[:3] == b"\5\0\3" else 1, sms_text(kind, data)))
    for to, sender, parts in found.values():
        yield to, sender, "".join(text for _, text in sorted(parts))


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("mail", "sms"):
        sys.exit(__doc__)
    if sys.argv[1] == "mail":
        mails(sys.argv[2])
    elif os.path.exists(sys.argv[2]):
        for to, sender, text in messages(sys.argv[2]):
            print(f"to {to} from {sender}: {text}")


main()
