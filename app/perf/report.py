#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Make the guide's page of results from what vhu-perf has written.

Usage: report.py [--folder FOLDER] [--store KIND=RESULT.json]... [--write | --print]
Example: app/perf/report.py --store full=full.json --store pairs=pairs.json --write

Kinds are full (vhu-perf --full), native (vhu-perf --quick with what tools/native-dpdk has built)
and pairs (test/perf/pair). What the page needs of them is kept in FOLDER, which is doc/perf.
--write makes doc/guides/perf_results.rst from that folder, --print only shows it. The page says
what is in those files and nothing else; a row that was not measured is not in the page.
"""

import argparse
import json
import math
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "doc" / "guides" / "perf_results.rst"
KINDS = ("full", "native", "pairs")
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


def store(kind, name, folder):
    """Keep a result in the folder."""
    text = Path(name).read_text(encoding="utf-8")
    with open(folder / f"{kind}.json", "w", encoding="utf-8") as file:
        if kind == "pairs":
            file.write(text)
        else:
            dump(stored(json.loads(text)), file)


def dump(result, file):
    """A line for each row, so that a new measurement is a readable change."""
    lines = [",\n".join(json.dumps(each, sort_keys=True) for each in result[key])
             for key in ("runs", "rows")]
    file.write(f'{{"runs": [\n{lines[0]}\n],\n"rows": [\n{lines[1]}\n]}}\n')


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

    def __init__(self, result):
        self.rows = result["rows"]
        self.by_name = {row["name"]: row for row in self.rows}

    def get(self, name, backend="vhu", what="to_peer"):
        """One median, or None."""
        row = self.by_name.get(name)
        return value(row, backend, what) if row else None

    def loops(self, size, kind="", backend="vhu", what="to_peer"):
        """Medians of the loop on the ten paths, or those that begin with kind."""
        return [self.get(f"loop-{path}-{size}-b32", backend, what)
                for path in PATHS if path.startswith(kind)]

    def cost(self, regions, ring):
        """Our own cycles with so many regions over those with one."""
        one = self.get(f"loop-{ring}-mergeable-64-b32-regions1", what="cycles")
        more = self.get(f"loop-{ring}-mergeable-64-b32-regions{regions}", what="cycles")
        return more / one if one and more else None

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


def target_table(rows):
    """What issue and page promise, and what was measured."""
    lines = []
    drivers = {work: found for work, _, found, _ in rows.targets("net_vhu")}
    for work, target, found, more in [*rows.targets("vhu"), *rows.own_targets()]:
        if not found:
            lines.append([work, f"{target:g}", "not measured", "", ""])
            continue
        met = found >= target if more else found <= target
        driver = drivers.get(work)
        lines.append([work, f'{"≥" if more else "≤"} {target:g}', f"{found:.2f}",
                      f"{driver:.2f}" if driver else "", "yes" if met else "**no**"])
    return list_table(["work", "target", "vhu", "net_vhu", "met"], lines, "46 12 14 14 14")


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
    commits = " ".join(sorted({run["commit"] for run in result["runs"]}))
    text = (f"*{name}:* {first['cpu']}, {first['dpdk']} built with ``{first['dpdk_build']}``, vhu "
            f"{first['vhu']} ({commits}) built with {first['build']}; {', '.join(kinds)} of each "
            f"back-end in a row, in {len(result['runs'])} pieces. Frequency: "
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


def read(folder, name):
    """A stored file, or None."""
    path = Path(folder) / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def page(folder):
    """The text of the page."""
    full, native, pairs = (read(folder, f"{name}.json") for name in KINDS)
    rows = Rows(full)
    text = [".. SPDX-License-Identifier: BSD-3-Clause", "   Copyright (c) 2026 The vhu founders",
            "", "..", "   Made by app/perf/report.py from doc/perf; do not edit.", "",
            *heading("Results of vhu-perf", "="),
            "How the figures come about, and what favours whom, is in :doc:`perf`. They are of one",
            "virtual machine; only ratios mean something elsewhere.", "",
            *conditions(full, "Full run"), *heading("Targets", "-"),
            *wrapped("Ratios of the peer's cycles to ours (more is better), and below them our "
                     "own cycles over another case of ours or over the floor (less is better)."),
            "",
            *target_table(rows)]
    if native:
        text += [*heading("DPDK built for this processor", "-"),
                 "Both sides built by ``tools/native-dpdk``, ``vhu-perf --quick``.", "",
                 *conditions(native, "Native run"), *group_table(native["rows"])]
    if pairs:
        text += pairs_section(pairs)
    text += [*heading("All rows", "-"),
             "Cycles per packet (medians); in brackets the ratio to the peer with its 95 % "
             "interval.", ""]
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
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    for each in options.store:
        kind, _, name = each.partition("=")
        if kind not in KINDS:
            parser.error(f"'{kind}' is no kind; there are {', '.join(KINDS)}")
        store(kind, name, options.folder)
    if options.write:
        PAGE.write_text(page(options.folder), encoding="utf-8")
    if options.print:
        sys.stdout.write(page(options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
