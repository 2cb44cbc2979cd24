# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The guest's machine starts again, or its driver, while packets flow."""

import pytest

import needs
from rig.guest import Guest, ping_statistics
from rig.process import wait_until
from rig.traffic import VIRTIO_F_RING_PACKED, VhuTestpmd

REBOOTS = (1, 3)
REBINDS = (10, 50)
STOPS = (5, 100)
PLUGS = (2, 20)


@pytest.mark.parametrize("fwd", ["icmpecho", "txonly"])
def test_guest_reboots_under_traffic(folder, often, fwd):
    """Reset in the middle of a conversation, or of a flood from us: the guest comes back."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd=fwd) as back, Guest(folder, [path]) as guest:
        for _ in range(often(*REBOOTS)):
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


@pytest.mark.parametrize("fwd, device", [
    pytest.param("icmpecho", "", id="icmpecho-split", marks=needs.LONG),
    pytest.param("txonly", "", id="txonly-split"),
    pytest.param("icmpecho", ",packed=on", id="icmpecho-packed"),
    pytest.param("txonly", ",packed=on", id="txonly-packed", marks=needs.LONG)])
def test_driver_is_bound_again_and_again_under_traffic(folder, often, fwd, device):
    """The driver goes and comes, while we flood it or answer it, and then works."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd=fwd) as back:
        if device:
            needs.virtio_features(path, VIRTIO_F_RING_PACKED)
        with Guest(folder, [path], device_options=device) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.must("until [ -e /tmp/stop ]; do ping -q -A -c 20 -W 1 10.0.0.9; done "
                       ">/dev/null 2>&1 & echo $! >/tmp/pinger")
            for _ in range(often(*REBINDS)):
                guest.rebind("eth0")
                guest.address("eth0", "10.0.0.1/24")
                guest.must("until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt 10 ]; "
                           "do usleep 10000; done", 30)
            guest.must("touch /tmp/stop; wait $(cat /tmp/pinger); true")
        back.stop()


def traffic_goes_on(guest):
    """Some more frames reach the driver of eth0."""
    before = guest.received_frames("eth0")
    guest.must(f"until [ $(cat /sys/class/net/eth0/statistics/rx_packets) -gt {before + 20} ]; "
               "do usleep 10000; done", 30)


@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_guest_is_stopped_and_continued_under_traffic(folder, often, device):
    """Its rings stop and begin again; where exactly is for test/conformance to say (R7, R8)."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as back:
        if device:
            needs.virtio_features(path, VIRTIO_F_RING_PACKED)
        with Guest(folder, [path], device_options=device) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.must("until [ -e /tmp/stop ]; do ping -q -A -c 20 -W 1 10.0.0.9; done "
                       ">/dev/null 2>&1 & echo $! >/tmp/pinger")
            for _ in range(often(*STOPS)):
                traffic_goes_on(guest)
                guest.monitor("stop")
                guest.monitor("cont")
            traffic_goes_on(guest)
            guest.must("touch /tmp/stop; wait $(cat /tmp/pinger); true")
            sent, received = ping_statistics(guest.must("ping -q -A -c 100 10.0.0.9"))
            assert received == sent == 100
            assert guest.must("dmesg | grep -c virtio_net || true").strip() == "0"
        back.stop()


def test_device_is_unplugged_and_plugged_under_traffic(folder, often):
    """The guest gives the device back in the middle of its traffic; the next one works."""
    path = folder / "0.sock"
    port = ["-device", "pcie-root-port,id=hot,chassis=9,slot=9",
            "-chardev", f"socket,id=c0,path={path}", "-netdev", "vhost-user,id=n0,chardev=c0"]
    with VhuTestpmd([path], fwd="icmpecho") as back, Guest(folder, [], extra=port) as guest:
        guest.boot()
        for number in range(often(*PLUGS)):
            name = f"nic{number}"
            guest.monitor("device_add", driver="virtio-net-pci", id=name, netdev="n0", bus="hot",
                          romfile="", vectors=0)
            guest.must("until [ -e /sys/class/net/eth0 ]; do usleep 10000; done", 30)
            guest.address("eth0", "10.0.0.1/24")
            guest.must("ping -q -A 10.0.0.9 >/dev/null 2>&1 &")
            traffic_goes_on(guest)
            guest.monitor("device_del", id=name)
            guest.must("while [ -e /sys/class/net/eth0 ]; do usleep 10000; done", 30)
            wait_until(lambda name=name: name not in guest.devices(), 30, "the device to go")
        guest.close()
        back.stop()
