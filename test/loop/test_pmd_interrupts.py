# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Receive interrupts of net_vhu: who sleeps is woken by the guest, each time, and by the next
guest too."""

import pytest

from rig import place, process, traffic

SLEEPER = place.VERIFY.with_name("vhu-sleeper")
PACKETS = 2000
# Few frames in flight, so that the back-end goes to sleep again and again.
SPARSE = ["--window", 1, "--stall", 200]


@pytest.fixture
def sleeper(path):
    """vhu-sleeper on net_vhu, ready for a guest."""
    if not place.NET_VHU.exists():
        pytest.skip("net_vhu was not built: DPDK's driver headers are missing (tools/setup build)")
    if not SLEEPER.exists():
        pytest.fail(f"{SLEEPER} is missing; build it with ninja")
    with process.Process("vhu-sleeper", [
            SLEEPER, *traffic.eal(0), "-d", place.NET_VHU,
            "--vdev", f"net_vhu0,iface={path}"]) as running:
        running.wait_for("^ready$")
        yield running


def naps(running, how, frames):
    """How many naps ended that way, with frames or without."""
    found = (line.split() for line in list(running.lines) if line.startswith(how + " "))
    return sum((int(words[1]) > 0) == frames for words in found)


def test_each_frame_wakes_the_sleeper_and_so_does_the_next_guest(path, sleeper):
    for _ in range(2):
        before = naps(sleeper, "woken", True)
        with traffic.Verify(path, packets=PACKETS, options=SPARSE) as front:
            result = front.result()
        assert result["fault"] == ""
        assert result["lost"] == result["corrupt"] == result["duplicated"] == 0
        assert naps(sleeper, "woken", True) > before
    assert sleeper.stop() == 0
    # A nap that ran its full second and then found frames missed a wake-up.
    assert naps(sleeper, "slept", True) == 0
    assert not [line for line in sleeper.lines if "Error reading" in line]


def test_sleeper_without_a_guest_sleeps(sleeper):
    sleeper.wait_for("^slept 0$")
    assert naps(sleeper, "woken", True) == naps(sleeper, "waiting", False) == 0
