# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Checks that many tests share."""

import os
import socket
import time

from . import messages, net
from .memory import Region
from .messages import Request
from .ring import WRITE

TO_GUEST, FROM_GUEST = "to guest", "from guest"


def stays(condition, what, seconds=0.05):
    """A condition must hold all the while. That something never happens cannot be waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(0.002)


def expect_broken(session, ring):
    """The ring is broken: its error descriptor tells once; the connection goes on undisturbed.

    Returns the base, which still can be asked for.
    """
    signalled = ring.wait_error()
    assert signalled == 1, f"the error descriptor was signalled {signalled} times"
    session.connection.barrier()
    stays(lambda: ring.errors() == 0, "the error descriptor was signalled again")
    return session.stop_ring(ring)


def revive(session, pair):
    """Start a pair's rings anew after one of them was broken, as a driver reset does."""
    for ring in pair.rings:
        session.stop_ring(ring)
        ring.reset()
        ring.calls()
        ring.errors()
        session.start_ring(ring)
    pair.posted.clear()
    pair.flush()


def breaks(session, direction, lie):
    """Apply a lie to one ring of the first pair: it breaks, the second pair and a restart work."""
    pair = session.pairs[0]
    ring = pair.receive_ring if direction == TO_GUEST else pair.transmit_ring
    if direction == FROM_GUEST:
        session.echo(count=4)
        lie(session, ring)
    else:
        # Buffers to write to are looked at when there is something to write.
        lie(session, ring)
        for number in range(4):
            pair.send(net.frame(number))
    ring.kick()
    expect_broken(session, ring)
    session.echo(pairs=session.pairs[1:])
    revive(session, pair)
    session.echo()


def writable(ring):
    """WRITE if the device writes to buffers of this ring."""
    return WRITE if ring.index % 2 == 0 else 0


def buffer_of(session, ring, slot=0):
    pair = session.pairs[ring.index // 2]
    place = pair.receive_place if ring.index % 2 == 0 else pair.transmit_place
    return place + slot * pair.buffer_size


def border_memory(session, high_first=False):
    """A border between guest-adjacent regions whose bytes nobody else uses, added for this."""
    size = 1 << 16
    low = Region(1 << 40, size, 0x7F6000000000)
    high = Region((1 << 40) + size, size, 0x7F5000000000)
    for region in (high, low) if high_first else (low, high):
        session.add_region(region)
    return high.guest_address


def connection_works(connection):
    """In sync: what is asked now is what is answered next, twice."""
    connection.barrier()
    connection.barrier()


class Descriptors:
    """Descriptors of several kinds to send along, closed at the end."""

    def __init__(self, count):
        self.fds = []
        while len(self.fds) < count:
            self.fds.append(os.eventfd(0, os.EFD_CLOEXEC))
            if len(self.fds) < count:
                self.fds.append(os.memfd_create("vhu-conformance-extra", os.MFD_CLOEXEC))
            if len(self.fds) < count:
                ours, theirs = socket.socketpair()
                self.fds += [ours.detach()]
                theirs.close()

    def __enter__(self):
        return self.fds

    def __exit__(self, *_):
        for fd in self.fds:
            os.close(fd)


def plausible_payload(request, size):
    """A payload of any size whose fields are as harmless as they can be: ring 0, size matching."""
    if request in (Request.GET_CONFIG, Request.SET_CONFIG) and size >= 12:
        return messages.config(0, size - 12)
    if request == Request.SET_VRING_NUM:
        payload = messages.state(0, 64)
    elif request == Request.SET_FEATURES:
        payload = messages.u64(messages.bit(messages.Feature.VERSION_1))
    elif request in (Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR):
        payload = messages.u64(0)
    elif request in (Request.GET_INFLIGHT_FD, Request.SET_INFLIGHT_FD):
        payload = messages.inflight(4096, 0, 2, 64)
    elif request == Request.SET_MEM_TABLE:
        regions = max(0, (size - 8) // 32)
        payload = messages.mem_table([messages.region(i << 30, 4096, i << 30, 0)
                                      for i in range(regions)])
    elif request in (Request.ADD_MEM_REG, Request.REM_MEM_REG):
        payload = messages.mem_reg(messages.region(0, 4096, 0x10000, 0))
    elif request == Request.SET_LOG_BASE:
        payload = messages.LOG.pack(4096, 0)
    else:
        payload = b""
    return (payload + bytes(size))[:size]
