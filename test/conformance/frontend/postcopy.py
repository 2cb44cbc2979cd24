# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Postcopy from the front-end's side: pages that are not there yet, and who brings them.

The back-end hands over its userfaultfd; a thread here reads the faults of the back-end from it,
puts the page where it belongs and wakes whoever waits. Pages of a region are taken away before by
punching holes into its file; nobody here may touch them until they were asked for.
"""

import ctypes
import fcntl
import os
import select
import struct
import threading

from .memory import PAGE

PUNCH_HOLE, KEEP_SIZE = 2, 1
UFFDIO_WAKE = 0x8010AA02
EVENT_PAGEFAULT = 0x12
FAULT = struct.Struct("=B7xQQ8x")


def punch(fd, offset, size):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    if libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, size) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Source:
    """Where missing pages come from: what the regions held before it was taken away."""

    def __init__(self, ufd):
        self.ufd = os.dup(ufd)
        self.missing = []
        self.served = []
        self.unknown = []
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = None
        self._lock = threading.Lock()

    def take_away(self, region, base):
        """Empty a region that the back-end has mapped at `base`. @return nothing."""
        content = bytes(region.bytes)
        punch(region.fd, region.file_offset, region.size)
        self.missing.append((base, region, content))

    def begin(self):
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            ready, _, _ = select.select([self.ufd, self._stop], [], [])
            if self._stop in ready:
                return
            try:
                event = os.read(self.ufd, 32)
            except BlockingIOError:
                continue
            if len(event) < 32 or event[0] != EVENT_PAGEFAULT:
                continue
            self._bring(FAULT.unpack(event)[2])

    def _bring(self, address):
        address -= address % PAGE
        for base, region, content in self.missing:
            if base <= address < base + region.size:
                offset = address - base
                with self._lock:
                    if (region.guest_address + offset) not in self.served:
                        region.bytes[offset:offset + PAGE] = content[offset:offset + PAGE]
                        self.served.append(region.guest_address + offset)
                fcntl.ioctl(self.ufd, UFFDIO_WAKE, struct.pack("=QQ", address, PAGE))
                return
        self.unknown.append(address)

    def bring_the_rest(self):
        """All pages that were not asked for, as the background copy does it."""
        for base, region, content in self.missing:
            for offset in range(0, region.size, PAGE):
                with self._lock:
                    if (region.guest_address + offset) not in self.served:
                        region.bytes[offset:offset + PAGE] = content[offset:offset + PAGE]
                        self.served.append(region.guest_address + offset)
                fcntl.ioctl(self.ufd, UFFDIO_WAKE, struct.pack("=QQ", base + offset, PAGE))

    def close(self):
        if self.ufd < 0:
            return
        if self._thread is not None:
            os.eventfd_write(self._stop, 1)
            self._thread.join()
        os.close(self._stop)
        os.close(self.ufd)
        self.ufd = -1
