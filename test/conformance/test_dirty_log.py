# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The dirty log: what was written is marked, no later than it is told; nothing else is (L rows)."""

import os
import random

import pytest

from frontend import messages, net
from frontend.checks import Descriptors, stays
from frontend.dirty import DirtyLog, pages_of
from frontend.memory import PAGE, GuestMemory, Region
from frontend.messages import Feature, Protocol, Request, bit, u64
from frontend.ring import Piece, wait_until
from frontend.session import FEATURES, PROTOCOL_FEATURES

LOGGING = PROTOCOL_FEATURES | bit(Protocol.LOG_SHMFD)
NO_RING = 0


@pytest.fixture
def logging(start, needs):
    """Running sessions that can be told to log."""
    needs(Feature.LOG_ALL, Protocol.LOG_SHMFD)
    return lambda **options: start(protocol_features=LOGGING, **options)


def deliver(session, pieces, data, indirect=None):
    """Send a frame into a buffer of these pieces. Returns the pages that were written."""
    pair = session.pairs[0]
    pair.post_pieces(pieces, indirect=indirect)
    pair.send(data)
    used, = pair.receive_ring.wait_used(1)
    pair.transmit_ring.wait_used(1)
    pair.posted.pop(used.head)
    assert used.length == session.header_size + len(data)
    return written(pieces, used.length)


def written(pieces, length):
    pages = set()
    for piece in pieces:
        count = min(length, piece.length)
        pages |= pages_of(piece.address, count)
        length -= count
    return pages


@pytest.mark.row("L1")
def test_exactly_the_pages_of_a_frame_are_marked(logging, path):
    session = logging(features=path)
    place = session.memory.allocate(16 * PAGE, PAGE)
    table = session.memory.allocate(64, 16)
    log = session.start_logging(ring_flags=NO_RING)
    log.take()
    sizes = (60, 100, 1000, 1514)
    for number, start in enumerate((0, PAGE - 72, PAGE - 71, PAGE - 73, PAGE - 12, PAGE - 1,
                                    PAGE - 13, 3 * PAGE - 5, 2 * PAGE - 500)):
        for size in sizes:
            pieces = [Piece(place + start, 1600, True)]
            dirty = deliver(session, pieces, net.frame(number, size),
                            indirect=table if number % 2 else None)
            assert log.take() == dirty, f"a frame of {size} bytes at page offset {start}"


@pytest.mark.row("L1")
def test_pages_of_every_piece_are_marked_up_to_the_length(logging, path):
    session = logging(features=path)
    place = session.memory.allocate(16 * PAGE, PAGE)
    log = session.start_logging(ring_flags=NO_RING)
    log.take()
    for number, lengths in enumerate(((12, 500, 5000), (5, 7, 60, 2000), (100, 100, 4096),
                                      (1000, 20000))):
        pieces = [Piece(place + 3 * i * PAGE + PAGE - 50, length, True)
                  for i, length in enumerate(lengths)]
        dirty = deliver(session, pieces, net.frame(number, 600))
        assert log.take() == dirty, f"pieces of {lengths}"


@pytest.mark.row("L1")
@pytest.mark.parametrize("format", [0, bit(Feature.RING_PACKED)], ids=["split", "packed"])
def test_frame_over_many_buffers_marks_each_of_them(logging, needs, format):
    if format:
        needs(Feature.RING_PACKED)
    session = logging(features=FEATURES | format)
    place = session.memory.allocate(32 * PAGE, PAGE)
    log = session.start_logging(ring_flags=NO_RING)
    log.take()
    pair = session.pairs[0]
    for i in range(10):
        pair.post_pieces([Piece(place + 2 * i * PAGE + PAGE - 60, 200, True)])
    data = net.frame(1, 1500)
    pair.send(data)
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])
    full, rest = divmod(1512, 200)
    dirty = set()
    for i in range(full):
        dirty |= pages_of(place + 2 * i * PAGE + PAGE - 60, 200)
    dirty |= pages_of(place + 2 * full * PAGE + PAGE - 60, rest)
    assert log.take() == dirty


