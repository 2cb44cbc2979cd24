# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Guest memory: tables, slots, what may overlap, what a translation must stop at (M rows)."""

import os
import tempfile

import pytest

from frontend import messages, net
from frontend.checks import Descriptors, connection_works, expect_broken, revive
from frontend.memory import (GuestMemory, HUGE_PAGE, PAGE, Region, huge_pages_available)
from frontend.messages import Protocol, Request, bit, mem_reg, mem_table, u64
from frontend.ring import Piece
from frontend.session import PROTOCOL_FEATURES

WITHOUT_SLOTS = PROTOCOL_FEATURES & ~bit(Protocol.CONFIGURE_MEM_SLOTS)
TOP = 1 << 64


def regions_of(count, size=1 << 20):
    """Regions in scattered order; a gap of one region's size behind each."""
    return [Region((2 * i + 1) * size, size, 0x700000000000 + 3 * size * (count - i))
            for i in range(count)]


@pytest.fixture
def region(closing):
    """Regions that nobody told the back-end about yet."""
    def make(*arguments, **options):
        made = Region(*arguments, **options)
        closing.append(made)
        return made
    return make


@pytest.fixture
def slots(offered):
    if not offered[1] & bit(Protocol.CONFIGURE_MEM_SLOTS):
        pytest.skip("the back-end does not offer CONFIGURE_MEM_SLOTS")


def echo_through(session, address, number, size=60):
    """One frame sent from a buffer at this guest address."""
    pair = session.pairs[0]
    pair.post()
    data = net.frame(number, size)
    pair.send(data, place=address)
    pair.transmit_ring.kick()
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])
    pair.transmit_ring.wait_used(1)


def break_through(session, address, length=72):
    """A buffer at this address must break the transmit ring, and nothing else."""
    pair = session.pairs[0]
    pair.transmit_ring.add([Piece(address, length, False)])
    pair.transmit_ring.kick()
    expect_broken(session, pair.transmit_ring)
    revive(session, pair)
    session.echo()


@pytest.mark.row("M1")
@pytest.mark.parametrize("count", range(1, 9))
def test_table_of_regions_is_translated_to_its_edges(start, count):
    session = start(memory=GuestMemory(regions_of(count)), protocol_features=WITHOUT_SLOTS,
                    ring_size=16)
    length = 12 + 60
    for number, part in enumerate(session.memory.regions):
        if part.used == 0:
            echo_through(session, part.guest_address, 2 * number)
        echo_through(session, part.end - length, 2 * number + 1)


@pytest.mark.row("M1", "G4")
@pytest.mark.parametrize("count", [1, 2, 8])
def test_byte_behind_a_region_is_nowhere(start, count):
    session = start(memory=GuestMemory(regions_of(count)), protocol_features=WITHOUT_SLOTS,
                    ring_size=16)
    for part in session.memory.regions:
        break_through(session, part.end - 71)
        break_through(session, part.guest_address - 1)


@pytest.mark.row("M2")
@pytest.mark.parametrize("count, size", [
    (9, 264), (32, 264), (33, 264), (0xFFFFFFFF, 264), (9, 8 + 9 * 32), (33, 8 + 33 * 32),
    (1, 8), (2, 40), (1, 72), (1, 39), (1, 41), (0, 40)])
