# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Rings and buffers behind an IOMMU: misses, updates, invalidations (rows B6, HF10, HG6)."""

import random

import pytest

from frontend import messages, net
from frontend.checks import stays
from frontend.dirty import pages_of
from frontend.iommu import READ, WRITE
from frontend.memory import PAGE
from frontend.messages import Feature, Protocol, bit
from frontend.ring import Piece, Timeout
from frontend.session import FEATURES, PROTOCOL_FEATURES

CHANNEL = PROTOCOL_FEATURES | bit(Protocol.BACKEND_REQ, Protocol.LOG_SHMFD)
BEHIND = FEATURES | bit(Feature.ACCESS_PLATFORM)

pytestmark = [pytest.mark.row("B6"), pytest.mark.backend("iommu")]


@pytest.fixture(params=["split", "packed", "in order"])
def features(request, needs):
    more = {"split": (), "packed": (Feature.RING_PACKED,), "in order": (Feature.IN_ORDER,)}
    needs(Feature.ACCESS_PLATFORM, Protocol.BACKEND_REQ, *more[request.param])
    return BEHIND | bit(*more[request.param])


@pytest.fixture
def behind(start, features):
    """Running sessions whose addresses are I/O virtual; the front-end knows all of memory."""
    return lambda **options: start(features=features, protocol_features=CHANNEL, **options)


def test_misses_are_asked_for_and_answered(behind):
    session = behind()
    for number in range(5):
        session.echo(first=100 * number)
    iommu = session.iommu
    assert iommu.misses, "nothing was asked for"
    asked = len(iommu.misses)
    session.echo(first=1000)
    session.echo(first=2000)
    # What is known is not asked for again.
    assert len(iommu.misses) <= asked + 2 * 64 * 2048 // PAGE


def test_traffic_over_many_small_entries(behind):
    session = behind(ring_size=256)
    for number in range(6):
        session.echo(count=256, size=1500, first=1000 * number)


def test_stop_and_start(behind):
    session = behind()
    for number in range(4):
        session.echo(first=100 * number)
        session.stop()
        session.restart()
    session.echo(first=1000)


def test_front_end_answers_nothing(behind):
    """Messages are answered, other frames wait; when the answer comes all goes on."""
    session = behind()
    session.echo()
    iommu = session.iommu
    iommu.answering = False
    pair = session.pairs[0]
    pair.post()
    assert iommu.invalidate(iommu.address(pair.transmit_place), 64 * 2048) == 0
    frames = [net.frame(100 + i) for i in range(8)]
    for data in frames:
        pair.send(data)
    for _ in range(10):
        session.connection.barrier()
    with pytest.raises(Timeout):
        pair.transmit_ring.wait_used(1, timeout=0.1)
    iommu.answering = True
    wanted = set(iommu.misses)
    assert wanted
    for address, _ in wanted:
        iommu.update(*iommu.look(address))
    net.check_echo(frames, [data for _, data in pair.receive(8)])


def test_stop_while_a_translation_is_missing(behind):
    session = behind()
    session.echo()
    iommu = session.iommu
    iommu.answering = False
    pair = session.pairs[0]
    iommu.invalidate(iommu.address(pair.transmit_place), 64 * 2048)
    pair.post()
    for i in range(4):
        pair.send(net.frame(50 + i))
    session.connection.barrier()
    bases = session.stop()
    iommu.answering = True
    session.bases = bases
    session.restart()
    (_, got), *_ = pair.receive(4)
    net.check_echo([net.frame(50)], [got])


def test_invalidation_is_obeyed_before_its_answer(behind, counts):
    """After the answer nothing is read or written there; the page means another one then."""
    chance = random.Random(6)
    session = behind()
    iommu = session.iommu
    pair = session.pairs[0]
    address = 1 << 40
    pages = [session.memory.allocate(PAGE, PAGE) for _ in range(2)]
    translate = pair.transmit_ring.to_device
    for number in range(counts(2000, 60)):
        pair.post()
        page = pages[number % 2]
        iommu.map(address, page)
        data = net.frame(number, 64 + chance.randrange(1000))
        session.memory.write(page, net.Header().pack(12) + data)
        session.memory.write(pages[1 - number % 2], b"\xFF" * 2000)
        pair.transmit_ring.to_device = lambda _: address
        pair.transmit_ring.add([Piece(page, 12 + len(data), False)])
        pair.transmit_ring.to_device = translate
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)
        assert iommu.invalidate(address, PAGE) == 0


def test_nothing_is_written_after_an_invalidation(behind):
    session = behind(ring_size=256)
    iommu = session.iommu
    pair = session.pairs[0]
    for number in range(10):
        pair.post()
        for i in range(200):
            pair.send(net.frame(1000 * number + i), publish=False)
        pair.transmit_ring.publish()
        place, size = pair.receive_place, pair.buffers * pair.buffer_size
        iommu.answering = False
        assert iommu.invalidate(iommu.address(place), size) == 0
        content = session.memory.read(place, size)
        stays(lambda: session.memory.read(place, size) == content,
              "written after it was invalidated", 0.01)
        iommu.answering = True
        for miss, _ in set(iommu.misses):
            iommu.update(*iommu.look(miss))
        iommu.misses.clear()
        pair.receive(200)
        pair.transmit_ring.wait_used(200)


def test_rings_themselves_are_invalidated(behind):
    session = behind()
    for number in range(10):
        session.echo(first=100 * number)
        for ring in session.rings:
            for area in (ring.descriptors, ring.avail, ring.used):
                assert session.iommu.invalidate(session.iommu.address(area), 16) == 0
        session.echo(first=100 * number + 50)


