# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Every path a frame can take: split and packed rings, in order or not, mergeable or not.

What holds for all of them is tested here once for each; what only one format has is in
test_ring_split.py and test_ring_packed.py.
"""

import random

import pytest

from frontend import net
from frontend.messages import Feature, Request, bit, state
from frontend.packed import Position, base
from frontend.ring import Piece
from frontend.session import PATHS

def sizes_of(features):
    return (2, 3, 5, 64, 100, 255, 256, 1000) if features & bit(Feature.RING_PACKED) \
        else (1, 2, 4, 64, 256, 1024)


@pytest.mark.row("R1", "G19", "R7")
def test_many_laps_through_rings_of_many_sizes(start, path):
    for size in sizes_of(path):
        session = start(features=path, ring_size=size, buffer_size=256)
        first = 0
        for number in range(12):
            count = 1 + (7 * number + size) % size
            session.echo(count=min(count, 200), first=first)
            first += count
        session.close()


@pytest.mark.row("G19", "R2")
def test_full_rings(start, path):
    session = start(features=path, ring_size=256, buffer_size=128)
    for number in range(5):
        session.echo(count=256, first=1000 * number)


@pytest.mark.row("G19", "HG3")
def test_chains_of_many_lengths_across_the_end_of_the_ring(start, path):
    chance = random.Random(19)
    session = start(features=path, ring_size=64 if not path & bit(Feature.RING_PACKED) else 61)
    pair = session.pairs[0]
    for number in range(120):
        pair.post()
        frames = []
        while len(frames) < 12:
            data = net.frame(100 * number + len(frames), chance.randrange(60, 900))
            cuts = [chance.randrange(1, 40) for _ in range(chance.randrange(5))]
            pair.send(data, cuts=cuts, publish=False)
            frames.append(data)
        pair.transmit_ring.publish()
        net.check_echo(frames, [got for _, got in pair.receive(len(frames))])
        pair.transmit_ring.wait_used(len(frames))


@pytest.mark.row("G9", "G19")
def test_indirect_tables_among_chains(start, path):
    session = start(features=path, ring_size=32)
    pair = session.pairs[0]
    tables = session.memory.allocate(32 * 512, 16)
    for number in range(40):
        pair.post(8)
        frames = [net.frame(100 * number + i, 60 + 7 * i) for i in range(8)]
        for i, data in enumerate(frames):
            indirect = tables + 512 * i if (number + i) % 3 else None
            pair.send(data, cuts=[12, 3 + i][:i % 3], publish=False, indirect=indirect)
        pair.transmit_ring.publish()
        net.check_echo(frames, [got for _, got in pair.receive(8)])
        pair.transmit_ring.wait_used(8)


@pytest.mark.row("G9", "G19")
def test_receive_buffers_of_several_pieces_and_in_tables(start, path):
    session = start(features=path, ring_size=64)
    pair = session.pairs[0]
    place = session.memory.allocate(1 << 16, 4096)
    table = session.memory.allocate(16 * 64, 16)
    for number in range(60):
        pieces = [Piece(place, 12, True), Piece(place + 4096, 100, True),
                  Piece(place + 8192, 2000, True)]
        pair.post_pieces(pieces, indirect=table if number % 2 else None)
        data = net.frame(number, 60 + 11 * number)
        pair.send(data)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("R9", "G19")
def test_rings_go_on_where_they_stopped(start, path):
    session = start(features=path, ring_size=32)
    for number in range(10):
        session.echo(count=5 + number, first=100 * number)
        pair = session.pairs[0]
        bases = session.stop()
        ring = pair.transmit_ring
        if path & bit(Feature.RING_PACKED):
            assert bases[1] == ring.base, f"base {bases[1]:#x}, {ring.base:#x} was expected"
        else:
            assert bases[1] == ring.avail_index
        session.restart()


@pytest.mark.row("R9", "C1")
def test_next_front_end_goes_on_where_the_last_one_stopped(start, backend, path):
    session = start(features=path, ring_size=32)
    session.echo(count=19)
    bases = session.stop()
    session.connection.close()
    session.connection = backend.connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    session.bases = bases
    session.restart()
    session.echo(count=30, first=100)


@pytest.mark.row("R8", "R7")
def test_stop_in_the_midst_of_traffic_loses_nothing(start, path):
    """What the base says was taken is used; what it says was not is taken after the restart."""
    session = start(features=path, ring_size=256, buffer_size=256)
    pair = session.pairs[0]
    for number in range(8):
        pair.post()
        frames = [net.frame(1000 * number + i, 100) for i in range(200)]
        for data in frames:
            pair.send(data, publish=False)
        pair.transmit_ring.publish()
        session.enable(value=0)
        session.bases = {ring.index: session.stop_ring(ring) for ring in reversed(session.rings)}
        session.restart()
        pair.transmit_ring.wait_used(200)
        # Frames that were in the application while the rings were stopped are lost to it.
        numbers = [net.number_of(data) for data in pair.flush()]
        assert numbers == sorted(numbers), "frames came in another order"


@pytest.mark.row("R17", "N3")
def test_disabled_rings_are_left_alone(start, path):
    session = start(features=path)
    session.echo()
    session.enable(value=0)
    pair = session.pairs[0]
    pair.post()
    pair.send(net.frame(1))
    pair.transmit_ring.kick()
    session.connection.barrier()
    assert pair.transmit_ring.take_used() == []
    session.enable()
    (_, got), = pair.receive(1)
    net.check_echo([net.frame(1)], [got])


@pytest.mark.row("R10", "G19")
@pytest.mark.parametrize("slot", [0, 1, 30, 36])
@pytest.mark.parametrize("wrap", [0, 1])
def test_packed_ring_begins_where_it_is_told(prepare, needs, slot, wrap):
    needs(Feature.RING_PACKED)
    session = prepare(features=PATHS["packed"], ring_size=37)
    for ring in session.rings:
        ring.reset(Position(slot, wrap))
        session.start_ring(ring, base(Position(slot, wrap), Position(slot, wrap)))
    session.enable()
    for number in range(8):
        session.echo(count=11, first=100 * number)


@pytest.mark.row("R2")
@pytest.mark.parametrize("size", [0, 32769, 65535, 65536])
def test_size_that_no_packed_ring_has(prepare, needs, size):
    needs(Feature.RING_PACKED)
    session = prepare(features=PATHS["packed"])
    session.connection.must_not(Request.SET_VRING_NUM, state(1, size))
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()
