#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Draw what vhu-perf has written: for each row, how many times the cycles the peer takes.

Usage: plot.py RESULT.json PICTURE.{svg,png} [--measure to_peer|to_floor|cycles|mpps] [--group G]
               [--row PATTERN]
Example: vhu-perf --full --json result.json && app/perf/plot.py result.json ratios.svg

Needs gnuplot (Debian: gnuplot-nox). The dots are medians, the whiskers 95 % intervals.
"""

import argparse
import fnmatch
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


def lines_of(rows, backend, measure, shift):
    """Data for gnuplot: median, height, low, high; the first row is the highest."""
    for number, row in enumerate(rows):
        value = row["results"].get(backend, {}).get(measure)
        if value:
            yield f'{value["median"]} {-number - shift} {value["low"]} {value["high"]}'


def script(rows, picture, measure, backends, terminal="svg"):
    """What gnuplot is told: a dot with whiskers for each row and back-end."""
    names = ", ".join(f'"{row["name"]}" {-number}' for number, row in enumerate(rows))
    medians = [row["results"].get(backend, {}).get(measure) for row in rows
               for backend in backends]
    right = 1.25 * max([value["median"] for value in medians if value] + [1])
    text = [f'set terminal {terminal} size 900,{120 + 22 * len(rows)} font "sans,11"',
            f'set output "{picture}"', f'set title "{TITLES[measure]}"', f"set ytics ({names})",
            f"set yrange [{-len(rows)}:1]", f"set xrange [0:{right:.3g}]",
            "set ytics noenhanced", "set grid xtics ytics", "set key below", "set bars small"]
    if measure.startswith("to_"):
        text.append("set arrow from 1, graph 0 to 1, graph 1 nohead dashtype 2")
    plots = []
    for number, backend in enumerate(backends):
        data = list(lines_of(rows, backend, measure, 0.3 * number))
        if data:
            text += [f"$b{number} << EOD", *data, "EOD"]
            plots.append(f'$b{number} using 1:2:3:4 with xerrorbars pointtype 7 pointsize 0.6 '
                         f'title "{backend}" noenhanced')
    return "\n".join([*text, "plot " + ", ".join(plots), ""]) if plots else ""


def main():
    """Exit status: 0 drawn, 1 not possible, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("picture")
    parser.add_argument("--measure", choices=TITLES, default="to_peer")
    parser.add_argument("--backends", default="vhu,net_vhu", help="comma-separated")
    parser.add_argument("--group", help="only rows of this group, such as size")
    parser.add_argument("--row", default="*", help="only rows of such names: loop-*-64-b32")
    parser.add_argument("--script", action="store_true", help="print what gnuplot would be told")
    options = parser.parse_args()
    with open(options.result, encoding="utf-8") as file:
        rows = [row for row in json.load(file)["rows"] if options.group in (None, row["group"])
                and fnmatch.fnmatch(row["name"], options.row)]
    terminal = "pngcairo" if options.picture.endswith(".png") else "svg"
    text = script(rows, options.picture, options.measure, options.backends.split(","), terminal)
    if not text:
        print("plot.py: no row has such a figure", file=sys.stderr)
        return 1
    if options.script:
        print(text)
        return 0
    if not shutil.which("gnuplot"):
        print("plot.py: gnuplot is not installed (tools/setup docs)", file=sys.stderr)
        return 1
    return subprocess.run(["gnuplot"], input=text, text=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