@pytest.mark.parametrize("fds", [0, 1, 8])
def test_table_with_a_wrong_count_or_size(start, count, size, fds):
    session = start(protocol_features=WITHOUT_SLOTS)
    entries = [messages.region(i << 32, 4096, i << 32, 0) for i in range((size - 8) // 32)]
    payload = (mem_table(entries, count) + bytes(size))[:size]
    with Descriptors(fds) as extra:
        session.connection.must_not(Request.SET_MEM_TABLE, payload, extra)
    session.echo()


@pytest.mark.row("M3")
@pytest.mark.parametrize("fds", [0, 2, 4, 8])
def test_table_with_a_wrong_number_of_descriptors(start, region, fds):
    session = start(protocol_features=WITHOUT_SLOTS)
    parts = [region(i << 32, 1 << 16, i << 32) for i in range(3)]
    sent = ([part.fd for part in parts] * 3)[:fds]
    session.connection.must_not(Request.SET_MEM_TABLE,
                                mem_table([part.packed() for part in parts]), sent)
    session.echo()


def bad_regions():
    """(what is wrong, packed region) beside a table that has [1 GiB, +1 MiB) at user 1 TiB."""
    size = 1 << 20
    there, user = 1 << 30, 1 << 40
    free, free_user = 8 << 30, 8 << 40
    return {
        "size 0": messages.region(free, 0, free_user, 0),
        "guest address wraps": messages.region(TOP - size + 4096, size, free_user, 0),
        "user address wraps": messages.region(free, size, TOP - size + 4096, 0),
        "file offset wraps": messages.region(free, size, free_user, TOP - 4096),
        "size wraps with offset": messages.region(free, TOP - 4096, free_user, 8192),
        "size near 2^64": messages.region(0, TOP - 4096, 0, 0),
        "beyond the file": messages.region(free, size, free_user, 4 * size),
        "one byte beyond the file": messages.region(free, size, free_user, size + 1),
        "same guest addresses": messages.region(there, size, free_user, 0),
        "first byte in another": messages.region(there + size - 1, size, free_user, 0),
        "last byte in another": messages.region(there - size + 1, size, free_user, 0),
        "around another": messages.region(there - 4096, 2 * size, free_user, 0),
        "within another": messages.region(there + 4096, 4096, free_user, 0),
        "same user addresses": messages.region(free, size, user, 0),
        "first user byte in another": messages.region(free, size, user + size - 1, 0),
        "last user byte in another": messages.region(free, size, user - size + 1, 0),
        "user addresses around another": messages.region(free, 2 * size, user - 4096, 0),
    }


@pytest.mark.row("M4", "HF3", "HF6")
@pytest.mark.parametrize("wrong", list(bad_regions()))
def test_impossible_region_is_not_added(negotiated, slots, region, wrong):
    connection = negotiated()
    good = region(1 << 30, 1 << 20, 1 << 40, file_offset=0, guard=1 << 20)
    connection.must(Request.ADD_MEM_REG, mem_reg(good.packed()), (good.fd,))
    connection.must_not(Request.ADD_MEM_REG, mem_reg(bad_regions()[wrong]), (good.fd,))
    # The first is in the table still, and nothing else is.
    connection.must(Request.REM_MEM_REG, mem_reg(good.packed()))
    connection.must_not(Request.REM_MEM_REG, mem_reg(bad_regions()[wrong]))
    connection_works(connection)


@pytest.mark.row("M4", "HF3", "HF6")
@pytest.mark.parametrize("wrong", list(bad_regions()))
@pytest.mark.parametrize("position", ["first", "last"])
def test_table_with_an_impossible_region(start, region, wrong, position):
    session = start(protocol_features=WITHOUT_SLOTS)
    good = region(1 << 30, 1 << 20, 1 << 40, file_offset=0, guard=1 << 20)
    table = [good.packed(), bad_regions()[wrong]]
    if position == "first":
        table.reverse()
    session.connection.must_not(Request.SET_MEM_TABLE, mem_table(table), (good.fd, good.fd))
    session.echo()


@pytest.mark.row("M4")
def test_neighbours_are_no_overlap(negotiated, slots, region):
    connection = negotiated()
    size = 1 << 16
    parts = [region(address, size, address + (1 << 40))
             for address in (4 * size, 5 * size, 3 * size, 0, TOP // 2)]
    for part in parts:
        connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    for part in parts:
        connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))


def odd_descriptors(folder):
    """Descriptors behind which there is no memory to share, by name."""
    path = os.path.join(folder, "file")
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    short = os.memfd_create("vhu-conformance-short", os.MFD_CLOEXEC)
    os.ftruncate(short, (1 << 16) - 1)
    reading, writing = os.pipe()
    os.close(writing)
    return {
        "read-only file": os.open(path, os.O_RDONLY | os.O_CLOEXEC),
        "write-only file": os.open(path, os.O_WRONLY | os.O_CLOEXEC),
        "directory": os.open(folder, os.O_RDONLY | os.O_CLOEXEC),
        "eventfd": os.eventfd(0, os.EFD_CLOEXEC),
        "pipe": reading,
        "null device": os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC),
        "short file": short,
        "empty file": os.memfd_create("vhu-conformance-empty", os.MFD_CLOEXEC),
        "path only": os.open(path, os.O_PATH | os.O_CLOEXEC),
    }


@pytest.fixture
def odd():
    with tempfile.TemporaryDirectory() as folder:
        descriptors = odd_descriptors(folder)
        yield descriptors
        for fd in descriptors.values():
            os.close(fd)


@pytest.mark.row("M5")
def test_descriptor_that_is_no_memory(start, slots, odd):
    session = start()
    packed = messages.region(1 << 40, 1 << 16, 1 << 45, 0)
    for name, fd in odd.items():
        value = session.connection.acknowledge(Request.ADD_MEM_REG, mem_reg(packed), (fd,))
        assert value != 0, f"{name} was accepted as memory"
        session.connection.must_not(Request.REM_MEM_REG, mem_reg(packed))
    session.echo()


@pytest.mark.row("M5")
def test_table_with_a_descriptor_that_is_no_memory(start, odd, region):
    session = start(protocol_features=WITHOUT_SLOTS)
    good = region(1 << 30, 1 << 16, 1 << 41)
    packed = messages.region(1 << 40, 1 << 16, 1 << 45, 0)
    for name, fd in odd.items():
        value = session.connection.acknowledge(
            Request.SET_MEM_TABLE, mem_table([good.packed(), packed]), (good.fd, fd))
        assert value != 0, f"{name} was accepted as memory"
    session.echo()


@pytest.mark.row("M6")
@pytest.mark.parametrize("offset", [0, PAGE, HUGE_PAGE - PAGE])
def test_hugetlbfs_region_at_any_offset(start, offset):
    if not huge_pages_available():
        pytest.skip("no free huge pages of 2 MiB")
    memory = GuestMemory([
        Region(0, 4 << 20, 0x7F1000000000),
        Region(1 << 32, HUGE_PAGE - PAGE, 0x7F2000000000, file_offset=offset, huge=True,
               guard=0)])
    session = start(memory=memory, ring_size=16)
    huge = memory.regions[1]
    echo_through(session, huge.guest_address + huge.used, 1)
    echo_through(session, huge.end - 72, 2)


@pytest.mark.row("M1", "HF3")
@pytest.mark.parametrize("offset", [0, PAGE, 3 * PAGE, 7 * PAGE])
def test_file_offset_is_respected(start, offset):
    memory = GuestMemory([Region(0, 4 << 20, 0x7F1000000000, file_offset=offset)])
    start(memory=memory).echo()


@pytest.mark.row("M7")
def test_new_table_while_the_ring_runs(start, region):
    session = start(protocol_features=WITHOUT_SLOTS)
    session.echo()
    extra = region(1 << 40, 1 << 20, 1 << 45)
    parts = session.memory.regions
    for number in range(20):
        table = parts + [extra] if number % 2 == 0 else parts
        session.connection.must(Request.SET_MEM_TABLE,
                                mem_table([part.packed() for part in table]),
                                [part.fd for part in table])
        session.echo(first=100 * number)


@pytest.mark.row("M7")
def test_table_that_replaces_the_file_under_a_ring(start):
    """Same addresses, another file, as after the front-end moved its memory: the ring follows."""
    session = start(protocol_features=WITHOUT_SLOTS, memory=GuestMemory(regions_of(1, 1 << 21)))
    session.echo()
    old = session.memory.regions[0]
    new = Region(old.guest_address, old.size, old.user_address)
    new.bytes[:] = old.bytes[:]
    new.used = old.used
    session.memory.regions[0] = new
    session.connection.must(Request.SET_MEM_TABLE, mem_table([new.packed()]), (new.fd,))
    before = bytes(old.bytes)
    session.echo(first=500)
    assert bytes(old.bytes) == before, "the old file was written after the new table was accepted"
    old.close()


@pytest.mark.row("M7", "M13")
def test_empty_table_under_a_running_ring(start):
    session = start(protocol_features=WITHOUT_SLOTS)
    session.echo()
    refusal = session.connection.acknowledge(Request.SET_MEM_TABLE, mem_table([]))
    if refusal:
        session.echo()
        return
    for ring in session.rings:
        session.connection.ask(Request.GET_VRING_BASE, messages.state(ring.index, 0))
    session.share_memory()
    for ring in session.rings:
        ring.reset()
        session.start_ring(ring)
    session.pairs[0].posted.clear()
    session.echo()


@pytest.mark.row("M8", "HF6")
def test_as_many_regions_as_there_are_slots_and_one_more(session, slots):
    session = session()
    session.negotiate()
    session.set_features()
    session.share_memory()
    session.make_rings()
    connection = session.connection
    most = connection.ask(Request.GET_MAX_MEM_SLOTS).u64
    count = most - len(session.memory.regions)
    size = 1 << 16
    fd = os.memfd_create("vhu-conformance-slots", os.MFD_CLOEXEC)
    os.ftruncate(fd, (count + 1) * size)
    packed = [messages.region((1 << 40) + 2 * i * size, size, (1 << 45) + 2 * i * size,
                              i * size) for i in range(count + 1)]
    for entry in packed[:count]:
        connection.must(Request.ADD_MEM_REG, mem_reg(entry), (fd,))
    connection.must_not(Request.ADD_MEM_REG, mem_reg(packed[count]), (fd,))
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()
    # One leaves, so one more has room.
    connection.must(Request.REM_MEM_REG, mem_reg(packed[count // 2]))
    connection.must(Request.ADD_MEM_REG, mem_reg(packed[count]), (fd,))
    connection.must_not(Request.ADD_MEM_REG, mem_reg(packed[count // 2]), (fd,))
    session.echo(first=100)
    os.close(fd)


@pytest.mark.row("M8", "M1")
def test_translation_among_as_many_regions_as_there_are_slots(start, slots):
    size = 1 << 16
    count = 500
    fd = os.memfd_create("vhu-conformance", os.MFD_CLOEXEC)
    os.ftruncate(fd, count * size)
    rings = Region(1 << 40, 1 << 21, 0x7F0000000000)
    small = [Region((i * 7 % count) * 2 * size, size, (1 << 44) + i * 2 * size, i * size, fd=fd)
             for i in range(count)]
    session = start(memory=GuestMemory(small + [rings]), ring_size=32)
    pair = session.pairs[0]
    for first in range(0, count, 16):
        pair.post()
        frames = []
        for number, part in enumerate(small[first:first + 16], first):
            frames.append(net.frame(number, 60))
            pair.send(frames[-1], place=part.end - 72, publish=False)
        pair.transmit_ring.publish()
        pair.transmit_ring.kick()
        net.check_echo(frames, [data for _, data in pair.receive(len(frames))])
        pair.transmit_ring.wait_used(len(frames))
    os.close(fd)


@pytest.mark.row("M9")
def test_region_that_comes_after_the_addresses_of_its_ring(session, slots):
    session = session()
    session.negotiate()
    session.set_features()
    session.make_rings()
    for ring in session.rings:
        session.run([step for step in session.ring_steps(ring)
                     if step.request != Request.SET_VRING_KICK])
    session.share_memory()
    for ring in session.rings:
        session.connection.must(Request.SET_VRING_KICK, u64(ring.index), (ring.kick_fd,))
    session.enable()
    session.echo()


@pytest.mark.row("M10")
@pytest.mark.parametrize("fds", [0, 2, 8])
def test_add_with_a_wrong_number_of_descriptors(negotiated, slots, region, fds):
    connection = negotiated()
    part = region(0, 1 << 16, 1 << 40)
    connection.must_not(Request.ADD_MEM_REG, mem_reg(part.packed()), [part.fd] * fds)
    connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))


@pytest.mark.row("M10")
def test_add_without_padding(negotiated, slots, region):
    connection = negotiated()
    part = region(0, 1 << 16, 1 << 40)
    connection.must_not(Request.ADD_MEM_REG, part.packed(), (part.fd,))
    connection_works(connection)


@pytest.mark.row("M11")
@pytest.mark.parametrize("offset, fds, accepted", [
    (PAGE, 0, True), (0, 0, True), (PAGE, 1, True), (PAGE, 2, False), (PAGE, 8, False)])
def test_remove(negotiated, slots, region, offset, fds, accepted):
    connection = negotiated()
    part = region(0, 1 << 16, 1 << 40)
    connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    key = mem_reg(messages.region(part.guest_address, part.size, part.user_address, offset))
    with Descriptors(fds) as extra:
        assert (connection.acknowledge(Request.REM_MEM_REG, key, extra) == 0) == accepted
    # Gone if it was accepted, there if not.
    assert (connection.acknowledge(Request.REM_MEM_REG, key) == 0) != accepted


@pytest.mark.row("M12")
def test_remove_what_is_not_there(start, slots):
    session = start()
    part = session.memory.regions[0]
    for guest, size, user in ((part.guest_address + 4096, part.size, part.user_address),
                              (part.guest_address, part.size - 4096, part.user_address),
                              (part.guest_address, part.size, part.user_address + 4096),
                              (1 << 50, part.size, 1 << 50)):
        session.connection.must_not(Request.REM_MEM_REG,
                                    mem_reg(messages.region(guest, size, user, PAGE)))
    session.echo()


@pytest.mark.row("M12")
def test_add_the_same_twice(negotiated, slots, region):
    """Refused, or counted (QEMU before 8.0 adds and removes once for each queue pair)."""
    connection = negotiated()
    part = region(0, 1 << 16, 1 << 40)
    connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    again = connection.acknowledge(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))
    if again == 0:
        connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))
    connection.must_not(Request.REM_MEM_REG, mem_reg(part.packed()))


@pytest.mark.row("M12", "M4")
def test_add_another_file_at_the_same_addresses(negotiated, slots, region):
    connection = negotiated()
    part, other = region(0, 1 << 16, 1 << 40), region(0, 1 << 16, 1 << 40)
    connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    connection.must_not(Request.ADD_MEM_REG, mem_reg(other.packed()), (other.fd,))
    connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))


