# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The front-end's end of the dirty log: shared, read and cleared word by word while it is written.

Bit n stands for the 4096 bytes at guest-physical address n * 4096. A word is fetched and cleared
by one atomic exchange, as QEMU does it; Python has none, libatomic (part of gcc's run time) does.
"""

import ctypes

from . import messages
from .memory import PAGE, Region

PAGE_SHIFT = 12
SEQ_CST = 5


class DirtyLog:
    """A log for guest addresses below `end`, at some offset in a file with guarded surroundings."""

    def __init__(self, end, file_offset=PAGE, size=None):
        self.size = -(-end // (1 << PAGE_SHIFT) // 64) * 8 if size is None else size
        self.region = Region(0, self.size, 0, file_offset)
        self.words = self.region.u64
        # As an attribute the name would be taken for a private one of this class.
        self._exchange = getattr(ctypes.CDLL("libatomic.so.1"), "__atomic_exchange_8")
        self._exchange.restype = ctypes.c_uint64
        self._exchange.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int)
        # The buffer must not be exported for good, or the mapping could never be closed.
        holder = ctypes.c_char.from_buffer(self.region.bytes)
        self._base = ctypes.addressof(holder)
        del holder

    @property
    def message(self):
        """Payload of SET_LOG_BASE."""
        return messages.LOG.pack(self.size, self.region.file_offset)

    @property
    def fd(self):
        return self.region.fd

    def _pages(self, number, word):
        return {64 * number + i for i in range(64) if word >> i & 1}

    def pages(self):
        """Numbers of the pages that are marked."""
        return set().union(*(self._pages(i, word) for i, word in enumerate(self.words) if word))

    def take(self):
        """The same, and clear what was taken."""
        found = set()
        for i, word in enumerate(self.words):
            if word:
                found |= self._pages(i, self._exchange(self._base + 8 * i, 0, SEQ_CST))
        return found

    def check_guards(self):
        self.region.check_guards()

    def close(self):
        self.region.close()


def pages_of(address, size):
    """Numbers of the pages that a range touches."""
    return set(range(address >> PAGE_SHIFT, (address + size - 1 >> PAGE_SHIFT) + 1)) if size \
        else set()
