# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Requests that stay with the device for a while (rows G12, G14, G20, L8, R7, R8, M7, I11)."""

import pytest

from frontend import messages
from frontend.checks import stays
from frontend.dirty import pages_of
from frontend.elements import Op, PROTOCOL_FEATURES
from frontend.messages import Feature, Protocol, Request, bit
from frontend.ring import Timeout, wait_until

pytestmark = pytest.mark.backend("elements")


@pytest.mark.row("R1", "G19")
def test_requests_through_many_laps(elements):
    session = elements(ring_size=16)
    for count in (1, 3, 8, 5) * 20:
        session.echoes(count if not elements.packed else min(count, 8))


@pytest.mark.row("G20", "G14")
def test_requests_come_back_in_the_order_in_which_they_are_done(elements):
    session = elements()
    held = [session.request(Op.HOLD, payload=messages.u64(i)) for i in range(4)]
    stays(lambda: session.finished() == [], "a request came back that is held")
    order = [held[2], held[0], held[3], held[1]]
    came = []
    for tag in order:
        session.request(Op.RELEASE, tag)
        came += [done for done, _ in session.finished(2)]
    assert came == [tag for tag in order for _ in (0, 1)]


@pytest.mark.row("G20")
def test_in_order_requests_come_back_in_order_whatever_the_device_does(elements):
    session = elements(features=bit(Feature.IN_ORDER))
    assert session.has(Feature.IN_ORDER)
    for _ in range(10):
        held = [session.request(Op.HOLD) for _ in range(3)]
        releases = [session.request(Op.RELEASE, tag) for tag in reversed(held)]
        came = [tag for tag, _ in session.finished(6)]
        assert came == held + releases
        session.echoes(4)


@pytest.mark.row("G14")
@pytest.mark.parametrize("operation", [Op.TWICE, Op.LONG])
def test_device_that_gives_back_wrongly(elements, operation):
    """Given back twice, or with more bytes than there is room for: once, and no more than that."""
    session = elements()
    for number in range(20):
        tag = session.request(operation, payload=b"x" * 40, room=32)
        (done, written), = session.finished(1)
        assert done == tag
        assert written == b"x" * 32
        session.echoes(1 + number % 4)


@pytest.mark.row("I11", "G14")
def test_request_that_is_put_back_once(elements):
    session = elements()
    for _ in range(20):
        tag = session.request(Op.UNTAKE, payload=b"again")
        assert session.finished(1) == [(tag, b"again")]
        session.echoes(3)


@pytest.mark.row("G12")
def test_same_head_twice_while_it_is_in_flight(elements):
    """A driver that gives a buffer twice breaks its ring or is served once."""
    session = elements(rings=2)
    ring = session.ring
    session.request(Op.HOLD)
    wait_until(lambda: session.connection.barrier() is not None, "a message")
    if elements.packed:
        place = session.places[0] + 2 * 256 * 15
        session.memory.write(place, bytes(32))
        ring.put(place, 32, 0, next(iter(ring.chains)))
    else:
        ring.put_available(next(iter(ring.chains)))
    ring.kick()
    ring.wait_error()
    session.echoes(ring=session.rings[1])
    session.stop_ring(ring)


@pytest.mark.row("R8", "R7")
def test_stop_waits_for_requests_that_are_held(elements):
    """Without an in-flight area a stopped ring has nothing in flight: base and used index agree."""
    session = elements()
    session.echoes(3)
    held = [session.request(Op.HOLD) for _ in range(5)]
    session.connection.barrier()
    base = session.stop_ring(session.ring)
    came = [tag for tag, _ in session.finished()]
    assert sorted(came) == sorted(held)
    if elements.packed:
        assert base == session.ring.base
    else:
        assert base == session.ring.published_used == session.ring.avail_index
    session.ring.calls()
    content = session.memory.read(session.places[0], 4096)
    stays(lambda: session.ring.calls() == 0
          and session.memory.read(session.places[0], 4096) == content,
          "called or written after the ring was stopped", 0.1)
    session.start_ring(session.ring, base)
    session.echoes()


@pytest.mark.row("L8")
def test_request_completed_after_logging_began(elements):
    session = elements(protocol_features=PROTOCOL_FEATURES)
    tags = [session.request(Op.HOLD, payload=b"y" * 48) for _ in range(3)]
    session.connection.barrier()
    places = {tag: place for tag, place in session.tag_of.values()}
    log = session.start_logging(ring_flags=0)
    log.take()
    expected = set()
    for tag in tags:
        session.request(Op.RELEASE, tag, room=0)
        session.finished(2)
        expected |= pages_of(places[tag] + 256, 48)
    assert expected and log.take() == expected


@pytest.mark.row("M7", "M13")
def test_memory_exchanged_while_requests_are_held(elements):
    """The same table again: held requests complete into it."""
    session = elements()
    tags = [session.request(Op.HOLD, payload=b"z" * 16) for _ in range(3)]
    session.connection.barrier()
    session.share_memory()
    for tag in tags:
        session.request(Op.RELEASE, tag)
        assert tag in [done for done, _ in session.finished(2)]
    session.echoes()


@pytest.mark.row("N12")
def test_configuration_is_written_where_it_may_be(elements):
    """Flags 1 is a migration, which restores what the guest's driver may not write."""
    connection = elements().connection
    connection.must(Request.SET_CONFIG, messages.config(0, 32, bytes(range(32))))
    connection.must_not(Request.SET_CONFIG, messages.config(32, 4, b"\xFF" * 4))
    connection.must_not(Request.SET_CONFIG, messages.config(30, 4, b"\xFF" * 4))
    connection.must(Request.SET_CONFIG, messages.config(32, 4, b"\x77" * 4, flags=1))
    reply = connection.ask(Request.GET_CONFIG, messages.config(0, 40))
    assert reply.payload[12:] == bytes(range(32)) + b"\x77" * 4 + bytes(4)
    for size in (60, 256):
        connection.must_not(Request.SET_CONFIG, messages.config(60, size, flags=1))


@pytest.mark.row("R8", "HF10")
def test_front_end_vanishes_while_requests_are_held(elements, backend):
    session = elements(rings=2)
    for ring in session.rings:
        for _ in range(4):
            session.request(Op.HOLD, ring=ring)
    session.connection.barrier()
    session.connection.close()
    session.connection = backend.connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    for ring in session.rings:
        ring.reset()
        session.start_ring(ring)
    session.tag_of.clear()
    session.enable()
    session.echoes()


@pytest.mark.row("I8")
def test_inflight_negotiated_but_never_set(elements):
    """The next device to be served has no area: nothing is tracked, all else works."""
    session = elements(protocol_features=PROTOCOL_FEATURES | bit(Protocol.INFLIGHT_SHMFD))
    assert session.has_protocol(Protocol.INFLIGHT_SHMFD)
    session.echoes()
    tag = session.request(Op.HOLD)
    with pytest.raises(Timeout):
        session.finished(1, timeout=0.05)
    session.request(Op.RELEASE, tag)
    session.finished(2)
    session.bases = {0: session.stop_ring(session.ring)}
    session.restart()
    session.echoes()
