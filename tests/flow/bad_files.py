#!/usr/bin/python3
"""Wrong files and broken forms: the API refuses them by the part that is wrong, the page says it in
words and keeps what was typed, and nothing is registered.  Names that lie are made harmless."""
import json
import os
import re
import sys
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from installation import a_filing, a_pdf, fresh_key, request, wait_until  # noqa: E402
from refusals import BODIES, CHINESE, Page, Refusals, first_answer, form, head, part, talk  # noqa: E402

MAX_FILES, MAX_FILE, MAX_FILES_BYTES, MAX_BODY = 3, 60000, 100000, 50000
FILING = json.dumps(a_filing()).encode()
TEXT = "住院清单与本人不符\n".encode() * 20


def png(width=1):
    """A picture as small as they come."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    size = width.to_bytes(4, "big")
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + size + b"\x08\0\0\0\0") +
            chunk(b"IDAT", zlib.compress(b"\0" * (width + 1) * width)) + chunk(b"IEND", b""))


def zip_of(name):
    """The first entry of an archive; more nobody looks at."""
    return (b"PK\x03\x04\x14\0\0\0\0\0" + b"\0" * 16 + len(name).to_bytes(2, "little") + b"\0\0" +
            name.encode() + b"<Types/>" * 30)


EXECUTABLE = b"MZ\x90\0" + b"\0" * 56 + b"\x80\0\0\0" + b"\0" * 64 + b"PE\0\0" + b"\x64\x86" + b"\0" * 500
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\x3e\0\x01\0\0\0" + b"\0" * 500
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>" * 9
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"></svg>' * 4
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + b"\0" * 500

GOOD = [("a.pdf", a_pdf()), ("a.PDF", a_pdf()), ("照片.png", png()), ("b.jpg", JPEG), ("c.JpEg", JPEG),
        ("d.txt", TEXT), ("e.csv", b"name,amount\n" + b"x,100\n" * 50), ("x.tar.pdf", a_pdf()),
        ("f.docx", zip_of("[Content_Types].xml")), ("exactly.pdf", a_pdf(MAX_FILE - 22))]
# What a type is follows from the bytes; the name must agree, and be one of those that are taken.
WRONG_TYPES = [("a.exe", EXECUTABLE), ("a.pdf", EXECUTABLE), ("a.jpg", ELF), ("a.pdf.exe", a_pdf()),
               ("a.pdf", png()), ("a.png", a_pdf()), ("a.txt", a_pdf()), ("a.docx", a_pdf()),
               ("a", a_pdf()), ("pdf", a_pdf()), (".", a_pdf()), ("a.", a_pdf()), ("a.pdf ", a_pdf()),
               ("a.html", HTML), ("a.txt", HTML), ("a.pdf", HTML), ("a.svg", SVG), ("a.png", SVG),
               ("a.js", b"alert(1)\n" * 50), ("a.sh", b"#!/bin/sh\nid\n" * 9), ("a.zip", zip_of("x")),
               ("a.docx", zip_of("evil.exe")), ("a.xlsx", zip_of("x/word/")), ("a.jpg", b"\0" * 5000),
               ("a.pdf", b"%PD"), ("a.pdf", b"\n" * 9000 + a_pdf()), ("a.txt", b"\0\1\2\3" * 99)]
EMPTY = [("a.pdf", b""), ("a.txt", b"")]

# File names as sent, and what an inspector reads.  Nothing of it reaches a file system.
NAMES = [("../../etc/passwd.txt", "passwd.txt"), ("/etc/cron.d/a.txt", "a.txt"),
         (r"C:\\Users\\李四\\证据.txt", "证据.txt"), (r"..\\..\\a.txt", "a.txt"),
         (r"a/b\\c/d.txt", "d.txt"),
         ("\u202etxt.fdp.txt", "txt.fdp.txt"), ("a\u200e\u200f\u2066\u2069\u2028b.txt", "ab.txt"),
         (" a  b .txt", " a  b .txt"), ("-rf.txt", "-rf.txt"), ("$(id)`id`;|&.txt", "$(id)`id`;|&.txt"),
         ("<script>.txt", "<script>.txt"), ("a%00%2fb.txt", "a%00%2fb.txt"),
         ("举报😀.txt", "举报😀.txt"), (r"a\"b.txt", 'a"b.txt'), ("CON.txt", "CON.txt"),
         ("文" * 200 + ".txt", re.compile("^文{50,199}[.]txt$"))]
BAD_NAMES = ["a\x00b.txt", "a\x1b[2Jb.txt", "a\x7f.txt", "a\nb.txt", "a\u0085b.txt", b"\xff\xfe.txt",
             b"a\xc0\xafb.txt", b"\xed\xa0\x80.txt"]


def a_file(name="a.txt", data=TEXT, field="file"):
    return part(field, data, name, "Content-Type: application/octet-stream")


def filing_part(data=FILING):
    return part("filing", data, None, "Content-Type: application/json")


BROKEN = [  # name, content type or None, body
    ("nothing", None, b""),
    ("no boundary", "multipart/form-data", b"--XX--\r\n"),
    ("two boundaries", "multipart/form-data; boundary=XX; boundary=YY", b"--XX--\r\n"),
    ("an empty boundary", 'multipart/form-data; boundary=""', b"----\r\n"),
    ("a boundary that is too long", "multipart/form-data; boundary=" + "x" * 71, b"--" + b"x" * 71),
    ("another boundary", "multipart/form-data; boundary=YY", form([filing_part()])[1]),
    ("no end", None, form([filing_part()], end=False)[1]),
    ("cut in the last mark", None, form([filing_part()])[1][:-4]),
    ("cut in a file", None, form([filing_part(), a_file()])[1][:-100]),
    ("cut in a part's head", None, b"--XX\r\nContent-Disposition: form-da"),
    ("bare line feeds", None, form([filing_part()])[1].replace(b"\r\n", b"\n")),
    ("no disposition", None, b"--XX\r\n\r\n" + FILING + b"\r\n--XX--\r\n"),
    ("no name", None, b"--XX\r\nContent-Disposition: form-data\r\n\r\n" + FILING + b"\r\n--XX--\r\n"),
    ("another disposition", None,
     form([filing_part().replace(b"form-data", b"attachment")])[1]),
    ("two names", None, form([filing_part().replace(b'"filing"', b'"filing"; name="file"')])[1]),
    ("two file names", None, form([filing_part(), a_file('a.txt"; filename="b.exe')])[1]),
    ("an encoding", None, form([filing_part(), part("file", b"JVBERi0xLjQK", "a.pdf",
                                                    "Content-Transfer-Encoding: base64")])[1]),
    ("a head without end", None, b"--XX\r\nX: " + b"x" * 20000 + b"\r\n--XX--\r\n"),
    ("a folded line", None, form([filing_part().replace(b"; name", b";\r\n name")])[1]),
    ("a quotation mark left open", None, form([filing_part().replace(b'filing"', b"filing")])[1]),
    ("mixed parts inside", None, form([filing_part(), part("file", form([a_file()], "YY")[1], None,
                                       "Content-Type: multipart/mixed; boundary=YY")])[1]),
]
FIELDS = [  # name, parts, field
    ("no filing", [a_file()], "filing"),
    ("two filings", [filing_part(), filing_part()], "filing"),
    ("a filing and one with a file's name", [filing_part(), part("filing", FILING, "f.json")], "filing"),
    ("two filings with file names", [part("filing", FILING, "f.json")] * 2, "filing"),
    ("a field beside it", [filing_part(), part("facts", "something else")], "facts"),
    ("a file's field without a file", [filing_part(), part("file", TEXT)], "file"),
    ("a foreign field before it", [part("kind", "report"), filing_part()], "kind"),
    ("a file in another field", [filing_part(), a_file(field="evidence")], "evidence"),
    ("a file in a field of several", [filing_part(), a_file(field="file[]")], "file[]"),
    ("content without a file name", [filing_part(), a_file("")], "file"),
]


TYPED = {"against.type": ["hospital"], "against.name": ['某某"医院<b>&'], "against.district": ["500108"],
         "against.address": ["某路1号"], "acts": ["PU01", "PF02"],
         "facts": ["\n<第一行>\n" + "亲眼所见。" * 9], "when.ongoing": ["1"],
         "amount_yuan": ["120,000"], "relation": ["present_staff"],
         "identity.phone": ["13800138000"], "notify.sms": ["1"], "truthful": ["1"]}


class BadFiles(Refusals):
    settings = (f"web.max_files={MAX_FILES}", f"web.max_file_bytes={MAX_FILE}",
                f"web.max_files_bytes={MAX_FILES_BYTES}", f"web.max_body_bytes={MAX_BODY}",
                "queue.open_ttl_seconds=5")

    def post(self, path, kind, body, **headers):
        return request(self.here.web, "POST", path, body, {"Content-Type": kind, **headers})

    def send(self, parts):
        kind, body = form(parts)
        return self.post("/api/v1/filings", kind, body, **{"Idempotency-Key": fresh_key()})

    def send_files(self, *files):
        return self.send([filing_part()] + [a_file(name, data) for name, data in files])

    def files_of(self, receipt):
        """As an inspector sees them."""
        member = self.members[BODIES.index("500108")]
        case = member.case(self.citizen.status(receipt).json["reference"])
        return [(f, member.call("GET", f"cases/{case['reference']}/files/{f['id']}"))
                for f in case["files"]]

    @classmethod
    def tearDownClass(cls):
        wait_until(20, lambda: cls.here.queue_stats()["open_bytes"] == 0, "what was refused is forgotten")

    # ---- the API ----

    def test_good_ones_are_taken(self):
        for name, data in GOOD:
            with self.subTest(name):
                ((listed, got),) = self.files_of(self.accepted(self.send_files((name, data))))
                self.assertEqual((listed["name"], got.body), (name, data))

    def test_type_and_name_must_agree(self):
        for name, data in WRONG_TYPES + EMPTY:
            with self.subTest(name, data=data[:12]):
                problem = self.refused(self.send_files((name, data)), 415, "file")
                self.assertIn("empty" if not data else "type", problem["detail"])
                # One wrong file among good ones is refused too, in any place.
                self.refused(self.send_files(("a.txt", TEXT), (name, data), ("b.txt", TEXT)), 415, "file")

    def test_too_much(self):
        big = a_pdf(MAX_FILE)
        half = a_pdf(MAX_FILES_BYTES // 2)
        table = [("one too many", [("a.txt", TEXT)] * (MAX_FILES + 1), "too many"),
                 ("many too many", [("a.txt", TEXT)] * 200, "too many"),
                 ("too large", [("a.pdf", big)], "too large"),
                 ("much too large", [("a.pdf", a_pdf(3000000))], "too large"),
                 ("the last too large", [("a.txt", TEXT), ("b.pdf", big)], "too large"),
                 ("too large together", [("a.pdf", half), ("b.pdf", half)], "together")]
        for name, files, words in table:
            with self.subTest(name):
                problem = self.refused(self.send_files(*files), 413, "file")
                self.assertIn(words, problem["detail"])
        long = json.dumps(a_filing(elsewhere="x" * MAX_BODY)).encode()
        self.refused(self.send([filing_part(long)]), 413)
        self.refused(self.send([part("filing", long, "f.json")]), 413, "filing")
        self.still_serves()

    def test_parts_that_do_not_belong(self):
        for name, parts, field in FIELDS:
            with self.subTest(name):
                self.refused(self.send(parts), 400, field)
        receipt = self.accepted(self.send([part("filing", FILING, "filing.json"), part("file", b"", "")]))
        self.assertEqual(self.files_of(receipt), [], "a file input that was left empty")

    def test_a_wrong_filing_with_good_files(self):
        for filing, status, field in ((b"{", 400, None), (b"[]", 422, None), (b"", 400, None),
                                      (FILING.replace(b"500108", b"999999"), 422, "against.district")):
            with self.subTest(filing[:9]):
                self.refused(self.send([filing_part(filing), a_file()]), status, field)
                self.refused(self.send([a_file(), filing_part(filing)]), status, field)

    def test_names_are_made_harmless(self):
        for sent, kept in NAMES:
            with self.subTest(sent):
                ((listed, got),) = self.files_of(self.accepted(self.send_files((sent, TEXT))))
                self.assertRegex(listed["name"], kept if isinstance(kept, re.Pattern)
                                 else f"^{re.escape(kept)}$")
                self.assertLessEqual(len(listed["name"].encode()), 255)
                disposition = got.headers["Content-Disposition"]
                self.assertRegex(disposition, r'^attachment; filename="[^"\\/\x00-\x1f]*"; '
                                              r"filename\*=UTF-8''[\w!#$&+.^`|~%-]+$")
                self.assertEqual(got.headers["X-Content-Type-Options"], "nosniff")
        for sent in BAD_NAMES:
            with self.subTest(sent):
                self.refused(self.send_files((sent, TEXT)), 400)

    def test_forms_that_are_none(self):
        for name, kind, body in BROKEN:
            kind = kind or "multipart/form-data; boundary=XX"
            with self.subTest(name):
                for path, key in (("/api/v1/filings", fresh_key()), ("/file", "")):
                    answer = self.post(path, kind, body, **{"Idempotency-Key": key} if key else {})
                    self.assertEqual(answer.status, 400, answer)

    def test_a_form_that_breaks_off(self):
        kind, body = form([filing_part(), a_file("a.pdf", a_pdf(50000))])
        whole = head("POST /api/v1/filings HTTP/1.1", "Host: x", f"Content-Type: {kind}",
                     f"Idempotency-Key: {fresh_key()}", f"Content-Length: {len(body)}",
                     "Connection: close") + body
        for cut in (len(whole) - len(body), len(whole) - 40000, len(whole) - 10, len(whole) - 1):
            with self.subTest(cut):
                said = talk(self.here.web, whole[:cut], half_close=True)
                self.assertNotIn(b"receipt", said)
        self.accepted(first_answer(talk(self.here.web, whole)))

    # ---- the page ----

    def blank(self, language="zh-CN"):
        return Page(request(self.here.web, "GET", f"/file?lang={language}").body.decode()).fields

    def submit(self, fields, files=(), language="zh-CN"):
        fields = {**self.blank(language), **TYPED, **fields}
        pairs = [(name, value) for name, values in fields.items() for value in values if value is not None]
        kind, body = form([part(name, value.replace("\n", "\r\n")) for name, value in pairs] + list(files))
        return self.post("/file", kind, body)

    def receipt_on(self, answer):
        self.assertEqual(answer.status, 200, answer)
        digits = re.search(r'id="receipt">(.*?)</p>', answer.body.decode()).group(1)
        receipt = re.sub(r"<[^>]*>", "", digits)
        type(self).good += 1
        return self.citizen.follow(receipt) and receipt

    def kept(self, answer, status, typed, language="zh-CN"):
        """The page again, with what is wrong and all that was typed."""
        self.assertEqual(answer.status, status, answer)
        self.assertTrue(answer.headers["Content-Type"].startswith("text/html"), answer)
        page = Page(answer.body.decode())
        self.assertEqual(bool(CHINESE.search(page.alert.replace("照片.png", ""))), language == "zh-CN",
                         page.alert)
        for name, values in typed.items():
            self.assertEqual([v.strip("\n") for v in page.fields.get(name, [])],
                             [v.strip("\n") for v in values], name)
        self.assertNotIn('id="receipt"', answer.body.decode())
        return page

    def test_what_is_typed_is_filed(self):
        receipt = self.receipt_on(self.submit({}, [a_file(), a_file("照片.png", png())]))
        self.assertEqual([f["name"] for f, _ in self.files_of(receipt)], ["a.txt", "照片.png"])

    def test_wrong_fields_of_the_page(self):
        table = [("against.name", [""]), ("against.district", ["999999"]), ("against.type", []),
                 ("acts", []), ("acts", ["PU01", "PU01"]), ("facts", ["短"]), ("facts", []),
                 ("truthful", []), ("truthful", ["yes"]), ("identity.phone", ["12"]),
                 ("amount_yuan", ["much"]), ("amount_yuan", ["-5"]), ("amount_yuan", ["9" * 30]),
                 ("when.from", ["2026-02-30"]), ("relation", ["boss"]), ("kind", ["praise"]),
                 ("language", ["fr"]), ("privacy_version", ["2020-1"]), ("facts", TYPED["facts"] * 2),
                 ("against.district", ["500108", "500103"]), ("kind", ["report", "complaint"]),
                 ("against.owner", ["x"]), ("receipt", ["1"]), ("filing", [FILING.decode()])]
        listed = {"against.type", "against.district", "relation"}  # only what can be chosen is kept
        for language in ("zh-CN", "en"):
            for name, values in table:
                with self.subTest(name, values=values, language=language):
                    typed = {k: v for k, v in TYPED.items() if k != name}
                    if name in TYPED and name not in listed and len(values) == 1 and name != "truthful":
                        typed[name] = values
                    answer = self.submit({name: values}, language=language)
                    page = self.kept(answer, 422, typed, language)
                    self.assertTrue(page.alert.strip())

    def test_wrong_files_keep_what_was_typed(self):
        big = a_pdf(MAX_FILE)
        table = [("照片.png", [a_file("照片.png", HTML)], 415),
                 ("照片.png", [a_file("照片.png", b"")], 415),
                 ("照片.png", [a_file(), a_file("照片.png", png(300) + big), a_file()], 413),
                 ("", [a_file()] * (MAX_FILES + 1), 413),
                 ("", [a_file("a.pdf", big[:55000])] * 2, 413),
                 ("", [a_file(field="evidence")], 400), ("", [part("filing", FILING, "f.json")], 400)]
        for language in ("zh-CN", "en"):
            for i, (name, files, status) in enumerate(table):
                with self.subTest(i, language=language):
                    page = self.kept(self.submit({}, files, language), status, TYPED, language)
                    self.assertIn(name, page.alert)
                    # Both at once: the fields come first, and the file is told with them.
                    answer = self.submit({"facts": ["短"]}, files, language)
                    page = self.kept(answer, 422, {**TYPED, "facts": ["短"]}, language)
                    self.assertIn(name, page.alert)

    def test_the_same_page_again(self):
        """Sent twice it is one filing; changed under its key it is refused."""
        key = [fresh_key()]
        receipt = self.receipt_on(self.submit({"key": key}))
        again = self.submit({"key": key})
        self.assertIn(receipt[:14], again.body.decode())
        other = {**TYPED, "facts": ["完全不同的另一件事:" + "药店串换药品。" * 9]}
        self.kept(self.submit({"key": key, **other}), 422, other)
        for wrong in ([], ["short"], ["x" * 65]):
            page = self.kept(self.submit({"key": wrong}), 400, TYPED)
            self.assertRegex(page.fields["key"][0], r"^[\w-]{22,64}$", "a key that is one")


if __name__ == "__main__":
    unittest.main(verbosity=2)
