# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Notifications in both directions: calls, kicks, event indices (rows T1 to T7)."""

import os
import select

import pytest

from frontend import net
from frontend.checks import stays
from frontend.messages import Feature, NOFD, Request, bit, u64
from frontend.ring import AVAIL_NO_INTERRUPT, need_event, wait_until
from frontend.session import FEATURES

EVENT_INDEX = FEATURES | bit(Feature.EVENT_IDX)


def quiet(ring):
    """Take calls until none has come for a moment."""
    while select.select([ring.call_fd], [], [], 0.02)[0]:
        ring.calls()


def one_frame(session, number):
    """Send a frame through the first pair and wait until both rings have used a buffer."""
    pair = session.pairs[0]
    data = net.frame(number)
    pair.send(data)
    pair.transmit_ring.wait_used(1)
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


def with_event_index(start, offered, **options):
    if not offered[0] & bit(Feature.EVENT_IDX):
        pytest.skip("the back-end does not offer EVENT_IDX")
    return start(features=EVENT_INDEX, **options)


@pytest.mark.row("T1")
@pytest.mark.parametrize("first", [0, 0xFFF8])
@pytest.mark.parametrize("side", [0, 1])
def test_event_index_is_followed_one_by_one(prepare, offered, first, side):
    if not offered[0] & bit(Feature.EVENT_IDX):
        pytest.skip("the back-end does not offer EVENT_IDX")
    session = prepare(features=EVENT_INDEX)
    for ring in session.rings:
        ring.reset(first)
        session.start_ring(ring, first)
        ring.used_event = first - 2
    session.enable()
    ring = session.rings[side]
    pair = session.pairs[0]
    pair.post()
    # The first notification is always sent (T4); what follows obeys the event index.
    one_frame(session, 0)
    quiet(ring)
    for number, ahead in enumerate((0, 1, 2, 0, 5, 0x8000, 0xFFFF, 0, 0, 3, 0), 1):
        old = ring.published_used
        ring.used_event = old + ahead
        pair.post()
        one_frame(session, number)
        new = ring.published_used
        assert new == (old + 1) & 0xFFFF
        if need_event((old + ahead) & 0xFFFF, new, old):
            assert ring.wait_call() == 1
        else:
            stays(lambda: ring.calls() == 0, f"called although used_event is {ahead} ahead", 0.02)


@pytest.mark.row("T1")
@pytest.mark.parametrize("ahead", [0, 3, 7])
def test_one_call_for_a_batch_that_crosses_the_event_index(start, offered, ahead):
    session = with_event_index(start, offered)
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    one_frame(session, 0)
    quiet(ring)
    ring.used_event = ring.published_used + ahead
    frames = [net.frame(number) for number in range(1, 9)]
    for data in frames:
        pair.send(data, publish=False)
    ring.publish()
    net.check_echo(frames, [data for _, data in pair.receive(8)])
    wait_until(lambda: ring.published_used == 9, "all of the batch used")
    assert ring.wait_call() == 1
    stays(lambda: ring.calls() == 0, "called twice for one crossing", 0.02)


@pytest.mark.row("T1")
def test_no_call_for_a_batch_that_stays_before_the_event_index(start, offered):
    session = with_event_index(start, offered)
    pair = session.pairs[0]
    ring = pair.transmit_ring
    pair.post()
    one_frame(session, 0)
    quiet(ring)
    ring.used_event = ring.published_used + 8
    frames = [net.frame(number) for number in range(1, 9)]
    for data in frames:
        pair.send(data, publish=False)
    ring.publish()
    net.check_echo(frames, [data for _, data in pair.receive(8)])
    stays(lambda: ring.calls() == 0, "called before the event index was crossed")


@pytest.mark.row("T2")
@pytest.mark.parametrize("side", [0, 1])
def test_no_interrupt_flag(start, side):
    session = start()
    ring = session.rings[side]
    session.pairs[0].post()
    one_frame(session, 0)
    quiet(ring)
    ring.avail_flags = AVAIL_NO_INTERRUPT
    for number in range(1, 20):
        one_frame(session, number)
    stays(lambda: ring.calls() == 0, "called although the guest asked not to be")
    ring.avail_flags = 0
    one_frame(session, 20)
    assert ring.wait_call() == 1


@pytest.mark.row("T2")
@pytest.mark.parametrize("side", [0, 1])
def test_call_for_every_frame_on_its_own(start, side):
    session = start()
    ring = session.rings[side]
    session.pairs[0].post()
    one_frame(session, 0)
    quiet(ring)
    for number in range(1, 30):
        one_frame(session, number)
        assert ring.wait_call() == 1


@pytest.mark.row("T3")
def test_notify_on_empty(start, offered):
    if not offered[0] & bit(Feature.NOTIFY_ON_EMPTY):
        pytest.skip("the back-end does not offer NOTIFY_ON_EMPTY")
    session = start(features=FEATURES | bit(Feature.NOTIFY_ON_EMPTY))
    session.pairs[0].post()
    one_frame(session, 0)
    ring = session.rings[1]
    quiet(ring)
    ring.avail_flags = AVAIL_NO_INTERRUPT
    one_frame(session, 1)
    ring.wait_call()


