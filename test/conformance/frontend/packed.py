# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The driver's side of a packed virtqueue (virtio 1.3, section 2.8).

One ring of descriptors that driver and device both write, two structures that tell which events
are wanted, and two wrap counters. The size is any number, not only a power of two.

Only the last descriptor of a chain carries the buffer's id, as the document says; the others carry
a number that is no id, so that a device which takes the first one is caught.
"""

import struct
from collections import namedtuple

from .ring import INDIRECT, NEXT, WRITE, Ring, writable_size

AVAIL = 1 << 7
USED = 1 << 15
#: In descriptors that carry no buffer id.
NO_ID = 0xFFFE

EVENT_ENABLE = 0
EVENT_DISABLE = 1
EVENT_DESCRIPTOR = 2

DESCRIPTOR = struct.Struct("=QIHH")
Position = namedtuple("Position", "slot wrap")


def base(avail, used):
    """Both halves of the ring state, as SET_VRING_BASE and GET_VRING_BASE carry them."""
    return avail.slot | avail.wrap << 15 | used.slot << 16 | used.wrap << 31


def positions(value):
    """(avail, used) of a ring state."""
    return (Position(value & 0x7FFF, value >> 15 & 1), Position(value >> 16 & 0x7FFF, value >> 31))


class PackedRing(Ring):
    """A packed ring in guest memory. Positions are (slot, wrap counter)."""

    first_base = base(Position(0, 1), Position(0, 1))

    def __init__(self, memory, index, size, region=None, places=None, in_order=False):
        super().__init__(memory, index, size, in_order)
        if places is None:
            # Room behind the event structures, for tests that let the device write there.
            places = (memory.allocate(16 * size, 16, region), memory.allocate(1024, 4, region),
                      memory.allocate(1024, 4, region))
        #: The same three names as in a split ring: what SET_VRING_ADDR calls them.
        self.descriptors, self.avail, self.used = places
        self.reset()

    def reset(self, start=Position(0, 1)):
        """Forget everything, in both halves; `start` is the next descriptor of both."""
        start = Position(*start)
        # Neither available nor used: as if the device had used all before `start` in this round
        # and all behind in the last.
        for slot in range(self.size):
            wrap = start.wrap if slot < start.slot else 1 - start.wrap
            self.describe(slot, 0, 0, 0, AVAIL | USED if wrap else 0)
        self.memory.write(self.avail, bytes(4))
        self.memory.write(self.used, bytes(4))
        self.next_avail = start
        self.next_used = start
        self.room = self.size
        self.pending = []
        self.forget_buffers()

    # Raw access, for drivers that lie.

    def describe(self, slot, address, length, buffer_id, flags):
        """Write a descriptor, its flags last."""
        place = self.descriptors + 16 * slot
        self.memory.write(place, DESCRIPTOR.pack(address, length, buffer_id, flags)[:14])
        self.memory.store16(place + 14, flags)

    def flags_of(self, slot):
        return self.memory.load16(self.descriptors + 16 * slot + 14)

    def advance(self, position, count=1):
        slot = position.slot + count
        if slot >= self.size:
            return Position(slot - self.size, 1 - position.wrap)
        return Position(slot, position.wrap)

    @staticmethod
    def available(position):
        """The two bits that make a descriptor at this position available."""
        return AVAIL if position.wrap else USED

    def put(self, address, length, flags, buffer_id, publish=True):
        """One descriptor of any kind at the next place, available."""
        self._write(address, length, flags, buffer_id)
        if publish:
            self.publish()

    def _write(self, address, length, flags, buffer_id):
        position = self.next_avail
        place = self.descriptors + 16 * position.slot
        self.memory.write(place, DESCRIPTOR.pack(address, length, buffer_id, 0)[:14])
        self.pending.append((place + 14, flags | self.available(position)))
        self.next_avail = self.advance(position)
        self.room -= 1

    def publish(self):
        """Make what was added available: the first descriptor comes last."""
        for place, flags in reversed(self.pending):
            self.memory.store16(place, flags)
        self.pending = []

    @property
    def driver_event(self):
        """(offset and wrap counter, flags) that we want from the device."""
        return self.memory.load16(self.avail), self.memory.load16(self.avail + 2)

    @driver_event.setter
    def driver_event(self, value):
        offset, flags = value
        self.memory.store16(self.avail, offset)
        self.memory.store16(self.avail + 2, flags)

    def want_call_at(self, position):
        """Ask for a call when the device has used the descriptor at this position."""
        self.driver_event = (position.slot | position.wrap << 15, EVENT_DESCRIPTOR)

    @property
    def device_event(self):
        return self.memory.load16(self.used), self.memory.load16(self.used + 2)

    def anything_used(self):
        """Has the device used what comes next?"""
        flags = self.flags_of(self.next_used.slot)
        wanted = AVAIL | USED if self.next_used.wrap else 0
        return flags & (AVAIL | USED) == wanted

    # The honest driver.

    def table(self, pieces):
        """An indirect table of these pieces, as bytes: its order is that of the pieces."""
        return b"".join(DESCRIPTOR.pack(self.to_device(piece.address), piece.length, NO_ID,
                                        WRITE if piece.writable else 0) for piece in pieces)

    def add_indirect(self, pieces, place, publish=True):
        """Make a buffer available through an indirect table at `place`."""
        self.memory.write(place, self.table(pieces))
        buffer_id = self._begin(1, pieces)
        self._write(self.to_device(place), 16 * len(pieces), INDIRECT, buffer_id)
        if publish:
            self.publish()
        return buffer_id

    def add(self, pieces, publish=True):
        """Make a buffer of these pieces available. Returns its id."""
        buffer_id = self._begin(len(pieces), pieces)
        for i, piece in enumerate(pieces):
            last = i + 1 == len(pieces)
            flags = (WRITE if piece.writable else 0) | (0 if last else NEXT)
            self._write(self.to_device(piece.address), piece.length, flags,
                        buffer_id if last else NO_ID)
        if publish:
            self.publish()
        return buffer_id

    def _begin(self, slots, pieces):
        assert slots <= self.room, f"{slots} descriptors wanted, {self.room} are free"
        buffer_id = self.free.pop()
        self.chains[buffer_id] = slots
        self.order[buffer_id] = writable_size(pieces)
        return buffer_id

    def take_used(self):
        """The used elements that came since the last call."""
        taken = []
        while self.chains and self.anything_used():
            place = self.descriptors + 16 * self.next_used.slot
            batch = self.completed(self.memory.load16(place + 12), self.memory.load32(place + 8))
            for used in batch:
                slots = self.chains.pop(used.head)
                self.next_used = self.advance(self.next_used, slots)
                self.room += slots
                self.give_back([used.head])
            taken += batch
        return taken

    @property
    def base(self):
        """What GET_VRING_BASE must say when the device has nothing left."""
        return base(self.next_avail, self.next_used)
