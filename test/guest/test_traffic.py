# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A real Linux driver sends and receives through vhu, with each form of device that QEMU has."""

import pytest

import needs
from exchange import assert_negotiated, exchange_file
from rig.guest import Guest, ping_statistics, small_mappings
from rig.process import wait_until
from rig.traffic import VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED, VhuTestpmd

PAIRS = 4

NO_OFFLOADS = (",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,"
               "guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off")

# What the driver may negotiate on a split ring: with every offload, with none, with small buffers,
# with and without each of the ring's options, and the interface of 2008 with its short header.
SPLIT = {
    "default": "",
    "no-offloads": NO_OFFLOADS,
    "plain-buffers": ",mrg_rxbuf=off",
    "no-indirect": ",indirect_desc=off",
    "no-event-index": ",event_idx=off",
    "no-indirect-no-event-index": ",indirect_desc=off,event_idx=off",
    "legacy": ",disable-modern=on,disable-legacy=off,mrg_rxbuf=off",
}
PACKED = {
    "packed": ",packed=on",
    "packed-no-offloads": ",packed=on" + NO_OFFLOADS,
    "packed-plain-buffers": ",packed=on,mrg_rxbuf=off",
    "packed-no-indirect": ",packed=on,indirect_desc=off",
    "packed-no-event-index": ",packed=on,event_idx=off",
}


def test_guest_pings(folder, back_end, any_qemu):
    """Every echo request is answered, small ones and ones of several fragments."""
    path = folder / "0.sock"
    with back_end([path], fwd="icmpecho") as back, Guest(folder, [path], qemu=any_qemu) as guest:
        guest.boot()
        guest.address("eth0", "10.0.0.1/24")
        for size in (56, 1400):
            output = guest.must(f"ping -q -A -c 200 -s {size} 10.0.0.9")
            assert ping_statistics(output) == (200, 200)
        guest.close()
        back.stop()


@pytest.mark.parametrize("device", needs.params(
    SPLIT, ["no-indirect", "no-event-index", "no-indirect-no-event-index"]))
def test_file_over_tcp_is_intact(folder, back_end, device):
    """Split rings with each set of options."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths) as back:
        with Guest(folder, paths, device_options=SPLIT[device]) as guest:
            exchange_file(guest)
        back.stop()


@pytest.mark.parametrize("device", needs.params(
    PACKED, ["packed-no-indirect", "packed-no-event-index"]))
def test_file_over_tcp_is_intact_on_packed_rings(folder, back_end, device):
    """Packed rings with each set of options."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths) as back:
        needs.virtio_features(paths[0], VIRTIO_F_RING_PACKED)
        with Guest(folder, paths, device_options=PACKED[device]) as guest:
            exchange_file(guest)
            assert_negotiated(guest, VIRTIO_F_RING_PACKED)
        back.stop()


@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_file_over_tcp_is_intact_with_interrupt_vectors(folder, back_end, newer_qemu, device):
    """MSI-X, each ring with an interrupt of its own."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths) as back:
        if device:
            needs.virtio_features(paths[0], VIRTIO_F_RING_PACKED)
        with Guest(folder, paths, device_options=device, qemu=newer_qemu) as guest:
            exchange_file(guest)
            interrupts = guest.must("cat /proc/interrupts")
            assert "-input.0" in interrupts and "-output.0" in interrupts
        back.stop()


@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_every_queue_pair_carries_traffic(folder, any_qemu, device):
    """Four pairs, each used by a processor of its own."""
    path = folder / "0.sock"
    with VhuTestpmd([path], queues=PAIRS, fwd="icmpecho", options=["-i", "--auto-start"]) as back:
        if device:
            needs.virtio_features(path, VIRTIO_F_RING_PACKED)
        with Guest(folder, [path], queues=PAIRS, cpus=PAIRS, device_options=device,
                   qemu=any_qemu) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            for cpu in range(PAIRS):
                output = guest.must(f"taskset {1 << cpu:x} ping -q -A -c 100 10.0.0.9")
                assert ping_statistics(output) == (100, 100)
            counts = back.show("port xstats 0")["xstats"]
            for pair in range(PAIRS):
                assert counts[f"rx_q{pair}_packets"] >= 100
                assert counts[f"tx_q{pair}_packets"] >= 100
        back.stop()


# In Linux's lazy mode QEMU invalidates everything whenever the guest flushes, each 10 ms of
# traffic, and the rings themselves with it: they rest until QEMU has told their pages again.
LAZY = pytest.param("0", id="lazy")


# Rings of several pages each, which QEMU 10 makes anyway. Behind an IOMMU Linux takes the pages of
# a ring from anywhere.
LARGE = ",rx_queue_size=1024,tx_queue_size=1024"


@pytest.mark.parametrize("device", ["", ",packed=on", LARGE], ids=["split", "packed", "large"])
def test_guest_pings_behind_an_iommu(folder, back_end, any_qemu, device):
    """Each buffer has a translation in time, though each is unmapped as soon as it was used."""
    path = folder / "0.sock"
    with back_end([path], fwd="icmpecho", offers=["iommu"]) as back:
        with Guest(folder, [path], device_options=device, qemu=any_qemu, iommu=True,
                   kernel_words="iommu.strict=1") as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            for size in (56, 1400):
                output = guest.must(f"ping -q -A -c 20 -s {size} 10.0.0.9")
                assert ping_statistics(output) == (20, 20)
            assert_negotiated(guest, VIRTIO_F_ACCESS_PLATFORM)
        back.stop()


@pytest.mark.parametrize("strict", [LAZY, pytest.param("1", id="strict")])
@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_file_over_tcp_is_intact_behind_an_iommu(folder, back_end, any_qemu, device, strict):
    """Every address is one of the IOMMU's; with strict each is invalid as soon as it was used."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths, offers=["iommu"]) as back:
        needs.virtio_features(paths[0], VIRTIO_F_ACCESS_PLATFORM,
                              *([VIRTIO_F_RING_PACKED] if device else []))
        with Guest(folder, paths, device_options=device, qemu=any_qemu, iommu=True,
                   kernel_words=f"iommu.strict={strict}") as guest:
            exchange_file(guest)
            assert_negotiated(guest, VIRTIO_F_ACCESS_PLATFORM)
            guest.must("ls /sys/class/net/eth0/device/../iommu_group")
        back.stop()


