# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The driver's side of a split virtqueue, honest by default and able to lie on demand.

A packed one is in packed.py; both look the same to those who only add buffers and take them back.
"""

import collections
import os
import select
import struct
import time
from collections import namedtuple

NEXT = 1
WRITE = 2
INDIRECT = 4
AVAIL_NO_INTERRUPT = 1
USED_NO_NOTIFY = 1

DESCRIPTOR = struct.Struct("=QIHH")

#: A piece of a buffer: guest address, length, and whether the device writes it.
Piece = namedtuple("Piece", "address length writable")
Used = namedtuple("Used", "head length")


class Timeout(AssertionError):
    """Something that had to happen did not."""


#: Seconds that a wait lasts at most unless it says otherwise.
PATIENCE = 10.0
#: Called again and again while a test waits, e.g. to answer the back-end's requests.
PUMPS = []


def wait_until(condition, what, timeout=None):
    """Wait for a condition on shared memory, which nobody can signal."""
    timeout = PATIENCE if timeout is None else timeout
    deadline = time.monotonic() + timeout
    while True:
        for pump in PUMPS:
            pump()
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {timeout} s")
        time.sleep(0.0002)


def writable_size(pieces):
    return sum(piece.length for piece in pieces if piece.writable)


def need_event(event, new, old):
    """The virtio document's rule: was `event` passed on the way from `old` to `new`?"""
    return (new - event - 1) & 0xFFFF < (new - old) & 0xFFFF


class Ring:
    """What rings of both formats share: a place in guest memory and three event descriptors."""

    #: What SET_VRING_BASE says of a fresh ring.
    first_base = 0

    def __init__(self, memory, index, size, in_order=False):
        self.memory = memory
        self.index = index
        self.size = size
        self.event_index = False
        #: The device uses buffers in the order in which they were made available, and may say so
        #: with one used element for several.
        self.in_order = in_order
        #: What the device must be told instead of a guest address.
        self.to_device = lambda address: address
        self.chains = {}
        self.kick_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.err_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    def forget_buffers(self):
        self.free = list(range(self.size - 1, -1, -1))
        self.chains = {}
        # Heads in flight with the bytes that the device may write, oldest first.
        self.order = collections.OrderedDict()

    def give_back(self, slots):
        """Slots or buffer ids are free again: the oldest come last, or, in order, first."""
        if self.in_order:
            self.free[:0] = reversed(slots)
        else:
            self.free.extend(reversed(slots))

    def completed(self, head, length):
        """
        The buffers of which a used element of this head tells, as used elements: one, or with
        IN_ORDER all that came before it too, which were used completely.
        """
        assert head in self.chains, f"used element names {head}, which is not in flight"
        batch = []
        while self.in_order and next(iter(self.order)) != head:
            skipped, room = self.order.popitem(last=False)
            batch.append(Used(skipped, room))
        self.order.pop(head)
        batch.append(Used(head, length))
        return batch

    def wait_used(self, count, timeout=None):
        """Wait for `count` used elements and return them (or more, if more came)."""
        taken = []

        def enough():
            taken.extend(self.take_used())
            return len(taken) >= count

        try:
            wait_until(enough, f"ring {self.index}: {count} used elements", timeout)
        except Timeout as error:
            raise Timeout(f"{error} ({len(taken)} came)") from None
        return taken

    # Events.

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def calls(self):
        """How often the back-end called since this was last asked."""
        return drain(self.call_fd)

    def wait_call(self, timeout=None):
        """Wait for a call and return how many came."""
        return wait_signal(self.call_fd, f"ring {self.index}: a call", timeout)

    def errors(self):
        return drain(self.err_fd)

    def wait_error(self, timeout=None):
        return wait_signal(self.err_fd, f"ring {self.index}: the error descriptor", timeout)


