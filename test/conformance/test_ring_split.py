# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Split rings that lie, and unusual ones that do not (rows G1 to G17, HG1, HG6 to HG10).

A ring that lies is broken: nothing more is taken from it until it is started again, its error
descriptor is signalled once, and everything else of the device goes on.
"""

import random

import pytest

from frontend import net
from frontend.census import address_sanitizer, data_size
from frontend.checks import (FROM_GUEST, TO_GUEST, border_memory, breaks, buffer_of, expect_broken,
                             revive, stays, writable)
from frontend.memory import GuestMemory, PAGE, Region
from frontend.messages import Feature, bit
from frontend.ring import DESCRIPTOR, INDIRECT, NEXT, Piece, WRITE, wait_until
from frontend.session import FEATURES

HOLE = 0x80000000


def one(address=None, length=1024, flags=0, following=0, head=0):
    """A lie told with one descriptor in slot 0, of a right address unless one is given."""
    def lie(session, ring):
        place = buffer_of(session, ring) if address is None else address(session)
        ring.describe(0, place, length, flags ^ writable(ring), following)
        ring.put_available(head)
    return lie


def behind_the_table(lie):
    """A lie about the first slot behind the table, where a descriptor lies that would be right."""
    def dressed(session, ring):
        ring.describe(ring.size, buffer_of(session, ring, 1), 1024, writable(ring))
        lie(session, ring)
    return dressed


def many(*descriptors):
    """A lie told with descriptors (length, flags, next) in slots 0, 1 ...; heads at slot 0."""
    def lie(session, ring):
        for slot, (length, flags, following) in enumerate(descriptors):
            ring.describe(slot, buffer_of(session, ring, slot), length, flags ^ writable(ring),
                          following)
        ring.put_available(0)
    return lie


def indirect(entries, length=None, flags=INDIRECT, place=None, following=0):
    """A lie told with an indirect table of (length, flags, next) entries."""
    def lie(session, ring):
        where = session.memory.allocate(16 * max(1, len(entries)), 16) if place is None \
            else place(session)
        if place is None:
            session.memory.write(where, b"".join(
                DESCRIPTOR.pack(buffer_of(session, ring, slot), size, bits ^ writable(ring), after)
                for slot, (size, bits, after) in enumerate(entries)))
        ring.describe(0, where, 16 * len(entries) if length is None else length, flags, following)
        ring.describe(1, buffer_of(session, ring, 20), 64, writable(ring))
        ring.put_available(0)
    return lie


def indirect_hole(entry):
    """An indirect table of two entries, of which one is nowhere."""
    def lie(session, ring):
        where = session.memory.allocate(32, 16)
        places = [buffer_of(session, ring, slot) for slot in (0, 1)]
        places[entry] = HOLE
        session.memory.write(where, DESCRIPTOR.pack(places[0], 64, NEXT | writable(ring), 1)
                             + DESCRIPTOR.pack(places[1], 64, writable(ring), 0))
        ring.describe(0, where, 32, INDIRECT)
        ring.put_available(0)
    return lie


def second_piece_at(address):
    def lie(session, ring):
        ring.describe(0, buffer_of(session, ring), 64, NEXT | writable(ring), 1)
        ring.describe(1, address(session), 64, writable(ring))
        ring.put_available(0)
    return lie


def index_jump(distance):
    def lie(session, ring):
        ring.publish(ring.avail_index + distance)
    return lie


GOOD = (1024, 0, 0)

LIES = {
    "G1 index jumps by size + 1": index_jump(65),
    "G1 index jumps by 0x8000": index_jump(0x8000),
    "G1 index jumps by 0xfff0": index_jump(0xFFF0),
    "G2 head is the size": behind_the_table(one(head=64)),
    "G2 head is 0xffff": one(head=0xFFFF),
    "G3 next is the size": behind_the_table(one(flags=NEXT, following=64)),
    "G3 next is 0xffff": one(flags=NEXT, following=0xFFFF),
    "G3 loop of one": one(flags=NEXT, following=0),
    "G3 loop of two": many((64, NEXT, 1), (64, NEXT, 0)),
    "G3 loop that begins later": many((64, NEXT, 1), (64, NEXT, 2), (64, NEXT, 1)),
    "G3 loop in an indirect table": indirect([(64, NEXT, 1), (64, NEXT, 0)]),
    "G3 loop of one in an indirect table": indirect([(64, NEXT, 0)]),
    "G3 next outside an indirect table": indirect([(64, NEXT, 2), (64, 0, 0), GOOD], length=32),
    "G4 sum wraps 2^64": one(lambda session: 0xFFFFFFFFFFFFF000, 0x2000),
    "G4 address 2^64 - 1": one(lambda session: 0xFFFFFFFFFFFFFFFF, 64),
    "G4 address in a hole": one(lambda session: HOLE),
    "G4 one byte behind the last region":
        one(lambda session: session.memory.regions[-1].end - 1023),
    "G4 behind the last region": one(lambda session: session.memory.regions[-1].end),
    "G4 from memory into a hole": one(lambda session: session.memory.regions[0].end - 64),
    "G4 second piece in a hole":
        second_piece_at(lambda session: HOLE),
    "G4 second piece behind the last region":
        second_piece_at(lambda session: session.memory.regions[-1].end),
    "G6 descriptor of length 0": one(length=0),
    "G6 chain of lengths 0": many((0, NEXT, 1), (0, NEXT, 2), (0, 0, 0)),
    "G6 second of length 0": many((64, NEXT, 1), (0, 0, 0)),
    "G7 wrong direction": one(flags=WRITE),
    "G7 second of the wrong direction": many((64, NEXT, 1), (64, WRITE, 0)),
    "G7 first of the wrong direction": many((64, NEXT | WRITE, 1), (64, 0, 0)),
    "G8 table of length 0": indirect([GOOD], length=0),
    "G8 table of length 8": indirect([GOOD], length=8),
    "G8 table of length 17": indirect([GOOD], length=17),
    "G8 table of length 2^32 - 16": indirect([GOOD], length=0xFFFFFFF0),
    "G8 table in a hole": indirect([GOOD], place=lambda session: HOLE),
    "G8 table at 2^64 - 16": indirect([GOOD], place=lambda session: 0xFFFFFFFFFFFFFFF0),
    "G8 table half in a hole":
        indirect([GOOD, GOOD], place=lambda session: session.memory.regions[0].end - 16),
    "G8 entry in a hole": indirect_hole(0),
    "G8 second entry in a hole": indirect_hole(1),
    "G8 nested table": indirect([(16, INDIRECT, 0)]),
    "G8 table and next": indirect([GOOD], flags=INDIRECT | NEXT, following=1),
    "HG7 one descriptor of 1 GiB": one(length=1 << 30),
    "HG7 one descriptor of 4 GiB - 1": one(length=0xFFFFFFFF),
    "HG7 lengths whose sum wraps 2^32":
        many((0x80000000, NEXT, 1), (0x80000000, NEXT, 2), (64, 0, 0)),
}

#: Rows that the same lies hold beside the one in their name.
ALSO = {"G1": ["HG1", "HG10"], "G3": ["HG8"], "G4": ["HG6"]}


#: Lies about the end of a buffer, which a device need not look at if it writes the beginning only.
ABOUT_THE_END = ("G4 one byte behind the last region", "HG7 one descriptor of 1 GiB",
                 "HG7 one descriptor of 4 GiB - 1")


def lies(direction):
    for name in LIES:
        if direction == TO_GUEST and name in ABOUT_THE_END:
            continue
        row = name.split()[0]
        yield pytest.param(direction, name, id=f"{name}, {direction}",
                           marks=pytest.mark.row(row, *ALSO.get(row, [])))


@pytest.mark.row("G4", "HG7")
@pytest.mark.parametrize("lie", ABOUT_THE_END)
def test_end_of_a_receive_buffer_that_does_not_exist(two_pairs, lie):
    """The ring breaks, or what fits is written where it may be; the guards say if not."""
    session = two_pairs()
    pair = session.pairs[0]
    LIES[lie](session, pair.receive_ring)
    data = net.frame(1)
    pair.send(data)
    wait_until(lambda: pair.receive_ring.errors() or pair.receive_ring.published_used,
               "the frame delivered or the ring broken")
    session.echo(pairs=session.pairs[1:])
    revive(session, pair)
    session.echo()


@pytest.mark.parametrize("direction, lie", [*lies(FROM_GUEST), *lies(TO_GUEST)])
def test_lie_breaks_its_ring_only(two_pairs, direction, lie):
    breaks(two_pairs(), direction, LIES[lie])


@pytest.mark.row("G8")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
def test_indirect_table_that_was_not_negotiated(two_pairs, direction):
    breaks(two_pairs(features=FEATURES & ~bit(Feature.INDIRECT_DESC)), direction,
           indirect([GOOD]))


@pytest.mark.row("HG5", "HG10")
def test_bad_tables_over_and_over_leave_nothing(two_pairs, backend, counts):
    session = two_pairs()
    pair = session.pairs[0]
    ring = pair.transmit_ring
    border = border_memory(session)
    sizes = []
    for number in range(counts(100000, 300)):
        # The table lies across two regions, so it has to be gathered; its second entry is nowhere.
        session.memory.write(border - 16, DESCRIPTOR.pack(pair.transmit_place, 64, NEXT, 1)
                             + DESCRIPTOR.pack(HOLE, 64, 0, 0))
        ring.describe(0, border - 16, 32, INDIRECT)
        ring.put_available(0)
        ring.wait_error()
        revive(session, pair)
        if number % 100 == 50:
            sizes.append(data_size(backend.pid))
    assert max(sizes) - min(sizes) < 1 << 20 or address_sanitizer(backend.pid)
    session.echo()


@pytest.mark.row("HG10")
@pytest.mark.parametrize("good_before", [0, 1, 3, 8, 31, 32, 33])
def test_good_chains_before_a_bad_one_are_served(two_pairs, good_before):
    session = two_pairs()
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    frames = [net.frame(number) for number in range(good_before)]
    for data in frames:
        pair.send(data, publish=False)
    ring.describe(63, HOLE, 64)
    ring.put_available(63, publish=False)
    for number in range(8):
        pair.send(net.frame(100 + number), publish=False)
    ring.publish()
    assert expect_broken(session, ring) == good_before
    if good_before:
        net.check_echo(frames, [data for _, data in pair.receive(good_before)])
    stays(lambda: ring.published_used == good_before, "taken from a broken ring", 0.02)


@pytest.mark.row("HG10", "G3")
def test_ring_stays_broken_until_it_is_started_again(two_pairs):
    session = two_pairs()
    pair = session.pairs[0]
    one(lambda session: HOLE)(session, pair.transmit_ring)
    pair.transmit_ring.wait_error()
    pair.transmit_ring.describe(0, pair.transmit_place, 64)
    pair.transmit_ring.kick()
    session.enable(pair.rings, 0)
    session.enable(pair.rings, 1)
    stays(lambda: pair.transmit_ring.published_used == 0, "a broken ring was processed")
    assert pair.transmit_ring.errors() == 0
    revive(session, pair)
    session.echo()


@pytest.mark.row("HG1")
@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 256, 1024, 32768])
@pytest.mark.parametrize("beyond", [1, 2, 31, 32, 33, 1000])
def test_index_beyond_rings_of_every_size(two_pairs, size, beyond):
    session = two_pairs(ring_size=size, buffer_size=128)
    ring = session.pairs[0].transmit_ring
    ring.publish(min(size + beyond, 0xFFFF))
    expect_broken(session, ring)
    session.echo(count=1, pairs=session.pairs[1:])


@pytest.mark.row("G5", "HG6")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
@pytest.mark.parametrize("through_table", [False, True])
@pytest.mark.parametrize("before", [1, 2, 9, 10, 11, 12, 13, 26, 40, 63, 64, 71])
def test_buffer_across_two_neighbouring_regions(start, direction, through_table, before):
    session = start()
    pair = session.pairs[0]
    table = session.memory.allocate(16, 16, session.memory.regions[0])
    border = border_memory(session)
    data = net.frame(5, 60)
    if direction == FROM_GUEST:
        pair.post()
        pair.send(data, place=border - before, indirect=table if through_table else None)
    else:
        pair.post_pieces([Piece(border - before, 72 + before, True)],
                         indirect=table if through_table else None)
        pair.send(data)
    pair.transmit_ring.kick()
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


@pytest.mark.row("HG6")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
@pytest.mark.parametrize("high_first", [False, True])
def test_buffers_at_every_alignment_around_a_region_end(start, direction, high_first):
    session = start()
    pair = session.pairs[0]
    border = border_memory(session, high_first)
    for number in range(0, 90):
        data = net.frame(number, 60 + number % 7)
        if direction == FROM_GUEST:
            pair.post()
            pair.send(data, place=border - number)
        else:
            pair.post_pieces([Piece(border - number, 200, True)])
            pair.send(data)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("HG6", "G5")
def test_ring_across_two_neighbouring_regions_is_refused_or_works(prepare):
    session = prepare(memory=GuestMemory([
        Region(0, 1 << 20, 0x7F1000000000), Region(1 << 32, 1 << 16, 0x7F2000000000),
        Region((1 << 32) + (1 << 16), 1 << 16, 0x7F2000000000 + (1 << 16))]))
    ring = session.rings[1]
    border = session.memory.regions[2].guest_address
    ring.descriptors = border - 16 * ring.size // 2
    session.start_ring(session.rings[0])
    refused = False
    for step in session.ring_steps(ring):
        refused |= session.connection.acknowledge(*step) != 0
    session.enable()
    if not refused:
        session.echo()


@pytest.mark.row("G9")
@pytest.mark.parametrize("entries", [2, 7, 64])
def test_indirect_table_across_two_regions(start, entries):
    session = start()
    pair = session.pairs[0]
    border = border_memory(session)
    for split in range(1, entries):
        pair.post()
        data = net.frame(split, 12 * entries + 10)
        pair.send(data, cuts=[12] * (entries - 1), indirect=border - 16 * split)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("G9")
@pytest.mark.parametrize("shift", [4, 8, 12])
def test_indirect_table_at_an_odd_address_across_two_regions(start, shift):
    session = start()
    pair = session.pairs[0]
    border = border_memory(session)
    pair.post()
    data = net.frame(7, 100)
    pair.send(data, cuts=[12, 50], indirect=border - 16 - shift)
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


def long_table(session, entries):
    """Make a frame of so many pieces available through a table. Returns the frame."""
    region = Region(1 << 40, 2 << 20, 0x7F6000000000)
    session.add_region(region)
    data = net.frame(9, max(64, min(entries, 9000)))
    content = net.Header().pack(12) + data
    payload = region.end - (1 << 17)
    session.memory.write(payload, content)
    size = max(1, len(content) // entries)
    pieces = [Piece(payload + i * size, size, False) for i in range(entries - 1)]
    rest = max(1, len(content) - (entries - 1) * size)
    pieces.append(Piece(payload + (entries - 1) * size, rest, False))
    session.pairs[0].transmit_ring.add_indirect(pieces, region.guest_address)
    return data


@pytest.mark.row("G9", "HG7")
@pytest.mark.parametrize("entries", [65, 256, 1024])
def test_long_indirect_table(start, entries):
    session = start()
    pair = session.pairs[0]
    pair.post()
    data = long_table(session, entries)
    pair.transmit_ring.kick()
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


@pytest.mark.row("G10", "G8", "HG7")
@pytest.mark.parametrize("entries", [1025, 2048, 65535])
def test_indirect_table_beyond_the_limit(two_pairs, entries):
    session = two_pairs()
    long_table(session, entries)
    expect_broken(session, session.pairs[0].transmit_ring)
    session.echo(pairs=session.pairs[1:])


@pytest.mark.row("G10", "HG7")
def test_longest_chains_over_and_over(start):
    session = start(ring_size=1024, buffer_size=256)
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    frames = [net.frame(number, 1024 + number) for number in range(20)]
    for data in frames:
        session.memory.write(pair.transmit_place, net.Header().pack(12) + data)
        pieces = [Piece(pair.transmit_place + i, 1, False) for i in range(1023)]
        pieces.append(Piece(pair.transmit_place + 1023, 12 + len(data) - 1023, False))
        ring.add(pieces)
        ring.kick()
        ring.wait_used(1)
    net.check_echo(frames, [data for _, data in pair.receive(len(frames))])


@pytest.mark.row("HG7")
@pytest.mark.parametrize("size", [70000, 100000, 1 << 20])
def test_frame_longer_than_any_port_takes_is_dropped(start, size):
    session = start(ring_size=64)
    region = Region(1 << 40, 2 << 20, 0x7F6000000000)
    session.add_region(region)
    pair = session.pairs[0]
    pair.post()
    pair.transmit_ring.add([Piece(region.guest_address, size, False)])
    pair.transmit_ring.kick()
    pair.transmit_ring.wait_used(1)
    session.echo()


@pytest.mark.row("G11", "G17", "HG4")
@pytest.mark.parametrize("direction", [FROM_GUEST, TO_GUEST])
def test_descriptors_rewritten_under_traffic(two_pairs, counts, direction):
    """Whatever the guest does to its descriptors meanwhile, only its own ring suffers."""
    chance = random.Random(11)
    for _ in range(counts(200, 10)):
        session = two_pairs(ring_size=32)
        pair = session.pairs[0]
        ring = pair.transmit_ring if direction == FROM_GUEST else pair.receive_ring
        pair.post()
        for number in range(16):
            pair.send(net.frame(number, 200))
        words = [ring.descriptors + 16 * slot + 8 * half for slot in range(32)
                 for half in (0, 1)]
        for _ in range(2000):
            session.memory.store64(chance.choice(words), chance.choice(
                (chance.getrandbits(64), 0, 0xFFFFFFFFFFFFFFFF, buffer_of(session, ring),
                 1 << 32 | 64, chance.getrandbits(20) << 32 | 64)))
            session.memory.store16(ring.avail, chance.getrandbits(16))
            session.memory.store16(ring.avail + 4 + 2 * chance.randrange(33),
                                   chance.getrandbits(5))
            ring.put_available(chance.randrange(32))
        session.connection.barrier()
        session.echo(pairs=session.pairs[1:])
        for each in pair.rings:
            session.stop_ring(each)
        session.memory.check_guards()
        session.close()


@pytest.mark.row("G12")
def test_same_head_twice(two_pairs):
    session = two_pairs()
    pair = session.pairs[0]
    pair.post()
    ring = pair.transmit_ring
    data = net.frame(1)
    session.memory.write(pair.transmit_place, net.Header().pack(12) + data)
    ring.describe(0, pair.transmit_place, 12 + len(data))
    for _ in range(64):
        ring.put_available(0, publish=False)
    ring.publish()
    ring.kick()
    received = pair.receive(64)
    assert all(net.same_frame(data, got) for _, got in received)
    assert ring.published_used == 64
    session.echo(pairs=session.pairs[1:])


@pytest.mark.row("G12")
def test_same_receive_buffer_twice(two_pairs):
    session = two_pairs()
    pair = session.pairs[0]
    ring = pair.receive_ring
    ring.describe(0, pair.receive_place, 2048, WRITE)
    for _ in range(32):
        ring.put_available(0, publish=False)
    ring.publish()
    for number in range(32):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(32)
    session.connection.barrier()
    session.echo(pairs=session.pairs[1:])


@pytest.mark.row("G13")
@pytest.mark.parametrize("target", ["descriptors", "avail", "used"])
def test_own_ring_as_buffer_to_write_to(two_pairs, target):
    session = two_pairs()
    pair = session.pairs[0]
    ring = pair.receive_ring
    place = getattr(ring, target)
    for _ in range(8):
        ring.describe(0, place, 500, WRITE)
        ring.put_available(0, publish=False)
    ring.publish()
    for number in range(8):
        pair.send(net.frame(number, 128))
    pair.transmit_ring.wait_used(8)
    session.connection.barrier()
    session.echo(pairs=session.pairs[1:])
    session.stop_ring(ring)


@pytest.mark.row("G13")
@pytest.mark.parametrize("target", ["descriptors", "avail", "used"])
def test_own_ring_as_buffer_to_read(two_pairs, target):
    session = two_pairs()
    pair = session.pairs[0]
    pair.post()
    pair.transmit_ring.add([Piece(getattr(pair.transmit_ring, target), 128, False)])
    pair.transmit_ring.kick()
    pair.transmit_ring.wait_used(1)
    session.connection.barrier()
    session.echo(pairs=session.pairs[1:])


@pytest.mark.row("G16", "T1")
def test_used_event_garbage(start):
    session = start(features=FEATURES | bit(Feature.EVENT_IDX))
    if not session.has(Feature.EVENT_IDX):
        pytest.skip("the back-end does not offer EVENT_IDX")
    chance = random.Random(16)
    for number in range(50):
        for ring in session.rings:
            ring.used_event = chance.getrandbits(16)
        session.echo(count=8, first=100 * number)


@pytest.mark.row("G17")
def test_flags_with_unknown_bits(start):
    session = start()
    for number, flags in enumerate((0xFFFF, 0xFFFE, 0x8000, 1, 0)):
        for ring in session.rings:
            ring.avail_flags = flags
        session.echo(first=100 * number)


@pytest.mark.row("G1")
def test_ring_emptied_and_filled_completely(start):
    session = start(ring_size=16)
    for number in range(300):
        session.echo(count=16, first=16 * number)
    assert session.stop()[1] == 300 * 16


@pytest.mark.row("HG6", "M1")
def test_buffers_of_every_alignment(start):
    session = start()
    pair = session.pairs[0]
    base = session.memory.allocate(4 * PAGE, PAGE)
    for number in range(0, 200):
        data = net.frame(number, 60 + number)
        pair.post_pieces([Piece(base + 2 * PAGE + number % 67, 1600, True)])
        pair.send(data, place=base + number % 71)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)
