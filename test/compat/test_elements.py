# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""test/perf/elements measures both libraries. No time decides anything here."""

import json
import subprocess

from conftest import ROOT
from rig import place


def elements(*words):
    """Run it to its end."""
    return subprocess.run([ROOT / "test" / "perf" / "elements", place.BUILD, *words],
                          capture_output=True, text=True, check=False)


def test_json_has_every_cost_and_its_ratio_to_the_other_librarys_pair(programs):
    assert programs
    done = elements("--json", "--rounds", "2", "--slices", "3", "--batches", "5")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["ours"]) >= {"pair", "burst"} and set(result["theirs"]) == {"pair"}
    assert result["slices"] == 6 and set(result["ratios"]) == set(result["ours"])
    for costs in (result["ours"], result["theirs"], result["ratios"]):
        for cost in costs.values():
            assert 0 < cost["low"] <= cost["median"] <= cost["high"]


def test_table_has_a_line_for_each_kind(programs):
    assert programs
    done = elements("--rounds", "1", "--slices", "1", "--batches", "5")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]][:2] == ["pair", "burst"]


def test_wrong_numbers_are_refused():
    assert elements("--rounds", "0").returncode == 2
    assert elements("--batches", "5000").returncode == 2
    assert elements("--core", "99999").returncode == 2
