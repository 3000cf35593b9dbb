#!/usr/bin/python3
"""coverage.py BUILD: which lines have run, of a build with .ci/coverage.cmake; a row for each file, the
least covered first in each folder, and what all of it comes to.  Needs gcov, which comes with gcc."""
import glob
import json
import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def lines_of(build):
    """{file: {line: how often}}; a source that several programs link counts once."""
    found = {}
    for data in glob.glob(f"{build}/**/*.gcda", recursive=True):
        done = subprocess.run(["gcov", "--json-format", "--stdout", data], capture_output=True, cwd=build, check=True)
        for text in done.stdout.splitlines():
            for file in json.loads(text)["files"]:
                path = os.path.relpath(os.path.join(build, file["file"]), SOURCE)
                if path.split("/")[0] not in ("broker", "workers", "notify"):
                    continue
                lines = found.setdefault(path, {})
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, 0) + line["count"]
    return found


def row(name, lines):
    run = sum(1 for count in lines if count)
    return f"{name:42} {run:6} of {len(lines):6} lines  {100 * run / max(1, len(lines)):5.1f} %"


def main(build):
    found = lines_of(os.path.abspath(build))
    if not found:
        sys.exit(f"{build}: no test has run there")
    folders = {}
    for path, lines in found.items():
        folders.setdefault(os.path.dirname(path), {})[path] = list(lines.values())
    for folder in sorted(folders):
        files = folders[folder]
        print(row(folder + "/", [c for lines in files.values() for c in lines]))
        for path in sorted(files, key=lambda p: sum(map(bool, files[p])) / max(1, len(files[p]))):
            print(row("  " + os.path.basename(path), files[path]))
    print(row("all of it", [c for lines in found.values() for c in lines.values()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
