# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A virtio-blk driver on the conformance suite's front-end, honest or not."""

import struct

from frontend import messages
from frontend.connection import Connection
from frontend.memory import GuestMemory
from frontend.messages import Feature, Protocol, Request, bit
from frontend.packed import PackedRing
from frontend.ring import Piece, SplitRing
from frontend.session import Session

IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
OK, IOERR, UNSUPP = 0, 1, 2
F_SEG_MAX, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_MQ, F_DISCARD, F_WRITE_ZEROES = (
    2, 5, 6, 9, 10, 12, 13, 14)

FEATURES = bit(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.PROTOCOL_FEATURES)
PROTOCOL = bit(Protocol.MQ, Protocol.REPLY_ACK, Protocol.CONFIG)


def header(kind, sector=0):
    return struct.pack("<IIQ", kind, 0, sector)


class BlkSession(Session):
    """Queues of a disk, served one request at a time."""

    def __init__(self, path, features=FEATURES, rings=1, ring_size=64, protocol=PROTOCOL):
        super().__init__(Connection.open(str(path)), GuestMemory.standard(), 0, ring_size, features,
                         protocol)
        self.ring_total = rings
        self.next_place = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def make_rings(self, region=None):
        kind = PackedRing if self.has(Feature.RING_PACKED) else SplitRing
        for index in range(self.ring_total):
            self.rings.append(kind(self.memory, index, self.ring_size, region))
        self.area = self.memory.allocate(1 << 20, 4096)

    def config(self, size=60):
        """Config space, as bytes."""
        reply = self.connection.ask(Request.GET_CONFIG, messages.config(0, size))
        return reply.payload[-size:]

    def submit(self, readable, writable_size, cut=None, ring=None, offset=0):
        """Make a request available; `cut` says how many bytes a descriptor has at most."""
        ring = ring or self.rings[0]
        source = self.area + offset
        target = self.area + (512 << 10) + offset
        self.memory.write(source, readable)
        self.memory.write(target, b"\xee" * writable_size)
        pieces = []
        for place, size, writable in ((source, len(readable), False),
                                      (target, writable_size, True)):
            step = cut or size or 1
            pieces += [Piece(place + at, min(step, size - at), writable)
                       for at in range(0, size, step)]
        ring.add(pieces)
        return target

    def do(self, kind, sector=0, data=b"", room=0, **options):
        """One request. Returns status and what was read."""
        target = self.submit(header(kind, sector) + data, room + 1, **options)
        (options.get("ring") or self.rings[0]).wait_used(1)
        answer = self.memory.read(target, room + 1)
        return answer[-1], answer[:-1]
