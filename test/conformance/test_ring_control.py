# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Starting, stopping and changing rings: what the control messages must do to them (R rows)."""

import hashlib
import os

import pytest

from frontend import messages, net
from frontend.census import Census
from frontend.checks import Descriptors, revive, stays
from frontend.messages import Feature, NOFD, Request, bit, state, u64
from frontend.ring import SplitRing, wait_until


def memory_digest(session):
    """A digest of all guest memory."""
    digest = hashlib.sha1()
    for region in session.memory.regions:
        digest.update(region.bytes)
    return digest.digest()


def start_rings(session, base=None):
    for ring in session.rings:
        session.start_ring(ring, base)
    session.enable()


@pytest.mark.row("R1", "N3")
def test_canonical_start(start):
    session = start()
    session.echo(count=session.ring_size)
    session.echo(count=session.ring_size, first=1000)


def started(session, ring, changes):
    """Try to start one ring with some of its messages replaced or left out (None)."""
    accepted = True
    for step in session.ring_steps(ring):
        payload = changes.get(step.request, step.payload)
        if payload is None:
            continue
        accepted &= session.connection.acknowledge(step.request, payload, step.fds) == 0
    session.enable([ring])
    return accepted


def not_started(session, ring):
    """Nothing in this ring is touched, and a right start still works."""
    pair = session.pairs[0]
    for i in range(4):
        pair.send(net.frame(i))
    ring.kick()
    session.connection.barrier()
    stays(lambda: ring.published_used == 0, "a ring that was refused is processed")
    for each in session.rings:
        session.stop_ring(each)
        each.reset()
    pair.posted.clear()
    start_rings(session)
    session.echo()


@pytest.mark.row("R2")
@pytest.mark.parametrize("missing", [Request.SET_VRING_ADDR, Request.SET_VRING_NUM])
def test_start_without_address_or_size(prepare, missing):
    session = prepare()
    ring = session.rings[1]
    assert not started(session, ring, {missing: None})
    not_started(session, ring)


@pytest.mark.row("R2")
@pytest.mark.parametrize("size", [0, 3, 63, 65, 32769, 65535, 65536, 0x10040, 0xFFFFFFFF])
def test_impossible_size(prepare, size):
    session = prepare()
    ring = session.rings[1]
    assert not started(session, ring, {Request.SET_VRING_NUM: state(ring.index, size)})
    not_started(session, ring)


@pytest.mark.row("R2")
@pytest.mark.parametrize("size", [1, 2, 4, 1024, 32768])
def test_every_power_of_two_is_a_size(start, size):
    session = start(ring_size=size, buffer_size=128)
    session.echo(count=min(size, 512))
    session.echo(count=min(size, 512), first=1000)


@pytest.mark.row("R3")
@pytest.mark.parametrize("index", ["first", 255, 256, 0xFFFF, 0x80000000, 0xFFFFFFFF])
def test_ring_that_does_not_exist(start, pairs, index):
    session = start()
    if index == "first" or index < 2 * pairs:
        index = 2 * pairs
    connection = session.connection
    connection.must_not(Request.SET_VRING_NUM, state(index, 64))
    connection.must_not(Request.SET_VRING_BASE, state(index, 0))
    connection.must_not(Request.SET_VRING_ADDR, messages.address(index, 0, 4096, 8192))
    connection.must_not(Request.GET_VRING_BASE, state(index, 0))
    if index <= 0xFF:
        with Descriptors(1) as extra:
            for request in (Request.SET_VRING_KICK, Request.SET_VRING_CALL,
                            Request.SET_VRING_ERR):
                connection.must_not(request, u64(index), extra)
                connection.must_not(request, u64(index | NOFD))
    session.echo()


