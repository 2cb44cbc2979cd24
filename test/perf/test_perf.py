# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""vhu-perf measures what it says: rows come out, every back-end moved every byte. No time decides
anything here."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import place  # noqa: E402

PERF = place.BUILD / "app" / "perf" / "vhu-perf"
LIAR = place.BUILD / "test" / "perf" / "libliar.so"
LIBRARIES = ["vhu", "rte_vhost"]
DRIVERS = ["net_vhu", "net_vhost"]
SMALL = ["--no-huge", "--rounds", 3, "--slice-ms", 5]
# What every back-end of this machine offers.
COMMON = [
    "loop-split-mergeable-64-b32", "loop-split-plain-1518-b32", "loop-split-vectorised-64-b32",
    "loop-split-mergeable-imix-b32", "loop-split-mergeable-9000-b32", "loop-split-plain-9000-b32",
    "receive-split-mergeable-64-b32", "transmit-split-mergeable-64-b32",
    "receive-split-mergeable-9000-b32", "transmit-split-mergeable-9000-b32",
    "loop-split-mergeable-64-b1", "loop-split-mergeable-64-b256",
    "loop-split-mergeable-64-b32-starved", "receive-split-mergeable-64-b32-starved",
    "loop-split-mergeable-64-b32-regions4", "loop-split-mergeable-64-b32-offloads",
    "receive-split-mergeable-64-b32-indirect", "loop-split-mergeable-64-b32-statistics",
    "loop-split-mergeable-1518-b32-touch", "empty-split-mergeable",
    "loop-split-mergeable-64-b32-idle8", "transmit-split-mergeable-64-b32-starved",
    "receive-split-mergeable-64-b32-checksum", "transmit-split-mergeable-64-b32-checksum",
    "loop-split-mergeable-9000-b32-segments",
]
# What a back-end may not offer yet; then the row says so.
PERHAPS = [
    "loop-split-mergeable-in-order-64-b32", "loop-split-in-order-64-b32",
    "loop-packed-mergeable-64-b32", "loop-packed-plain-64-b32",
    "loop-packed-mergeable-in-order-64-b32", "loop-packed-in-order-64-b32",
    "loop-packed-vectorised-64-b32", "loop-packed-mergeable-1518-b32",
    "loop-split-mergeable-64-b32-logging", "loop-split-mergeable-64-b32-iommu",
    "loop-packed-mergeable-64-b32-logging", "loop-packed-mergeable-64-b32-iommu",
]


def run(*words, timeout=120, **environment):
    """Run it to its end."""
    if not PERF.exists():
        pytest.fail(f"{PERF} is missing; build it with ninja")
    return subprocess.run([str(word) for word in (PERF, *words)], capture_output=True, text=True,
                          timeout=timeout, check=False, env={**os.environ, **environment})


def backends():
    """Those that can be had here."""
    return LIBRARIES + (DRIVERS if place.NET_VHU.exists() else []) + ["floor"]


def measure(row, names):
    """Measure one row; give its results by back-end."""
    done = run(*SMALL, "--row", row, "--backends", ",".join(names), "--json", "-")
    assert done.returncode == 0, done.stderr
    found, = json.loads(done.stdout)["rows"]
    assert found["name"] == row
    assert list(found["results"]) == [name for name in
                                      ("vhu", "net_vhu", "rte_vhost", "net_vhost", "floor")
                                      if name in names]
    return found["results"]


def assert_measured(result):
    """Each byte was seen on the other side, and there are figures."""
    assert "missing" not in result, result["missing"]
    assert result["checked"] is True
    assert result["slices"] == 3
    for name in ("cycles", "mpps"):
        assert 0 < result[name]["low"] <= result[name]["median"] <= result[name]["high"]


@pytest.mark.parametrize("row", COMMON)
def test_every_back_end_moves_every_byte(row):
    names = [name for name in backends() if name != "floor" or "idle" not in row]
    for result in measure(row, names).values():
        assert_measured(result)


@pytest.mark.parametrize("row", PERHAPS)
def test_what_is_offered_moves_every_byte(row):
    """A row that a back-end cannot do says why; whoever can, does it right."""
    results = measure(row, backends())
    for result in results.values():
        if "missing" in result:
            assert "does not offer" in result["missing"]
        else:
            assert_measured(result)
    if "missing" in results["vhu"]:
        pytest.skip("vhu " + results["vhu"]["missing"])


