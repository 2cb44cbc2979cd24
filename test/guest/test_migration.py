# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A guest moves from one QEMU to another, under traffic, and nothing of it is lost or stale.

The back-end writes to the guest's memory behind QEMU's back: a page that it does not log arrives as
it was before. Where both QEMUs stand still all memory of the guest is compared page by page; the
stream of a TCP connection that lives through all of it is summed up at both ends.
"""

import pytest

import needs
from rig import migration
from rig.guest import Guest, small_mappings
from rig.process import wait_until
from rig.stream import Stream
from rig.traffic import (PROTOCOL_F_LOG_SHMFD, PROTOCOL_F_PAGEFAULT, VIRTIO_F_ACCESS_PLATFORM,
                         VIRTIO_F_RING_PACKED)

MOVES = (2, 20)
DEVICES = {"split": "", "plain-buffers": ",mrg_rxbuf=off", "packed": ",packed=on"}


class Travel:
    """A guest with a stream, which moves to and fro between two pairs of ports of one back-end."""

    def __init__(self, folder, back_end, offers=(), **machine):
        self.folder = folder
        self.machine = machine
        self.here = [folder / "a0.sock", folder / "a1.sock"]
        self.there = [folder / "b0.sock", folder / "b1.sock"]
        self.count = 0
        self.back = back_end(self.here + self.there, offers=offers)
        self.guest = self.stream = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.guest is not None:
            self.guest.close()
        self.back.process.stop()

    def depart(self):
        """Boot the guest and wait until its stream flows."""
        self.guest = Guest(self.folder, self.here, name="qemu0", **self.machine)
        self.guest.boot()
        self.stream = Stream(self.guest)
        self.stream.wait_flow()

    def arrival(self, paused=False):
        """The QEMU to go to next."""
        self.count += 1
        return migration.arrival(self.folder, self.there, f"qemu{self.count}", paused,
                                 **self.machine)

    def arrived(self, target):
        """The guest runs there now."""
        self.guest.close()
        self.guest = self.stream.guest = target
        self.here, self.there = self.there, self.here
        self.stream.wait_flow()

    def move(self):
        """One precopy migration; all memory is compared before the guest runs on."""
        target = self.arrival(paused=True)
        migration.move(self.guest, target, self.folder)
        differing = migration.differing_pages(self.guest, target)
        assert not differing, f"pages that differ: {[hex(page) for page in differing[:20]]}"
        target.monitor("cont")
        self.arrived(target)

    def end(self):
        """The stream is whole, the back-end ends well."""
        sent, got = self.stream.end()
        assert sent == got
        self.guest.close()
        self.back.stop()


@pytest.fixture
def travel(folder, back_end):
    """Makes a Travel that is cleaned up."""
    made = []

    def make(**settings):
        made.append(Travel(folder, back_end, **settings))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


FORMATS = pytest.mark.parametrize("device", ["split", "packed"])


def require_format(journey, device):
    """Whether rings are packed QEMU settles with the back-end."""
    if device == "packed":
        needs.virtio_features(journey.here[0], VIRTIO_F_RING_PACKED)


@pytest.mark.parametrize("device", needs.params(DEVICES, ["plain-buffers"]))
def test_memory_and_stream_survive_migration_to_and_fro(travel, often, any_qemu, device):
    """Precopy, again and again, with traffic all the time."""
    journey = travel(qemu=any_qemu, device_options=DEVICES[device])
    needs.protocol_features(journey.here[0], PROTOCOL_F_LOG_SHMFD)
    require_format(journey, device)
    journey.depart()
    for _ in range(often(*MOVES)):
        journey.move()
    journey.end()


@pytest.mark.parametrize("device", ["", ",packed=on"], ids=["split", "packed"])
def test_guest_behind_an_iommu_moves_with_rings_in_pieces(travel, often, device):
    """What is written to a ring is logged where each page of it is in the guest.

    Not in Linux's lazy mode: QEMU 7.2 ends in an assertion (memory_region_notify_iommu_one) when
    the guest has arrived and flushes, with small rings as well.
    """
    journey = travel(device_options=device + ",rx_queue_size=1024,tx_queue_size=1024",
                     offers=["iommu"], iommu=True, kernel_words="iommu.strict=1")
    needs.virtio_features(journey.here[0], VIRTIO_F_ACCESS_PLATFORM,
                          *([VIRTIO_F_RING_PACKED] if device else []))
    journey.depart()
    for _ in range(often(*MOVES)):
        wait_until(lambda: small_mappings(journey.back) > 0, 10, "rings that are in pieces")
        journey.move()
    journey.end()


@FORMATS
def test_guest_stays_when_a_migration_is_cancelled(travel, often, device):
    """The log is switched off again, the guest's traffic goes on, and the next migration works."""
    journey = travel(device_options=DEVICES[device])
    needs.protocol_features(journey.here[0], PROTOCOL_F_LOG_SHMFD)
    require_format(journey, device)
    journey.depart()
    for _ in range(often(1, 3)):
        with journey.arrival() as target:
            migration.begin_and_cancel(journey.guest, target, journey.folder,
                                       journey.stream.wait_flow)
        journey.stream.wait_flow()
    journey.move()
    journey.end()


def test_guest_goes_on_when_the_target_dies(travel):
    """A migration that fails in the middle is not the end of the guest."""
    journey = travel()
    needs.protocol_features(journey.here[0], PROTOCOL_F_LOG_SHMFD)
    journey.depart()
    with journey.arrival() as target:
        migration.begin_and_fail(journey.guest, target, journey.folder, journey.stream.wait_flow)
    journey.stream.wait_flow()
    journey.move()
    journey.end()


def go_first(journey, moves):
    """Postcopy, again and again; what lies still in the guest's memory arrives as well."""
    needs.protocol_features(journey.here[0], PROTOCOL_F_PAGEFAULT)
    journey.depart()
    journey.guest.must("dd if=/dev/urandom of=/tmp/still bs=1M count=16 2>&1")
    before = journey.guest.checksum("still")
    for _ in range(moves):
        target = journey.arrival()
        migration.move_postcopy(journey.guest, target, journey.folder)
        journey.arrived(target)
    assert journey.guest.checksum("still") == before
    journey.end()


@FORMATS
def test_guest_goes_first_and_fetches_its_memory_later(travel, often, any_qemu, device):
    """The back-end waits for pages that are not there yet, and the rings may be among them."""
    journey = travel(qemu=any_qemu, offers=["postcopy"], device_options=DEVICES[device])
    require_format(journey, device)
    go_first(journey, often(2, 20))


@pytest.mark.usefixtures("huge_memory")
@pytest.mark.parametrize("device", needs.params(["split", "packed"], ["packed"]))
def test_guest_on_hugepages_fetches_its_memory_later(travel, often, any_qemu, device):
    """The same where a page that is not there is one of 2 MiB."""
    journey = travel(qemu=any_qemu, offers=["postcopy"], huge=True, device_options=DEVICES[device])
    require_format(journey, device)
    go_first(journey, often(1, 10))