def test_everything_is_invalidated(behind):
    session = behind()
    for number in range(5):
        session.echo(first=100 * number)
        assert session.iommu.invalidate(0, 2**64 - 1) == 0


@pytest.mark.row("HF3")
@pytest.mark.parametrize("user, size", [(0x1000, PAGE), (2**64 - PAGE, PAGE), ("end", 2 * PAGE),
                                        ("start", 2**63), ("start", 0)])
def test_update_outside_memory_is_refused(behind, user, size):
    session = behind()
    region = session.memory.regions[-1]
    user = {"end": region.user_address + region.size - PAGE,
            "start": region.user_address}.get(user, user)
    assert session.iommu.update(1 << 41, user, READ | WRITE, size) != 0
    session.echo()


def test_same_update_again_and_another_in_its_place(behind):
    session = behind()
    session.echo()
    iommu = session.iommu
    pair = session.pairs[0]
    for place in (pair.receive_place, pair.transmit_place):
        for page in range(0, 64 * 2048, PAGE):
            entry = iommu.look(iommu.address(place + page))
            assert iommu.update(*entry) == 0
            assert iommu.update(*entry) == 0
    session.echo(first=100)
    region = session.memory.regions[-1]
    # One huge entry in place of the many.
    assert iommu.update(iommu.address(region.guest_address), region.user_address, READ | WRITE,
                        region.size) == 0
    session.echo(first=200)


@pytest.mark.row("G7")
def test_buffer_that_may_only_be_read(behind):
    """A frame is not written where the device may not write."""
    session = behind()
    session.echo()
    iommu = session.iommu
    pair = session.pairs[0]
    address = 1 << 40
    page = session.memory.allocate(PAGE, PAGE)
    iommu.map(address, page, READ)
    assert iommu.update(address, session.memory.user(page), READ) == 0
    translate = pair.receive_ring.to_device
    while pair.receive_ring.take_used():
        pass
    session.stop()
    for ring in pair.rings:
        ring.reset()
    pair.posted.clear()
    session.bases = {}
    session.restart()
    pair.receive_ring.to_device = lambda _: address
    pair.post_pieces([Piece(page, 2000, True)])
    pair.receive_ring.to_device = translate
    pair.send(net.frame(1))
    pair.transmit_ring.wait_used(1)
    session.connection.barrier()
    stays(lambda: session.memory.read(page, PAGE) == bytes(PAGE), "written without permission")


@pytest.mark.row("HG6")
def test_buffer_over_pages_that_are_neighbours_for_the_device_only(behind):
    session = behind()
    iommu = session.iommu
    pair = session.pairs[0]
    base = 1 << 40
    pages = [session.memory.allocate(PAGE, PAGE) for _ in range(8)]
    order = [5, 0, 7, 2, 4, 1, 6, 3]
    for i, number in enumerate(order):
        iommu.map(base + i * PAGE, pages[number])
    translate = pair.transmit_ring.to_device
    for number in range(40):
        pair.post()
        data = net.frame(number, 9000 if number % 2 else 1400)
        content = net.Header().pack(12) + data
        start = (PAGE - 6 - number) % PAGE
        for i in range(len(content)):
            where = start + i
            pages_at = pages[order[where // PAGE]] + where % PAGE
            if where % PAGE == 0 or i == 0:
                part = content[i:i + PAGE - where % PAGE]
                session.memory.write(pages_at, part)
        pair.transmit_ring.to_device = lambda _, at=base + start: at
        pair.transmit_ring.add([Piece(pages[0], len(content), False)])
        pair.transmit_ring.to_device = translate
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("HF10", "M13")
def test_memory_is_taken_away_that_the_iommu_still_maps(behind):
    session = behind()
    session.echo()
    from_here = [region for region in session.memory.regions if not region.used][:1]
    if not from_here:
        pytest.skip("all regions are in use")
    region = from_here[0]
    iommu = session.iommu
    assert iommu.update(iommu.address(region.guest_address), region.user_address, READ | WRITE,
                        region.size) == 0
    session.connection.must(messages.Request.REM_MEM_REG, messages.mem_reg(region.packed()))
    iommu.answering = False
    pair = session.pairs[0]
    pair.post()
    pair.transmit_ring.add([Piece(region.guest_address, 100, False)])
    for _ in range(5):
        session.connection.barrier()
    with pytest.raises(Timeout):
        pair.transmit_ring.wait_used(1, timeout=0.05)


@pytest.mark.row("L1", "L2")
def test_log_is_by_guest_address(behind, needs):
    """The IOMMU's addresses are far outside the log; the pages marked are those of the guest."""
    needs(Feature.LOG_ALL)
    session = behind()
    session.echo()
    log = session.start_logging()
    log.take()
    pair = session.pairs[0]
    pair.post()
    posted = dict(pair.posted)
    frames = [net.frame(100 + i, 1000) for i in range(20)]
    for data in frames:
        pair.send(data)
    net.check_echo(frames, [data for _, data in pair.receive(20)])
    dirty = set()
    for head in set(posted) - set(pair.posted):
        dirty |= pages_of(posted[head][0].address, 1012)
    marked = log.take()
    assert dirty <= marked
    ring = pair.receive_ring
    assert marked & pages_of(ring.descriptors if session.has(Feature.RING_PACKED) else ring.used,
                             16 * ring.size)
    log.check_guards()
