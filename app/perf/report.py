#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Make the guide's page of results from what vhu-perf has written.

Usage: report.py [--folder FOLDER] [--replace] [--store KIND=RESULT.json]... [--write | --print]
Example: app/perf/report.py --store full=full.json --store pairs=pairs.json --write

Kinds are full (vhu-perf --full), native (vhu-perf with what tools/native-dpdk has built), newer
(with what tools/newer-dpdk has), pairs (test/perf/pair) and regions (regions.py). What the page
needs of them is kept in FOLDER, which is doc/perf: rows of a result take the place of those with
the same name, others stay unless --replace is given. --write makes doc/guides/perf_results.rst from
that folder, and pictures if gnuplot is there; --print only shows it. The page says what is in those
files and nothing else; a row that was not measured is not in the page.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "doc" / "guides" / "perf_results.rst"
PLOT = Path(__file__).resolve().parent / "plot.py"
KINDS = ("full", "native", "newer", "pairs", "regions")
BACKENDS = ["vhu", "net_vhu", "rte_vhost", "net_vhost", "floor"]
PATHS = ["split-mergeable", "split-plain", "split-mergeable-in-order", "split-in-order",
         "split-vectorised", "packed-mergeable", "packed-plain", "packed-mergeable-in-order",
         "packed-in-order", "packed-vectorised"]
TITLES = {
    "path": "Ten paths, 64-byte loop", "size": "Sizes and directions",
    "direction": "Receive and transmit, 64 bytes", "burst": "Bursts",
    "starved": "A driver that keeps little ready", "empty": "Polls that find nothing",
    "idle": "Idle ports beside the busy one", "regions": "Memory regions",
    "offloads": "Checksum and segmentation offload", "indirect": "Indirect descriptors",
    "logging": "Dirty log on", "iommu": "Behind an IOMMU",
    "statistics": "Statistics with sizes of frames",
    "touch": "A driver that reads and writes each byte",
}
# What is drawn, and from which rows; the pictures lie beside the page.
PICTURES = {
    "perf_paths.svg": ("64-byte loop on the ten paths", "loop-*-64-b32"),
    "perf_sizes.svg": ("Sizes and directions, split mergeable", "*-split-mergeable-[0-9i]*-b32"),
    "perf_sizes_packed.svg": ("Sizes and directions, packed mergeable",
                              "*-packed-mergeable-[0-9i]*-b32"),
    "perf_bursts.svg": ("Bursts of 1, 4, 32 and 256", "loop-*-mergeable-64-b*[0-9]"),
}
VALUES = ["cycles", "mpps", "to_peer", "to_floor"]


def short(number):
    """Four digits are more than the intervals allow."""
    return float(f"{number:.4g}")


def stored(result):
    """What the page needs of a result."""
    rows = []
    for row in result["rows"]:
        kept = {key: row[key] for key in row if key != "results"}
        kept["results"] = {}
        for backend, found in row["results"].items():
            if "missing" in found:
                kept["results"][backend] = {"missing": found["missing"]}
                continue
            kept["results"][backend] = {
                key: {name: short(value) for name, value in found[key].items()}
                if isinstance(found[key], dict) else found[key]
                for key in ["slices", "checked", "features", *VALUES]}
            for key in ("burst", "busy"):
                kept["results"][backend][key] = short(found[key])
        rows.append(kept)
    return {"runs": result["runs"], "rows": rows}


def name_of(row):
    """What two measurements of the same thing have in common."""
    return row.get("name") or (row["path"], str(row["size"]))


def merged(old, new):
    """Rows of the new result in the places of the old ones; runs that no row needs are left out."""
    rows = {name_of(row): (row, old) for row in old["rows"]}
    rows.update((name_of(row), (row, new)) for row in new["rows"])
    if "runs" not in new:
        return {"rows": [row for row, _ in rows.values()]}
    runs, kept = [], []
    for row, result in rows.values():
        run = result["runs"][row["run"]]
        if run not in runs:
            runs.append(run)
        kept.append((row, run))
    # vhu-perf measures rows of the first runs again first.
    runs.sort(key=lambda run: run.get("date", ""))
    return {"runs": runs, "rows": [{**row, "run": runs.index(run)} for row, run in kept]}


