# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The header in front of each frame: its size, its pieces, its requests (HG2, HG3, HG7, HG9)."""

import itertools
import random
import struct

import pytest

from frontend import net
from frontend.checks import stays
from frontend.messages import Feature, bit
from frontend.ring import Piece
from frontend.session import FEATURES

PLAIN = FEATURES & ~bit(Feature.MRG_RXBUF)
LEGACY = bit(Feature.PROTOCOL_FEATURES)
OFFLOADS = FEATURES | bit(Feature.CSUM, Feature.GUEST_CSUM, Feature.GUEST_TSO4,
                          Feature.GUEST_TSO6, Feature.HOST_TSO4, Feature.HOST_TSO6,
                          Feature.GUEST_ECN, Feature.HOST_ECN, Feature.GUEST_UFO,
                          Feature.HOST_UFO, Feature.HOST_USO, Feature.GUEST_USO4,
                          Feature.GUEST_USO6)


def compositions(total, most):
    """All ways to write `total` as an ordered sum of at most `most` numbers."""
    for count in range(1, most + 1):
        for borders in itertools.combinations(range(1, total), count - 1):
            yield [b - a for a, b in zip((0,) + borders, borders + (total,))]


def sample(total, count, seed):
    """All compositions of few parts, and some of any number of parts."""
    chosen = list(compositions(total, 2))
    chosen.append([1] * total)
    chance = random.Random(seed)
    for _ in range(count):
        borders = sorted(chance.sample(range(1, total), chance.randrange(total - 1)))
        chosen.append([b - a for a, b in zip([0] + borders, borders + [total])])
    return chosen


@pytest.mark.row("HG3")
@pytest.mark.parametrize("features, size", [(FEATURES, 12), (PLAIN, 12), (LEGACY, 10)],
                         ids=["mergeable", "plain", "legacy"])
def test_header_size_follows_features(prepare, features, size):
    session = prepare(features=features)
    assert session.header_size == size
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()
    session.echo(size=1514)


@pytest.mark.row("HG3")
@pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["mergeable", "plain"])
def test_header_of_a_frame_without_offloads_is_empty(start, features):
    session = start(features=features)
    pair = session.pairs[0]
    pair.post()
    session.memory.write(pair.receive_place, b"\xee" * 4096)
    for size in (60, 64, 1514):
        pair.send(net.frame(size, size))
        (header, _), = pair.receive(1)
        assert (header.flags & net.NEEDS_CSUM, header.gso_type) == (0, 0)
        assert header.buffers == 1


@pytest.mark.row("HG3")
@pytest.mark.parametrize("features, header_size, indirect", [
    (FEATURES, 12, False), (FEATURES, 12, True), (PLAIN, 12, False), (PLAIN, 12, True),
    (LEGACY, 10, False), (LEGACY | bit(Feature.INDIRECT_DESC), 10, True)])
@pytest.mark.parametrize("direction", ["from guest", "to guest"])
def test_header_cut_into_pieces(start, counts, features, header_size, indirect, direction):
    session = start(features=features)
    assert session.has(Feature.INDIRECT_DESC) or not indirect
    pair = session.pairs[0]
    table = session.memory.allocate(16 * 64, 16)
    place = session.memory.allocate(4096, 4096)
    number = 0
    for cuts in sample(header_size, counts(500, 20), 3):
        for size in (60, 1500):
            data = net.frame(number, size)
            number += 1
            if direction == "from guest":
                pair.post()
                pair.send(data, cuts=cuts, indirect=table if indirect else None, place=place)
            else:
                pieces, done = [], 0
                for length in cuts + [2000]:
                    pieces.append(Piece(place + done, length, True))
                    done += length
                pair.post_pieces(pieces, indirect=table if indirect else None)
                pair.send(data)
            (_, got), = pair.receive(1)
            net.check_echo([data], [got])
            pair.transmit_ring.wait_used(1)


