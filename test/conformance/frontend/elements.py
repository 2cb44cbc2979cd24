# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Sessions with conformance-elements, a device that does as each request says (elements.h)."""

import enum
import struct

from . import messages
from .channel import Channel
from .memory import GuestMemory
from .messages import Feature, Protocol, bit
from .packed import PackedRing
from .ring import Piece, SplitRing
from .session import Session

COMMAND = struct.Struct("=IIQ16s")
OUTCOME = struct.Struct("=q")
SLOT = 256

FEATURES = bit(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.PROTOCOL_FEATURES)
PROTOCOL_FEATURES = bit(Protocol.MQ, Protocol.REPLY_ACK, Protocol.BACKEND_REQ,
                        Protocol.BACKEND_SEND_FD, Protocol.CONFIG, Protocol.LOG_SHMFD)

FORMATS = {
    "split": FEATURES,
    "packed": FEATURES | bit(Feature.RING_PACKED),
}


class Op(enum.IntEnum):
    ECHO = 0
    HOLD = 1
    RELEASE = 2
    RELEASE_ALL = 3
    CRASH = 4
    TWICE = 5
    LONG = 6
    UNTAKE = 7
    CONFIG_CHANGED = 8
    NOTIFIER_SET = 9
    NOTIFIER_REMOVE = 10
    OBJECT_ADD = 11
    OBJECT_REMOVE = 12
    OBJECT_LOOKUP = 13
    SHMEM_MAP = 14
    SHMEM_UNMAP = 15
    STATE = 16


class ElementSession(Session):
    """Rings of requests; each request's head is remembered by its tag."""

    def __init__(self, connection, memory=None, rings=1, ring_size=16, features=FEATURES,
                 protocol_features=PROTOCOL_FEATURES):
        super().__init__(connection, memory or GuestMemory.standard(), 0, ring_size, features,
                         protocol_features)
        self.ring_total = rings
        self.channel = None
        self.places = {}
        self.tag_of = {}
        self.next_tag = 1

    def make_rings(self, region=None):
        kind = PackedRing if self.has(Feature.RING_PACKED) else SplitRing
        for index in range(self.ring_total):
            ring = kind(self.memory, index, self.ring_size, region,
                        in_order=self.has(Feature.IN_ORDER))
            ring.event_index = self.has(Feature.EVENT_IDX)
            self.rings.append(ring)
            self.places[index] = self.memory.allocate(2 * SLOT * self.ring_size, 4096)

    @property
    def ring(self):
        return self.rings[0]

    def open_channel(self):
        self.channel = Channel.give(self.connection)
        self.extras.append(self.channel)
        return self.channel

    def request(self, operation, tag=None, argument=0, data=b"", payload=b"", room=64, ring=None,
                publish=True):
        """Make a request available. Returns its tag."""
        ring = ring or self.ring
        if tag is None:
            tag = self.next_tag
            self.next_tag += 1
        place = self.places[ring.index] + 2 * SLOT * ring.free[-1]
        content = COMMAND.pack(operation, tag, argument, data) + payload
        self.memory.write(place, content)
        self.memory.write(place + SLOT, b"\xEE" * SLOT)
        pieces = [Piece(place, len(content), False)]
        if room:
            pieces.append(Piece(place + SLOT, room, True))
        head = ring.add(pieces, publish)
        self.tag_of[ring.index, head] = (tag, place)
        return tag

    def finished(self, count=0, ring=None, timeout=None):
        """(tag, bytes written) of requests that came back, at least so many."""
        ring = ring or self.ring
        used = ring.wait_used(count, timeout) if count else ring.take_used()
        result = []
        for head, length in used:
            tag, place = self.tag_of.pop((ring.index, head))
            result.append((tag, self.memory.read(place + SLOT, min(length, SLOT))))
        return result

    def do(self, operation, **options):
        """One request, completed. Returns what was written."""
        tag = self.request(operation, **options)
        for done, written in self.finished(1, options.get("ring")):
            if done == tag:
                return written
        raise AssertionError(f"request {tag} did not come back")

    def outcome(self, tag, timeout=None):
        """The outcome of a request that asks the front-end."""
        (done, written), = self.finished(1, timeout=timeout)
        assert done == tag
        return OUTCOME.unpack(written)[0]

    def echoes(self, count=8, ring=None):
        """Requests that are answered at once, with contents of their own."""
        wanted = {}
        for _ in range(count):
            payload = messages.u64(self.next_tag * 0x1234567)
            wanted[self.request(Op.ECHO, payload=payload, ring=ring, publish=False)] = payload
        (ring or self.ring).publish()
        assert dict(self.finished(count, ring)) == wanted
