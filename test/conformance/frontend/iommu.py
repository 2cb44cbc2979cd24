# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""An IOMMU in front of guest memory: the front-end's end of the IOTLB (VIRTIO_F_ACCESS_PLATFORM).

Addresses in descriptors and of rings are I/O virtual. The back-end asks for what it does not know
(misses, on the back-end channel) and is answered from a page table here, page by page; mappings
are taken away again by invalidations. Misses are answered while a test waits for something
(ring.wait_until() pumps), so that no thread is needed.
"""

import select
import struct

from . import ring as rings
from .channel import BackendRequest, Channel
from .memory import PAGE
from .messages import Request

IOTLB = struct.Struct("=QQQBB6x")
MISS, UPDATE, INVALIDATE, ACCESS_FAIL = 1, 2, 3, 4
READ, WRITE = 1, 2
#: I/O virtual addresses of the identity-like mapping are guest addresses plus this.
SHIFT = 1 << 46


class Iommu:
    """The page table, and what answers for it."""

    def __init__(self, session, page=PAGE):
        self.session = session
        self.page = page
        self.channel = Channel.give(session.connection)
        #: I/O virtual page: (user address, permissions).
        self.table = {}
        #: Misses that came: (address, permissions).
        self.misses = []
        self.answering = True
        #: Permissions of pages that are not in the table, which lie SHIFT above guest memory.
        self.default = READ | WRITE
        rings.PUMPS.append(self.pump)

    def close(self):
        rings.PUMPS.remove(self.pump)
        self.channel.close()

    @staticmethod
    def address(guest_address):
        return guest_address + SHIFT

    def map(self, address, guest_address, permissions=READ | WRITE):
        """Let one page mean a page of guest memory."""
        self.table[address // self.page] = (self.session.memory.user(guest_address), permissions)

    def unmap(self, address):
        self.table[address // self.page] = None

    def look(self, address):
        """(page address, user address, permissions), or None if nothing is there."""
        number = address // self.page
        if number in self.table:
            found = self.table[number]
            return found and (number * self.page, *found)
        try:
            user = self.session.memory.user(number * self.page - SHIFT)
        except KeyError:
            return None
        return number * self.page, user, self.default

    def pump(self):
        """Answer the misses that have come."""
        while select.select([self.channel.sock], [], [], 0)[0]:
            message = self.channel.receive_message()
            assert message.request == BackendRequest.IOTLB_MSG, f"{message.request.name} came"
            address, _size, _user, permissions, kind = IOTLB.unpack(message.payload)
            assert kind == MISS, f"an IOTLB message of type {kind} came"
            self.misses.append((address, permissions))
            found = self.look(address) if self.answering else None
            if found is not None and found[2] & permissions == permissions:
                self.update(*found)
            if message.wants_reply:
                self.channel.reply(message)

    def _say(self, kind, address, size, user=0, permissions=0):
        return self.session.connection.ask(
            Request.IOTLB_MSG, IOTLB.pack(address, size, user, permissions, kind)).u64

    def update(self, address, user, permissions, size=None):
        """Tell of a mapping. Returns what the back-end says."""
        return self._say(UPDATE, address, self.page if size is None else size, user, permissions)

    def invalidate(self, address, size):
        return self._say(INVALIDATE, address, size)