@pytest.mark.parametrize("strict", [LAZY, pytest.param("1", id="strict")])
@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_file_over_tcp_is_intact_over_rings_in_pieces(folder, back_end, device, strict):
    """The back-end maps the pages of each ring in order; in lazy mode again and again."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths, offers=["iommu"]) as back:
        needs.virtio_features(paths[0], VIRTIO_F_ACCESS_PLATFORM,
                              *([VIRTIO_F_RING_PACKED] if device else []))
        with Guest(folder, paths, device_options=device + LARGE, iommu=True,
                   kernel_words=f"iommu.strict={strict}") as guest:
            exchange_file(guest)
            assert_negotiated(guest, VIRTIO_F_ACCESS_PLATFORM)
            wait_until(lambda: small_mappings(back) > 0, 10, "rings that are in pieces")
        back.stop()


@pytest.mark.usefixtures("huge_memory")
@pytest.mark.parametrize(("device", "strict"), [("", "0"), (",packed=on", "1")],
                         ids=["split-lazy", "packed-strict"])
def test_file_over_tcp_is_intact_over_rings_in_pieces_of_huge_pages(folder, back_end, device,
                                                                    strict):
    """No mapping makes one of them: the back-end works on copies of the rings."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with back_end(paths, offers=["iommu"]) as back:
        needs.virtio_features(paths[0], VIRTIO_F_ACCESS_PLATFORM,
                              *([VIRTIO_F_RING_PACKED] if device else []))
        with Guest(folder, paths, device_options=device + LARGE, iommu=True, huge=True,
                   kernel_words=f"iommu.strict={strict}") as guest:
            exchange_file(guest)
            assert_negotiated(guest, VIRTIO_F_ACCESS_PLATFORM)
        back.stop()


def test_frames_are_late_or_unsent_while_rings_rest(folder):
    """In lazy mode rings rest each time Linux flushes, and what is sent meanwhile is not taken.

    The back-end loses nothing: each reply that is missing is one that vhu-testpmd was given back
    by the transmit burst and threw away, as DPDK's testpmd does with a full ring.
    """
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho", offers=["iommu"]) as back:
        with Guest(folder, [path], device_options=LARGE, iommu=True,
                   kernel_words="iommu.strict=0") as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            sent, answered = ping_statistics(guest.must("ping -q -A -c 400 -W 1 10.0.0.9"))
            received = guest.received_frames("eth0")
        port, = back.summary()["ports"]
        assert port["rx"]["packets"] >= sent
        assert port["tx"]["packets"] == received >= answered
        assert sent - answered <= port["tx"]["unsent"]


def test_guest_survives_a_restart_of_the_back_end(folder):
    """QEMU connects to the next back-end, and the guest's interface works without a reboot."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as first:
        with Guest(folder, [path], reconnect=True) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.must("ping -q -A -c 50 10.0.0.9")
            first.process.kill()
            with VhuTestpmd([path], fwd="icmpecho") as second:
                guest.must("until ping -q -c 1 -W 1 10.0.0.9 >/dev/null; do :; done", 30)
                output = guest.must("ping -q -A -c 200 10.0.0.9")
                assert ping_statistics(output) == (200, 200)
                guest.close()
                second.stop()


def test_packed_guest_survives_a_restart_of_the_back_end(folder):
    """Where a back-end was in a packed ring only it knew: the driver has to be bound again."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as first:
        needs.virtio_features(path, VIRTIO_F_RING_PACKED)
        with Guest(folder, [path], reconnect=True, device_options=",packed=on") as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.must("ping -q -A -c 50 10.0.0.9")
            first.process.kill()
            with VhuTestpmd([path], fwd="icmpecho") as second:
                guest.rebind("eth0")
                guest.address("eth0", "10.0.0.1/24")
                guest.must("until ping -q -c 1 -W 1 10.0.0.9 >/dev/null; do :; done", 30)
                output = guest.must("ping -q -A -c 200 10.0.0.9")
                assert ping_statistics(output) == (200, 200)
                guest.close()
                second.stop()
