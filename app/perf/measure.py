#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Measure everything that the guide's page of results shows, and make that page.

Usage: sudo app/perf/measure.py [--kinds KIND,...] [--minutes N] [--slice-ms N] [--missing]
Example: sudo app/perf/measure.py --minutes 15 && git diff --stat doc

It sees to hugepages (and gives them back), waits until nothing else runs, measures, puts the rows
into doc/perf beside those that are there, and writes the page with its pictures.

Kinds, one after the other: full, every row with this machine's DPDK (--minutes, most neglected rows
first, so that it may be run again and goes on where time ran out; with --missing only those that
are not there yet); native and newer, the rows that targets are about, with what tools/native-dpdk
and tools/newer-dpdk have built; pairs, test/perf/pair with 64-byte frames (eight minutes); regions,
regions.py (two minutes).

Needs two cores and root. VHU_BUILD names another build folder.
Exit status: 0 everything was measured, 1 something could not be, 2 wrong usage, 3 rows are left.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import hugepages, place  # noqa: E402

STORED = place.ROOT / "doc" / "perf"
PERF = place.BUILD / "app" / "perf" / "vhu-perf"
WORK = place.BUILD / "perf"
REPORT = place.ROOT / "app" / "perf" / "report.py"
RUNNERS = {"native": place.ROOT / "build" / "native-dpdk" / "run",
           "newer": place.ROOT / "build" / "newer-dpdk" / "sid" / "run"}
# A row with 509 regions and its EAL, or two programs of test/perf/pair.
HUGEPAGES_MIB = 2200
# What the table of targets needs.
TARGETS = ("@(loop-*-@(64|256|512|1518)-b32|loop-*-64-b@(1|4)|empty-*|receive-*-64-b32-offloads"
           "|loop-*-mergeable-64-b32-@(idle64|regions@(1|4|509)))")
LEFT = 3


def used_share(seconds=2.0):
    """Share of all cores that was used meanwhile."""
    def ticks():
        words = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
        numbers = list(map(int, words))
        return sum(numbers), numbers[3] + numbers[4]

    (all_before, idle_before), _, (all_after, idle_after) = ticks(), time.sleep(seconds), ticks()
    return 1 - (idle_after - idle_before) / max(1, all_after - all_before)


def wait_until_quiet(patience):
    """Whether nothing else runs; what is measured beside others says nothing."""
    end = time.monotonic() + patience
    while (share := used_share()) > 0.1:
        if time.monotonic() > end:
            print(f"measure.py: {100 * share:.0f} % of the cores are in use by others; stop them, "
                  "or --patience", file=sys.stderr)
            return False
    return True


def call(words):
    """Run it; an interruption ends it in order, and what it has measured is kept."""
    with subprocess.Popen([str(word) for word in words], cwd=place.ROOT) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGTERM)


def measure_full(options):
    """Every row. @return (file or None, status)."""
    result = WORK / "full.json"
    result.unlink(missing_ok=True)
    if (STORED / "full.json").exists():
        shutil.copy(STORED / "full.json", result)
    words = [PERF, "--full", "--slice-ms", options.slice_ms, "--json", result, "--resume",
             "--limit", max(1, round(60 * options.minutes))]
    return result, call(words if options.missing else [*words, "--again"])


def measure_with(kind, options):
    """The rows of targets, with another DPDK."""
    result = WORK / f"{kind}.json"
    result.unlink(missing_ok=True)
    if not RUNNERS[kind].exists():
        print(f"measure.py: {kind}: tools/{kind}-dpdk has not been run", file=sys.stderr)
        return None, 1
    # net_vhu cannot be built with what tools/newer-dpdk gets.
    drivers = "net_vhost" if kind == "newer" else "net_vhu,net_vhost"
    return result, call([RUNNERS[kind], "vhu-perf", "--row", TARGETS, "--slice-ms",
                         options.slice_ms, "--backends",
                         f"vhu,rte_vhost,{drivers},floor", "--json", result])


def measure_pairs(_):
    """The drivers in dpdk-testpmd."""
    result = WORK / "pairs.json"
    result.unlink(missing_ok=True)
    return result, call([place.ROOT / "test" / "perf" / "pair", "--json", result])


def measure_regions(_):
    """What more regions cost."""
    result = WORK / "regions.json"
    result.unlink(missing_ok=True)
    return result, call([Path(__file__).with_name("regions.py"), "--json", result])


KINDS = {"full": measure_full, "native": lambda options: measure_with("native", options),
         "newer": lambda options: measure_with("newer", options), "pairs": measure_pairs,
         "regions": measure_regions}


def parse():
    """Options, checked."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="full", help="comma-separated (full)")
    parser.add_argument("--minutes", type=float, default=20, help="for the full run (20)")
    parser.add_argument("--slice-ms", type=int, default=10, help="length of a slice (10)")
    parser.add_argument("--missing", action="store_true", help="only rows that are not there yet")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for quiet (60)")
    options = parser.parse_args()
    options.kinds = options.kinds.split(",")
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"'{unknown[0]}' is no kind; there are {', '.join(KINDS)}")
    return options


def main():
    """See above."""
    options = parse()
    if not PERF.exists():
        print(f"measure.py: {PERF} is missing; build it with ninja", file=sys.stderr)
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    statuses, stores = [], []
    with hugepages.reserved(HUGEPAGES_MIB) as reason:
        if reason:
            print(f"measure.py: {reason}", file=sys.stderr)
            return 1
        for kind in options.kinds:
            if not wait_until_quiet(options.patience):
                statuses.append(1)
                break
            result, status = KINDS[kind](options)
            statuses.append(status)
            if result and result.exists():
                stores += ["--store", f"{kind}={result}"]
    if stores:
        call([sys.executable, REPORT, *stores, "--write"])
    if os.environ.get("SUDO_UID"):
        for each in [*STORED.iterdir(), *(place.ROOT / "doc" / "guides").glob("perf_*")]:
            os.chown(each, int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", -1)))
    failed = [status for status in statuses if status not in (0, LEFT)]
    return 1 if failed else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