@pytest.mark.row("HG3")
@pytest.mark.parametrize("beyond", range(1, 30))
def test_first_piece_holds_header_and_some_of_the_frame(start, beyond):
    session = start()
    pair = session.pairs[0]
    pair.post()
    data = net.frame(beyond, 100)
    pair.send(data, cuts=[12 + beyond])
    (_, got), = pair.receive(1)
    net.check_echo([data], [got])


@pytest.mark.row("HG3")
@pytest.mark.parametrize("features", [FEATURES, PLAIN], ids=["mergeable", "plain"])
def test_frame_in_many_small_pieces(start, features):
    session = start(features=features)
    pair = session.pairs[0]
    chance = random.Random(4)
    for number in range(60):
        data = net.frame(number, chance.randrange(60, 1515))
        cuts = []
        while len(cuts) < 20 and sum(cuts) < len(data) - 60:
            cuts.append(chance.randrange(1, 60))
        pair.post()
        pair.send(data, cuts=cuts)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


@pytest.mark.row("HG2")
@pytest.mark.parametrize("features, lengths", [
    pytest.param(features, lengths, id=f"{name}-{'+'.join(map(str, lengths))}")
    for name, features, header in (("mergeable", FEATURES, 12), ("plain", PLAIN, 12),
                                   ("legacy", LEGACY, 10))
    for lengths in [[n] for n in range(1, 13)] + [[1, 1], [5, 5, 1], [10, 1], [6, 6]]
    if sum(lengths) <= header])
def test_chain_no_longer_than_the_header_is_dropped(start, features, lengths):
    session = start(features=features)
    pair = session.pairs[0]
    pair.post()
    place = session.memory.regions[-1].end - sum(lengths)
    # In groups of four, which a vector body would take at once, among good ones.
    frames = [net.frame(number) for number in range(4)]
    for data in frames[:2]:
        pair.send(data, publish=False)
    for _ in range(4):
        done, pieces = 0, []
        for length in lengths:
            pieces.append(Piece(place + done, length, False))
            done += length
        pair.transmit_ring.add(pieces, publish=False)
    for data in frames[2:]:
        pair.send(data, publish=False)
    pair.transmit_ring.publish()
    pair.transmit_ring.kick()
    net.check_echo(frames, [data for _, data in pair.receive(4)])
    pair.transmit_ring.wait_used(8)


@pytest.mark.row("HG2")
def test_header_without_frame_is_dropped(start):
    session = start()
    pair = session.pairs[0]
    pair.post()
    for _ in range(4):
        pair.send(b"")
    pair.transmit_ring.wait_used(4)
    session.echo()


@pytest.mark.row("HG2")
@pytest.mark.parametrize("size", range(1, 14))
def test_receive_buffer_shorter_than_the_header(start, size):
    """Too short to begin a frame in: nothing may be written beyond it, whatever comes of it."""
    session = start()
    pair = session.pairs[0]
    place = session.memory.allocate(4096, 4096)
    session.memory.write(place, b"\xee" * 4096)
    for i in range(8):
        pair.receive_ring.add([Piece(place + 256 * i, size, True)])
    pair.send(net.frame(1))
    pair.transmit_ring.wait_used(1)
    session.connection.barrier()
    for i in range(8):
        behind = session.memory.read(place + 256 * i + size, 256 - size)
        assert behind == b"\xee" * (256 - size), "written behind a receive buffer"
    for ring in session.rings:
        session.stop_ring(ring)