def store(kind, name, folder, replace):
    """Keep a result in the folder."""
    new = json.loads(Path(name).read_text(encoding="utf-8"))
    if "runs" in new:
        new = stored(new)
    old = None if replace else read(folder, f"{kind}.json")
    with open(folder / f"{kind}.json", "w", encoding="utf-8") as file:
        dump(merged(old or {"runs": [], "rows": []}, new), file)


def dump(result, file):
    """A line for each row, so that a new measurement is a readable change."""
    parts = []
    for key, each in result.items():
        lines = ",\n".join(json.dumps(one, sort_keys=True) for one in each)
        parts.append(f'"{key}": [\n{lines}\n]')
    file.write("{" + ",\n".join(parts) + "}\n")


def value(row, backend, name):
    """The median, or None."""
    found = row["results"].get(backend, {}).get(name)
    return found["median"] if found else None


def mean(values):
    """Geometric mean, as is right for ratios; None of none."""
    known = [each for each in values if each]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


class Rows:
    """Rows by name, and what the targets ask of them."""

    def __init__(self, result, regions=None):
        self.rows = result["rows"]
        self.by_name = {row["name"]: row for row in self.rows}
        self.regions = {row["name"]: row["ratio"] for row in (regions or {"rows": []})["rows"]}

    def get(self, name, backend="vhu", what="to_peer"):
        """One median, or None."""
        row = self.by_name.get(name)
        return value(row, backend, what) if row else None

    def loops(self, size, kind="", backend="vhu", what="to_peer"):
        """Medians of the loop on the ten paths, or those that begin with kind."""
        return [self.get(f"loop-{path}-{size}-b32", backend, what)
                for path in PATHS if path.startswith(kind)]

    def cost(self, regions, ring):
        """Our own cycles with so many regions over those with one, as regions.py measured them."""
        return self.regions.get(f"{ring}-{regions}")

    def worst(self, values, lowest=True):
        """The worst of those that were measured."""
        known = [each for each in values if each]
        return (min if lowest else max)(known) if known else None

    def targets(self, backend):
        """Lines of (work, target, what was measured, whether more is better)."""
        bursts = [self.get(f"loop-{path}-64-b{burst}", backend) for path in PATHS
                  for burst in (1, 4)]
        every = self.loops(64, "", backend)
        small = [mean(self.loops(size, "", backend)) for size in (256, 512)]
        offloads = [self.get(f"receive-{path}-64-b32-offloads", backend) for path in PATHS]
        empty = [self.get(f"empty-{path}", backend) for path in PATHS]
        lines = [
            ("64-byte loop, geometric mean of the paths", 1.8, mean(every)),
            ("the worst split path", 2.0, self.worst(self.loops(64, "split", backend))),
            ("the worst packed path", 1.5, self.worst(self.loops(64, "packed", backend))),
            ("64-byte receive, offloads negotiated, worst path", 2.0, self.worst(offloads)),
            ("256 and 512 bytes, geometric mean", 1.6, mean(small)),
            ("1518 bytes, geometric mean", 1.5, mean(self.loops(1518, "", backend))),
            ("bursts of 1 and 4, geometric mean", 2.0, mean(bursts)),
            ("empty poll, worst split path", 5.0, self.worst(empty[:5])),
            ("empty poll, worst packed path", 5.0, self.worst(empty[5:])),
            ("64 idle ports and a busy one, split", 2.0,
             self.get("loop-split-mergeable-64-b32-idle64", backend)),
        ]
        return [(work, target, found, True) for work, target, found in lines]

    def own_targets(self):
        """Targets that have no peer."""
        lines = [(f"{regions} regions instead of 1, {ring}", target, self.cost(regions, ring))
                 for regions, target in ((4, 1.05), (509, 1.3)) for ring in ("split", "packed")]
        lines += [(f"64-byte loop, distance from the floor, worst {ring} path", target,
                   self.worst(self.loops(64, ring, what="to_floor"), False))
                  for ring, target in (("split", 2.0), ("packed", 1.6))]
        return [(work, target, found, False) for work, target, found in lines]


