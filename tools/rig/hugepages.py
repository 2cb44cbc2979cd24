# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Hugepages of 2 MiB: reserved for a while, given back afterwards.

DPDK and QEMU take them from memory files (memfd), so nothing needs to be mounted. Several
programs may reserve at the same time: each adds what it wants and takes away what it added.
"""

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

COUNT = Path("/proc/sys/vm/nr_hugepages")
FREE = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
LOCK = Path("/run/lock/vhu-hugepages")
PAGE_MIB = 2


def free_mib():
    """How much could be taken now, MiB."""
    try:
        return int(FREE.read_text()) * PAGE_MIB
    except (OSError, ValueError):
        return 0


def _change(pages):
    """Add pages (take away if negative) to the kernel's count; return how many were added."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCK, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(COUNT.read_text())
        COUNT.write_text(str(max(0, before + pages)))
        return int(COUNT.read_text()) - before


@contextmanager
def reserved(mib):
    """Within the block, mib of hugepages are free; gives None, or the reason why they are not."""
    added = 0
    reason = None
    try:
        missing = mib - free_mib()
        if missing > 0:
            added = _change((missing + PAGE_MIB - 1) // PAGE_MIB)
    except (OSError, ValueError) as error:
        reason = f"cannot reserve hugepages: {error}"
    if reason is None and free_mib() < mib:
        reason = f"only {free_mib()} MiB of hugepages could be reserved, {mib} are needed"
    try:
        yield reason
    finally:
        if added > 0 and os.access(COUNT, os.W_OK):
            _change(-added)
