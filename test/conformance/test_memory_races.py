# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Memory that is taken away while a burst copies from it or to it (rows M7, M13, HF10, C1).

Each round makes hundreds of long frames available, which keep the back-end copying for
milliseconds, and takes the memory away in the midst of it. Whoever copies from a region after it
was unmapped dies; whoever writes to one after the answer is seen by the digest.
"""

import hashlib
import random
import time

import pytest

from frontend import messages, net
from frontend.memory import Region
from frontend.messages import Protocol, Request, bit
from frontend.ring import Piece
from frontend.session import PROTOCOL_FEATURES

LONG = 60000
SLOTS = bit(Protocol.CONFIGURE_MEM_SLOTS)


def storm(session, chance, count=400):
    """Frames in regions of their own, and room for some of them; all at once."""
    pair = session.pairs[0]
    regions = [Region((1 << 40) + (i << 20), 1 << 17, 0x7F6000000000 + (i << 22))
               for i in range(4)]
    if session.has_protocol(Protocol.CONFIGURE_MEM_SLOTS):
        for region in regions:
            session.add_region(region)
    else:
        session.memory.regions += regions
        session.share_memory()
    data = net.Header().pack(session.header_size) + net.frame(1, LONG)
    for region in regions:
        session.memory.write(region.guest_address, data)
    for _ in range(count // 2):
        target = chance.choice(regions)
        pair.receive_ring.add([Piece(target.end - LONG - 64, LONG + 64, True)], publish=False)
    for _ in range(count):
        source = chance.choice(regions)
        pair.transmit_ring.add([Piece(source.guest_address, len(data), False)], publish=False)
    pair.receive_ring.publish()
    pair.transmit_ring.publish()
    time.sleep(chance.uniform(0, 0.004))
    return regions


def digest(regions):
    sums = [hashlib.sha1(region.bytes).digest() for region in regions]
    return sums


def remove_regions(session, regions, _chance):
    for region in regions:
        session.connection.must(Request.REM_MEM_REG, messages.mem_reg(region.packed()))
    return regions


def table_without_them(session, regions, _chance):
    kept = [region for region in session.memory.regions if region not in regions]
    session.connection.must(Request.SET_MEM_TABLE,
                            messages.mem_table([region.packed() for region in kept]),
                            [region.fd for region in kept])
    return regions


def other_files_behind_them(session, regions, _chance):
    """The same addresses, other files: what was available now lies in the new ones."""
    kept = [region for region in session.memory.regions if region not in regions]
    fresh = [Region(region.guest_address, region.size, region.user_address)
             for region in regions]
    session.memory.regions += fresh
    table = kept + fresh
    session.connection.must(Request.SET_MEM_TABLE,
                            messages.mem_table([region.packed() for region in table]),
                            [region.fd for region in table])
    return regions


def empty_table(session, regions, _chance):
    session.connection.must(Request.SET_MEM_TABLE, messages.mem_table([]))
    return [*regions, *session.memory.regions]


def stop_rings(session, regions, _chance):
    for ring in session.rings:
        session.stop_ring(ring)
    return regions


def vanish(session, regions, _chance):
    session.connection.close()
    return []


WAYS = {"regions removed": (remove_regions, True),
        "table without them": (table_without_them, False),
        "other files": (other_files_behind_them, False), "empty table": (empty_table, False),
        "rings stopped": (stop_rings, True), "front-end vanishes": (vanish, True)}


@pytest.mark.row("M7", "M13", "HF10", "C1")
@pytest.mark.parametrize("way", WAYS)
def test_memory_goes_while_a_burst_copies(start, backend, counts, way):
    take_away, slots = WAYS[way]
    chance = random.Random(7)
    midst = 0
    rounds = counts(1000, 8)
    for _ in range(rounds):
        session = start(ring_size=1024, buffer_size=64, protocol_features=PROTOCOL_FEATURES
                        if slots else PROTOCOL_FEATURES & ~SLOTS)
        regions = storm(session, chance)
        midst += 0 < session.pairs[0].transmit_ring.published_used < 400
        gone = take_away(session, regions, chance)
        before = digest(gone)
        if gone:
            session.connection.barrier()
            time.sleep(0.003)
        assert digest(gone) == before, "memory was written after it had been taken away"
        backend.check()
        session.memory.check_guards()
        session.close()
    # Few rounds on a busy machine prove nothing about the timing.
    assert midst > 0 or rounds < 100, "no burst was interrupted: frames are too few or too short"