@pytest.mark.row("L1")
def test_frames_from_the_guest_mark_nothing(logging):
    session = logging()
    log = session.start_logging(ring_flags=NO_RING)
    log.take()
    pair = session.pairs[0]
    for number in range(40):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(40)
    session.connection.barrier()
    assert log.take() == set()


@pytest.mark.row("L2", "L3")
def test_used_ring_is_marked_at_its_log_address(logging):
    session = logging(ring_size=1024, buffer_size=128)
    end = max(region.end for region in session.memory.regions)
    # Behind all memory, but inside the log; not at the beginning of a page.
    where = end + 16 * PAGE + 100
    log = DirtyLog(end + 64 * PAGE)
    session.set_log(log)
    session.log_all(True, ring_flags=NO_RING)
    pair = session.pairs[0]
    session.echo(count=8)
    assert not {page for page in log.take() if page >= end // PAGE}, \
        "a used ring was marked that is not to be"
    ring = pair.transmit_ring
    session.run([session.address_step(ring, 1, where)])
    for number in range(100):
        first = ring.used_index
        session.echo(count=10, first=100 * number)
        expected = pages_of(where + 2, 2)
        for i in range(10):
            expected |= pages_of(where + 4 + 8 * ((first + i) % ring.size), 8)
        marked = {page for page in log.take() if page >= end // PAGE}
        assert marked >= expected, "writes to the used ring are not marked"
        assert marked <= expected | pages_of(where, 4) | pages_of(where + 4 + 8 * ring.size, 2)


@pytest.mark.row("L2")
def test_used_ring_is_no_longer_marked_when_the_flag_is_gone(logging):
    session = logging()
    log = session.start_logging()
    session.echo()
    ring_pages = pages_of(session.rings[1].used, 6 + 8 * 64)
    assert ring_pages & log.take()
    session.log_all(True, ring_flags=NO_RING)
    log.take()
    session.echo(first=100)
    alone = ring_pages - pages_of(session.pairs[0].receive_place, 64 * 2048)
    assert not alone & log.take()


@pytest.mark.row("L12")
def test_packed_ring_and_its_event_area_are_marked(logging, needs):
    needs(Feature.RING_PACKED)
    session = logging(features=FEATURES | bit(Feature.RING_PACKED), ring_size=700,
                      buffer_size=128)
    log = session.start_logging()
    log.take()
    ring = session.pairs[0].transmit_ring
    for number in range(60):
        expected = set()
        position = ring.next_used
        for _ in range(20):
            expected |= pages_of(ring.descriptors + 16 * position.slot, 16)
            position = ring.advance(position)
        session.echo(count=20, first=100 * number)
        assert log.take() >= expected, "writes to the descriptor ring are not marked"
    session.log_all(True, ring_flags=NO_RING)
    log.take()
    session.echo(count=20, first=10000)
    assert not log.take() & pages_of(ring.descriptors, 16 * ring.size)


@pytest.mark.row("L3")
def test_last_byte_of_the_log(logging):
    session = logging()
    end = max(region.end for region in session.memory.regions)
    where = end + 64 * PAGE - (6 + 8 * 64)
    log = DirtyLog(end + 64 * PAGE)
    session.set_log(log)
    session.log_all(True, ring_flags=NO_RING)
    ring = session.rings[1]
    session.run([session.address_step(ring, 1, where)])
    session.echo(count=60)
    session.echo(count=60, first=100)
    assert log.take() >= pages_of(where, 6 + 8 * 64)
    log.check_guards()


@pytest.mark.row("L4")
@pytest.mark.parametrize("wrong", ["log of one word", "log that ends before the buffers",
                                   "ring address behind the log", "ring address 2^64 - 1"])
def test_log_that_does_not_cover_what_is_written(logging, pairs, wrong):
    """Nothing is written outside the log; nobody dies; the other pair goes on."""
    session = logging(pairs=min(2, pairs))
    first = min(region.guest_address for region in session.memory.regions[1:])
    end = max(region.end for region in session.memory.regions)
    size = {"log of one word": 8, "log that ends before the buffers": first // PAGE // 64 * 8}
    log = DirtyLog(end, size=size.get(wrong))
    session.set_log(log)
    mask = bit(Feature.LOG_ALL)
    session.features |= mask
    session.set_features()
    where = {"ring address behind the log": end + PAGE, "ring address 2^64 - 1": 2**64 - 1}
    for ring in session.rings[:2]:
        step = session.address_step(ring, 1, where.get(wrong, 0))
        session.connection.acknowledge(*step)
    pair = session.pairs[0]
    pair.post()
    for number in range(16):
        pair.send(net.frame(number))
    pair.transmit_ring.kick()
    pair.transmit_ring.wait_used(16)
    session.connection.barrier()
    log.check_guards()
    session.memory.check_guards()
    session.connection.barrier()


def malformed():
    """(what is wrong, size, offset, descriptors)."""
    return {
        "size 0": (0, 0, 1), "size 2^63": (1 << 63, 0, 1), "size 2^64 - 1": (2**64 - 1, 0, 1),
        "sum wraps": (1 << 12, 2**64 - 4096, 1), "offset behind the file": (4096, 1 << 40, 1),
        "file too short": (1 << 30, 0, 1), "one byte too long": (8193, 4096, 1),
        "no descriptor": (4096, 0, 0), "two descriptors": (4096, 0, 2),
    }


@pytest.mark.row("L5", "HF3")
@pytest.mark.parametrize("wrong", malformed())
def test_malformed_log_leaves_the_old_one_in_use(logging, wrong):
    size, offset, count = malformed()[wrong]
    session = logging()
    log = session.start_logging()
    session.echo()
    assert log.take()
    bad = [Region(0, 4096, 0) for _ in range(count)]
    session.connection.must_not(Request.SET_LOG_BASE, messages.LOG.pack(size, offset),
                                [region.fd for region in bad])
    session.echo(first=100)
    assert log.take(), "the old log is not used any more"
    for region in bad:
        region.check_guards()
        region.close()


@pytest.mark.row("L5")
@pytest.mark.parametrize("kind", ["eventfd", "directory", "read-only file"])
def test_descriptor_that_is_no_log(logging, tmp_path, kind):
    session = logging()
    log = session.start_logging()
    if kind == "eventfd":
        fd = os.eventfd(0)
    elif kind == "directory":
        fd = os.open(tmp_path, os.O_RDONLY)
    else:
        (tmp_path / "log").write_bytes(bytes(8192))
        fd = os.open(tmp_path / "log", os.O_RDONLY)
    session.connection.must_not(Request.SET_LOG_BASE, messages.LOG.pack(4096, 0), [fd])
    os.close(fd)
    session.echo()
    assert log.take()


@pytest.mark.row("L5", "HF3")
@pytest.mark.parametrize("offset", [0, 8, 64, 100, PAGE, PAGE + 24])
def test_log_offset_is_respected(logging, offset):
    """Also one that is no multiple of the page or of the word: refused, or right."""
    session = logging()
    end = max(region.end for region in session.memory.regions)
    size = -(-end // PAGE // 64) * 8
    fd = os.memfd_create("vhu-conformance-log", os.MFD_CLOEXEC)
    os.ftruncate(fd, offset + size + PAGE)
    value = session.connection.ask(Request.SET_LOG_BASE, messages.LOG.pack(size, offset),
                                   [fd]).u64
    if value == 0:
        session.log_all(True)
        session.echo()
        content = os.pread(fd, offset + size + PAGE, 0)
        assert not any(content[:offset]) and not any(content[offset + size:])
        page = session.rings[1].used // PAGE
        assert content[offset + page // 8] >> page % 8 & 1
    else:
        assert offset % 8, "an aligned offset was refused"
    os.close(fd)
    session.echo(first=100)


@pytest.mark.row("L6")
def test_log_replaced_under_traffic_loses_no_page(logging, path, counts):
    session = logging(features=path, ring_size=256, buffer_size=512)
    pair = session.pairs[0]
    old = session.start_logging(ring_flags=NO_RING)
    marked, dirty = old.take(), set()
    for number in range(counts(200, 12)):
        pair.post()
        before = dict(pair.posted)
        frames = [net.frame(1000 * number + i, 100) for i in range(150)]
        for data in frames:
            pair.send(data, publish=False)
        pair.transmit_ring.publish()
        new = DirtyLog(0, size=old.size)
        session.set_log(new)
        # From here on the old one is not written any more.
        marked |= old.pages()
        content = bytes(old.region.bytes)
        pair.receive(150)
        pair.transmit_ring.wait_used(150)
        assert bytes(old.region.bytes) == content, "the log was written after it was replaced"
        gone = set(before) - set(pair.posted)
        dirty |= set().union(*(written(before[head], 112) for head in gone))
        old.check_guards()
        old.close()
        session.extras.remove(old)
        old = new
    marked |= old.pages()
    assert dirty <= marked, f"{len(dirty - marked)} pages were written and not marked"


@pytest.mark.row("L7")
@pytest.mark.parametrize("need_reply", [False, True])
def test_reply_to_a_log_is_one_u64(logging, need_reply):
    session = logging()
    with_log = DirtyLog(1 << 33)
    reply = session.connection.ask(Request.SET_LOG_BASE, with_log.message, [with_log.fd],
                                   need_reply=need_reply)
    assert reply.u64 == 0 and not reply.fds
    session.connection.barrier()
    with_log.close()


@pytest.mark.row("L10", "L13")
def test_log_cleared_while_it_is_written(logging, path, counts):
    """Of all that the front-end fetched, nothing that was written is missing."""
    chance = random.Random(10)
    session = logging(features=path, ring_size=256, buffer_size=2048)
    pair = session.pairs[0]
    log = session.start_logging()
    fetched, dirty = set(), set()
    for number in range(counts(1000, 25)):
        posted = {}
        pair.post()
        posted.update(pair.posted)
        count = chance.randrange(1, 200)
        for i in range(count):
            pair.send(net.frame(1000 * number + i, 60 + chance.randrange(1400)), publish=False)
        pair.transmit_ring.publish()
        came = []

        def fetch():
            fetched.update(log.take())
            came.extend(pair.receive_ring.take_used())
            return len(came) >= count

        wait_until(fetch, f"{count} frames")
        for used in came:
            dirty |= written(posted[used.head], used.length)
            pair.posted.pop(used.head)
        pair.transmit_ring.wait_used(count)
    session.stop()
    fetched |= log.take()
    assert dirty <= fetched, f"{len(dirty - fetched)} pages were written and not marked"
    if not session.has(Feature.RING_PACKED):
        assert pages_of(session.rings[0].used, 6 + 8 * 256) <= fetched


@pytest.mark.row("L13", "R8")
def test_what_was_written_is_marked_when_the_base_is_told(logging, path):
    """After the answer to GET_VRING_BASE the log is complete, and stays as it is."""
    session = logging(features=path, ring_size=256, buffer_size=512)
    for number in range(6):
        log = session.start_logging()
        log.take()
        pair = session.pairs[0]
        pair.post()
        posted = dict(pair.posted)
        for i in range(200):
            pair.send(net.frame(1000 * number + i, 100), publish=False)
        pair.transmit_ring.publish()
        session.stop()
        marked = log.take()
        dirty = set()
        for used in pair.receive_ring.take_used():
            dirty |= written(posted[used.head], used.length)
            pair.posted.pop(used.head)
        assert dirty <= marked
        stays(lambda: log.pages() == set(), "the log was written after the ring had stopped",
              0.02)
        session.log_all(False)
        session.restart()
        pair.flush()


@pytest.mark.row("L11")
def test_log_descriptor_is_taken(logging):
    """SET_LOG_FD is accepted and its descriptor signalled or not, but never per page."""
    session = logging()
    log = session.start_logging()
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    value = session.connection.acknowledge(Request.SET_LOG_FD, b"", [fd])
    session.echo(count=60)
    pages = log.take()
    try:
        signals = os.eventfd_read(fd)
    except BlockingIOError:
        signals = 0
    os.close(fd)
    assert pages
    assert signals <= len(pages)
    assert value == 0 or signals == 0


@pytest.mark.row("L14")
def test_restart_while_logging_processes_nothing_before_it_is_enabled(logging):
    """As QEMU does: features with LOG_ALL, addresses, kick, and only then the log."""
    session = logging()
    log = session.start_logging()
    session.echo()
    session.stop()
    log.take()
    pair = session.pairs[0]
    pair.post()
    frames = [net.frame(100 + i) for i in range(8)]
    for data in frames:
        pair.send(data)
    session.set_features()
    for ring in session.rings:
        session.start_ring(ring, session.bases[ring.index])
        ring.kick()
    session.connection.barrier()
    stays(lambda: pair.transmit_ring.published_used == pair.transmit_ring.used_index,
          "a ring was processed before it was enabled")
    fresh = DirtyLog(0, size=log.size)
    session.set_log(fresh)
    posted = dict(pair.posted)
    session.enable()
    net.check_echo(frames, [data for _, data in pair.receive(8)])
    dirty = set()
    for head in set(posted) - set(pair.posted):
        dirty |= written(posted[head], 76)
    wait_until(lambda: pair.transmit_ring.take_used() or True, "used elements")
    assert dirty <= fresh.take()
    assert log.take() == set()


@pytest.mark.row("L15", "N5")
def test_cancelled_migration(logging, path):
    session = logging(features=path)
    for number in range(5):
        log = session.start_logging()
        session.echo(first=200 * number)
        assert log.take()
        session.log_all(False)
        log.take()
        session.echo(first=200 * number + 100)
        assert log.take() == set(), "pages are marked although the log was switched off"


@pytest.mark.row("L15")
def test_log_switched_under_traffic(logging, path):
    """On and off in the midst of frames: none is lost, none changes its place."""
    session = logging(features=path, ring_size=256, buffer_size=512)
    pair = session.pairs[0]
    log = session.start_logging()
    for number in range(15):
        pair.post()
        frames = [net.frame(1000 * number + i, 100) for i in range(200)]
        for data in frames:
            pair.send(data, publish=False)
        pair.transmit_ring.publish()
        session.log_all(number % 2 == 0)
        net.check_echo(frames, [data for _, data in pair.receive(200)])
        pair.transmit_ring.wait_used(200)
    log.check_guards()


@pytest.mark.row("HG13")
@pytest.mark.parametrize("last", [0, 1, 11, 12, 13, 60, 71])
def test_write_that_ends_on_the_last_byte_of_a_region(logging, last):
    memory = GuestMemory([*GuestMemory.standard().regions,
                          Region(1 << 36, 4 * PAGE, 0x7F6000000000)])
    session = logging(memory=memory)
    log = session.start_logging(ring_flags=NO_RING)
    log.take()
    end = memory.regions[-1].end
    pieces = [Piece(end - 72, 72, True)] if last == 0 else \
        [Piece(session.memory.allocate(4096, 4096, memory.regions[0]), 72 - last, True),
         Piece(end - last, last, True)]
    dirty = deliver(session, pieces, net.frame(1, 60))
    assert (end - 1) // PAGE in dirty
    assert log.take() == dirty
    log.check_guards()


@pytest.mark.row("L5")
def test_log_without_shared_file(start, needs):
    """Without LOG_SHMFD the message comes without a descriptor and is answered if asked."""
    needs(Feature.LOG_ALL)
    session = start()
    session.connection.acknowledge(Request.SET_LOG_BASE, messages.LOG.pack(4096, 0))
    session.connection.send(Request.SET_LOG_BASE, messages.LOG.pack(4096, 0))
    session.connection.barrier()
    session.echo()


@pytest.mark.row("HF7")
def test_log_over_and_over(logging, backend, counts):
    session = logging()
    log = session.start_logging()
    from_here = len(os.listdir(f"/proc/{backend.pid}/fd"))
    for _ in range(counts(100000, 500)):
        session.set_log(log)
    assert len(os.listdir(f"/proc/{backend.pid}/fd")) == from_here
    session.echo()
    assert log.take()
    with Descriptors(1) as extra:
        session.connection.acknowledge(Request.SET_LOG_FD, u64(0), extra)
