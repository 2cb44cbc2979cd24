#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Count the instructions of bursts and compare them with the stored figures.

vhu-instructions does fixed work under callgrind; what counts is the number of instructions inside
rx_burst() and tx_burst() per frame (per call where nothing moves). No clock is read, so
the figures are the same on any machine with the same compiler and the same libraries. A row that
grew by more than 3 % fails: if the growth is worth its price, store the new figures in the same
commit with --update and say there what they buy.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_suffix(".json")
GROWTH = 1.03
SKIP = 77


def measure(program):
    """Run the program; give its compiler and {row: instructions per frame}."""
    with tempfile.TemporaryDirectory() as folder:
        # glibc chooses its memcpy by processor; the oldest is everywhere.
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM"}
        done = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
             "--collect-atstart=no", "--toggle-collect=rx_burst",
             "--toggle-collect=tx_burst", "--zero-before=row_begin", "--dump-after=row_end",
             program], capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            sys.exit(f"vhu-instructions failed with status {done.returncode}:\n"
                     f"{done.stdout}{done.stderr}")
        first, *lines = done.stdout.splitlines()
        compiler = first.removeprefix("compiler ")
        rows = {}
        for number, line in enumerate(lines, 1):
            name, frames = line.split()
            text = Path(folder, f"out.{number}").read_text(encoding="utf-8")
            total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
            rows[name] = round(total / int(frames), 2)
        return compiler, rows


def show(rows, stored):
    """Print the table; give the names of rows that grew too much."""
    grown = []
    print(f"{'instructions per frame':32} {'stored':>10} {'now':>10}")
    for name, now in rows.items():
        before = stored.get(name)
        note = "new" if before is None else f"{100 * (now / before - 1):+.1f} %"
        if before is None or now > before * GROWTH:
            grown.append(name)
            note += "" if before is None else "  <-- too much"
        print(f"{name:32} {before if before is not None else '-':>10} {now:>10} {note:>8}")
    for name in sorted(set(stored) - set(rows)):
        print(f"{name:32} is stored but not measured any more")
        grown.append(name)
    return grown


def main():
    """Exit status: 0 nothing grew, 1 something did, 2 wrong usage, 77 cannot be told here."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: test/perf/instructions.py build --update")
    parser.add_argument("build", nargs="?", default=os.environ.get("VHU_BUILD", ROOT / "build"),
                        help="release build to look at (build)")
    parser.add_argument("--update", action="store_true", help="store what is measured")
    options = parser.parse_args()
    program = Path(options.build) / "test" / "perf" / "vhu-instructions"
    if not shutil.which("valgrind"):
        print("valgrind is not installed (tools/setup test)")
        return SKIP
    if not program.exists():
        print(f"{program} is missing; build it with ninja")
        return 1
    compiler, rows = measure(program)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    if options.update:
        show(rows, stored.get("rows", {}))
        STORED.write_text(json.dumps({"compiler": compiler, "rows": rows}, indent=4) + "\n",
                          encoding="utf-8")
        return 0
    grown = show(rows, stored.get("rows", {}))
    if compiler != stored.get("compiler"):
        print(f"figures are stored for gcc {stored.get('compiler')}, this build is by {compiler}")
        return SKIP
    if grown:
        print(f"{len(grown)} rows differ from the stored figures by more than "
              f"{100 * (GROWTH - 1):.0f} %: {', '.join(grown)}\n"
              "If that is meant: test/perf/instructions.py build --update, and commit "
              "test/perf/instructions.json together with the change.")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
