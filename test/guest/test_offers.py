# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What a real driver does with features that few front-ends pass on."""

import pytest

import needs
from exchange import assert_negotiated, exchange_file
from rig.guest import Guest
from rig.process import Failed
from rig.stream import Stream
from rig.traffic import (VIRTIO_F_RING_RESET, VIRTIO_NET_F_HASH_REPORT, VhuTestpmd,
                         offered_features)

FORMATS = pytest.mark.parametrize("device", ["", pytest.param(",packed=on", marks=needs.LONG)],
                                  ids=["split", "packed"])
# Other than those that a driver begins with.
RING_SIZES = (64, 128, 64, 128)


def resize_rings(guest, stream):
    """The driver is asked for other rings under traffic; returns how often it made them."""
    made = 0
    for size in RING_SIZES:
        status, output = guest.run(f"ethtool -G eth0 rx {size} tx {size} 2>&1")
        assert status == 0 or "No such file" in output, "Linux has a word for rings that stay"
        made += status == 0
        stream.wait_flow(frames=100, timeout=10)
    sent, got = stream.end()
    assert sent == got
    return made


def stream_over_resized_rings(folder, device, version, offers=()):
    """Returns how often the rings were changed."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with VhuTestpmd(paths, offers=offers) as back:
        offered = offered_features(paths[0]) >> VIRTIO_F_RING_RESET & 1
        assert offered == ("ring-reset" in offers)
        with Guest(folder, paths, device_options=device + ",queue_reset=on",
                   qemu=version) as guest:
            guest.boot()
            made = resize_rings(guest, Stream(guest))
        back.stop()
    return made


@FORMATS
def test_stream_survives_a_driver_that_asks_for_other_ring_sizes(folder, any_qemu, device):
    """QEMU would not tell us of a ring that begins anew, so the driver must not have the means."""
    assert stream_over_resized_rings(folder, device, any_qemu) == 0


@needs.LONG
@pytest.mark.xfail(raises=Failed, strict=True,
                   reason="QEMU passes RING_RESET on and does not tell vhost-user of the reset")
@FORMATS
def test_rings_are_resized_under_a_stream(folder, any_qemu, device):
    """The day that a QEMU tells us, this passes and we hear of it."""
    made = stream_over_resized_rings(folder, device, any_qemu, offers=["ring-reset"])
    assert made == len(RING_SIZES)


@FORMATS
def test_file_over_tcp_is_intact_with_hash_reports(folder, newer_qemu, newer_image, device):
    """Every frame has the header of 20 bytes. Which hash it is stays with QEMU: no type is told.

    QEMU serves the control queue, where the driver chooses hashes, and takes RSS away from a
    vhost-user device, as well as UDP segmentation: it asks its own network for both.
    """
    paths = [folder / "0.sock", folder / "1.sock"]
    with VhuTestpmd(paths, offers=["control-queue", "hash"]) as back:
        with Guest(folder, paths, device_options=device + ",hash=on,rss=on", qemu=newer_qemu,
                   image=newer_image) as guest:
            exchange_file(guest)
            assert_negotiated(guest, VIRTIO_NET_F_HASH_REPORT)
        back.stop()