@pytest.mark.row("HG1", "HG3")
@pytest.mark.parametrize("buffer_size", [13, 20, 64, 100, 128, 255, 1000])
def test_frame_over_many_mergeable_buffers(start, buffer_size):
    session = start(ring_size=256)
    assert session.has(Feature.MRG_RXBUF)
    pair = session.pairs[0]
    place = session.memory.allocate(256 * 1024, 4096)
    for i in range(256):
        pair.post_pieces([Piece(place + 1024 * i, buffer_size, True)], publish=False)
    pair.receive_ring.publish()
    size = min(1514, buffer_size * 200)
    data = net.frame(1, size)
    pair.send(data)
    (header, got), = pair.receive(1)
    net.check_echo([data], [got])
    assert header.buffers == -(-(size + 12) // buffer_size)


@pytest.mark.row("HG7")
def test_frame_that_fits_no_plain_buffer(start):
    """Without mergeable buffers a frame longer than the buffer is dropped, and the ring goes on."""
    session = start(features=PLAIN)
    pair = session.pairs[0]
    place = session.memory.allocate(4096, 4096)
    for i in range(8):
        pair.post_pieces([Piece(place + 128 * i, 100, True)])
    pair.send(net.frame(1, 1000))
    pair.transmit_ring.wait_used(1)
    data = net.frame(2, 60)
    pair.send(data)
    frames = pair.receive(1)
    net.check_echo([data], [got for _, got in frames])


@pytest.mark.row("HG7")
@pytest.mark.parametrize("size", [1514, 2048, 9000, 16000, 65000])
def test_long_frames(start, size):
    session = start(ring_size=256, features=OFFLOADS)
    place = session.memory.allocate(128 * 1024, 4096)
    pair = session.pairs[0]
    for number in range(4):
        pair.post()
        data = net.frame(number, size)
        pair.send(data, place=place)
        (_, got), = pair.receive(1)
        net.check_echo([data], [got])
        pair.transmit_ring.wait_used(1)


def ipv4(protocol, body, identification=1):
    """A frame of IPv4 with a right header checksum."""
    total = 20 + len(body)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, identification, 0, 64, protocol, 0,
                       b"\x0a\0\0\1", b"\x0a\0\0\2")
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00" + head + body


def checksum(data, start=0):
    total = start
    data += b"\0" * (len(data) % 2)
    for (word,) in struct.iter_unpack("!H", data):
        total += word
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(protocol, length):
    return b"\x0a\0\0\1\x0a\0\0\2" + struct.pack("!BBH", 0, protocol, length)


def udp(payload, complete):
    length = 8 + len(payload)
    head = struct.pack("!HHHH", 1234, 5678, length, 0)
    start = ~checksum(pseudo(17, length)) & 0xFFFF
    value = checksum(head + payload, start) if complete else start
    return ipv4(17, head[:6] + struct.pack("!H", value or 0xFFFF) + payload)


def tcp(payload, complete=False, flags=0x18):
    length = 20 + len(payload)
    head = struct.pack("!HHIIBBHHH", 1234, 5678, 1, 1, 0x50, flags, 1000, 0, 0)
    start = ~checksum(pseudo(6, length)) & 0xFFFF
    value = checksum(head + payload, start) if complete else start
    return ipv4(6, head[:16] + struct.pack("!H", value) + head[18:] + payload)


def check_transport(data, header, protocol, offset):
    """The checksum is right in the frame, or asked for in the header and well begun."""
    segment = data[34:]
    if header.flags & net.NEEDS_CSUM:
        assert (header.checksum_start, header.checksum_offset) == (34, offset)
        field, = struct.unpack_from("!H", segment, offset)
        assert field == ~checksum(pseudo(protocol, len(segment))) & 0xFFFF
    else:
        start = ~checksum(pseudo(protocol, len(segment))) & 0xFFFF
        assert checksum(segment, start) == 0, "the checksum was neither made nor asked for"


@pytest.mark.row("HG9")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_checksum_left_to_the_device(start, transport):
    """What is sent without checksum comes back with one, or asks for one again."""
    session = start(features=OFFLOADS)
    if not session.has(Feature.CSUM):
        pytest.skip("the back-end does not offer CSUM")
    pair = session.pairs[0]
    pair.post()
    data = udp(bytes(range(100)), False) if transport == "udp" else tcp(bytes(range(100)))
    offset, protocol = (6, 17) if transport == "udp" else (16, 6)
    pair.send(data, net.Header(flags=net.NEEDS_CSUM, checksum_start=34, checksum_offset=offset))
    pair.transmit_ring.wait_used(1)
    (header, got), = pair.receive(1)
    assert got[12:34] == data[12:34]
    if got == data and not header.flags:
        pytest.skip("the application under test forwards without looking at checksum requests")
    check_transport(got, header, protocol, offset)