@pytest.mark.row("M13")
def test_remove_the_region_of_a_running_ring(start, slots):
    session = start()
    session.echo()
    home, _ = session.memory.find(session.rings[1].descriptors)
    if session.connection.acknowledge(Request.REM_MEM_REG, mem_reg(home.packed())) != 0:
        session.echo()
        return
    # Accepted: then the rings in it must be at rest, and all can begin anew.
    for ring in session.rings:
        session.connection.ask(Request.GET_VRING_BASE, messages.state(ring.index, 0))
    session.connection.must(Request.ADD_MEM_REG, mem_reg(home.packed()), (home.fd,))
    for ring in session.rings:
        ring.reset()
        session.start_ring(ring)
    session.pairs[0].posted.clear()
    session.echo()


@pytest.mark.row("M13", "HF10")
def test_buffer_in_a_region_that_was_removed(start, slots, region):
    session = start(memory=GuestMemory(regions_of(1, 4 << 20)))
    part = region(1 << 40, 1 << 20, 1 << 45)
    session.connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    pair = session.pairs[0]
    for i in range(8):
        pair.post_pieces([Piece(part.guest_address + 2048 * i, 2048, True)])
    session.connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))
    before = bytes(part.bytes)
    pair.send(net.frame(1))
    pair.transmit_ring.kick()
    expect_broken(session, pair.receive_ring)
    assert bytes(part.bytes) == before, "memory was written after its removal was acknowledged"
    revive(session, pair)
    session.echo()


