# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The inflight area: what a back-end took and did not give back is done by the next (I rows)."""

import fcntl
import os
import random

import pytest

from conftest import command_of
from frontend import messages
from frontend.backend import Backend
from frontend.checks import stays
from frontend.elements import FORMATS, ElementSession, Op, PROTOCOL_FEATURES
from frontend.inflight import InflightArea, stride
from frontend.memory import Region
from frontend.messages import INFLIGHT, NOFD, Feature, Protocol, Request, bit, state, u64
from frontend.ring import wait_until
from frontend.session import FEATURES

TRACKED = PROTOCOL_FEATURES | bit(Protocol.INFLIGHT_SHMFD, Protocol.GET_VRING_BASE_INFLIGHT,
                                  Protocol.GET_VRING_BASE_SKIP_DRAIN)
F_GET_SEALS = 1034
SEAL_SHRINK = 2
CRASHED = 42
SIZE = 16


def track(session, area=None):
    """Give the session's device an area (a new one by default), then start the rings."""
    packed = session.has(Feature.RING_PACKED)
    if area is None:
        area = InflightArea.ask(session.connection, len(session.rings), session.ring_size, packed)
        session.extras.append(area)
    area.give(session.connection)
    session.area = area
    for ring in session.rings:
        session.start_ring(ring, session.bases.get(ring.index))
    session.enable()
    return session


@pytest.fixture
def tracked(elements):
    return lambda **options: track(elements(start=False, protocol_features=TRACKED,
                                            **options).prepare())


class Successor:
    """Starts one back-end after another; each may die."""

    def __init__(self, config, folder):
        self.command = command_of(config, "elements")
        self.folder = folder
        self.count = 0
        self.backend = None

    def next(self):
        self.end()
        self.count += 1
        self.backend = Backend(str(self.folder / f"{self.count}.sock"), self.command,
                               str(self.folder / f"{self.count}.log")).start()
        return self.backend.connect()

    def end(self):
        if self.backend is not None:
            if self.backend.process.poll() is None:
                self.backend.process.kill()
            self.backend.process.wait()
            self.backend.check_log()


@pytest.fixture(params=FORMATS)
def lives(request, pytestconfig, tmp_path, closing):
    """Sessions of one driver with one back-end after another."""
    if pytestconfig.getoption("--socket") or pytestconfig.getoption("--backend-command"):
        pytest.skip("needs the device of elements.c")
    successor = Successor(pytestconfig, tmp_path)

    def first(**options):
        session = ElementSession(successor.next(), features=FORMATS[request.param],
                                 protocol_features=TRACKED, **options)
        closing.append(session)
        return track(session.prepare())

    def following(session, **changes):
        """The next back-end takes over, with the area and the base that the front-end has."""
        session.connection.close()
        session.connection = successor.next()
        session.negotiate()
        session.set_features()
        session.share_memory()
        session.bases.update(changes.get("bases", {}))
        return track(session, session.area)

    first.following = following
    first.successor = successor
    first.packed = request.param == "packed"
    yield first
    for thing in reversed(closing):
        thing.close()
    closing.clear()
    successor.end()


def settled(session):
    """What was made available has been looked at: a message and an echo went through."""
    session.connection.barrier()
    session.echoes(1)


def in_flight_tags(session, ring=None):
    ring = ring or session.ring
    return sorted(tag for (index, _), (tag, _) in session.tag_of.items() if index == ring.index)


@pytest.mark.row("I1")
@pytest.mark.backend("elements")
@pytest.mark.parametrize("queues, size", [(1, 1), (1, 16), (2, 64), (4, 1024), (1, 32768)])
def test_area_that_is_asked_for(elements, queues, size):
    session = elements(start=False, protocol_features=TRACKED).prepare()
    area = InflightArea.ask(session.connection, queues, size, elements.packed)
    assert area.size >= queues * stride(size, elements.packed)
    assert area.size % queues == 0 and area.size // queues == stride(size, elements.packed)
    assert os.fstat(area.fd).st_size >= area.region.file_offset + area.size
    assert fcntl.fcntl(area.fd, F_GET_SEALS) & SEAL_SHRINK
    assert not any(area.region.bytes)
    area.close()


