#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Draw what vhu-perf has written: for each group of rows, how many times the cycles the peer takes.

Usage: plot.py RESULT.json PICTURE.svg [--measure to_peer|to_floor|cycles|mpps]
Example: vhu-perf --full --json result.json && app/perf/plot.py result.json ratios.svg

Needs gnuplot (Debian: gnuplot-nox). The bars are medians, the whiskers 95 % intervals.
"""

import argparse
import json
import shutil
import subprocess
import sys

TITLES = {
    "to_peer": "cycles of the peer / cycles (higher is better)",
    "to_floor": "cycles / cycles of the bare hand-over (1 is the floor)",
    "cycles": "cycles per packet",
    "mpps": "million packets per second",
}


def lines_of(rows, backend, measure):
    """Data of one group for gnuplot: name, median, low, high."""
    for row in rows:
        value = row["results"].get(backend, {}).get(measure)
        if value:
            yield f'"{row["name"]}" {value["median"]} {value["low"]} {value["high"]}'


def groups_of(rows):
    """Rows by group, in the order in which the groups appear."""
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return groups


def script(result, picture, measure, backends):
    """What gnuplot is told."""
    groups = groups_of(result["rows"])
    height = 140 + sum(24 * len(rows) + 110 for rows in groups.values())
    text = [f'set terminal svg size 1000,{height} font "sans,11"', f'set output "{picture}"',
            f'set multiplot layout {len(groups)},1 title "{TITLES[measure]}"',
            "set style fill solid 0.6", "set style data histograms",
            "set style histogram errorbars gap 1", "set xtics rotate by -30 noenhanced",
            "set yrange [0:*]", "set grid ytics", "set key outside"]
    for number, (group, rows) in enumerate(groups.items()):
        plots = []
        for backend in backends:
            data = list(lines_of(rows, backend, measure))
            if data:
                name = f"$g{number}_{backend}"
                text += [f"{name} << EOD", *data, "EOD"]
                plots.append(f'{name} using 2:3:4:xtic(1) title "{backend}" noenhanced')
        if plots:
            text += [f'set title "{group}"', "plot " + ", ".join(plots)]
    return "\n".join([*text, "unset multiplot", ""])


def main():
    """Exit status: 0 drawn, 1 not possible, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("picture")
    parser.add_argument("--measure", choices=TITLES, default="to_peer")
    parser.add_argument("--backends", default="vhu,net_vhu", help="comma-separated")
    parser.add_argument("--script", action="store_true", help="print what gnuplot would be told")
    options = parser.parse_args()
    with open(options.result, encoding="utf-8") as file:
        text = script(json.load(file), options.picture, options.measure,
                      options.backends.split(","))
    if options.script:
        print(text)
        return 0
    if not shutil.which("gnuplot"):
        print("plot.py: gnuplot is not installed (tools/setup docs)", file=sys.stderr)
        return 1
    return subprocess.run(["gnuplot"], input=text, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
