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
    done = elements("--json", "--rounds", "1", "--batches", "50")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["ours"]) >= {"pair", "burst"} and set(result["theirs"]) == {"pair"}
    for kind, ratio in result["ratios"].items():
        assert abs(ratio - result["ours"][kind] / result["theirs"]["pair"]) < 0.01


def test_table_has_a_line_for_each_kind(programs):
    assert programs
    done = elements("--rounds", "1", "--batches", "50")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]][:2] == ["pair", "burst"]


def test_wrong_numbers_are_refused():
    assert elements("--rounds", "0").returncode == 2
    assert elements("--core", "99999").returncode == 2