@pytest.mark.parametrize("how, row, liar", [
    ("receive", "receive-split-mergeable-64-b32", "vhu"),
    ("receive", "loop-packed-mergeable-64-b32", "vhu"),
    ("transmit", "transmit-split-mergeable-64-b32", "vhu"),
    ("transmit", "loop-split-mergeable-64-b32", "vhu"),
    ("lose", "receive-packed-mergeable-64-b32", "vhu"),
    ("peer", "loop-split-mergeable-64-b32", "rte_vhost"),
])
def test_who_changes_or_loses_a_byte_gets_no_figures(how, row, liar):
    done = run(*SMALL, "--row", row, "--backends", ",".join(LIBRARIES), "--json", "-",
               LD_PRELOAD=str(LIAR), LIAR=how)
    assert done.returncode == 1
    found, = json.loads(done.stdout)["rows"]
    other, = set(LIBRARIES) - {liar}
    assert found["results"][liar] == {"missing": "not every byte arrived"}
    assert_measured(found["results"][other])


def test_509_regions_are_measured_without_peers():
    """rte_vhost has room for eight; the row says so instead of leaving it out."""
    results = measure("loop-split-mergeable-64-b32-regions509", ["vhu", "rte_vhost"])
    assert_measured(results["vhu"])
    assert "room" in results["rte_vhost"]["missing"]


def test_conditions_and_csv_are_recorded(tmp_path):
    table = tmp_path / "perf.csv"
    whole = tmp_path / "perf.json"
    done = run(*SMALL, "--row", "loop-split-mergeable-64-b32", "--backends", "vhu,floor",
               "--seed", 7, "--json", whole, "--csv", table)
    assert done.returncode == 0, done.stderr
    result = json.loads(whole.read_text(encoding="utf-8"))
    conditions, = result["runs"]
    assert conditions["seed"] == 7
    for name in ("vhu", "commit", "dpdk", "dpdk_build", "build", "cpu", "frequency"):
        assert conditions[name]
    assert result["rows"][0]["run"] == 0
    with open(table, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["backend"] for row in rows] == ["vhu", "floor"]
    assert float(rows[0]["cycles"]) > 0
    assert done.stdout.count("loop-split-mergeable-64-b32") == 2


def test_every_back_end_has_the_same_features():
    """What was negotiated is written down, and is what the row is named after."""
    results = measure("receive-split-in-order-64-b32-offloads", ["vhu", "rte_vhost"])
    found = {int(result["features"], 16) for result in results.values()
             if "missing" not in result}
    assert len(found) == 1
    features = found.pop()
    for bit in (0, 1, 7, 8, 11, 12, 32, 35):  # CSUM ... HOST_TSO6, VERSION_1, IN_ORDER
        assert features >> bit & 1, bit


def test_a_run_in_pieces_gives_one_result(tmp_path):
    """What is there is not measured again; what is new is added and says in which run."""
    whole, table = tmp_path / "perf.json", tmp_path / "perf.csv"
    more = ["--backends", "vhu,floor", "--json", whole, "--csv", table, "--resume"]
    first = run(*SMALL, "--row", "loop-split-mergeable-64-b1", *more)
    second = run(*SMALL, "--row", "loop-split-mergeable-64-b[14]", *more)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "b1 " not in second.stdout
    result = json.loads(whole.read_text(encoding="utf-8"))
    assert len(result["runs"]) == 2
    assert [(row["name"][-2:], row["run"]) for row in result["rows"]] == [("b1", 0), ("b4", 1)]
    with open(table, encoding="utf-8", newline="") as lines:
        assert [row["row"][-2:] for row in csv.DictReader(lines)] == ["b1", "b1", "b4", "b4"]


def test_what_was_measured_longest_ago_is_measured_again_first(tmp_path):
    """Rows that are missing come first, then the oldest; the new figure replaces the old one."""
    whole = tmp_path / "perf.json"
    more = ["--backends", "vhu,floor", "--json", whole, "--resume"]
    for burst in ("4", "1"):
        assert run(*SMALL, "--row", f"loop-split-mergeable-64-b{burst}", *more).returncode == 0
    before = json.loads(whole.read_text(encoding="utf-8"))["rows"]
    done = run(*SMALL, "--row", "loop-split-mergeable-64-b@(1|4|256)", *more, "--again")
    assert done.returncode == 0, done.stderr
    order = [line.split()[0][-3:].strip("-b") for line in done.stdout.splitlines()
             if " vhu " in line]
    assert order == ["256", "4", "1"]
    after = json.loads(whole.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in after[:2]] == [row["name"] for row in before]
    assert {row["run"] for row in after} == {2}
    assert all(row["commit"] for row in after)


