#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What more memory regions cost: our own cycles with 4 and 509 of them over those with one.

Usage: sudo app/perf/regions.py [--passes N] --json FILE
Example: sudo app/perf/regions.py --json regions.json

Rows of vhu-perf are measured one after the other, and between two of them the cores of a virtual
machine may have moved apart, which changes everything by more than regions do. So these rows take
turns, in random order, a tenth of a second each, and two of a pass are compared only if the floor,
which has no regions to look up, was the same in both, give or take 15 %.

Needs two idle cores, root and 1100 hugepages of 2 MiB. VHU_BUILD names another build folder.
Exit status: 0 everything was measured, 1 something was not, 2 wrong usage.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import place  # noqa: E402

PERF = place.BUILD / "app" / "perf" / "vhu-perf"
REGIONS = (1, 4, 509)
RINGS = ("split", "packed")
ALIKE = (1 / 1.15, 1.15)


def cycles(ring, regions, result):
    """Medians of our cycles and the floor's."""
    row = f"loop-{ring}-mergeable-64-b32-regions{regions}"
    subprocess.run([PERF, "--full", "--row", row, "--slice-ms", "3", "--rounds", "9",
                    "--backends", "vhu,floor", "--json", result], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = json.loads(Path(result).read_text(encoding="utf-8"))["rows"][0]["results"]
    return tuple(found[backend]["cycles"]["median"] for backend in ("vhu", "floor"))


def compared(found):
    """[(regions, ratio)] of a pass, {regions: (our cycles, the floor's)}, as far as comparable."""
    ours, floor = found[1]
    return [(regions, found[regions][0] / ours) for regions in REGIONS[1:]
            if ALIKE[0] < found[regions][1] / floor < ALIKE[1]]


def one_pass(ring, result):
    """The rows of a ring, in random order."""
    return compared({regions: cycles(ring, regions, result)
                     for regions in random.sample(REGIONS, len(REGIONS))})


def summary(ring, regions, ratios, passes):
    """A row of the result."""
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 2 else [None] * 3
    return {"name": f"{ring}-{regions}", "ring": ring, "regions": regions, "ratio": middle,
            "q1": low, "q3": high, "compared": len(ratios), "passes": passes}


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=60)
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    if options.passes < 1:
        parser.error(f"--passes {options.passes}: at least one")
    ratios = {(ring, regions): [] for ring in RINGS for regions in REGIONS[1:]}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.passes):
            print(f"pass {number + 1} of {options.passes}", end="\r", file=sys.stderr, flush=True)
            for ring in RINGS:
                try:
                    found = one_pass(ring, f"{folder}/row.json")
                except (OSError, subprocess.CalledProcessError) as error:
                    print(f"regions.py: {getattr(error, 'stderr', None) or error}",
                          file=sys.stderr)
                    return 1
                for regions, ratio in found:
                    ratios[ring, regions].append(ratio)
    rows = [summary(ring, regions, found, options.passes)
            for (ring, regions), found in ratios.items()]
    Path(options.json).write_text(json.dumps({"rows": rows}, indent=1), encoding="utf-8")
    for row in rows:
        if row["ratio"] is None:
            print(f"{row['ring']}, {row['regions']} regions: the floor never stood still")
        else:
            print(f"{row['ring']}, {row['regions']} regions: {row['ratio']:.3f} times the cycles "
                  f"of one (quartiles {row['q1']:.3f} to {row['q3']:.3f}, {row['compared']} of "
                  f"{row['passes']} passes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
