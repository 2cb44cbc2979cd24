# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Postcopy: memory that follows the guest page by page (P rows)."""

import os

import pytest

from frontend import messages, net
from frontend.memory import PAGE, GuestMemory, Region
from frontend.messages import Protocol, Request, bit, u64
from frontend.postcopy import Source
from frontend.ring import wait_until
from frontend.session import PROTOCOL_FEATURES

pytestmark = pytest.mark.backend("postcopy")

FOLLOWING = PROTOCOL_FEATURES | bit(Protocol.PAGEFAULT)
TABLE = FOLLOWING & ~bit(Protocol.CONFIGURE_MEM_SLOTS)


def memory():
    """Rings in one region, frames to be sent in another, which is the one that follows."""
    return GuestMemory([Region(0, 1 << 20, 0x7F1000000000),
                        Region(1 << 32, 1 << 20, 0x7F2000000000)])


@pytest.fixture
def advised(session, needs, closing):
    """Negotiated, and the userfaultfd has come."""
    def make(protocol_features):
        needs(Protocol.PAGEFAULT)
        made = session(memory=memory(), protocol_features=protocol_features, ring_size=16)
        made.negotiate()
        made.set_features()
        reply = made.connection.ask(Request.POSTCOPY_ADVISE)
        assert len(reply.fds) == 1 and reply.payload == b""
        made.source = Source(reply.fds[0])
        closing.append(made.source)
        return made
    return make


def listen(session):
    session.connection.must(Request.POSTCOPY_LISTEN)


def share_with_table(session):
    """SET_MEM_TABLE and its answer. Returns the addresses at which the back-end has the regions."""
    regions = session.memory.regions
    reply = session.connection.ask(
        Request.SET_MEM_TABLE, messages.mem_table([region.packed() for region in regions]),
        [region.fd for region in regions])
    assert not reply.fds
    count, _ = messages.STATE.unpack_from(reply.payload)
    assert count == len(regions)
    entries = [messages.REGION.unpack_from(reply.payload, 8 + 32 * i) for i in range(count)]
    for region, (guest, size, user, _) in zip(regions, entries):
        assert (guest, size) == (region.guest_address, region.size)
        assert user != region.user_address, "the front-end's own addresses came back"
    session.connection.send(Request.SET_MEM_TABLE, u64(0))
    session.connection.barrier()
    return [entry[2] for entry in entries]


def share_with_slots(session):
    """The same region by region, as QEMU does it up to version 10."""
    bases = []
    for region in session.memory.regions:
        reply = session.connection.ask(Request.ADD_MEM_REG, messages.mem_reg(region.packed()),
                                       [region.fd])
        guest, size, user, _ = messages.REGION.unpack_from(reply.payload, 8)
        assert (guest, size) == (region.guest_address, region.size)
        bases.append(user)
    session.connection.send(Request.ADD_MEM_REG, u64(0))
    session.connection.barrier()
    return bases


@pytest.mark.parametrize("share, features", [
    pytest.param(share_with_table, TABLE, marks=pytest.mark.row("P1"), id="table"),
    pytest.param(share_with_slots, FOLLOWING, marks=pytest.mark.row("P5"), id="slots")])
def test_pages_come_when_they_are_touched(advised, share, features):
    session = advised(features)
    region = session.memory.regions[1]
    listen(session)
    # What the guest made available on the other host; nobody here touches it any more.
    session.make_rings(session.memory.regions[0])
    pair = session.pairs[0]
    place = region.guest_address
    frames = [net.frame(number, 1400) for number in range(8)]
    for number, data in enumerate(frames):
        pair.send(data, place=place + number * 2 * PAGE + PAGE - 700, publish=False)
    bases = share(session)
    session.source.take_away(region, bases[1])
    session.source.begin()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    pair.post()
    pair.transmit_ring.publish()
    net.check_echo(frames, [data for _, data in pair.receive(8)])
    pair.transmit_ring.wait_used(8)
    assert set(session.source.served) >= {place + page * PAGE for page in range(16)}
    assert session.source.unknown == []
    session.source.bring_the_rest()
    assert session.connection.ask(Request.POSTCOPY_END).u64 == 0
    session.echo(count=8, first=100)


@pytest.mark.row("P2")
def test_listening_with_memory_is_refused(advised):
    session = advised(TABLE)
    session.share_memory()
    session.connection.must_not(Request.POSTCOPY_LISTEN)
    session.make_rings()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()


@pytest.mark.row("P2")
def test_listening_without_advice_is_refused(session, needs):
    needs(Protocol.PAGEFAULT)
    made = session(protocol_features=FOLLOWING)
    made.negotiate()
    made.connection.must_not(Request.POSTCOPY_LISTEN)
    assert made.connection.ask(Request.POSTCOPY_END).u64 == 0


@pytest.mark.row("P2", "HF7")
def test_advice_over_and_over(advised, backend):
    session = advised(TABLE)
    before = len(os.listdir(f"/proc/{backend.pid}/fd"))
    for _ in range(50):
        reply = session.connection.ask(Request.POSTCOPY_ADVISE)
        assert len(reply.fds) == 1
        os.close(reply.fds[0])
        session.connection._received_fds.clear()  # pylint: disable=protected-access
    wait_until(lambda: len(os.listdir(f"/proc/{backend.pid}/fd")) == before,
               "as many descriptors as before")


@pytest.mark.row("P3")
@pytest.mark.parametrize("what", ["not zero", "another message", "hang-up"])
def test_front_end_that_does_not_go_on(advised, backend, what):
    """The table was answered, but the word to open it never comes."""
    session = advised(TABLE)
    listen(session)
    regions = session.memory.regions
    session.connection.ask(Request.SET_MEM_TABLE,
                           messages.mem_table([region.packed() for region in regions]),
                           [region.fd for region in regions])
    if what == "not zero":
        session.connection.send(Request.SET_MEM_TABLE, u64(1))
    elif what == "another message":
        session.connection.send(Request.SET_OWNER)
    session.connection.close()
    connection = backend.connect()
    connection.barrier()
    connection.close()


@pytest.mark.row("P1", "C1")
def test_front_end_vanishes_while_a_burst_waits_for_a_page(advised, backend):
    session = advised(TABLE)
    region = session.memory.regions[1]
    listen(session)
    session.make_rings(session.memory.regions[0])
    pair = session.pairs[0]
    pair.send(net.frame(1), place=region.guest_address, publish=False)
    bases = share_with_table(session)
    session.source.take_away(region, bases[1])
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    pair.transmit_ring.publish()
    session.connection.barrier()
    # Our duplicate of the userfaultfd keeps the fault waiting until it is closed, too.
    session.source.close()
    session.connection.close()
    connection = backend.connect()
    connection.barrier()
    connection.close()