def list_table(heads, rows, widths):
    """A table of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for cells in [heads, *rows]:
        for number, cell in enumerate(cells):
            lines.append(f'   {"* -" if number == 0 else "  -"} {cell}'.rstrip())
    return [*lines, ""]


def wrapped(text):
    """Lines of the length that the guide has."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def heading(text, mark):
    """A title with its line."""
    return [text, mark * len(text), ""]


def target_table(rows, everything=True):
    """What issue and page promise, and what was measured; or of that only what was measured."""
    lines = []
    drivers, floor = ({work: found for work, _, found, _ in rows.targets(backend)}
                      for backend in ("net_vhu", "floor"))
    for work, target, found, more in [*rows.targets("vhu"), *rows.own_targets()]:
        if not found and not everything:
            continue
        if not found:
            lines.append([work, f"{target:g}", "not measured", "", "", ""])
            continue
        met = found >= target if more else found <= target
        lines.append([work, f'{"≥" if more else "≤"} {target:g}', f"{found:.2f}",
                      *(f"{other[work]:.2f}" if other.get(work) else ""
                        for other in (drivers, floor)), "yes" if met else "**no**"])
    return list_table(["work", "target", "vhu", "net_vhu", "floor", "met"], lines,
                      "44 10 12 12 12 10")


def figure(found, backend):
    """A cell: cycles, and how they relate to the peer's."""
    if "missing" in found:
        return found["missing"]
    text = f'{found["cycles"]["median"]:.4g}'
    ratio = found["to_peer"]
    if backend in ("vhu", "net_vhu") and ratio:
        text += f' (**{ratio["median"]:.2f}**, {ratio["low"]:.2f}–{ratio["high"]:.2f})'
    return text


def group_table(rows):
    """All back-ends of some rows."""
    lines = [[f'``{row["name"]}``', *(figure(row["results"][backend], backend)
                                     if backend in row["results"] else "" for backend in BACKENDS)]
             for row in rows]
    return list_table(["row", *BACKENDS], lines, "35 18 18 10 10 9")


def conditions(result, name):
    """Where the figures come from."""
    first = result["runs"][0]
    kinds = sorted({f'{run["rounds"]} slices of {run["slice_ms"]} ms' for run in result["runs"]})
    seeds = " ".join(str(run["seed"]) for run in result["runs"])
    counts = Counter(result["runs"][row["run"]]["commit"] for row in result["rows"])
    commits = next(iter(counts)) if len(counts) == 1 else ", ".join(
        f"{commit} {count} rows" for commit, count in sorted(counts.items()))
    checked = sum(1 for row in result["rows"] for backend, found in row["results"].items()
                  if found.get("checked") and backend != "floor" and row["group"] != "empty")
    text = (f"*{name}:* {first['cpu']}, {first['dpdk']} built with ``{first['dpdk_build']}``, vhu "
            f"{first['vhu']} ({commits}) built with {first['build']}; {', '.join(kinds)} of each "
            f"back-end in a row, in {len(result['runs'])} pieces. {checked} times a back-end "
            f"was seen to move every byte before its time was taken. Frequency: "
            f"{first['frequency']}. Seeds: {seeds}.")
    return [*wrapped(text), ""]


def pairs_section(pairs):
    """The drivers in dpdk-testpmd, measured by another program."""
    lines = [[f'{row["path"]}', row["size"], f'{row["a_cycles"]:.1f}', f'{row["b_cycles"]:.1f}',
              f'**{row["ratio"]:.2f}** ({row["q1"]:.2f}–{row["q3"]:.2f})', row["pairs"]]
             for row in pairs["rows"]]
    mid = mean([row["ratio"] for row in pairs["rows"] if str(row["size"]) == "64"])
    text = [*heading("The independent check", "-"),
            *wrapped("``test/perf/pair`` puts both drivers into one ``dpdk-testpmd``, lets "
                     "another with ``net_virtio_user`` send frames around, and alternates slices. Cycles "
                     "per packet are those that testpmd records; the ratio has its quartiles."),
            ""]
    if mid:
        text += [f"Geometric mean at 64 bytes: **{mid:.2f}**.", ""]
    return text + list_table(["path", "bytes", "net_vhost", "net_vhu", "ratio", "pairs"], lines,
                             "34 10 14 14 20 8")


