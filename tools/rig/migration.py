# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Live migration of a guest from one QEMU to another on the same machine."""

import mmap
import os

from rig.guest import Guest
from rig.process import Failed, wait_until

# Far more than a socket of this machine carries, and little enough for the guest to stay behind.
FAST = 8 << 30
SLOW = 1 << 20
PAGE = 4096
DONE = ("completed", "failed", "cancelled")


def arrival(folder, sockets, name, paused=False, **machine):
    """A QEMU that waits for a guest to come; the machine has to be as the guest's own.

    If paused, the guest does not run on when it has come: its memory can be looked at first.
    """
    extra = ["-incoming", "defer", *(["-S"] if paused else [])]
    target = Guest(folder, sockets, name=name, extra=extra, **machine)
    target.connect()
    return target


def status(guest):
    return guest.monitor("query-migrate").get("status", "none")


def _leave(source, target, folder, bandwidth, postcopy):
    path = folder / f"{target.name}.migration"
    for end in (source, target):
        end.monitor("migrate-set-capabilities", capabilities=[
            {"capability": "postcopy-ram", "state": postcopy}])
    source.monitor("migrate-set-parameters", max_bandwidth=bandwidth, downtime_limit=1000)
    target.monitor("migrate-incoming", uri=f"unix:{path}")
    source.monitor("migrate", uri=f"unix:{path}")


def _finish(source, target, timeout):
    wait_until(lambda: status(source) in DONE, timeout, "the migration to end")
    if status(source) != "completed":
        raise Failed(f"the migration {status(source)}: {source.monitor('query-migrate')}\n"
                     f"{source.process.tail()}\n{target.process.tail()}")
    wait_until(lambda: status(target) == "completed", timeout, "the guest to be complete")
    target.number = source.number


def move(source, target, folder, timeout=120):
    """Precopy: all memory goes before the guest stops. The guest runs on if it was running."""
    _leave(source, target, folder, FAST, postcopy=False)
    _finish(source, target, timeout)


def move_postcopy(source, target, folder, timeout=120):
    """The guest goes first, and asks for the memory that it misses."""
    _leave(source, target, folder, SLOW, postcopy=True)
    wait_until(lambda: status(source) == "active", 20, "the migration to begin")
    source.monitor("migrate-start-postcopy")
    source.monitor("migrate-set-parameters", max_bandwidth=FAST, max_postcopy_bandwidth=0)
    _finish(source, target, timeout)


def begin_and_cancel(source, target, folder, while_active):
    """Begin a migration that cannot end soon, call a function, give the migration up."""
    _leave(source, target, folder, SLOW, postcopy=False)
    wait_until(lambda: status(source) == "active", 20, "the migration to begin")
    while_active()
    if status(source) != "active":
        raise Failed(f"the migration should go on but is {status(source)}")
    source.monitor("migrate_cancel")
    wait_until(lambda: status(source) == "cancelled", 20, "the migration to be given up")


def begin_and_fail(source, target, folder, while_active):
    """Begin a migration that cannot end soon, call a function, kill where it goes to."""
    _leave(source, target, folder, SLOW, postcopy=False)
    wait_until(lambda: status(source) == "active", 20, "the migration to begin")
    while_active()
    target.process.kill()
    wait_until(lambda: status(source) == "failed", 20, "the migration to fail")


def _map(file):
    with open(file, "rb", buffering=0) as opened:
        return mmap.mmap(opened.fileno(), os.fstat(opened.fileno()).st_size, prot=mmap.PROT_READ)


def differing_pages(source, target):
    """Guest-physical page numbers whose contents differ, where both guests stand still."""
    found = []
    for mine, theirs in zip(source.memory_files(), target.memory_files(), strict=True):
        with _map(mine) as here, _map(theirs) as there:
            assert len(here) == len(there)
            for begin in range(0, len(here), 1 << 20):
                if here[begin:begin + (1 << 20)] == there[begin:begin + (1 << 20)]:
                    continue
                found += [at // PAGE for at in range(begin, begin + (1 << 20), PAGE)
                          if here[at:at + PAGE] != there[at:at + PAGE]]
    return found
