#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Write the seeds from which the fuzz targets start: one file per input.

Example: seeds.py fuzz_decode build/corpus/fuzz_decode
"""

import argparse
import pathlib
import struct
import sys

VERSION = 1
NEED_REPLY = 8

STATE = struct.Struct("<II")
U64 = struct.Struct("<Q")
REGION = struct.Struct("<QQQQ")

# Well-formed payload and number of descriptors of each request, as the vhost-user document has it.
REQUESTS = {
    1: (b"", 0),
    2: (U64.pack(0x140000000), 0),
    3: (b"", 0),
    4: (b"", 0),
    5: (STATE.pack(1, 0) + REGION.pack(0, 0x10000, 0x10000000, 0), 1),
    6: (struct.pack("<QQ", 4096, 0), 1),
    7: (b"", 1),
    8: (STATE.pack(0, 256), 0),
    9: (struct.pack("<IIQQQQ", 0, 0, 0x10000000, 0x10002000, 0x10001000, 0), 0),
    10: (STATE.pack(0, 0), 0),
    11: (STATE.pack(0, 0), 0),
    12: (U64.pack(0), 1),
    13: (U64.pack(0), 1),
    14: (U64.pack(0x100), 0),
    15: (b"", 0),
    16: (U64.pack(0x8009), 0),
    17: (b"", 0),
    18: (STATE.pack(0, 1), 0),
    19: (U64.pack(0x0000563412005452), 0),
    20: (U64.pack(1500), 0),
    21: (b"", 1),
    22: (struct.pack("<QQQBB6x", 0, 4096, 0x10000000, 3, 2), 0),
    23: (STATE.pack(0, 0), 0),
    24: (struct.pack("<III8x", 0, 8, 0), 0),
    25: (struct.pack("<III8x", 0, 8, 1), 0),
    26: (bytes(64), 0),
    27: (U64.pack(1), 0),
    28: (b"", 0),
    29: (b"", 0),
    30: (b"", 0),
    31: (struct.pack("<QQHH4x", 0, 0, 1, 256), 0),
    32: (struct.pack("<QQHH", 8192, 0, 1, 256), 1),
    33: (b"", 1),
    34: (b"", 0),
    35: (STATE.pack(0, 0), 0),
    36: (b"", 0),
    37: (bytes(8) + REGION.pack(0x20000, 0x10000, 0x20000000, 0), 1),
    38: (bytes(8) + REGION.pack(0x20000, 0x10000, 0x20000000, 0), 0),
    39: (U64.pack(0xF), 0),
    40: (b"", 0),
    41: (bytes(range(16)), 0),
    42: (STATE.pack(0, 0), 1),
    43: (b"", 0),
    44: (b"", 0),
    45: (STATE.pack(0, 0), 0),
}


def decode_seeds():
    """One well-formed message per request, everything negotiated, two rings."""
    for request, (payload, descriptors) in REQUESTS.items():
        gates = struct.pack("<QQIB", 2**64 - 1, 2**64 - 1, 2, descriptors)
        header = struct.pack("<III", request, VERSION | NEED_REPLY, len(payload))
        yield gates + header + payload


# The steps of fuzz_session.c, and the kinds of descriptors of session.c.
STEP_MESSAGE, STEP_WRITE, STEP_BURST, STEP_ENTER, STEP_LEAVE = 0, 3, 4, 5, 6
STEP_PROGRESS, STEP_RECONNECT, STEP_LOOK = 7, 8, 9
MEMORY, MEMORY_TOO, EVENT, FULL_EVENT, BROKEN_PIPE, READ_ONLY = 0, 1, 3, 5, 6, 10
CHANNEL, SAVE, LOAD = 12, 13, 14
NO_MEMORY, BARE, HASTY = 0x20, 0x40, 0x80
RIGHT_SIZE, RIGHT_DESCRIPTORS = b"\0", 15

# Memory as the front-end addresses it, and the rings of 256 entries in it.
USER = 0x10000000
RING_BYTES = 0x4000
RING_SIZE = 256
VERSION_1, EVENT_IDX, INDIRECT, PROTOCOL_FEATURES = 1 << 32, 1 << 29, 1 << 28, 1 << 30
FEATURES = VERSION_1 | PROTOCOL_FEATURES
EVERYTHING = FEATURES | EVENT_IDX | INDIRECT
MQ, REPLY_ACK, MTU, CONFIG, RESET = 1 << 0, 1 << 3, 1 << 4, 1 << 9, 1 << 13
SLOTS, STATUS = 1 << 15, 1 << 16
BACKEND_REQ, SEND_FD, IN_BAND = 1 << 5, 1 << 10, 1 << 14
OBJECT, DEVICE_STATE, SHMEM = 1 << 18, 1 << 19, 1 << 22


def message(request, payload=None, kinds=None):
    """A message; payload and descriptors are those of REQUESTS unless given."""
    default, count = REQUESTS[request]
    payload = default if payload is None else payload
    if kinds is None:
        descriptors = bytes([RIGHT_DESCRIPTORS]) + bytes([EVENT] * count)
    else:
        descriptors = bytes([len(kinds)]) + bytes(kinds)
    return bytes([STEP_MESSAGE, request, NEED_REPLY]) + RIGHT_SIZE + payload + descriptors


def write(offset, data, file=MEMORY):
    """The guest writes into its memory."""
    return struct.pack("<BBHB", STEP_WRITE, file, offset, len(data)) + data


def negotiate(features=EVERYTHING, protocol=MQ | REPLY_ACK | MTU | CONFIG | RESET | SLOTS | STATUS):
    """What a front-end says first."""
    return b"".join((message(3), message(1), message(15), message(16, U64.pack(protocol)),
                     message(17), message(36), message(2, U64.pack(features))))


def region(guest, user, size=0x10000, offset=0):
    """Description of a region."""
    return REGION.pack(guest, size, user, offset)


def table(*regions, kinds=(MEMORY, MEMORY_TOO)):
    """SET_MEM_TABLE."""
    return message(5, STATE.pack(len(regions), 0) + b"".join(regions), kinds[:len(regions)])


def add(description, kind=MEMORY):
    """ADD_MEM_REG."""
    return message(37, bytes(8) + description, [kind])


def remove(description):
    """REM_MEM_REG."""
    return message(38, bytes(8) + description)


def addresses(ring, flags=0):
    """SET_VRING_ADDR."""
    start = USER + ring * RING_BYTES
    return message(9, struct.pack("<IIQQQQ", ring, flags, start, start + 0x2000, start + 0x1000,
                                  0))


def start(ring, call=EVENT, enable=1):
    """Everything that makes a ring run."""
    return b"".join((message(8, STATE.pack(ring, RING_SIZE)), message(10, STATE.pack(ring, 0)),
                     addresses(ring), message(13, U64.pack(ring), [call]),
                     message(14, U64.pack(ring), [EVENT]), message(12, U64.pack(ring), [EVENT]),
                     message(18, STATE.pack(ring, enable))))


def offer(ring, *descriptors, index=1):
    """Descriptors (address, length, flags, next) of one chain at entry index - 1."""
    at = ring * RING_BYTES
    entries = b"".join(struct.pack("<QIHH", *descriptor) for descriptor in descriptors)
    return (write(at, entries) + write(at + 0x1000 + 4 + 2 * (index - 1), struct.pack("<H", 0)) +
            write(at + 0x1000, struct.pack("<HH", 0, index)))


def burst(ring, count):
    """An lcore bursts."""
    return bytes([STEP_BURST, ring, count])


def session_seeds():
    """Whole sessions, from the usual one to the awkward ones; the first byte holds options."""
    one, two = region(0, USER), region(0x100000, USER + 0x100000)
    readable, writable = (0xC000, 64, 0, 0), (0xC000, 1526, 2, 0)
    stop = message(11)
    look, progress, again = bytes([STEP_LOOK]), bytes([STEP_PROGRESS]), bytes([STEP_RECONNECT])
    enter, leave = bytes([STEP_ENTER, 0]), bytes([STEP_LEAVE, 0, 2])
    ready = negotiate() + table(one, two) + start(0)
    plain = negotiate(FEATURES) + table(one) + start(0)
    yield b"\x01" + ready + offer(0, readable) + burst(0, 2) + look + stop
    yield b"\x01" + plain + offer(0, writable) + burst(0, 3) + look + stop
    yield b"\x01" + ready + offer(0, (0xC000, 10, 1, 1), (0xFFF0, 16, 1, 2), readable) + \
        burst(0, 32) + burst(0, 32)
    yield b"\x01" + ready + write(0xC000, struct.pack("<QIHH", 0xD000, 60, 0, 0)) + \
        offer(0, (0xC000, 16, 4, 0)) + burst(0, 2)
    yield b"\x01" + ready + offer(0, readable, index=300) + burst(0, 2) + look + stop + start(0)
    yield b"\x01" + ready + start(1) + stop + message(11, STATE.pack(1, 0)) + start(0) + start(1)
    yield b"\x09" + negotiate() + add(one) + start(0) + add(two, MEMORY_TOO) + progress + \
        enter + remove(two) + progress + leave + progress + stop + progress
    yield b"\x09" + ready + enter + progress + stop + leave + progress + look
    yield b"\x0d" + negotiate() + table(one) + enter + table(one, two) + leave + table(two)
    yield b"\x01" + negotiate() + add(one) + start(0) + remove(one) + burst(0, 2) + look
    yield b"\x01" + ready + again + ready + offer(0, readable) + burst(0, 2)
    yield b"\x09" + ready + enter + again + leave + negotiate()
    yield b"\x10" + plain + look
    yield b"\x01" + negotiate() + table(one) + start(0, call=FULL_EVENT) + offer(0, readable) + \
        burst(0, 2)
    yield b"\x01" + negotiate() + table(one) + start(0, call=BROKEN_PIPE) + offer(0, readable) + \
        burst(0, 2)
    yield b"\x01" + negotiate() + table(one, kinds=(READ_ONLY,)) + add(region(1, USER + 1, 4096, 1))
    yield b"\x01" + negotiate() + add(region(0, USER, 0x8000, 0x801)) + start(0) + burst(0, 2)
    yield b"\x01" + ready + message(13, U64.pack(0x100), []) + message(13) + addresses(0, 1) + \
        message(2, U64.pack(EVERYTHING | 1 << 26)) + burst(0, 2)
    yield b"\x01" + ready + message(4) + burst(0, 2) + message(34) + look + start(0)
    yield b"\x01" + message(3) + message(2, U64.pack(VERSION_1)) + table(one) + start(0) + \
        offer(0, readable) + burst(0, 2)
    for allocation in range(1, 30):
        yield bytes([NO_MEMORY | 1, allocation]) + ready + add(region(0x40000, 1)) + stop + again
    yield bytes([HASTY | 9]) + ready + progress + enter + ready + ready + leave + ready
    yield bytes([BARE | 1]) + negotiate(protocol=REPLY_ACK) + table(one) + start(0) + stop
    yield b"\x01" + ready + 70 * message(33)
    yield b"\x01" + negotiate() + add(one) + add(region(0x8000, 1)) + add(region(1 << 40, USER + 1))
    yield b"\x01" + ready + write(0x1000, struct.pack("<HHH", 0, 1, RING_SIZE)) + burst(0, 2)
    channel = message(21, kinds=[CHANNEL])
    in_band = negotiate(protocol=REPLY_ACK | BACKEND_REQ | SEND_FD | IN_BAND) + table(one)
    quiet = message(8, STATE.pack(0, RING_SIZE)) + addresses(0) + message(18, STATE.pack(0, 1))
    yield b"\x01" + in_band + channel + quiet + message(35) + offer(0, readable) + \
        burst(0, 2) + progress + stop + progress
    yield b"\x01" + in_band + quiet + message(35) + offer(0, readable, index=300) + burst(0, 2) + \
        look + channel + progress + channel + look + again
    yield b"\x01" + in_band + channel + start(0) + message(35) + \
        message(13, U64.pack(0x100), []) + burst(0, 2) + progress + stop
    yield b"\x11" + ready + offer(0, readable) + burst(0, 2) + progress + stop
    state = negotiate(protocol=REPLY_ACK | DEVICE_STATE)
    save, load = message(42, kinds=[SAVE]), message(42, STATE.pack(1, 0), [LOAD])
    yield b"\x01" + state + save + progress + message(43) + look
    yield b"\x01" + state + load + progress + message(43) + save + load + again
    yield b"\x01" + state + load + message(43) + table(one) + start(0) + save + load + look
    shared = negotiate(protocol=REPLY_ACK | BACKEND_REQ | SEND_FD | OBJECT | SHMEM | CONFIG)
    yield b"\x01" + shared + channel + message(41) + message(41, bytes([1] * 16)) + message(44) + \
        message(25) + message(25, struct.pack("<III8x", 250, 8, 1)) + message(33)
    yield b"\x01" + negotiate(protocol=IN_BAND)
    for request in REQUESTS:
        yield b"\x01" + ready + message(request) + look


def ring_seeds():
    """A ring of each kind, with chains that are offered, taken and given back."""
    def offered(number, flags=0, address=64):
        return bytes([64]) + struct.pack("<HHHBH", number, address, 100, flags, number + 1)

    take, give, flush, untake, again = b"\x9e\x9f", bytes([144]), bytes([145, 255]), \
        bytes([146, 1]), bytes([149]) + bytes(4)
    back = give + bytes(6) + flush
    changed = b"\x0f\x09\x02" + struct.pack("<HHH", 0x1800, 0x1000, 0x2800)
    gone, fetched = b"\x0f\x08\x02" + struct.pack("<HHH", 0x1000, 0x1000, 0), b"\x12"
    for kind in range(512):
        header = struct.pack("<HB", kind, 15) + bytes(13)
        chain = offered(0, 1) + offered(1, 2)
        yield header + chain + take + back + chain + take + untake + take + again + take + back
        yield header + offered(3, 4, 0x100) + \
            b"\x00\x03" + struct.pack("<HB", 0x100, 15) + struct.pack("<QIHH", 0x1040, 8, 0, 0) + \
            take + again + take + back
        if kind & 0x180:
            yield header + chain + take + changed + back + fetched + chain + take + gone + \
                chain + take + back + changed + take + back


def control_seeds():
    """Well-formed commands of each kind, everything negotiated."""
    address = bytes([2, 0, 0, 0, 0, 1])
    rss = struct.pack("<IHH8HH", 0x3F, 7, 0, *range(4), *range(4), 4) + bytes([40]) + bytes(40)
    table = struct.pack("<I", 2) + 2 * address + struct.pack("<I", 1) + address
    commands = [bytes([0, mode, 1]) for mode in range(6)] + \
        [b"\1\0" + table, b"\1\1" + address, b"\2\0\5\0", b"\2\1\5\0", b"\3\0",
         b"\4\0\4\0", b"\4\1" + rss, b"\4\2" + struct.pack("<I8x", 0x3F) + b"\x28" + bytes(40),
         b"\5\0" + bytes(8), b"\x08\0"]
    kinds = {0: 1, 1: 1 << 16, 8: 1 << 32}
    get = b"\x08\1" + b"".join(struct.pack("<HHHHQ", ring, 0, 0, 0, kind)
                                for ring, kind in kinds.items())
    commands += [get, get + get]
    record = [struct.pack("<HH", room, len(one)) + one
              for one in commands for room in (4096, 60)]
    for pairs in (0, 3):
        for one in record:
            yield bytes([255] * 8 + [pairs]) + one
        yield bytes([255] * 8 + [pairs]) + b"".join(record)
        yield bytes(9) + b"".join(record)


def state_seeds():
    """States with and without a control queue, as saved, changed, cut off, and from nowhere."""
    for control in (0, 1):
        head = bytes([control, 3]) + bytes([255] * 8)
        yield head + bytes([0, 0, 0])
        for at in (0, 4, 6, 8, 12, 20, 532, 536, 540, 542, 544, 546, 548):
            yield head + b"\1" + struct.pack("<HBH", at, 3, 0)
        yield head + bytes([0]) + struct.pack("<H", 1)
        yield head + bytes([0, 0, 0]) + struct.pack("<IHHHH", 0x6E756876, 1, 12, 1500, 0)


TARGETS = {"fuzz_control": control_seeds, "fuzz_decode": decode_seeds, "fuzz_ring": ring_seeds,
           "fuzz_session": session_seeds, "fuzz_state": state_seeds}


def main():
    """Write the seeds of one target into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog=__doc__.splitlines()[-1])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, seed in enumerate(TARGETS[arguments.target](), 1):
        (arguments.folder / f"seed-{count:03}").write_bytes(seed)
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