def picture_section(folder):
    """Those that were drawn."""
    lines = []
    for name, (title, _) in PICTURES.items():
        if (folder / name).exists():
            lines += [f".. figure:: {name}", f"   :alt: {title}", "", f"   {title}",
                      "   (how many times our cycles the peer takes, with 95 % intervals).", ""]
    return lines


def draw(folder, result):
    """Make the pictures anew; without gnuplot they stay as they are."""
    if not shutil.which("gnuplot"):
        print("report.py: gnuplot is not installed, the pictures stay as they are", file=sys.stderr)
        return
    for name, (_, rows) in PICTURES.items():
        if subprocess.run([sys.executable, PLOT, result, folder / name, "--row", rows],
                          check=False).returncode == 0:
            tidy(folder / name)


def tidy(picture):
    """Give it the header that files of this repository have."""
    first, *lines = picture.read_text(encoding="utf-8").rstrip().splitlines()
    header = ["<!-- SPDX-License-Identifier: BSD-3-Clause",
              "     Copyright (c) 2026 The vhu founders -->"]
    text = "\n".join([first, *header, *(line.rstrip() for line in lines)])
    picture.write_text(text + "\n", encoding="utf-8")


def read(folder, name):
    """A stored file, or None."""
    path = Path(folder) / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def page(folder):
    """The text of the page."""
    full, native, newer, pairs, regions = (read(folder, f"{name}.json") for name in KINDS)
    rows = Rows(full, regions)
    text = [".. SPDX-License-Identifier: BSD-3-Clause", "   Copyright (c) 2026 The vhu founders",
            "", "..", "   Made by app/perf/report.py from doc/perf; do not edit.", "",
            *heading("Results of vhu-perf", "="),
            "How the figures come about, and what favours whom, is in :doc:`perf`. They are of one",
            "virtual machine; only ratios mean something elsewhere.", "",
            *conditions(full, "Full run"), *heading("Targets", "-"),
            *wrapped("Ratios of the peer's cycles to ours (more is better), and below them our "
                     "own cycles over another case of ours (``app/perf/regions.py``) or over the "
                     "floor (less is better). "
                     "The column *floor* says how often the bare hand-over of the bytes fits into "
                     "rte_vhost's cycles: a yardstick, not a limit, since some rows go below it."),
            "",
            *target_table(rows)]
    if native:
        text += [*heading("DPDK built for this processor", "-"),
                 "Both sides built by ``tools/native-dpdk``.", "",
                 *conditions(native, "Native run"), *target_table(Rows(native), False),
                 *group_table(native["rows"])]
    if newer:
        text += [*heading("The newest DPDK that Debian has", "-"),
                 *wrapped("DPDK as a newer Debian ships it, and vhu built with the compiler of "
                          "that Debian (``tools/newer-dpdk``). The driver net_vhu is missing: its "
                          "headers come with sources only."), "",
                 *conditions(newer, "Newer run"), *target_table(Rows(newer), False),
                 *group_table(newer["rows"])]
    if pairs:
        text += pairs_section(pairs)
    text += [*heading("All rows", "-"),
             "Cycles per packet (medians); in brackets the ratio to the peer with its 95 % "
             "interval.", "", *picture_section(PAGE.parent)]
    for group, title in TITLES.items():
        found = [row for row in full["rows"] if row["group"] == group]
        if found:
            text += [*heading(title, "~"), *group_table(found)]
    return "\n".join(text).rstrip() + "\n"


def main():
    """Exit status: 0 done, 2 wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "doc" / "perf")
    parser.add_argument("--store", action="append", default=[], metavar="KIND=RESULT")
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    for each in options.store:
        kind, _, name = each.partition("=")
        if kind not in KINDS:
            parser.error(f"'{kind}' is no kind; there are {', '.join(KINDS)}")
        store(kind, name, options.folder, options.replace)
    if options.write:
        draw(PAGE.parent, options.folder / "full.json")
        PAGE.write_text(page(options.folder), encoding="utf-8")
    if options.print:
        sys.stdout.write(page(options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