@pytest.mark.row("I2")
@pytest.mark.backend("elements")
@pytest.mark.parametrize("queues, size", [(0, 16), (1, 0), (65535, 65535), (5, 16), (1, 32769)])
def test_impossible_area_is_declined(elements, queues, size):
    session = elements(protocol_features=TRACKED)
    session.connection.must_not(Request.GET_INFLIGHT_FD, messages.inflight(0, 0, queues, size))
    session.echoes()


@pytest.mark.row("I2", "F11")
@pytest.mark.backend("elements")
def test_description_with_and_without_padding(elements):
    session = elements(start=False, protocol_features=TRACKED).prepare()
    wanted = messages.inflight(0, 0, 1, 16)
    for length in (20, 24):
        reply = session.connection.ask(Request.GET_INFLIGHT_FD, wanted[:length])
        assert INFLIGHT.unpack((reply.payload + bytes(4))[:24])[0] > 0 and len(reply.fds) == 1
    session.connection.must_not(Request.GET_INFLIGHT_FD, wanted + bytes(4))
    session.connection.barrier()


def bad_areas(size):
    """(queues, queue size, bytes, offset, descriptors)."""
    return {
        "more queues than rings": (5, SIZE, size, 0, 1),
        "65535 queues": (65535, SIZE, size, 0, 1),
        "no queue": (0, SIZE, size, 0, 1),
        "size 0": (1, 0, size, 0, 1),
        "too few bytes": (1, SIZE, size - 1, 0, 1),
        "too few bytes for two": (2, SIZE, 2 * size - 64, 0, 1),
        "a product that wraps": (4, 65535, 64, 0, 1),
        "beyond the file": (1, SIZE, size, 1 << 20, 1),
        "sum wraps": (1, SIZE, 2**64 - 4096, 8192, 1),
        "offset 2^64 - 1": (1, SIZE, size, 2**64 - 1, 1),
        "no descriptor": (1, SIZE, size, 0, 0),
        "two descriptors": (1, SIZE, size, 0, 2),
    }


@pytest.mark.row("I4", "HF4", "HF3")
@pytest.mark.backend("elements")
@pytest.mark.parametrize("wrong", bad_areas(0))
def test_malformed_area_is_refused(tracked, elements, wrong):
    session = tracked()
    queues, size, total, offset, count = \
        bad_areas(stride(SIZE, elements.packed))[wrong]
    files = [Region(0, 8192, 0, 0, guard=0) for _ in range(count)]
    session.connection.must_not(Request.SET_INFLIGHT_FD,
                                messages.inflight(total, offset, queues, size),
                                [file.fd for file in files])
    for file in files:
        assert not any(file.bytes)
        file.close()
    session.echoes()


@pytest.mark.row("I4", "N15")
@pytest.mark.backend("elements")
def test_area_that_was_not_negotiated(elements):
    session = elements()
    area = InflightArea(1, SIZE, elements.packed)
    session.connection.must_not(Request.SET_INFLIGHT_FD, area.message, [area.fd])
    session.connection.must_not(Request.GET_INFLIGHT_FD, messages.inflight(0, 0, 1, SIZE))
    area.close()
    session.echoes()


@pytest.mark.row("I4", "R2")
@pytest.mark.backend("elements")
def test_area_for_rings_smaller_than_the_ring(elements):
    """A ring that does not fit into its part of the area is not tracked, or does not start."""
    session = elements(start=False, protocol_features=TRACKED, ring_size=32).prepare()
    area = InflightArea.ask(session.connection, 1, 8, elements.packed)
    session.extras.append(area)
    area.give(session.connection)
    accepted = True
    for step in session.ring_steps(session.ring):
        accepted &= session.connection.acknowledge(*step) == 0
    session.enable()
    if accepted:
        session.echoes(12)
    session.connection.barrier()


