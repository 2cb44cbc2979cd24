# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Packed rings that lie, and unusual ones that do not (row G18, and G1 to G17 once more).

As with split rings: a ring that lies is broken, everything else goes on.
"""

import random

import pytest

from frontend import messages, net
from frontend.checks import (FROM_GUEST, TO_GUEST, border_memory, breaks, buffer_of, expect_broken,
                             revive, stays, writable)
from frontend.messages import Feature, bit
from frontend.packed import AVAIL, DESCRIPTOR, NO_ID, USED
from frontend.ring import INDIRECT, NEXT, Piece, WRITE, wait_until
from frontend.session import FEATURES

PACKED = FEATURES | bit(Feature.RING_PACKED)
HOLE = 0x80000000


@pytest.fixture
def packed(two_pairs, needs):
    """Sessions with packed rings, whose second pair must never notice anything."""
    needs(Feature.RING_PACKED)
    return lambda features=PACKED, **options: two_pairs(features=features, **options)


def chain(*descriptors):
    """A lie of descriptors (address or None, length, flags), the last of which has an id."""
    def lie(session, ring):
        for slot, (address, length, flags) in enumerate(descriptors):
            place = buffer_of(session, ring, slot) if address is None else address(session)
            ring.put(place, length, flags ^ writable(ring), 0 if flags & NEXT == 0 else NO_ID,
                     publish=False)
        ring.publish()
    return lie


def indirect(entries, length=None, flags=INDIRECT, place=None):
    """A lie told with an indirect table of (address or None, length, flags)."""
    def lie(session, ring):
        where = session.memory.allocate(16 * max(1, len(entries)), 16) if place is None \
            else place(session)
        if place is None:
            session.memory.write(where, b"".join(
                DESCRIPTOR.pack(buffer_of(session, ring, slot) if address is None
                                else address(session), size, 0, bits ^ writable(ring))
                for slot, (address, size, bits) in enumerate(entries)))
        ring.put(where, 16 * len(entries) if length is None else length, flags, 0, publish=False)
        if flags & NEXT:
            ring.put(buffer_of(session, ring, 20), 64, writable(ring), 0, publish=False)
        ring.publish()
    return lie


def endless(session, ring):
    """As many descriptors as the ring has, each of which says that there is another."""
    for slot in range(ring.size):
        ring.put(buffer_of(session, ring, slot), 64, NEXT | writable(ring), 0, publish=False)
    ring.publish()


def hole(_session):
    return HOLE


def end_of_memory(session):
    return session.memory.regions[-1].end


GOOD = (None, 1024, 0)

LIES = {
    "G4 sum wraps 2^64": chain((lambda session: 0xFFFFFFFFFFFFF000, 0x2000, 0)),
    "G4 address 2^64 - 1": chain((lambda session: 0xFFFFFFFFFFFFFFFF, 64, 0)),
    "G4 address in a hole": chain((hole, 1024, 0)),
    "G4 behind the last region": chain((end_of_memory, 1024, 0)),
    "G4 from memory into a hole":
        chain((lambda session: session.memory.regions[0].end - 64, 1024, 0)),
    "G4 second piece in a hole": chain((None, 64, NEXT), (hole, 64, 0)),
    "G4 second piece behind the last region": chain((None, 64, NEXT), (end_of_memory, 64, 0)),
    "G6 descriptor of length 0": chain((None, 0, 0)),
    "G6 chain of lengths 0": chain((None, 0, NEXT), (None, 0, NEXT), (None, 0, 0)),
    "G6 second of length 0": chain((None, 64, NEXT), (None, 0, 0)),
    "G7 wrong direction": chain((None, 1024, WRITE)),
    "G7 second of the wrong direction": chain((None, 64, NEXT), (None, 64, WRITE)),
    "G7 first of the wrong direction": chain((None, 64, NEXT | WRITE), (None, 64, 0)),
    "G8 table of length 0": indirect([GOOD], length=0),
    "G8 table of length 8": indirect([GOOD], length=8),
    "G8 table of length 17": indirect([GOOD], length=17),
    "G8 table of length 2^32 - 16": indirect([GOOD], length=0xFFFFFFF0),
    "G8 table in a hole": indirect([GOOD], place=hole),
    "G8 table at 2^64 - 16": indirect([GOOD], place=lambda session: 0xFFFFFFFFFFFFFFF0),
    "G8 table half in a hole":
        indirect([GOOD, GOOD], place=lambda session: session.memory.regions[0].end - 16),
    "G8 entry in a hole": indirect([(hole, 64, 0), (None, 64, 0)]),
    "G8 second entry in a hole": indirect([(None, 64, 0), (hole, 64, 0)]),
    "G8 nested table": indirect([(None, 16, INDIRECT)]),
    "G18 table and next": indirect([GOOD], flags=INDIRECT | NEXT),
    "G18 chain longer than the ring": endless,
    "HG7 lengths whose sum wraps 2^32":
        chain((None, 0x80000000, NEXT), (None, 0x80000000, NEXT), (None, 64, 0)),
    "HG7 one descriptor of 4 GiB - 1": chain((None, 0xFFFFFFFF, 0)),
}

#: Rows that the same lies hold beside the one in their name.
ALSO = {"G4": ["HG6"], "G8": ["G18"], "G18": ["HG8", "G3"]}
#: Lies about the end of a buffer, which a device need not look at if it writes the beginning only.
ABOUT_THE_END = ("HG7 one descriptor of 4 GiB - 1",)


def lies(direction):
    for name in LIES:
        if direction == TO_GUEST and name in ABOUT_THE_END:
            continue
        row = name.split()[0]
        yield pytest.param(direction, name, id=f"{name}, {direction}",
                           marks=pytest.mark.row(row, *ALSO.get(row, [])))


@pytest.mark.parametrize("direction, lie", [*lies(FROM_GUEST), *lies(TO_GUEST)])
def test_lie_breaks_its_ring_only(packed, direction, lie):
    breaks(packed(), direction, LIES[lie])


@pytest.mark.row("G8", "G18")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
def test_indirect_table_that_was_not_negotiated(packed, direction):
    breaks(packed(features=PACKED & ~bit(Feature.INDIRECT_DESC)), direction, indirect([GOOD]))


@pytest.mark.row("HG10", "G18")
@pytest.mark.parametrize("good_before", [0, 1, 3, 8, 31, 32, 33])
def test_good_chains_before_a_bad_one_are_served(packed, good_before):
    session = packed()
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    frames = [net.frame(number) for number in range(good_before)]
    for data in frames:
        pair.send(data, publish=False)
    ring.put(HOLE, 64, 0, 63, publish=False)
    for number in range(8):
        pair.send(net.frame(100 + number), publish=False)
    ring.publish()
    assert expect_broken(session, ring) & 0x7FFF == good_before
    if good_before:
        net.check_echo(frames, [data for _, data in pair.receive(good_before)])
    assert len(ring.take_used()) == good_before
    stays(lambda: not ring.anything_used(), "taken from a broken ring", 0.02)


@pytest.mark.row("G18")
@pytest.mark.parametrize("flags", [0, AVAIL | USED])
def test_descriptor_that_is_not_available_is_left_alone(packed, flags):
    """One wrap bit without the other is no buffer, whatever else the descriptor says."""
    session = packed()
    pair = session.pairs[0]
    pair.post()
    ring = pair.transmit_ring
    ring.describe(0, HOLE, 64, 0, flags)
    ring.kick()
    session.connection.barrier()
    stays(lambda: ring.flags_of(0) == flags and ring.errors() == 0,
          "a descriptor was taken that is not available")
    session.echo()


@pytest.mark.row("G18")
@pytest.mark.parametrize("buffer_id", [64, 1000, 0x7FFF, 0xFFFF])
def test_id_that_exceeds_the_ring(packed, buffer_id):
    """It is given back as it came, or the ring is broken."""
    session = packed()
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    session.memory.write(pair.transmit_place, net.Header().pack(12) + net.frame(1))
    ring.put(pair.transmit_place, 76, 0, buffer_id)
    wait_until(lambda: ring.errors() or ring.anything_used(), "a used element or an error")
    if ring.anything_used():
        assert session.memory.load16(ring.descriptors + 12) == buffer_id
    session.echo(pairs=session.pairs[1:])
    revive(session, pair)
    session.echo()


@pytest.mark.row("G18")
def test_ids_come_from_the_last_descriptor_of_each_chain(packed):
    """Ids in any order, other numbers in all descriptors that carry none."""
    chance = random.Random(18)
    session = packed(ring_size=33)
    pair = session.pairs[0]
    for number in range(40):
        chance.shuffle(pair.transmit_ring.free)
        chance.shuffle(pair.receive_ring.free)
        pair.post()
        frames = [net.frame(10 * number + i, 300) for i in range(6)]
        for i, data in enumerate(frames):
            pair.send(data, cuts=[20] * (i % 5), publish=False)
        pair.transmit_ring.publish()
        net.check_echo(frames, [data for _, data in pair.receive(6)])
        pair.transmit_ring.wait_used(6)


@pytest.mark.row("G12", "G18")
def test_same_id_twice(packed):
    session = packed()
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    data = net.frame(1)
    session.memory.write(pair.transmit_place, net.Header().pack(12) + data)
    for _ in range(32):
        ring.put(pair.transmit_place, 12 + len(data), 0, 5, publish=False)
    ring.publish()
    received = pair.receive(32)
    assert all(net.same_frame(data, got) for _, got in received)
    session.echo(pairs=session.pairs[1:])


@pytest.mark.row("G5", "G9", "HG6")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
def test_buffers_and_tables_across_two_neighbouring_regions(packed, direction):
    session = packed()
    pair = session.pairs[0]
    table = session.memory.allocate(64, 16)
    border = border_memory(session)
    for number in range(1, 80):
        data = net.frame(number, 60)
        through = (None, table, border - 16)[number % 3]
        place = border - number if through != border - 16 else None
        if direction == FROM_GUEST:
            pair.post()
            pair.send(data, cuts=[12] if through else None, place=place, indirect=through)
        else:
            place = pair.receive_place if place is None else place
            pair.post_pieces([Piece(place, 12, True), Piece(place + 12, 180, True)],
                             indirect=through)
            pair.send(data)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("G10", "HG7")
@pytest.mark.parametrize("pieces", [100, 1000])
def test_chains_as_long_as_the_ring(packed, pieces):
    session = packed(ring_size=pieces, buffer_size=256)
    pair = session.pairs[0]
    ring = pair.transmit_ring
    frames = [net.frame(number, pieces + number) for number in range(10)]
    for data in frames:
        pair.post()
        session.memory.write(pair.transmit_place, net.Header().pack(12) + data)
        parts = [Piece(pair.transmit_place + i, 1, False) for i in range(pieces - 1)]
        parts.append(Piece(pair.transmit_place + pieces - 1, 12 + len(data) - pieces + 1, False))
        ring.add(parts)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        ring.wait_used(1)


@pytest.mark.row("G11", "G17", "G18", "HG4")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
def test_descriptors_rewritten_under_traffic(packed, counts, direction):
    """Whatever the guest does to its descriptors meanwhile, only its own ring suffers."""
    chance = random.Random(11)
    for _ in range(counts(200, 10)):
        session = packed(ring_size=32)
        pair = session.pairs[0]
        ring = pair.transmit_ring if direction == FROM_GUEST else pair.receive_ring
        pair.post()
        for number in range(16):
            pair.send(net.frame(number, 200))
        words = [ring.descriptors + 16 * slot + 8 * half for slot in range(32)
                 for half in (0, 1)]
        for _ in range(2500):
            session.memory.store64(chance.choice(words), chance.choice(
                (chance.getrandbits(64), 0, 0xFFFFFFFFFFFFFFFF, buffer_of(session, ring),
                 AVAIL << 48 | 64, USED << 48 | 64, (AVAIL | writable(ring)) << 48 | 300)))
            session.memory.store32(ring.avail, chance.getrandbits(32))
        session.connection.barrier()
        session.echo(pairs=session.pairs[1:])
        for each in pair.rings:
            session.stop_ring(each)
        session.memory.check_guards()
        session.close()


@pytest.mark.row("G13")
@pytest.mark.parametrize("target", ["descriptors", "avail", "used"])
def test_own_ring_as_buffer_to_write_to(packed, target):
    session = packed()
    pair = session.pairs[0]
    ring = pair.receive_ring
    for _ in range(8):
        ring.put(getattr(ring, target), 500, WRITE, 0, publish=False)
    ring.publish()
    for number in range(8):
        pair.send(net.frame(number, 128))
    pair.transmit_ring.wait_used(8)
    session.connection.barrier()
    session.echo(pairs=session.pairs[1:])
    session.stop_ring(ring)


@pytest.mark.row("G17", "G16")
def test_event_structures_full_of_garbage(packed):
    session = packed(features=PACKED | bit(Feature.EVENT_IDX))
    chance = random.Random(17)
    for number in range(50):
        for ring in session.rings:
            session.memory.store32(ring.avail, chance.getrandbits(32))
        session.echo(count=8, first=100 * number)


@pytest.mark.row("G18", "HG8")
def test_ring_stays_broken_until_it_is_started_again(packed):
    session = packed()
    pair = session.pairs[0]
    LIES["G4 address in a hole"](session, pair.transmit_ring)
    pair.transmit_ring.wait_error()
    session.enable(pair.rings, 0)
    session.enable(pair.rings, 1)
    pair.transmit_ring.kick()
    stays(lambda: not pair.transmit_ring.anything_used(), "a broken ring was processed")
    assert pair.transmit_ring.errors() == 0
    revive(session, pair)
    session.echo()


@pytest.mark.row("R4", "G18")
@pytest.mark.parametrize("wrong", ["descriptors misaligned", "descriptors behind memory",
                                   "driver area misaligned", "driver area in a hole",
                                   "device area misaligned", "device area in a hole"])
def test_impossible_address_of_a_packed_ring(prepare, needs, wrong):
    needs(Feature.RING_PACKED)
    session = prepare(features=PACKED)
    ring = session.rings[1]
    memory = session.memory
    user = {"descriptors": memory.user(ring.descriptors), "device": memory.user(ring.used),
            "driver": memory.user(ring.avail)}
    which = wrong.split()[0]
    if wrong.endswith("misaligned"):
        user[which] += 2
    elif wrong.endswith("hole"):
        user[which] = 0x1000
    else:
        user[which] = memory.regions[-1].user_address + memory.regions[-1].size - 16
    accepted = True
    for step in session.ring_steps(ring):
        payload = step.payload
        if step.request == messages.Request.SET_VRING_ADDR:
            payload = messages.address(ring.index, user["descriptors"], user["device"],
                                       user["driver"])
        accepted &= session.connection.acknowledge(step.request, payload, step.fds) == 0
    assert not accepted
    for each in session.rings:
        session.stop_ring(each)
        session.start_ring(each)
    session.enable()
    session.echo()
