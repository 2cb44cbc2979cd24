# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What a process holds: descriptors by kind, mappings of guest memory, threads.

Taken before and after; any difference after a front-end has gone is a leak.
"""

import collections
import os
import re

from .memory import NAME
from .ring import Timeout, wait_until


class Census:
    def __init__(self, pid):
        self.fds = _fds(pid)
        self.mappings = _mappings(pid)
        self.threads = len(os.listdir(f"/proc/{pid}/task"))

    def difference(self, before):
        """What is more or less than before, as text; empty if nothing."""
        lines = []
        for kind in sorted(set(self.fds) | set(before.fds)):
            change = self.fds[kind] - before.fds[kind]
            if change:
                lines.append(f"{change:+d} descriptors of kind {kind}")
        if self.mappings != before.mappings:
            lines.append(f"{self.mappings - before.mappings:+d} mappings of guest memory")
        if self.threads != before.threads:
            lines.append(f"{self.threads - before.threads:+d} threads")
        return ", ".join(lines)


def _fds(pid):
    kinds = collections.Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        kinds[re.sub(r":\[\d+\]", "", target).removesuffix(" (deleted)")] += 1
    return kinds


def _mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
        return sum(f"/memfd:{NAME}" in line for line in maps)


def data_size(pid):
    """Bytes of private data (heap and the like) of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmData in /proc/<pid>/status")


def address_sanitizer(pid):
    """Does this process keep freed memory back in order to catch whoever uses it?"""
    with open(f"/proc/{pid}/exe", "rb") as program:
        return b"__asan_init" in program.read()


def processor_time(pid):
    """Clock ticks that each thread has used, by thread id."""
    ticks = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        ticks[int(thread)] = int(fields[11]) + int(fields[12])
    return ticks


def wait_for_baseline(pid, before, timeout=None):
    """Wait until the process holds what it held before."""
    try:
        wait_until(lambda: Census(pid).difference(before) == "", "census", timeout)
    except Timeout:
        raise AssertionError("the back-end leaks: "
                             + Census(pid).difference(before)) from None