@pytest.mark.row("I5")
@pytest.mark.parametrize("outstanding", [1, 2, 5])
def test_killed_with_requests_outstanding(lives, outstanding):
    """Each is done exactly once by those who follow, in the order in which they were taken."""
    session = lives()
    session.echoes(5)
    tags = [session.request(Op.HOLD, payload=u64(i)) for i in range(outstanding)]
    settled(session)
    assert len(session.area.in_flight(0)) == outstanding
    for _ in range(2):
        lives.successor.backend.process.kill()
        session = lives.following(session)
        settled(session)
        assert len(session.area.in_flight(0)) == outstanding
        assert in_flight_tags(session) == sorted(tags)
    last = session.request(Op.RELEASE_ALL)
    came = session.finished(outstanding + 1)
    assert [tag for tag, _ in came] == tags + [last]
    assert [written for _, written in came[:-1]] == [u64(i) for i in range(outstanding)]
    stays(lambda: session.finished() == [], "a request came back twice")
    assert session.area.in_flight(0) == []
    session.echoes()


@pytest.mark.row("I5")
def test_died_while_it_served_a_request(lives):
    """The request that killed it is in flight as well; the front-end replaces it meanwhile."""
    session = lives()
    held = session.request(Op.HOLD)
    settled(session)
    crash = session.request(Op.CRASH)
    assert lives.successor.backend.process.wait(10) == CRASHED
    # A well-meaning driver cannot change a request; this one is to be served differently now.
    place = {tag: place for tag, place in session.tag_of.values()}[crash]
    session.memory.write(place, Op.ECHO.to_bytes(4, "little"))
    session = lives.following(session)
    assert [tag for tag, _ in session.finished(1)] == [crash]
    session.request(Op.RELEASE, held)
    assert sorted(tag for tag, _ in session.finished(2))[0] == held
    session.echoes()


@pytest.mark.row("I5", "I6")
def test_killed_at_any_moment(lives, counts):
    """Killed in the midst of echoes: nothing is lost, nothing comes back twice."""
    chance = random.Random(5)
    session = lives()
    ring = session.ring
    wanted = {}
    finished = set()
    for _ in range(counts(300, 10)):
        for _ in range(chance.randrange(1, 8)):
            if ring.room >= 2:
                payload = u64(chance.getrandbits(64))
                wanted[session.request(Op.ECHO, payload=payload)] = payload
        for _ in range(chance.randrange(200)):
            pass
        lives.successor.backend.process.kill()
        lives.successor.backend.process.wait()
        session = lives.following(session)
        for tag, written in session.finished():
            assert wanted[tag] == written and tag not in finished
            finished.add(tag)
    wait_until(lambda: [finished.add(tag) for tag, _ in session.finished()] is not None
               and len(finished) == len(wanted), "all requests")
    assert session.area.in_flight(0) == []
    session.echoes()


@pytest.mark.row("I6")
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("step", ["taken", "linked", "used index stored", "marks partly cleared",
                                  "marks cleared", "done"])
