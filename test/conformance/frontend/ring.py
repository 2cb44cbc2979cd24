# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The driver's side of a split virtqueue, honest by default and able to lie on demand."""

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


def wait_until(condition, what, timeout=10.0):
    """Wait for a condition on shared memory, which nobody can signal."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"{what}: not within {timeout} s")
        time.sleep(0.0002)


def need_event(event, new, old):
    """The virtio document's rule: was `event` passed on the way from `old` to `new`?"""
    return (new - event - 1) & 0xFFFF < (new - old) & 0xFFFF


class SplitRing:
    """A ring in guest memory with its three event descriptors."""

    def __init__(self, memory, index, size, region=None, places=None):
        self.memory = memory
        self.index = index
        self.size = size
        if places is None:
            # One more than belongs to the table, for what lies behind it.
            places = (memory.allocate(16 * (size + 1), 16, region),
                      memory.allocate(6 + 2 * size, 2, region),
                      memory.allocate(6 + 8 * size, 4, region))
        self.descriptors, self.avail, self.used = places
        self.event_index = False
        self.kick_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.err_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
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
        self.free = list(range(self.size - 1, -1, -1))
        self.chains = {}

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

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
            DESCRIPTOR.pack(piece.address, piece.length,
                            (WRITE if piece.writable else 0) | (NEXT if i != last else 0),
                            i + 1 if i != last else 0)
            for i, piece in enumerate(pieces))

    def add_indirect(self, pieces, place, publish=True):
        """Make a buffer available through an indirect table at `place`."""
        self.memory.write(place, self.table(pieces))
        slot = self.free.pop()
        self.describe(slot, place, 16 * len(pieces), INDIRECT)
        self.chains[slot] = [slot]
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
            self.describe(slot, piece.address, piece.length, flags, following)
        self.chains[slots[0]] = slots
        self.put_available(slots[0], publish)
        return slots[0]

    def take_used(self):
        """The used entries that came since the last call."""
        taken = []
        published = self.published_used
        while self.used_index != published:
            place = self.used + 4 + 8 * (self.used_index % self.size)
            head, length = self.memory.load32(place), self.memory.load32(place + 4)
            self.used_index = (self.used_index + 1) & 0xFFFF
            assert head in self.chains, f"used entry names head {head}, which is not in flight"
            self.free.extend(reversed(self.chains.pop(head)))
            taken.append(Used(head, length))
        return taken

    def wait_used(self, count, timeout=10.0):
        """Wait for `count` used entries and return them (or more, if more came)."""
        taken = []

        def enough():
            taken.extend(self.take_used())
            return len(taken) >= count

        try:
            wait_until(enough, f"ring {self.index}: {count} used entries", timeout)
        except Timeout as error:
            raise Timeout(f"{error} ({len(taken)} came)") from None
        return taken

    # Events.

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def calls(self):
        """How often the back-end called since this was last asked."""
        return drain(self.call_fd)

    def wait_call(self, timeout=10.0):
        """Wait for a call and return how many came."""
        return wait_signal(self.call_fd, f"ring {self.index}: a call", timeout)

    def errors(self):
        return drain(self.err_fd)

    def wait_error(self, timeout=10.0):
        return wait_signal(self.err_fd, f"ring {self.index}: the error descriptor", timeout)


def drain(fd):
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def wait_signal(fd, what, timeout=10.0):
    ready, _, _ = select.select([fd], [], [], timeout)
    if not ready:
        raise Timeout(f"{what}: no signal within {timeout} s")
    return os.eventfd_read(fd)