def test_a_limit_leaves_rows_and_says_so(tmp_path):
    # A row is then longer than the limit, however soon it is set up.
    done = run(*SMALL, "--only", "burst", "--paths", "split-plain", "--backends", "vhu",
               "--rounds", 21, "--slice-ms", 60, "--limit", 1, "--json", tmp_path / "perf.json")
    assert done.returncode == 3
    assert "rows are left" in done.stderr
    assert json.loads((tmp_path / "perf.json").read_text(encoding="utf-8"))["rows"]


def test_what_is_no_result_is_not_gone_on_with(tmp_path):
    (tmp_path / "perf.json").write_text("{}", encoding="utf-8")
    done = run(*SMALL, "--row", "loop-split-mergeable-64-b1", "--resume", "--json",
               tmp_path / "perf.json")
    assert done.returncode == 1
    assert "no result to go on with" in done.stderr
    assert (tmp_path / "perf.json").read_text(encoding="utf-8") == "{}"


def test_axes_and_paths_choose_rows():
    names = [line.split() for line in run("--list", "--only", "starved,empty", "--paths",
                                          "packed-in-order").stdout.splitlines()]
    assert {axis for axis, _ in names} == {"starved", "empty"}
    assert len(names) == 4
    assert all("packed-in-order" in name for _, name in names)


def test_the_floor_of_empty_polls_is_the_loop_without_a_call():
    results = measure("empty-split-mergeable", ["vhu", "rte_vhost", "floor"])
    assert results["floor"]["cycles"]["low"] < results["vhu"]["cycles"]["median"]
    assert results["floor"]["features"] == "0x0"


def test_rows_have_different_names_and_cover_the_axes():
    names = [line.split()[-1] for line in run("--list").stdout.splitlines()]
    assert len(set(names)) == len(names)
    for path in ("mergeable", "plain", "mergeable-in-order", "in-order", "vectorised"):
        for ring in ("split", "packed"):
            for size in (64, 256, 512, 1024, 1518, 9000, "imix"):
                for work in ("receive", "transmit", "loop"):
                    assert f"{work}-{ring}-{path}-{size}-b32" in names
            for burst in (1, 4, 32, 256):
                assert f"loop-{ring}-{path}-64-b{burst}" in names
            assert f"empty-{ring}-{path}" in names
            assert f"receive-{ring}-{path}-64-b32-offloads" in names
    for ring in ("split", "packed"):
        for extra in ("idle1", "idle8", "idle64", "idle512", "regions1", "regions4", "regions64",
                      "regions509", "offloads", "checksum", "indirect", "logging", "iommu",
                      "statistics", "touch", "starved"):
            assert f"loop-{ring}-mergeable-64-b32-{extra}" in names
    quick = [line.split()[-1] for line in run("--quick", "--list").stdout.splitlines()]
    assert set(quick) < set(names)


def test_help_has_an_example():
    done = run("--help")
    assert done.returncode == 0
    assert "Example: vhu-perf" in done.stdout


@pytest.mark.parametrize("words, wrong", [
    (["--rounds", "2"], "'2'"), (["--rounds", "many"], "'many'"), (["--slice-ms", "0"], "'0'"),
    (["--only", "size,warp"], "'warp'"), (["--paths", "split"], "'split'"),
    (["--limit", "0"], "'0'"), (["--resume"], "--json"), (["--again"], "--resume"),
    (["--backends", "vhu,ovs"], "'ovs'"), (["--cores", "0,0"], "'0,0'"), (["more"], "'more'"),
])
def test_wrong_value_costs_one_line(words, wrong):
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert wrong in done.stderr


def test_unknown_row_is_told():
    done = run(*SMALL, "--row", "warp-*")
    assert done.returncode == 1
    assert "no row fits 'warp-*'" in done.stderr


def test_picture_shows_each_row(tmp_path):
    whole = tmp_path / "perf.json"
    done = run(*SMALL, "--row", "loop-split-mergeable-64-b[14]", "--backends", "vhu,floor",
               "--json", whole)
    assert done.returncode == 0, done.stderr
    command = [place.ROOT / "app" / "perf" / "plot.py", whole, tmp_path / "perf.svg",
               "--measure", "to_floor", "--backends", "vhu"]
    told = subprocess.run([*command, "--script"], capture_output=True, text=True, check=True)
    assert '"loop-split-mergeable-64-b1" 0, "loop-split-mergeable-64-b4" -1' in told.stdout
    if not place.program("gnuplot"):
        pytest.skip("gnuplot is not installed (tools/setup docs)")
    subprocess.run(command, check=True)
    assert (tmp_path / "perf.svg").read_text(encoding="utf-8").count("loop-split-mergeable") >= 2
