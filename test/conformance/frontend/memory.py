# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Guest memory: regions of memfd files, as a front-end shares them.

Guest-physical and user addresses of a region differ, and by another amount in each region, so that
a back-end that takes one for the other is caught. Each file is longer than its region: the bytes
before and behind carry a pattern which nobody may write (check_guards).
"""

import mmap
import os

from . import messages

PAGE = mmap.PAGESIZE
HUGE_PAGE = 2 << 20
MFD_HUGETLB = 0x4
GUARD_BYTE = 0xA5
#: memfd names begin with this; the census looks for it in the back-end's mappings.
NAME = "vhu-conformance"


class Region:
    """One region. The file is the region's own unless one is given."""

    def __init__(self, guest_address, size, user_address, file_offset=PAGE, fd=None, huge=False,
                 guard=PAGE):
        self.guest_address = guest_address
        self.size = size
        self.user_address = user_address
        self.file_offset = file_offset
        self._owned = fd is None
        self._guard = guard
        self.fd = fd
        if fd is None:
            flags = os.MFD_CLOEXEC | (MFD_HUGETLB if huge else 0)
            page = HUGE_PAGE if huge else PAGE
            total = -(-(file_offset + size + guard) // page) * page
            self.fd = os.memfd_create(NAME, flags)
            os.ftruncate(self.fd, total)
        else:
            total = os.fstat(fd).st_size
        self._map = mmap.mmap(self.fd, total)
        self.whole = memoryview(self._map)
        self.bytes = self.whole[file_offset:file_offset + size]
        # Stores through a cast view are single stores of that width; struct.pack_into is not.
        aligned = size - size % 8
        self.u16 = self.bytes[:size - size % 2].cast("H") if size >= 2 else None
        self.u32 = self.bytes[:size - size % 4].cast("I") if size >= 4 else None
        self.u64 = self.bytes[:aligned].cast("Q") if aligned else None
        self.used = 0
        if self._owned:
            self.whole[:file_offset] = bytes([GUARD_BYTE]) * file_offset
            end = file_offset + size
            self.whole[end:] = bytes([GUARD_BYTE]) * (total - end)

    @property
    def end(self):
        return self.guest_address + self.size

    def packed(self):
        return messages.region(self.guest_address, self.size, self.user_address,
                               self.file_offset)

    def check_guards(self):
        """Nobody wrote before or behind the region."""
        if not self._owned:
            return
        before = self.whole[:self.file_offset]
        behind = self.whole[self.file_offset + self.size:]
        assert before == bytes([GUARD_BYTE]) * len(before), "bytes before a region were written"
        assert behind == bytes([GUARD_BYTE]) * len(behind), "bytes behind a region were written"

    def close(self):
        for view in (self.u16, self.u32, self.u64, self.bytes, self.whole):
            if view is not None:
                view.release()
        self._map.close()
        if self._owned:
            os.close(self.fd)


class GuestMemory:
    """Regions, and access to them by guest-physical address."""

    def __init__(self, regions):
        self.regions = list(regions)

    @classmethod
    def standard(cls):
        """Two distant regions and two that are neighbours in guest addresses only."""
        return cls([
            Region(0x0, 1 << 20, 0x7F1000000000),
            Region(0x100000000, 4 << 20, 0x7F2000200000),
            Region(0x100400000, 4 << 20, 0x7F0000000000),
        ])

    @classmethod
    def small(cls):
        """One region, for a session among many."""
        return cls([Region(0x40000000, 1 << 18, 0x7F3000000000)])

    def find(self, guest_address):
        """(region, offset in it) of an address."""
        for region in self.regions:
            if region.guest_address <= guest_address < region.end:
                return region, guest_address - region.guest_address
        raise KeyError(f"no region holds {guest_address:#x}")

    def read(self, guest_address, size):
        data = b""
        while size:
            region, offset = self.find(guest_address)
            count = min(size, region.size - offset)
            data += bytes(region.bytes[offset:offset + count])
            guest_address += count
            size -= count
        return data

    def write(self, guest_address, data):
        while data:
            region, offset = self.find(guest_address)
            count = min(len(data), region.size - offset)
            region.bytes[offset:offset + count] = data[:count]
            guest_address += count
            data = data[count:]

    def load16(self, guest_address):
        region, offset = self.find(guest_address)
        return region.u16[offset // 2]

    def load32(self, guest_address):
        region, offset = self.find(guest_address)
        return region.u32[offset // 4]

    def load64(self, guest_address):
        region, offset = self.find(guest_address)
        return region.u64[offset // 8]

    def store16(self, guest_address, value):
        region, offset = self.find(guest_address)
        region.u16[offset // 2] = value

    def store32(self, guest_address, value):
        region, offset = self.find(guest_address)
        region.u32[offset // 4] = value

    def store64(self, guest_address, value):
        region, offset = self.find(guest_address)
        region.u64[offset // 8] = value

    def user(self, guest_address):
        """The user address under which the front-end knows a guest address."""
        region, offset = self.find(guest_address)
        return region.user_address + offset

    def allocate(self, size, alignment=64, region=None):
        """Guest address of fresh memory; by default in the last region that has room."""
        candidates = [region] if region is not None else reversed(self.regions)
        for candidate in candidates:
            start = -(-(candidate.guest_address + candidate.used) // alignment) * alignment
            if start + size <= candidate.end:
                candidate.used = start + size - candidate.guest_address
                return start
        raise MemoryError(f"no region has {size} bytes left")

    def check_guards(self):
        for region in self.regions:
            region.check_guards()

    def close(self):
        for region in self.regions:
            region.close()
        self.regions = []


def huge_pages_available():
    """Can a hugetlbfs file of 2 MiB pages be made and touched?"""
    try:
        fd = os.memfd_create(NAME, os.MFD_CLOEXEC | MFD_HUGETLB)
    except OSError:
        return False
    try:
        os.ftruncate(fd, HUGE_PAGE)
        mmap.mmap(fd, HUGE_PAGE).close()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
