#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Which test holds which row of the acceptance table: an RST table made from the tests.

Conformance tests say it with @pytest.mark.row("R7"); tests in other folders are named in rows.py
or say it with a comment that holds "Rows: F14, F18". A row that no test holds needs a reason in
rows.py.
"""

import argparse
import collections
import contextlib
import io
import os
import pathlib
import re
import sys

import pytest

import rows

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMENT = re.compile(r"\bRows?: ((?:[A-Z]{1,2}\d+)(?:,\s*[A-Z]{1,2}\d+)*)")
SOURCES = (".c", ".h", ".py", ".sh", "")


class Collector:
    """A pytest plugin that notes the rows of what it collects."""

    def __init__(self):
        self.found = collections.defaultdict(set)

    def pytest_collection_modifyitems(self, items):
        for item in items:
            for marker in item.iter_markers("row"):
                for row in marker.args:
                    name = item.originalname or item.name
                    self.found[row].add(f"conformance/{item.path.name}: {name}")


def from_pytest():
    collector = Collector()
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", str(HERE)],
                             plugins=[collector])
    if status != 0:
        sys.exit(f"coverage.py: pytest could not collect the tests:\n{output.getvalue()}")
    return collector.found


def from_comments():
    found = collections.defaultdict(set)
    for path in sorted((ROOT / "test").rglob("*")):
        if HERE in path.parents or not path.is_file() or path.suffix not in SOURCES:
            continue
        for match in COMMENT.finditer(path.read_text(encoding="utf-8", errors="replace")):
            for row in re.split(r",\s*", match.group(1)):
                found[row].add(str(path.relative_to(ROOT / "test")))
    return found


def from_rows():
    found = collections.defaultdict(set)
    for row, tests in rows.ELSEWHERE.items():
        found[row].update(f"{file}: {test}" for file, test in tests)
    return found


def complaints(held):
    """What is wrong with the table, one line each."""
    for file, test in {test for tests in rows.ELSEWHERE.values() for test in tests}:
        path = ROOT / "test" / file
        if not path.exists() or not re.search(rf"\b{test}\b", path.read_text(encoding="utf-8")):
            yield f"rows.py names {test} in test/{file}, where it is not"
    for row in sorted(held):
        if row not in rows.ROWS:
            yield f"{row} is held by {sorted(held[row])[0]} but is no row of rows.py"
    for row in rows.WHY_NOT:
        if row not in rows.ROWS:
            yield f"{row} has a reason but is no row of rows.py"
        elif row in held:
            yield f"{row} has a reason why no test holds it, but {sorted(held[row])[0]} does"
    for row in rows.ROWS:
        if row not in held and row not in rows.WHY_NOT:
            yield f"{row} is held by no test and has no reason in rows.py"


def write_table(held, output):
    output.write(".. Made by test/conformance/coverage.py from the tests: do not edit.\n\n"
                 ".. list-table::\n   :header-rows: 1\n   :widths: 8 42 50\n\n"
                 "   * - Row\n     - What\n     - Held by\n")
    for row, what in rows.ROWS.items():
        output.write(f"   * - {row}\n     - {what}\n")
        tests = sorted(held.get(row, ()))
        if not tests:
            output.write(f"     - *not tested:* {rows.WHY_NOT[row]}\n")
            continue
        output.write(f"     - | ``{tests[0]}``\n")
        for test in tests[1:]:
            output.write(f"       | ``{test}``\n")


def main():
    parser = argparse.ArgumentParser(
        description="Write the table of acceptance rows and the tests that hold them.",
        epilog="example: coverage.py --output coverage-table.rst")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; only say what is wrong with the table")
    arguments = parser.parse_args()
    os.chdir(HERE)
    held = from_pytest()
    for source in (from_comments, from_rows):
        for row, tests in source().items():
            held[row] |= tests
    wrong = list(complaints(held))
    if wrong:
        sys.exit("\n".join(f"coverage.py: {line}" for line in wrong))
    if arguments.check:
        return
    if arguments.output is None:
        write_table(held, sys.stdout)
        return
    with open(arguments.output, "w", encoding="utf-8") as output:
        write_table(held, output)


if __name__ == "__main__":
    main()