@pytest.mark.row("T4")
@pytest.mark.parametrize("side", [0, 1])
def test_first_notification_after_a_start_is_always_sent(start, offered, side):
    session = with_event_index(start, offered)
    ring = session.rings[side]
    for number in range(5):
        quiet(ring)
        ring.used_event = ring.published_used + 0x4000
        session.pairs[0].post()
        one_frame(session, number)
        ring.wait_call()
        session.stop()
        session.restart()


@pytest.mark.row("T5")
@pytest.mark.parametrize("event_index", [False, True])
def test_back_end_that_polls_asks_for_no_kicks(start, offered, event_index):
    session = with_event_index(start, offered) if event_index else start()
    pair = session.pairs[0]
    pair.post()
    one_frame(session, 0)
    ring = pair.transmit_ring
    if event_index:
        assert not need_event(ring.avail_event, ring.avail_index + 1, ring.avail_index)
    else:
        assert ring.used_flags & 1


@pytest.mark.row("T5")
def test_no_frame_waits_for_a_kick_that_was_not_wanted(start, counts):
    session = start()
    pair = session.pairs[0]
    for number in range(counts(20000, 1000)):
        pair.post()
        data = net.frame(number)
        pair.send(data)
        if not pair.transmit_ring.used_flags & 1:
            pair.transmit_ring.kick()
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("T5")
def test_kicks_of_a_driver_that_says_what_is_available(start, offered, path):
    """What NOTIFICATION_DATA puts in a kick stays with the front-end or fills the counter."""
    if not offered[0] & bit(Feature.NOTIFICATION_DATA):
        pytest.skip("the back-end does not offer NOTIFICATION_DATA")
    session = start(features=path | bit(Feature.NOTIFICATION_DATA))
    for number in range(4):
        for ring in session.rings:
            os.eventfd_write(ring.kick_fd, (0x8000 + number) << 16 | ring.index)
        session.echo(first=16 * number)


@pytest.mark.row("T6")
@pytest.mark.parametrize("side", [0, 1])
def test_call_descriptor_that_is_full(start, side):
    session = start()
    ring = session.rings[side]
    ring.calls()
    os.eventfd_write(ring.call_fd, 0xFFFFFFFFFFFFFFFE)
    session.echo()
    # Full as it was, or emptied by the back-end, which then calls by another way.
    ring.wait_call()
    session.echo(first=100)
    ring.wait_call()


@pytest.mark.row("T6", "R16")
@pytest.mark.parametrize("kind", ["blocking and full", "pipe without reader", "read-only file"])
def test_call_descriptor_that_cannot_be_written(start, kind):
    """Whoever polls must neither block nor die of it."""
    session = start()
    if kind == "blocking and full":
        call = os.eventfd(0, os.EFD_CLOEXEC)
        os.eventfd_write(call, 0xFFFFFFFFFFFFFFFE)
    elif kind == "pipe without reader":
        reading, call = os.pipe()
        os.close(reading)
    else:
        call = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for ring in session.rings:
        session.connection.acknowledge(Request.SET_VRING_CALL, u64(ring.index), (call,))
    session.echo()
    session.connection.barrier()
    for ring in session.rings:
        session.connection.must(Request.SET_VRING_CALL, u64(ring.index), (ring.call_fd,))
    session.echo(first=100)
    session.rings[0].wait_call()
    os.close(call)


@pytest.mark.row("T7")
def test_one_call_when_a_ring_starts(prepare):
    session = prepare()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    for ring in session.rings:
        ring.wait_call()


@pytest.mark.row("T7")
def test_one_call_when_a_ring_starts_that_has_its_call_descriptor_already(prepare):
    session = prepare()
    for ring in session.rings:
        steps = {step.request: step for step in session.ring_steps(ring)}
        kick = steps.pop(Request.SET_VRING_KICK)
        session.run(steps.values())
        quiet(ring)
        session.run([kick])
        ring.wait_call()


@pytest.mark.row("T7")
def test_call_when_its_descriptor_comes_to_a_running_ring(start):
    session = start()
    for ring in session.rings:
        quiet(ring)
        session.connection.must(Request.SET_VRING_CALL, u64(ring.index), (ring.call_fd,))
        ring.wait_call()


@pytest.mark.row("T7")
def test_no_call_while_stopped(start):
    session = start()
    session.echo()
    session.stop()
    for ring in session.rings:
        quiet(ring)
        session.connection.must(Request.SET_VRING_CALL, u64(ring.index), (ring.call_fd,))
    session.connection.barrier()
    stays(lambda: not any(ring.calls() for ring in session.rings), "called while stopped")


@pytest.mark.row("T7", "R14")
def test_ring_that_gets_its_call_descriptor_late(start):
    session = start()
    ring = session.rings[0]
    session.connection.must(Request.SET_VRING_CALL, u64(0 | NOFD))
    session.echo()
    quiet(ring)
    session.connection.must(Request.SET_VRING_CALL, u64(0), (ring.call_fd,))
    session.echo(first=100)
    ring.wait_call()