def test_every_state_between_two_stores_of_a_split_ring(lives, batch, step):
    """As if the predecessor had died right there: its stores are made by hand."""
    if lives.packed:
        pytest.skip("the stores of a split ring")
    session = lives()
    session.echoes(3)
    tags = [session.request(Op.HOLD) for _ in range(5)]
    settled(session)
    lives.successor.backend.process.kill()
    lives.successor.backend.process.wait()
    area, ring = session.area, session.ring
    heads = area.in_flight(0)
    assert len(heads) == 5
    batched = heads[1:1 + batch]
    steps = ["taken", "linked", "used index stored", "marks partly cleared", "marks cleared",
             "done"]
    reached = steps.index(step)
    if reached >= 1:
        before = area.header(0).last_batch_head
        for head in batched:
            area.set_entry(0, head, next=before)
            before = head
        area.set_header(0, last_batch_head=before)
    if reached >= 2:
        index = ring.published_used
        for i, head in enumerate(batched):
            place = ring.used + 4 + 8 * ((index + i) % ring.size)
            ring.memory.store32(place, head)
            ring.memory.store32(place + 4, 0)
        ring.memory.store16(ring.used + 2, (index + batch) & 0xFFFF)
    if reached >= 3:
        for head in batched[:batch if reached > 3 else batch // 2]:
            area.set_entry(0, head, inflight=0)
    if reached >= 5:
        area.set_header(0, used_idx=ring.published_used)
    session = lives.following(session)
    gone = tags[1:1 + batch] if reached >= 2 else []
    assert [tag for tag, _ in session.finished()] == gone
    settled(session)
    assert in_flight_tags(session) == [tag for tag in tags if tag not in gone]
    session.request(Op.RELEASE_ALL)
    came = [tag for tag, _ in session.finished(6 - len(gone))]
    assert came[:-1] == [tag for tag in tags if tag not in gone]
    session.echoes()


def hostile(area, name, chance):
    """Make an area that says all kinds of things."""
    entries = range(area.queue_size)
    if name == "noise":
        area.region.bytes[:] = chance.randbytes(area.size)
    elif name == "every entry in flight":
        for i in entries:
            area.set_entry(0, i, inflight=1, counter=i)
    elif name == "inflight is 2 or 255":
        for i in entries:
            area.set_entry(0, i, inflight=(2, 255)[i % 2], counter=0)
    elif name == "counters equal and wrapping":
        for i in entries:
            area.set_entry(0, i, inflight=1, counter=(2**64 - 1, 0, 5)[i % 3])
    elif name == "version 7":
        area.set_header(0, version=7)
    elif name == "sizes that are none":
        area.set_header(0, desc_num=0xFFFF)
    elif name == "links that loop":
        for i in entries:
            area.set_entry(0, i, next=i, inflight=1)
    elif name == "links that leave":
        for i in entries:
            area.set_entry(0, i, next=0xFFFF, inflight=1)
    if not area.packed:
        area.set_header(0, last_batch_head=chance.choice((0xFFFF, 0, area.queue_size)),
                        used_idx=chance.choice((0, 0x8000, 0xFFFF)))
    elif name != "version 7":
        area.set_header(0, free_head=chance.choice((0xFFFF, 0, area.queue_size)),
                        used_idx=chance.choice((0, 0x8000, 0xFFFF)),
                        old_used_idx=chance.choice((0, area.queue_size)), used_wrap=255)
        for i in entries:
            area.set_entry(0, i, last=0xFFFF, num=chance.choice((0, 1, 0xFFFF)), id=i,
                           addr=chance.getrandbits(64), len=0xFFFFFFFF)


@pytest.mark.row("I7", "I12", "HF4")
@pytest.mark.backend("elements")
@pytest.mark.parametrize("name", ["noise", "every entry in flight", "inflight is 2 or 255",
                                  "counters equal and wrapping", "version 7",
                                  "sizes that are none", "links that loop", "links that leave"])
def test_hostile_area(elements, counts, name):
    """Recovery ends, nothing outside guest memory is touched, the other ring works."""
    chance = random.Random(7)
    for _ in range(counts(200, 6)):
        session = elements(start=False, protocol_features=TRACKED, rings=2).prepare()
        area = InflightArea.ask(session.connection, 2, SIZE, elements.packed)
        session.extras.append(area)
        if not elements.packed:
            area.set_header(0, version=1, desc_num=SIZE)
        else:
            area.set_header(0, version=1, desc_num=SIZE, old_used_wrap=1, used_wrap=1)
        hostile(area, name, chance)
        area.give(session.connection)
        for ring in session.rings:
            for step in session.ring_steps(ring):
                session.connection.acknowledge(*step)
        session.enable()
        session.connection.barrier()
        session.connection.barrier()
        session.stop_ring(session.ring)
        if name != "noise":
            session.echoes(ring=session.rings[1])
        session.memory.check_guards()
        session.close()


@pytest.mark.row("I9")
def test_resubmission_without_a_kick_descriptor(lives):
    session = lives()
    tag = session.request(Op.HOLD)
    settled(session)
    lives.successor.backend.process.kill()
    session.connection.close()
    session.connection = lives.successor.next()
    session.negotiate()
    session.set_features()
    session.share_memory()
    session.area.give(session.connection)
    for step in session.ring_steps(session.ring):
        if step.request == Request.SET_VRING_KICK:
            session.connection.must(step.request, u64(NOFD))
        else:
            session.connection.must(*step)
    session.enable()
    wait_until(lambda: len(session.area.in_flight(0)) == 1, "the request taken again")
    session.request(Op.RELEASE, tag)
    assert tag in [done for done, _ in session.finished(2)]


@pytest.mark.row("I10", "R12")
@pytest.mark.backend("elements")
def test_kick_descriptor_repeated(tracked):
    """On a running ring it changes nothing of what is in flight."""
    session = tracked()
    tags = [session.request(Op.HOLD) for _ in range(3)]
    settled(session)
    for _ in range(5):
        session.connection.must(Request.SET_VRING_KICK, u64(0), [session.ring.kick_fd])
    settled(session)
    assert len(session.area.in_flight(0)) == 3
    session.request(Op.RELEASE_ALL)
    assert [tag for tag, _ in session.finished(4)][:3] == tags
    session.echoes()


@pytest.mark.row("I13", "I12")
@pytest.mark.backend("elements")
@pytest.mark.parametrize("request_number", [Request.GET_VRING_BASE,
                                            Request.GET_VRING_BASE_SKIP_DRAIN])
def test_stop_without_draining(tracked, elements, backend, request_number):
    """What is in flight stays marked; the next connection does it again."""
    session = tracked()
    session.echoes(3)
    tags = [session.request(Op.HOLD) for _ in range(4)]
    settled(session)
    base = session.connection.ask(request_number, state(0, 0)).state[1]
    assert session.finished() == []
    assert len(session.area.in_flight(0)) == 4
    stays(lambda: session.finished() == [], "given back after the stop")
    session.connection.close()
    session.connection = backend.connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    session.bases = {0: base}
    track(session, session.area)
    settled(session)
    assert in_flight_tags(session) == tags
    last = session.request(Op.RELEASE_ALL)
    assert [tag for tag, _ in session.finished(5)] == tags + [last]
    session.echoes()


@pytest.mark.row("I13")
@pytest.mark.backend("elements")
def test_ring_restarted_with_requests_in_flight(tracked):
    session = tracked()
    tags = [session.request(Op.HOLD) for _ in range(3)]
    settled(session)
    for _ in range(3):
        session.bases = {0: session.stop_ring(session.ring)}
        session.start_ring(session.ring, session.bases[0])
        settled(session)
        assert len(session.area.in_flight(0)) == 3
    last = session.request(Op.RELEASE_ALL)
    assert [tag for tag, _ in session.finished(4)] == tags + [last]


@pytest.mark.row("I1", "I3")
@pytest.mark.backend("elements")
def test_fresh_area_after_a_reset(tracked, elements):
    """The guest was reset: a new area, rings from the beginning."""
    session = tracked()
    session.request(Op.HOLD)
    settled(session)
    session.stop_ring(session.ring)
    session.ring.reset()
    session.tag_of.clear()
    session.bases = {}
    area = InflightArea.ask(session.connection, 1, SIZE, elements.packed)
    session.extras.append(area)
    track(session, area)
    settled(session)
    assert area.in_flight(0) == []
    session.echoes()


@pytest.mark.row("I12")
@pytest.mark.parametrize("format", [0, bit(Feature.RING_PACKED)], ids=["split", "packed"])
def test_network_card_keeps_its_used_position(prepare, needs, format):
    """It gives back what it takes within a burst: nothing is in flight, the position is kept."""
    needs(Protocol.INFLIGHT_SHMFD, *([Feature.RING_PACKED] if format else []))
    session = prepare(features=FEATURES | format,
                      protocol_features=TRACKED | bit(Protocol.CONFIGURE_MEM_SLOTS))
    track(session)
    for number in range(10):
        session.echo(count=20, first=100 * number)
        for ring in session.rings:
            header = session.area.header(ring.index)
            assert session.area.in_flight(ring.index) == []
            if format:
                assert (header.old_used_idx, header.old_used_wrap) == ring.next_used
            else:
                assert header.used_idx == ring.used_index
