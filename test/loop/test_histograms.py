# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Histograms of vhu-testpmd while DPDK's own front-end keeps it busy."""

import pytest

from rig import place, traffic

SIZES = {64: "size_64_packets", 300: "size_256_511_packets", 1518: "size_1024_1518_packets"}


@pytest.fixture(autouse=True)
def _built():
    for program in (place.VHU_TESTPMD, place.VERIFY):
        if not program.exists():
            pytest.fail(f"{program} is missing; build it with ninja")


def run(path, packets, sizes, between, offers=()):
    """Forward so many frames; call between(back) again and again until they all are back."""
    with traffic.VhuTestpmd([path], options=["-i", "--auto-start"], offers=offers) as back, \
            traffic.Verify(path, packets=packets, sizes=sizes) as front:
        while front.process.running():
            between(back)
        result = front.result()
        histograms = back.show("port histograms 0")["histograms"]
        xstats = back.show("port xstats 0")["xstats"]
    assert result["fault"] == "" and result["received"] == result["sent"] == packets, result
    assert result["lost"] == result["corrupt"] == result["duplicated"] == 0, result
    return histograms, xstats


def test_every_frame_and_burst_is_in_its_counter(path):
    """Those of the option are there from the first frame to the last."""
    rows, xstats = run(path, 60000, ",".join(map(str, SIZES)),
                       lambda back: back.show("port histograms"), offers=["histograms"])
    for row in rows:
        queue = f"{row['direction']}_q0"
        sizes = {name: row[name] for name in row
                 if name.startswith(("size_", "undersize_")) and row[name] != 0}
        bursts = [row[name] for name in row if name.startswith("bursts_of_")]
        assert set(sizes) == set(SIZES.values())
        # Some came before the guest was ready to have them back, and were sent again.
        assert sum(sizes.values()) == xstats[f"{queue}_packets"] >= 60000
        assert sum(bursts) == xstats[f"{queue}_bursts"]
        assert {name: xstats[f"{queue}_{name}"] for name in sizes} == sizes


def test_switching_under_traffic_loses_no_frame(path):
    switches = 0

    def switch(back):
        nonlocal switches
        switches += 1
        back.process.write(f"set port 0 histograms {'on' if switches % 2 else 'off'}\n")
        assert back.show("port info 0")["histograms"] == (switches % 2 == 1)

    rows, xstats = run(path, 200000, "64", switch)
    assert switches > 4
    for row in rows:
        assert 0 < row["size_64_packets"] <= xstats[f"{row['direction']}_q0_packets"]
        assert row["undersize_packets"] == row["size_65_127_packets"] == 0
