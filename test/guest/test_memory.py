# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The guest's memory grows and shrinks while packets flow."""

from rig import qemu
from rig.guest import Guest, ping_statistics
from rig.stream import Stream
from rig.traffic import VhuTestpmd

DIMMS = 30
DIMM_MIB = 128


def assert_no_drops(summary):
    """Nothing was dropped by the back-end, for any reason."""
    port = summary["ports"][0]
    assert port["rx"]["packets"] > 0
    assert port["drops"] == 0, port


def used_pages(guest, zone):
    """How many pages of a zone the guest's kernel has given out."""
    managed, free = guest.must(f"awk '/^Node/ {{ zone = $4 }} zone == \"{zone}\" && "
                               "/managed|nr_free_pages/ { print $2 }' /proc/zoneinfo").split()
    return int(managed) - int(free)


def test_hot_plugged_memory_loses_no_packet(folder):
    """30 DIMMs arrive while every echo request is answered, and their memory holds the buffers."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as back:
        with Guest(folder, [path], memory_mib=512, slots=32) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            # As memory for the kernel, which then takes buffers from it rather than from its old.
            guest.must("echo online_kernel >/sys/devices/system/memory/auto_online_blocks")
            before = guest.memory_mib()
            # One ping after another, so that none is asked to stop with a request in flight.
            guest.must("until [ -e /tmp/stop ]; do ping -q -A -c 20 10.0.0.9; done "
                       ">/tmp/pings 2>&1 & echo $! >/tmp/pinger")
            for number in range(DIMMS):
                frames = guest.received_frames("eth0")
                guest.plug_memory(number, DIMM_MIB)
                guest.must(f"until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt "
                           f"{frames + 20} ]; do usleep 10000; done", 30)
            guest.wait_memory(lambda mib: mib >= before + DIMMS * DIMM_MIB)
            guest.must("touch /tmp/stop; wait $(cat /tmp/pinger)")
            sent, received = ping_statistics(guest.must("cat /tmp/pings"))
            assert sent > DIMMS * 20
            assert received == sent
            output = guest.must("ping -q -A -c 500 -s 1400 10.0.0.9")
            assert ping_statistics(output) == (500, 500)
            assert used_pages(guest, "Normal") > 1000
        assert_no_drops(back.summary())


def resize(folder, machine, version, sizes):
    """A stream goes on while virtio-mem gives and takes; returns how many regions we had when."""
    paths = [folder / "0.sock", folder / "1.sock"]
    regions = []
    with VhuTestpmd(paths, options=["-i", "--auto-start"]) as back:
        with Guest(folder, paths, slots=4, qemu=version, extra=machine) as guest:
            guest.boot()
            stream = Stream(guest)
            stream.wait_flow()
            least = guest.memory_mib()
            for size in sizes:
                guest.resize_memory(size)
                guest.wait_memory(lambda mib, size=size: mib == least + size)
                stream.wait_flow()
                regions.append(len(back.show("port memory 0")["regions"]))
            sent, got = stream.end()
            assert sent == got
        assert_no_drops(back.summary())
    return regions


def test_virtio_mem_resizes_under_a_stream(folder):
    """All that it may give is one region of the memory table."""
    resize(folder, qemu.growing_memory(1024), qemu.debian(), [256, 128, 384])


def test_virtio_mem_resizes_with_many_regions_under_a_stream(folder, newer_qemu):
    """Each GiB is a region of the memory table, which comes and goes with the size."""
    regions = resize(folder, qemu.growing_memory(4096, slots=8), newer_qemu,
                     [128, 1152, 1024])
    assert regions[1] > regions[0]
    assert regions[2] < regions[1]


def test_dimm_comes_and_goes_under_a_stream(folder):
    """A region that is taken away was not in use any more, and nothing of the stream is lost."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with VhuTestpmd(paths) as back:
        with Guest(folder, paths, slots=4) as guest:
            guest.boot()
            stream = Stream(guest)
            stream.wait_flow()
            least = guest.memory_mib()
            for number in range(2):
                guest.plug_memory(number, DIMM_MIB)
                guest.wait_memory(lambda mib: mib >= least + DIMM_MIB)
                stream.wait_flow()
                guest.unplug_memory(number)
                guest.wait_memory(lambda mib: mib == least)
                stream.wait_flow()
            sent, got = stream.end()
            assert sent == got
        assert_no_drops(back.summary())
