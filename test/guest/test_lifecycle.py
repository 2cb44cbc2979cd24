# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The guest's machine changes while packets flow: resets, and memory that is plugged in."""

import pytest

from rig.guest import Guest, ping_statistics
from rig.traffic import VhuTestpmd

REBOOTS = 3
DIMMS = 30
DIMM_MIB = 128


@pytest.mark.parametrize("fwd", ["icmpecho", "txonly"])
def test_guest_reboots_under_traffic(folder, fwd):
    """Reset in the middle of a conversation, or of a flood from us: the guest comes back."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd=fwd) as back, Guest(folder, [path]) as guest:
        for _ in range(REBOOTS):
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            before = guest.received_frames("eth0")
            guest.must("ping -q -A 10.0.0.9 >/dev/null 2>&1 &")
            guest.must(f"until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt "
                       f"{before + 100} ]; do usleep 10000; done", 30)
            guest.reset()
        guest.boot()
        guest.address("eth0", "10.0.0.1/24")
        guest.must("until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt 100 ]; "
                   "do ping -q -A -c 10 -W 1 10.0.0.9 >/dev/null 2>&1; done", 30)
        guest.close()
        back.stop()


def test_hot_plugged_memory_loses_no_packet(folder):
    """30 DIMMs arrive while every echo request is answered; then the guest uses their memory."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as back:
        with Guest(folder, [path], memory_mib=512, slots=32) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            before = guest.memory_mib()
            # One ping after another, so that none is asked to stop with a request in flight.
            guest.must("until [ -e /tmp/stop ]; do ping -q -A -c 20 10.0.0.9; done "
                       ">/tmp/pings 2>&1 & echo $! >/tmp/pinger")
            for number in range(DIMMS):
                frames = guest.received_frames("eth0")
                guest.plug_memory(number, DIMM_MIB)
                guest.must(f"until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt "
                           f"{frames + 20} ]; do usleep 10000; done", 30)
            guest.must(f"until [ $(awk '/MemTotal/ {{ print int($2 / 1024) }}' /proc/meminfo) -ge "
                       f"{before + DIMMS * DIMM_MIB} ]; do usleep 10000; done", 30)
            guest.must("touch /tmp/stop; wait $(cat /tmp/pinger)")
            sent, received = ping_statistics(guest.must("cat /tmp/pings"))
            assert sent > DIMMS * 20
            assert received == sent
            # Push ordinary memory out of the way, so that buffers come from what was plugged in.
            guest.must("mount -o remount,size=3g /tmp && "
                       "dd if=/dev/zero of=/tmp/fill bs=1M count=1500 2>&1", 60)
            output = guest.must("ping -q -A -c 500 -s 1400 10.0.0.9")
            assert ping_statistics(output) == (500, 500)
        assert_no_drops(back.summary())


def assert_no_drops(summary):
    """Nothing was dropped by the back-end, for any reason."""
    port = summary["ports"][0]
    assert port["rx"]["packets"] > 0
    assert port["drops"] == 0, port
