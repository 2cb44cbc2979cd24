# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The page of results says what the stored results say. Nothing is measured here, except that
test/perf/pair can carry traffic."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / folder)
                for folder in ("tools", "app/perf")]

import regions as region_rows  # noqa: E402
from rig import place  # noqa: E402

REPORT = place.ROOT / "app" / "perf" / "report.py"
MEASURE = place.ROOT / "app" / "perf" / "measure.py"
REGIONS = place.ROOT / "app" / "perf" / "regions.py"
PAIR = place.ROOT / "test" / "perf" / "pair"


def report(*words):
    """What report.py prints."""
    return subprocess.run([sys.executable, str(REPORT), *map(str, words)], capture_output=True,
                          text=True, check=True).stdout


def result(cycles, ratio):
    """One row of one run, as vhu-perf writes it."""
    def interval(middle):
        return {"median": middle, "low": middle * 0.91234567, "high": middle * 1.1}

    vhu = {"slices": 31, "checked": True, "features": "0x1", "cycles": interval(cycles),
           "mpps": interval(10.0), "to_peer": interval(ratio), "to_floor": interval(1.5),
           "burst": 32.0, "busy": 0.9876543, "interrupted_ms": 0.0, "dropped": 0}
    run = {"vhu": "0", "commit": "c0ffee", "dpdk": "DPDK 1", "dpdk_build": "-march=x",
           "build": "gcc", "cpu": "a cpu", "frequency": "unknown", "rounds": 31,
           "slice_ms": 20, "seed": 5}
    row = {"name": "loop-split-plain-64-b32", "group": "path", "run": 0,
           "results": {"vhu": vhu, "rte_vhost": {"missing": "does not offer it"}}}
    return {"runs": [run], "rows": [row]}


def test_the_page_of_the_guide_is_made_from_the_stored_results():
    page = (place.ROOT / "doc" / "guides" / "perf_results.rst").read_text(encoding="utf-8")
    assert report("--print") == page, "app/perf/report.py --write makes it anew"


def test_figures_reasons_and_targets_are_in_the_page(tmp_path):
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps(result(61.25, 1.75)), encoding="utf-8")
    report("--folder", tmp_path, "--store", f"full={whole}")
    kept = json.loads((tmp_path / "full.json").read_text(encoding="utf-8"))
    assert kept["rows"][0]["results"]["vhu"]["busy"] == 0.9877
    page = report("--folder", tmp_path, "--print")
    assert "61.25 (**1.75**, 1.60–1.93)" in page
    assert "does not offer it" in page
    assert "c0ffee" in page and "-march=x" in page
    # The path is split and below its target of 2.
    at = page.index("the worst split path")
    assert "**no**" in page[at:at + 120]


def test_what_was_not_measured_is_said(tmp_path):
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps(result(61.25, 1.75)), encoding="utf-8")
    report("--folder", tmp_path, "--store", f"full={whole}")
    page = report("--folder", tmp_path, "--print")
    at = page.index("1518 bytes, geometric mean")
    assert "not measured" in page[at:at + 120]
    assert "independent check" not in page


def test_a_new_result_takes_the_place_of_rows_of_the_same_name(tmp_path):
    """Others stay; runs that nothing is left of go; --replace begins anew."""
    def put(name, cycles, commit, *options):
        one = result(cycles, 2.5)
        one["rows"][0]["name"] = name
        one["runs"][0].update(commit=commit, date=commit)
        (tmp_path / "one.json").write_text(json.dumps(one), encoding="utf-8")
        report("--folder", tmp_path, *options, "--store", f"full={tmp_path / 'one.json'}")
        kept = json.loads((tmp_path / "full.json").read_text(encoding="utf-8"))
        return {row["name"]: (row["results"]["vhu"]["cycles"]["median"],
                              kept["runs"][row["run"]]["commit"]) for row in kept["rows"]}

    put("a", 10.0, "2001")
    assert put("b", 20.0, "2002") == {"a": (10.0, "2001"), "b": (20.0, "2002")}
    assert put("a", 30.0, "2003") == {"a": (30.0, "2003"), "b": (20.0, "2002")}
    kept = json.loads((tmp_path / "full.json").read_text(encoding="utf-8"))
    assert [run["commit"] for run in kept["runs"]] == ["2002", "2003"]
    assert "2002 1 rows, 2003 1 rows" in report("--folder", tmp_path, "--print")
    assert put("c", 40.0, "2004", "--replace") == {"c": (40.0, "2004")}


def test_what_regions_cost_is_a_target(tmp_path):
    whole, regions = tmp_path / "whole.json", tmp_path / "some.json"
    whole.write_text(json.dumps(result(61.25, 1.75)), encoding="utf-8")
    row = {"name": "packed-4", "ring": "packed", "regions": 4, "ratio": 1.0712, "q1": 1.0,
           "q3": 1.1, "compared": 9, "passes": 25}
    regions.write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    report("--folder", tmp_path, "--store", f"full={whole}", "--store", f"regions={regions}")
    page = report("--folder", tmp_path, "--print")
    at = page.index("4 regions instead of 1, packed")
    assert "1.07" in page[at:at + 120] and "**no**" in page[at:at + 120]
    at = page.index("4 regions instead of 1, split")
    assert "not measured" in page[at:at + 120]


def test_rows_with_more_regions_are_compared_only_if_the_floor_stood_still():
    found = {1: (50.0, 20.0), 4: (55.0, 22.0), 509: (90.0, 40.0)}
    assert region_rows.compared(found) == [(4, 1.1)]


def test_regions_wants_at_least_one_pass(tmp_path):
    done = subprocess.run([str(REGIONS), "--passes", "0", "--json", str(tmp_path / "r.json")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "at least one" in done.stderr


def test_measure_names_its_kinds():
    done = subprocess.run([str(MEASURE), "--kinds", "warp"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2
    assert "full, native, newer, pairs, regions" in done.stderr


def test_pair_names_its_paths():
    done = subprocess.run([str(PAIR), "--paths", "warp"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2
    assert "split-mergeable" in done.stderr


def test_pair_compares_both_drivers(tmp_path):
    """A few short slices: whether there are figures, not which."""
    if not place.NET_VHU.exists() or not place.program("dpdk-testpmd"):
        pytest.skip("net_vhu or dpdk-testpmd is missing")
    pages = int(Path("/proc/sys/vm/nr_hugepages").read_text(encoding="utf-8"))
    if pages < 900:
        pytest.skip(f"{pages} hugepages are reserved, it takes 900")
    done = subprocess.run([str(PAIR), "--paths", "packed-mergeable", "--pairs", "3", "--slice",
                           "0.1", "--json", str(tmp_path / "pairs.json")], capture_output=True,
                          text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    row, = json.loads((tmp_path / "pairs.json").read_text(encoding="utf-8"))["rows"]
    assert row["path"] == "packed-mergeable" and row["ratio"] > 0