@pytest.mark.row("M14")
def test_same_addresses_with_one_file_after_another(start, slots, counts):
    session = start(memory=GuestMemory(regions_of(1, 4 << 20)), ring_size=16)
    address, size, user = 1 << 40, 1 << 16, 1 << 45
    for number in range(counts(10000, 300)):
        part = Region(address, size, user, guard=0)
        session.memory.regions.append(part)
        session.connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
        echo_through(session, address + number % 1000, number)
        session.connection.must(Request.REM_MEM_REG, mem_reg(part.packed()))
        session.memory.regions.remove(part)
        part.close()


@pytest.mark.row("M15")
def test_other_regions_come_and_go_under_traffic(start, slots, region):
    session = start()
    part = region(1 << 40, 1 << 20, 1 << 45)
    pair = session.pairs[0]
    frames, received = [], []
    for number in range(200):
        pair.post()
        frames.append(net.frame(number))
        pair.send(frames[-1])
        pair.transmit_ring.take_used()
        request = Request.REM_MEM_REG if number % 2 else Request.ADD_MEM_REG
        session.connection.must(request, mem_reg(part.packed()),
                                () if number % 2 else (part.fd,))
        received += [data for _, data in pair.receive(1)]
    net.check_echo(frames, received)


@pytest.mark.row("M17", "HF9")
def test_file_shortened_before_it_is_announced(start, slots, region):
    session = start()
    part = region(1 << 40, 1 << 20, 1 << 45, guard=0)
    os.ftruncate(part.fd, part.file_offset + part.size - 1)
    session.connection.must_not(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    session.echo()


@pytest.mark.row("M17", "HF9")
@pytest.mark.parametrize("device", ["reads", "writes"])
def test_file_shortened_while_it_is_shared(start, connect, slots, region, device):
    """The front-end loses its connection, and nobody else loses anything."""
    session = start()
    pair = session.pairs[0]
    part = region(1 << 40, 1 << 20, 1 << 45, guard=0)
    session.connection.must(Request.ADD_MEM_REG, mem_reg(part.packed()), (part.fd,))
    os.ftruncate(part.fd, 0)
    if device == "reads":
        pair.post()
        pair.transmit_ring.add([Piece(part.guest_address, 72, False)])
    else:
        pair.post_pieces([Piece(part.guest_address, 2048, True)])
        pair.send(net.frame(1))
    pair.transmit_ring.kick()
    session.connection.expect_end()
    connection_works(connect())