@pytest.mark.row("HG9")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_right_checksum_is_left_alone(start, transport):
    session = start(features=OFFLOADS)
    pair = session.pairs[0]
    pair.post()
    data = udp(bytes(99), True) if transport == "udp" else tcp(bytes(99), True)
    for flags in (0, net.DATA_VALID):
        pair.send(data, net.Header(flags=flags))
        (header, got), = pair.receive(1)
        assert got[12:] == data[12:]
        check_transport(got, header, 17 if transport == "udp" else 6, 0)


@pytest.mark.row("HG9")
def test_corners_of_the_offload_request(start, counts):
    """Requests that no frame can mean: each frame is dropped or comes, the ring always goes on."""
    session = start(features=OFFLOADS, ring_size=128)
    pair = session.pairs[0]
    edges = (0, 1, 13, 14, 33, 34, 35, 53, 54, 55, 60, 63, 64, 65, 100, 1000, 1500, 0x7FFF,
             0x8000, 0xFFFE, 0xFFFF)
    chance = random.Random(9)
    frames = [net.frame(1, size) for size in (18, 60, 64, 1000)]
    frames += [udp(bytes(n), False) for n in (0, 1, 100, 1400)]
    frames += [tcp(bytes(n)) for n in (0, 1, 100, 1400)]
    frames += [tcp(bytes(100))[:n] for n in range(1, 60)]
    for number in range(counts(50000, 1500)):
        header = net.Header(
            flags=chance.choice((0, 1, 2, 3, 4, 0xFF)),
            gso_type=chance.choice((0, 1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x84, 0xFF)),
            header_length=chance.choice(edges), gso_size=chance.choice(edges),
            checksum_start=chance.choice(edges), checksum_offset=chance.choice(edges),
            buffers=chance.choice(edges))
        data = chance.choice(frames)
        cuts = [chance.randrange(1, 40) for _ in range(chance.randrange(4))]
        total = len(data) + session.header_size
        while sum(cuts) >= total:
            cuts.pop()
        pair.post()
        pair.send(data, header, cuts=cuts)
        pair.transmit_ring.wait_used(1)
        for got in pair.receive_ring.take_used():
            pair.posted.pop(got.head)
        assert not any(ring.errors() for ring in session.rings)
    session.stop()
    for ring in session.rings:
        ring.reset()
        session.start_ring(ring)
    pair.posted.clear()
    session.enable()
    pair.flush()
    session.echo()


@pytest.mark.row("HG9")
@pytest.mark.parametrize("gso_type", [net.GSO_TCPV4, net.GSO_TCPV6, net.GSO_UDP, net.GSO_UDP_L4])
def test_segment_size_zero_is_harmless(start, gso_type):
    session = start(features=OFFLOADS)
    pair = session.pairs[0]
    pair.post()
    data = tcp(bytes(1400))
    pair.send(data, net.Header(flags=net.NEEDS_CSUM, gso_type=gso_type, header_length=54,
                               gso_size=0, checksum_start=34, checksum_offset=16))
    pair.transmit_ring.wait_used(1)
    session.connection.barrier()
    stays(lambda: not any(ring.errors() for ring in session.rings), "a ring was broken", 0.02)


@pytest.mark.row("HG9", "HG3")
def test_large_frame_comes_back_as_one_or_in_segments(start):
    session = start(features=OFFLOADS, ring_size=256)
    if not session.has(Feature.HOST_TSO4):
        pytest.skip("the back-end does not offer HOST_TSO4")
    pair = session.pairs[0]
    pair.post()
    place = session.memory.allocate(64 * 1024, 4096)
    payload = random.Random(1).randbytes(20000)
    data = tcp(payload)
    pair.send(data, net.Header(flags=net.NEEDS_CSUM, gso_type=net.GSO_TCPV4, header_length=54,
                               gso_size=1448, checksum_start=34, checksum_offset=16),
              place=place)
    pair.transmit_ring.wait_used(1)
    got = b""
    while len(got) < len(payload):
        for header, part in pair.receive(1):
            assert len(part) <= 54 + 1448 or header.gso_type & ~net.GSO_ECN == net.GSO_TCPV4
            got += part[54:]
    assert got == payload
