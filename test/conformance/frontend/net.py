# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Virtio-net on top of a pair of rings: headers, frames with numbers, buffers.

Frames carry a sequence number and a pattern made from it, so that any lost, doubled, swapped or
damaged frame is told from the right one. The back-end is expected to send each frame back to
where it came from; it may exchange or set the two MAC addresses (testpmd's macswap and mac modes).
"""

import random
import struct
from dataclasses import dataclass

from .ring import Piece, Timeout, wait_until

LEGACY_HEADER = struct.Struct("=BBHHHH")
HEADER = struct.Struct("=BBHHHHH")

NEEDS_CSUM = 1
DATA_VALID = 2
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_UDP = 3
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80

ETHERNET = 14
#: Set aside for experiments by IEEE 802.
ETHER_TYPE = b"\x88\xb5"
HEAD = struct.Struct("!I")
#: The shortest frame with a number in it.
SHORTEST = ETHERNET + HEAD.size


@dataclass
class Header:
    flags: int = 0
    gso_type: int = 0
    header_length: int = 0
    gso_size: int = 0
    checksum_start: int = 0
    checksum_offset: int = 0
    buffers: int = 0

    def pack(self, size):
        fields = (self.flags, self.gso_type, self.header_length, self.gso_size,
                  self.checksum_start, self.checksum_offset)
        return HEADER.pack(*fields, self.buffers) if size == HEADER.size \
            else LEGACY_HEADER.pack(*fields)

    @classmethod
    def unpack(cls, data, size):
        return cls(*(HEADER if size == HEADER.size else LEGACY_HEADER).unpack_from(data))


def frame(number, size=64, destination=b"\x02\0\0\0\0\x01", source=b"\x02\0\0\0\0\x02"):
    """A frame of `size` bytes that can be told from any other."""
    size = max(size, SHORTEST)
    body = random.Random(number * 0x10001 + size).randbytes(size - SHORTEST)
    return destination + source + ETHER_TYPE + HEAD.pack(number) + body


def number_of(data):
    return HEAD.unpack_from(data, ETHERNET)[0]


def same_frame(sent, received):
    """Equal but for what a forwarding mode may do to the MAC addresses."""
    return sent[12:] == received[12:]


def check_echo(sent, received):
    """Lists of frames: everything came back, once, in order and unharmed."""
    assert len(received) == len(sent), f"{len(received)} frames came back, {len(sent)} were sent"
    for position, (wanted, got) in enumerate(zip(sent, received)):
        if same_frame(wanted, got):
            continue
        found = f"number {number_of(got)} of {len(got)} bytes" if len(got) >= SHORTEST \
            else f"{len(got)} bytes"
        raise AssertionError(f"frame {position} (number {number_of(wanted)} of {len(wanted)} "
                             f"bytes) came back wrong: {found}")


class NetPair:
    """A queue pair as a driver uses it."""

    def __init__(self, memory, receive, transmit, header_size, mergeable, buffer_size=2048):
        self.memory = memory
        self.receive_ring = receive
        self.transmit_ring = transmit
        self.header_size = header_size
        self.mergeable = mergeable
        self.buffer_size = buffer_size
        # A large ring is not filled: memory is small.
        self.buffers = min(receive.size, 1024)
        self.receive_place = memory.allocate(self.buffers * buffer_size, 4096)
        self.transmit_place = memory.allocate(self.buffers * buffer_size, 4096)
        self.posted = {}

    @property
    def rings(self):
        return (self.receive_ring, self.transmit_ring)

    def post(self, count=None):
        """Give the device buffers to write frames into: as many as the ring holds by default."""
        ring = self.receive_ring
        room = min(ring.room, self.buffers - len(self.posted))
        count = room if count is None else count
        for _ in range(count):
            place = self.receive_place + ring.free[-1] % self.buffers * self.buffer_size
            self.post_pieces([Piece(place, self.buffer_size, True)], publish=False)
        ring.publish()
        return count

    def post_pieces(self, pieces, publish=True, indirect=None):
        ring = self.receive_ring
        if indirect is None:
            head = ring.add(pieces, publish)
        else:
            head = ring.add_indirect(pieces, indirect, publish)
        self.posted[head] = pieces
        return head

    def send_bytes(self, data, cuts=None, publish=True, indirect=None, place=None):
        """Send header and frame, cut into descriptors of these lengths (the last: the rest)."""
        ring = self.transmit_ring
        if place is None:
            # The head's slot names the buffer: two in flight never share one.
            assert len(data) <= self.buffer_size, "larger than the buffer: give a place"
            place = self.transmit_place + ring.free[-1] % self.buffers * self.buffer_size
        self.memory.write(place, data)
        pieces = []
        done = 0
        for length in cuts or []:
            pieces.append(Piece(place + done, length, False))
            done += length
        if done < len(data):
            pieces.append(Piece(place + done, len(data) - done, False))
        if indirect is None:
            return ring.add(pieces, publish)
        return ring.add_indirect(pieces, indirect, publish)

    def send(self, data, header=None, **options):
        """Send one frame."""
        header = header or Header()
        return self.send_bytes(header.pack(self.header_size) + data, **options)

    def _content(self, used):
        left = used.length
        data = b""
        for piece in self.posted.pop(used.head):
            count = min(left, piece.length)
            data += self.memory.read(piece.address, count)
            left -= count
        assert left == 0, f"used length {used.length} exceeds the buffer by {left} bytes"
        return data

    def take(self, pending):
        """Frames out of used entries; `pending` keeps those of a frame not yet complete."""
        pending.extend(self.receive_ring.take_used())
        frames = []
        while pending:
            data = self._content(pending[0])
            assert len(data) >= self.header_size, \
                f"a frame of {len(data)} bytes came, shorter than its header"
            header = Header.unpack(data, self.header_size)
            count = header.buffers if self.mergeable else 1
            assert count >= 1, "num_buffers is 0"
            if len(pending) < count:
                raise AssertionError(f"num_buffers is {count} but {len(pending)} were published")
            for used in pending[1:count]:
                data += self._content(used)
            del pending[:count]
            frames.append((header, data[self.header_size:]))
        return frames

    def receive(self, count, timeout=None):
        """Wait for `count` frames: a list of (header, frame)."""
        frames, pending = [], []

        def enough():
            frames.extend(self.take(pending))
            return len(frames) >= count

        try:
            wait_until(enough, f"pair of ring {self.receive_ring.index}: {count} frames", timeout)
        except Timeout as error:
            raise Timeout(f"{error} ({len(frames)} came)") from None
        return frames

    def flush(self, marker=0x7FFFFFFF):
        """Send a frame and wait for it, past those that were on their way through the application
        when the rings were stopped. Returns those that came before it."""
        self.post()
        self.transmit_ring.take_used()
        self.send(frame(marker))
        others, pending = [], []

        def came():
            frames = [data for _, data in self.take(pending)]
            others.extend(data for data in frames if number_of(data) != marker)
            self.post()
            return marker in map(number_of, frames)

        wait_until(came, f"pair of ring {self.receive_ring.index}: a frame after a restart")
        self.transmit_ring.take_used()
        return others

    def echo(self, count=16, size=64, first=1, kick=True):
        """Send frames, wait until they are back, and compare."""
        self.post()
        frames = [frame(first + i, size) for i in range(count)]
        for data in frames:
            self.send(data, publish=False)
        self.transmit_ring.publish()
        if kick:
            self.receive_ring.kick()
            self.transmit_ring.kick()
        received = [data for _, data in self.receive(count)]
        self.transmit_ring.wait_used(count)
        check_echo(frames, received)
