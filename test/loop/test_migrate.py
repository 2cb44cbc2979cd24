# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A pretended front-end migrates while frames move, hundreds of times in seconds.

It keeps a copy of all memory from the dirty log alone, gives up in the middle as often as not, and
compares where it goes to the end. Guests (test/guest) do the same with a real QEMU, but take
seconds for each. With --full each ring is tried for a minute.
"""

import json
import subprocess

import pytest

from rig import place, traffic

MIGRATE = place.BUILD / "test" / "loop" / "vhu-migrate"
SKIPPED = 77
RINGS = {
    "split": [],
    "split-mergeable": ["--mergeable"],
    "split-in-order": ["--in-order"],
    "packed": ["--packed"],
    "packed-mergeable": ["--packed", "--mergeable"],
    "packed-in-order": ["--packed", "--in-order"],
}


@pytest.mark.parametrize("crowded", [False, True], ids=["apart", "crowded"])
@pytest.mark.parametrize("ring", RINGS)
def test_copy_made_from_the_log_is_right(back_end, path, ring, crowded, request):
    """On one core the poller is interrupted anywhere, with a log that changes meanwhile."""
    if not MIGRATE.exists():
        pytest.fail(f"{MIGRATE} is missing; build it with ninja")
    seconds = 60 if request.config.getoption("--full") else 2
    core = traffic.BACK_CORE if crowded else traffic.FRONT_CORE
    command = ["taskset", "-c", core, MIGRATE, "--path", path, "--seconds", seconds, *RINGS[ring]]
    with back_end([path]) as back:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              timeout=seconds + 60, check=False)
        back.stop()
    assert done.returncode in (0, 1, SKIPPED), done.stderr
    result = json.loads(done.stdout)
    if done.returncode == SKIPPED:
        pytest.skip(result["skipped"])
    assert result["fault"] == ""
    assert result["differing"] == 0, done.stderr
    assert result["late"] == 0, "pages were marked in a log after it had been replaced"
    assert result["outside"] == 0, "bits were set that stand for no page of memory"
    assert result["ring_faults"] == 0
    assert result["arrived"] > 0 and result["cancelled"] > 0
    assert result["received"] > 1000 and result["marked"] > 1000