def bad_addresses(session, ring):
    """(what is wrong, descriptors, used, avail) as guest addresses."""
    region = session.memory.regions[-1]
    right = (ring.descriptors, ring.used, ring.avail)
    descriptors = 16 * ring.size
    used, avail = 6 + 8 * ring.size, 6 + 2 * ring.size
    end = region.end
    return {
        "descriptors misaligned": (right[0] + 1, right[1], right[2]),
        "descriptors aligned to 8 only": (right[0] + 8, right[1], right[2]),
        "used misaligned": (right[0], right[1] + 2, right[2]),
        "avail misaligned": (right[0], right[1], right[2] + 1),
        "descriptors beyond the region": (end - descriptors + 16, right[1], right[2]),
        "used beyond the region": (right[0], (end - used + 6) // 4 * 4, right[2]),
        "avail beyond the region": (right[0], right[1], (end - avail + 4) // 2 * 2),
        "descriptors behind the region": (end, right[1], right[2]),
    }


WRONG = ["descriptors misaligned", "descriptors aligned to 8 only", "used misaligned",
         "avail misaligned", "descriptors beyond the region", "used beyond the region",
         "avail beyond the region", "descriptors behind the region"]


@pytest.mark.row("R4")
@pytest.mark.parametrize("wrong", WRONG)
def test_impossible_address(prepare, wrong):
    session = prepare()
    ring = session.rings[1]
    places = bad_addresses(session, ring)[wrong]
    region = session.memory.regions[-1]
    users = [place - region.guest_address + region.user_address for place in places]
    assert not started(session, ring,
                       {Request.SET_VRING_ADDR: messages.address(ring.index, *users)})
    not_started(session, ring)


@pytest.mark.row("R4")
@pytest.mark.parametrize("address", [0, 0xFFFFFFFFFFFFFFF0, 0x7FFFFFFFFFFFFFF0])
def test_address_that_nobody_maps(prepare, address):
    session = prepare()
    ring = session.rings[1]
    assert not started(session, ring, {
        Request.SET_VRING_ADDR: messages.address(ring.index, address, address, address)})
    not_started(session, ring)


@pytest.mark.row("R5")
def test_buffers_available_before_the_start_need_no_kick(prepare):
    session = prepare()
    pair = session.pairs[0]
    pair.post()
    frames = [net.frame(i) for i in range(8)]
    for data in frames:
        pair.send(data)
    start_rings(session)
    net.check_echo(frames, [data for _, data in pair.receive(len(frames))])


@pytest.mark.row("R6")
def test_ring_without_kick_descriptor_is_polled(prepare):
    session = prepare()
    for ring in session.rings:
        session.run([step for step in session.ring_steps(ring)
                     if step.request != Request.SET_VRING_KICK])
        session.connection.must(Request.SET_VRING_KICK, u64(ring.index | NOFD))
    session.enable()
    session.pairs[0].echo(kick=False)


@pytest.mark.row("R6")
@pytest.mark.parametrize("request_number", [Request.SET_VRING_KICK, Request.SET_VRING_CALL,
                                            Request.SET_VRING_ERR], ids=lambda r: r.name)
@pytest.mark.parametrize("value, fds", [(0, 0), (0, 2), (0, 8), (NOFD, 1)])
def test_number_of_descriptors_against_nofd(start, request_number, value, fds):
    session = start()
    with Descriptors(fds) as extra:
        answer = session.connection.acknowledge(request_number, u64(1 | value), extra)
    # One too many beside "none comes" may be closed unused.
    assert answer != 0 or (value, fds) == (NOFD, 1)
    session.connection.barrier()
    if request_number != Request.SET_VRING_KICK or answer == 0:
        session.echo()


@pytest.mark.row("R7")
@pytest.mark.parametrize("first", [0, 0xFFF0])
def test_base_counts_requests_and_wraps(prepare, first):
    session = prepare()
    for ring in session.rings:
        ring.reset(first)
    start_rings(session, first)
    for number in range(5):
        session.echo(count=32, first=100 * number)
    bases = session.stop()
    assert bases[1] == (first + 5 * 32) & 0xFFFF
    assert bases[1] == session.rings[1].published_used
    assert bases[0] == (first + 5 * 32) & 0xFFFF
    assert bases[0] == session.rings[0].published_used


@pytest.mark.row("R8")
@pytest.mark.parametrize("repeat", range(5))
def test_stop_is_a_barrier(start, repeat):
    session = start(ring_size=256)
    pair = session.pairs[0]
    pair.post()
    for number in range(200):
        pair.send(net.frame(number + repeat), publish=number % 7 == repeat)
    pair.transmit_ring.publish()
    pair.transmit_ring.kick()
    bases = session.stop()
    for ring in session.rings:
        assert bases[ring.index] == ring.published_used
        ring.calls()
    before = memory_digest(session)
    pair.transmit_ring.kick()
    stays(lambda: not any(ring.calls() for ring in session.rings),
          "the guest was notified after the base was told", 0.1)
    assert memory_digest(session) == before, "guest memory was written after the base was told"
    session.restart()
    # Frames that were on their way through the application may be gone; the last is not.
    pair.transmit_ring.take_used()
    pair.send(net.frame(9999))
    wait_until(lambda: 9999 in [net.number_of(data) for _, data in pair.take([])],
               "a frame sent after the restart")


def what_a_device_writes(pair):
    """Buffers and used rings of one pair."""
    used = [pair.memory.read(ring.used, 6 + 8 * ring.size)
            for ring in (pair.receive_ring, pair.transmit_ring)]
    return used, pair.memory.read(pair.receive_place, pair.buffers * pair.buffer_size)


@pytest.mark.row("R8")
def test_other_rings_go_on_while_one_pair_is_stopped(start):
    """Stopped in the middle of its traffic a pair is silent at once; the other loses nothing."""
    session = start(pairs=2, ring_size=256)
    running, stopping = session.pairs
    for number in range(20):
        stopping.post()
        for i in range(100):
            stopping.send(net.frame(i), publish=False)
        stopping.transmit_ring.publish()
        stopping.transmit_ring.kick()
        rings = stopping.receive_ring, stopping.transmit_ring
        bases = [session.stop_ring(ring) for ring in rings]
        assert bases == [ring.published_used for ring in rings]
        for ring in rings:
            ring.calls()
        before = what_a_device_writes(stopping)
        running.echo(count=100, first=100 * number)
        assert what_a_device_writes(stopping) == before, "written after the base was told"
        assert not any(ring.calls() for ring in rings), "notified after the base was told"
        for ring, base in zip(rings, bases):
            session.start_ring(ring, base)
        stopping.take([])
        stopping.transmit_ring.wait_used(100)


@pytest.mark.backend("ring-reset")
@pytest.mark.row("R8")
def test_driver_resets_the_rings_of_one_pair(start, offered, path):
    """RING_RESET, as front-ends carry it out: one ring is stopped and begins anew."""
    if not offered[0] & bit(Feature.RING_RESET):
        pytest.skip("the back-end does not offer RING_RESET")
    session = start(features=path | bit(Feature.RING_RESET), pairs=2)
    reset, other = session.pairs
    for number in range(5):
        session.echo(first=100 * number)
        revive(session, reset)
        other.echo(first=100 * number + 50)


@pytest.mark.row("R9")
def test_base_of_a_ring_that_never_started(prepare):
    session = prepare()
    connection = session.connection
    assert session.stop_ring(session.rings[0]) == 0
    connection.must(Request.SET_VRING_NUM, state(0, 64))
    connection.must(Request.SET_VRING_BASE, state(0, 1234))
    assert session.stop_ring(session.rings[0]) == 1234
    assert session.stop_ring(session.rings[0]) == 1234


@pytest.mark.row("R9")
def test_base_twice(start):
    session = start()
    session.echo()
    assert session.stop() == {0: 16, 1: 16}
    assert session.stop() == {0: 16, 1: 16}
    session.restart()
    session.echo(first=100)


@pytest.mark.row("R9", "C1")
def test_next_connection_resumes_at_the_base(start, backend):
    session = start()
    session.echo()
    bases = session.stop()
    session.connection.close()
    session.connection = backend.connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    for ring in session.rings:
        session.start_ring(ring, bases[ring.index])
    session.enable()
    session.echo(first=100)


@pytest.mark.row("R10")
@pytest.mark.parametrize("base", [0, 1, 63, 64, 0x8000, 0xFFFF])
def test_ring_begins_at_the_base_it_is_told(start, base):
    session = start()
    session.echo()
    session.stop()
    for ring in session.rings:
        ring.reset(base)
    session.pairs[0].posted.clear()
    start_rings(session, base)
    session.echo(first=100)
    assert session.stop()[1] == (base + 16) & 0xFFFF


@pytest.mark.row("R10", "HF5")
@pytest.mark.parametrize("base", [0x10000, 0xFFFFFFFF])
def test_base_that_no_split_ring_has(prepare, base):
    session = prepare()
    session.connection.must(Request.SET_VRING_NUM, state(1, 64))
    session.connection.must_not(Request.SET_VRING_BASE, state(1, base))


def reader_is_gone(writing):
    """Is the last copy of a pipe's reading end closed?"""
    try:
        os.write(writing, bytes(8))
    except BrokenPipeError:
        return True
    return False


@pytest.mark.row("R11")
def test_kick_descriptor_is_closed_when_its_ring_stops(start):
    session = start()
    # A pipe tells when the last copy of its other end is gone.
    kick, peer = os.pipe()
    os.set_blocking(peer, False)
    session.connection.must(Request.SET_VRING_KICK, u64(1), (kick,))
    os.close(kick)
    session.stop()
    wait_until(lambda: reader_is_gone(peer), "kick descriptor closed")
    os.close(peer)
    session.restart()
    session.echo()


@pytest.mark.row("R11")
def test_kick_and_call_descriptors_are_closed_when_rings_stop(start, backend):
    session = start()
    held = Census(backend.pid).fds["anon_inode:[eventfd]"]
    session.stop()
    wait_until(lambda: Census(backend.pid).fds["anon_inode:[eventfd]"] <= held - 4,
               "two descriptors of each of two rings closed")
    session.restart()
    session.echo()
    for ring in session.rings:
        ring.wait_call()


@pytest.mark.row("R12")
def test_kick_descriptor_replaced_on_a_running_ring(start):
    session = start()
    for number in range(20):
        ring = session.rings[1]
        fresh = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        session.connection.must(Request.SET_VRING_KICK, u64(ring.index), (fresh,))
        os.close(ring.kick_fd)
        ring.kick_fd = fresh
        session.echo(first=100 * number)
    assert session.stop()[1] == 20 * 16


@pytest.mark.row("R13")
def test_call_descriptor_replaced_under_traffic(start):
    session = start(ring_size=256)
    pair = session.pairs[0]
    frames, received = [], []
    for number in range(300):
        pair.post()
        frames.append(net.frame(number))
        pair.send(frames[-1])
        pair.transmit_ring.take_used()
        for ring in session.rings:
            fresh = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            session.connection.must(Request.SET_VRING_CALL, u64(ring.index), (fresh,))
            os.close(ring.call_fd)
            ring.call_fd = fresh
        received += [data for _, data in pair.receive(1)]
    net.check_echo(frames, received)


@pytest.mark.row("R13", "T7")
def test_call_descriptor_that_was_replaced_is_not_signalled(start):
    session = start()
    session.echo()
    ring = session.rings[0]
    old = ring.call_fd
    ring.call_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    session.connection.must(Request.SET_VRING_CALL, u64(0), (ring.call_fd,))
    try:
        os.eventfd_read(old)
    except BlockingIOError:
        pass
    session.echo(first=100)
    ring.wait_call()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(old)
    os.close(old)


@pytest.mark.row("R14")
def test_guest_that_polls(start):
    session = start()
    for ring in session.rings:
        session.connection.must(Request.SET_VRING_CALL, u64(ring.index | NOFD))
        ring.calls()
    session.echo()
    assert not any(ring.calls() for ring in session.rings)


@pytest.mark.row("R15")
def test_addresses_again_on_a_running_ring(start):
    session = start()
    for number, flags in enumerate((0, 1, 0, 1)):
        session.echo(first=100 * number)
        for ring in session.rings:
            session.run([session.address_step(ring, flags if session.offered >> 26 & 1 else 0)])
    session.echo(first=900)
    assert session.stop() == {0: 80, 1: 80}


@pytest.mark.row("HF5")
def test_live_ring_cannot_be_changed(start):
    session = start()
    session.echo()
    ring = session.rings[1]
    moved = SplitRing(session.memory, ring.index, ring.size)
    connection = session.connection
    connection.must_not(Request.SET_VRING_NUM, state(ring.index, ring.size * 2))
    connection.must_not(Request.SET_VRING_BASE, state(ring.index, 5))
    step = session.address_step(moved)
    connection.must_not(step.request, step.payload)
    moved.close()
    session.echo(first=100)
    assert session.stop()[1] == 32


@pytest.mark.row("R16")
@pytest.mark.parametrize("kind", ["pipe", "closed pipe", "socket", "blocking eventfd", "file"])
def test_odd_kick_descriptors(prepare, kind):
    session = prepare()
    others = []
    if kind == "pipe":
        others = list(os.pipe())
        kick = others[0]
    elif kind == "closed pipe":
        kick, writing = os.pipe()
        os.close(writing)
        others = [kick]
    elif kind == "blocking eventfd":
        kick = os.eventfd(1, os.EFD_CLOEXEC)
        others = [kick]
    elif kind == "file":
        kick = os.memfd_create("vhu-conformance-kick", os.MFD_CLOEXEC)
        others = [kick]
    else:
        with Descriptors(3) as extra:
            kick = os.dup(extra[2])
        others = [kick]
    for ring in session.rings:
        session.start_ring(ring)
    # Refused, and the former one stays, or taken, and the ring is polled: it works either way.
    session.connection.acknowledge(Request.SET_VRING_KICK, u64(1), (kick,))
    session.enable()
    session.echo()
    for fd in others:
        os.close(fd)


@pytest.mark.row("R16")
def test_kicks_without_work(start):
    session = start()
    for _ in range(1000):
        for ring in session.rings:
            ring.kick()
    session.echo()


@pytest.mark.row("R17")
def test_disabled_ring_is_left_alone_until_it_is_enabled(start):
    session = start()
    session.echo()
    session.enable(value=0)
    pair = session.pairs[0]
    pair.post()
    data = net.frame(77)
    pair.send(data)
    pair.transmit_ring.kick()
    session.connection.barrier()
    stays(lambda: pair.transmit_ring.published_used == 16, "processed while disabled")
    session.enable()
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


@pytest.mark.row("R17")
def test_enable_survives_stop_and_start(start):
    session = start()
    session.echo()
    bases = {ring.index: session.stop_ring(ring) for ring in session.rings}
    for ring in session.rings:
        session.start_ring(ring, bases[ring.index])
    session.echo(first=100)


@pytest.mark.row("HG12", "R5")
def test_driver_reloaded_under_traffic(start, counts):
    """Reset, reload, start: no old index survives, and the first frame needs no kick."""
    session = start()
    pair = session.pairs[0]
    for number in range(counts(1000, 100)):
        for i in range(20):
            pair.send(net.frame(i), publish=False)
        pair.transmit_ring.publish()
        session.stop()
        pair.posted.clear()
        for ring in session.rings:
            ring.reset()
        session.set_features()
        pair.post()
        pair.send(net.frame(1000 + number))
        start_rings(session)
        # Before it may come what the application still held when the rings were stopped.
        wait_until(lambda: 1000 + number in [net.number_of(data) for _, data in pair.take([])],
                   "the first frame after a reload")
        pair.transmit_ring.wait_used(1)


ORDER = {
    "base before size": (Request.SET_VRING_BASE, Request.SET_VRING_NUM, Request.SET_VRING_ADDR,
                         Request.SET_VRING_KICK, Request.SET_VRING_CALL),
    "call before kick": (Request.SET_VRING_CALL, Request.SET_VRING_NUM, Request.SET_VRING_BASE,
                         Request.SET_VRING_ADDR, Request.SET_VRING_KICK),
    "address first": (Request.SET_VRING_ADDR, Request.SET_VRING_BASE, Request.SET_VRING_NUM,
                      Request.SET_VRING_CALL, Request.SET_VRING_KICK),
    "error descriptor last": (Request.SET_VRING_NUM, Request.SET_VRING_BASE,
                              Request.SET_VRING_ADDR, Request.SET_VRING_KICK,
                              Request.SET_VRING_CALL, Request.SET_VRING_ERR),
}


@pytest.mark.row("R18")
@pytest.mark.parametrize("order", list(ORDER))
@pytest.mark.parametrize("memory_last", [False, True])
@pytest.mark.parametrize("enable_first", [False, True])
def test_orders_of_messages(session, order, memory_last, enable_first):
    session = session()
    session.negotiate()
    session.set_features()
    session.make_rings()
    if enable_first:
        session.enable()
    if not memory_last:
        session.share_memory()
    steps = {ring: {step.request: step for step in session.ring_steps(ring)}
             for ring in session.rings}
    kick = Request.SET_VRING_KICK
    for ring in session.rings:
        session.run([steps[ring][request] for request in ORDER[order]
                     if request != kick or not memory_last])
    if memory_last:
        session.share_memory()
        session.run([steps[ring][kick] for ring in session.rings])
    if not enable_first:
        session.enable()
    session.echo()


@pytest.mark.row("R19")
@pytest.mark.parametrize("ahead", [1, 5])
def test_used_index_that_differs_from_the_base(prepare, ahead):
    """A network device hands out buffers in order: it goes on where the used ring says."""
    session = prepare()
    for ring in session.rings:
        ring.reset(ahead)
    start_rings(session, 0)
    pair = session.pairs[0]
    pair.post()
    data = net.frame(3)
    pair.send(data)
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


@pytest.mark.row("R20")
@pytest.mark.backend("128")
def test_every_index_of_eight_bits(start, pairs):
    if pairs < 128:
        pytest.skip(f"the back-end has {pairs} queue pairs, not 128")
    session = start(pairs=128, ring_size=4, buffer_size=256)
    session.echo(count=4)
    bases = session.stop()
    assert bases == {index: 4 for index in range(256)}


@pytest.mark.row("R20", "HF1")
def test_pairs_are_independent(start, pairs):
    if pairs < 4:
        pytest.skip(f"the back-end has {pairs} queue pairs, not 4")
    session = start(pairs=4)
    session.echo()
    for stopped in range(4):
        rings = session.pairs[stopped].rings
        bases = [session.stop_ring(ring) for ring in rings]
        session.echo(first=100 * stopped,
                     pairs=[pair for i, pair in enumerate(session.pairs) if i != stopped])
        for ring, base in zip(rings, bases):
            session.start_ring(ring, base)
        session.echo(first=1000 * stopped)
