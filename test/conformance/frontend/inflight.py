# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The inflight area (vhost-user, "Inflight I/O tracking"): what a front-end keeps for the back-end.

The front-end does nothing with it but keep it. Here it is read, to see whether a back-end tracks
what it has taken, and written, to be a hostile one.
"""

import os
import struct
from collections import namedtuple

from . import messages
from .memory import PAGE, Region
from .messages import Request

SPLIT_HEADER = struct.Struct("=QHHHH")
SPLIT_ENTRY = struct.Struct("=B5xHQ")
PACKED_HEADER = struct.Struct("=QHHHHHHBB7x")
PACKED_ENTRY = struct.Struct("=BxHHHQHHIQ")
#: Where the entries of a packed ring begin: the header, aligned as its entries are.
PACKED_START = 32

SplitHeader = namedtuple("SplitHeader", "features version desc_num last_batch_head used_idx")
SplitEntry = namedtuple("SplitEntry", "inflight next counter")
PackedHeader = namedtuple("PackedHeader", "features version desc_num free_head old_free_head "
                          "used_idx old_used_idx used_wrap old_used_wrap")
PackedEntry = namedtuple("PackedEntry", "inflight next last num counter id flags len addr")


def stride(queue_size, packed=False):
    """Bytes that each queue takes."""
    size = PACKED_START + PACKED_ENTRY.size * queue_size if packed \
        else SPLIT_HEADER.size + SPLIT_ENTRY.size * queue_size
    return -(-size // 64) * 64


class InflightArea:
    """An area as the back-end made it, or one of our own (fd None) for lies."""

    def __init__(self, queues, queue_size, packed=False, fd=None, offset=0, size=None):
        self.queues = queues
        self.queue_size = queue_size
        self.packed = packed
        self.stride = stride(queue_size, packed)
        self.size = self.stride * queues if size is None else size
        self.duplicate = None
        # Memory files need no page before their first byte, but an offset must be respected.
        self.region = Region(0, self.size, 0, offset if fd is not None else PAGE, fd)

    @classmethod
    def ask(cls, connection, queues, queue_size, packed=False):
        """What GET_INFLIGHT_FD gives."""
        reply = connection.ask(Request.GET_INFLIGHT_FD,
                               messages.inflight(0, 0, queues, queue_size))
        size, offset, got_queues, got_size = messages.INFLIGHT.unpack(reply.payload)[:4]
        assert (got_queues, got_size) == (queues, queue_size), "the area is for something else"
        assert len(reply.fds) == 1, f"{len(reply.fds)} descriptors came with the area"
        # The connection closes what it received; the area outlives it.
        area = cls(queues, queue_size, packed, os.dup(reply.fds[0]), offset, size)
        area.duplicate = area.fd
        return area

    @property
    def message(self):
        """Payload of SET_INFLIGHT_FD."""
        return messages.inflight(self.size, self.region.file_offset, self.queues, self.queue_size)

    @property
    def fd(self):
        return self.region.fd

    def give(self, connection):
        connection.must(Request.SET_INFLIGHT_FD, self.message, [self.fd])

    def _slice(self, queue):
        return self.region.bytes[queue * self.stride:(queue + 1) * self.stride]

    def header(self, queue):
        if self.packed:
            return PackedHeader(*PACKED_HEADER.unpack_from(self._slice(queue)))
        return SplitHeader(*SPLIT_HEADER.unpack_from(self._slice(queue)))

    def set_header(self, queue, **changes):
        kind = PACKED_HEADER if self.packed else SPLIT_HEADER
        kind.pack_into(self._slice(queue), 0, *self.header(queue)._replace(**changes))

    def _place(self, entry):
        return PACKED_START + PACKED_ENTRY.size * entry if self.packed \
            else SPLIT_HEADER.size + SPLIT_ENTRY.size * entry

    def entry(self, queue, entry):
        kind, name = (PACKED_ENTRY, PackedEntry) if self.packed else (SPLIT_ENTRY, SplitEntry)
        return name(*kind.unpack_from(self._slice(queue), self._place(entry)))

    def set_entry(self, queue, entry, **changes):
        kind = PACKED_ENTRY if self.packed else SPLIT_ENTRY
        kind.pack_into(self._slice(queue), self._place(entry),
                       *self.entry(queue, entry)._replace(**changes))

    def in_flight(self, queue):
        """Heads (packed: entries) that are marked, oldest first."""
        entries = [(self.entry(queue, i), i) for i in range(self.queue_size)]
        return [i for _, i in sorted((entry.counter, i) for entry, i in entries if entry.inflight)]

    def close(self):
        self.region.close()
        if self.duplicate is not None:
            os.close(self.duplicate)