class SplitRing(Ring):
    """A split ring in guest memory."""

    def __init__(self, memory, index, size, region=None, places=None, in_order=False):
        super().__init__(memory, index, size, in_order)
        if places is None:
            # One more than belongs to the table, for what lies behind it.
            places = (memory.allocate(16 * (size + 1), 16, region),
                      memory.allocate(6 + 2 * size, 2, region),
                      memory.allocate(6 + 8 * size, 4, region))
        self.descriptors, self.avail, self.used = places
        self.reset()

    def reset(self, start=0):
        """Forget everything, in both halves; the next entry is number `start`."""
        self.memory.write(self.descriptors, bytes(16 * self.size))
        self.memory.write(self.avail, bytes(6 + 2 * self.size))
        self.memory.write(self.used, bytes(6 + 8 * self.size))
        self.avail_index = start
        self.used_index = start
        self.memory.store16(self.avail + 2, start)
        self.memory.store16(self.used + 2, start)
        self.forget_buffers()

    @property
    def room(self):
        """Descriptors that are free."""
        return len(self.free)

    # Raw access, for drivers that lie.

    def describe(self, slot, address, length, flags=0, following=0):
        self.memory.write(self.descriptors + 16 * slot,
                          DESCRIPTOR.pack(address, length, flags, following))

    def put_available(self, head, publish=True):
        """One entry of the available ring."""
        slot = self.avail_index % self.size
        self.memory.store16(self.avail + 4 + 2 * slot, head)
        self.avail_index = (self.avail_index + 1) & 0xFFFF
        if publish:
            self.publish()

    def publish(self, index=None):
        if index is not None:
            self.avail_index = index & 0xFFFF
        self.memory.store16(self.avail + 2, self.avail_index)

    @property
    def published_used(self):
        return self.memory.load16(self.used + 2)

    @property
    def avail_flags(self):
        return self.memory.load16(self.avail)

    @avail_flags.setter
    def avail_flags(self, value):
        self.memory.store16(self.avail, value)

    @property
    def used_flags(self):
        return self.memory.load16(self.used)

    @property
    def used_event(self):
        return self.memory.load16(self.avail + 4 + 2 * self.size)

    @used_event.setter
    def used_event(self, value):
        self.memory.store16(self.avail + 4 + 2 * self.size, value & 0xFFFF)

    @property
    def avail_event(self):
        return self.memory.load16(self.used + 4 + 8 * self.size)

    # The honest driver.

    def table(self, pieces):
        """An indirect table of these pieces, as bytes."""
        last = len(pieces) - 1
        return b"".join(
            DESCRIPTOR.pack(self.to_device(piece.address), piece.length,
                            (WRITE if piece.writable else 0) | (NEXT if i != last else 0),
                            i + 1 if i != last else 0)
            for i, piece in enumerate(pieces))

    def add_indirect(self, pieces, place, publish=True):
        """Make a buffer available through an indirect table at `place`."""
        self.memory.write(place, self.table(pieces))
        slot = self.free.pop()
        self.describe(slot, self.to_device(place), 16 * len(pieces), INDIRECT)
        self.chains[slot] = [slot]
        self.order[slot] = writable_size(pieces)
        self.put_available(slot, publish)
        return slot

    def add(self, pieces, publish=True):
        """Make a buffer of these pieces available. Returns the head."""
        slots = [self.free.pop() for _ in pieces]
        for i, (slot, piece) in enumerate(zip(slots, pieces)):
            flags = WRITE if piece.writable else 0
            following = 0
            if i + 1 < len(slots):
                flags |= NEXT
                following = slots[i + 1]
            self.describe(slot, self.to_device(piece.address), piece.length, flags, following)
        self.chains[slots[0]] = slots
        self.order[slots[0]] = writable_size(pieces)
        self.put_available(slots[0], publish)
        return slots[0]

    def take_used(self):
        """The used elements that came since the last call."""
        taken = []
        published = self.published_used
        while self.used_index != published:
            place = self.used + 4 + 8 * (self.used_index % self.size)
            batch = self.completed(self.memory.load32(place), self.memory.load32(place + 4))
            assert len(batch) <= (published - self.used_index) & 0xFFFF, \
                "a used element tells of buffers that the used index does not"
            self.used_index = (self.used_index + len(batch)) & 0xFFFF
            for used in batch:
                self.give_back(self.chains.pop(used.head))
            taken += batch
        return taken


def drain(fd):
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def wait_signal(fd, what, timeout=None):
    timeout = PATIENCE if timeout is None else timeout
    ready, _, _ = select.select([fd], [], [], timeout)
    if not ready:
        raise Timeout(f"{what}: no signal within {timeout} s")
    return os.eventfd_read(fd)
