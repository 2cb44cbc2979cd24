# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Requests of every kind and shape against vhu-blk, on every kind of disk."""

import os
import signal
import struct
import subprocess

import pytest

import driver
from conftest import VHU_BLK, Disk
from driver import BlkSession, DISCARD, FLUSH, GET_ID, IN, IOERR, OK, OUT, UNSUPP, WRITE_ZEROES
from frontend import messages
from frontend.messages import Feature, Request, bit

FORMATS = {"split": driver.FEATURES, "packed": driver.FEATURES | bit(Feature.RING_PACKED)}


def pattern(size, seed):
    return bytes((i * 31 + i // 256 + seed) & 0xFF for i in range(size))


@pytest.mark.parametrize("features", FORMATS.values(), ids=FORMATS)
def test_what_is_written_is_read_however_it_is_cut(folder, kind, features):
    """Header, data and status over descriptors of any size, aligned or not."""
    path = folder / "s"
    with Disk(path, *kind), BlkSession(path, features) as session:
        session.start()
        for seed, (cut, offset) in enumerate([
                (None, 0), (4096, 0), (512, 0), (513, 0), (100, 0), (17, 0), (1000, 1), (2048, 7)]):
            data = pattern(512 if cut == 17 else 4096, seed)
            sector = 8 * seed + (seed & 1)
            assert session.do(OUT, sector, data, cut=cut, offset=offset) == (OK, b"")
            assert session.do(IN, sector, room=len(data), cut=cut, offset=offset) == (OK, data)
            assert session.do(FLUSH) == (OK, b"")


def test_large_requests_move_whole(folder, kind):
    """Several bounce buffers' worth, unaligned, and as one piece."""
    path = folder / "s"
    data = pattern(448 << 10, 3)
    with Disk(path, *kind), BlkSession(path) as session:
        session.start()
        for offset in (1, 512 - 16):
            assert session.do(OUT, 64, data, offset=offset) == (OK, b"")
            status, read = session.do(IN, 64, room=len(data), offset=512)
            assert status == OK and read == data


def test_zeroes_and_discard(folder, kind):
    """Write-zeroes with and without unmap gives zeros, discard too; only where it was asked for."""
    path = folder / "s"
    data = pattern(64 << 10, 9)
    with Disk(path, *kind), BlkSession(path) as session:
        session.start()
        assert session.do(OUT, 0, data)[0] == OK
        some = struct.pack("<QII", 8, 8, 0) + struct.pack("<QII", 32, 16, 1) + \
            struct.pack("<QII", 3, 0, 0)
        assert session.do(WRITE_ZEROES, 0, some)[0] == OK
        assert session.do(DISCARD, 0, struct.pack("<QII", 64, 8, 0))[0] == OK
        expected = bytearray(data)
        for first, count in ((8, 8), (32, 16), (64, 8)):
            expected[first * 512:(first + count) * 512] = bytes(count * 512)
        assert session.do(IN, 0, room=len(data)) == (OK, bytes(expected))


def test_discard_shrinks_a_file(folder):
    path, disk = folder / "s", folder / "disk"
    disk.write_bytes(os.urandom(1 << 20))
    with Disk(path, "--file", disk), BlkSession(path) as session:
        session.start()
        before = disk.stat().st_blocks
        assert session.do(DISCARD, 0, struct.pack("<QII", 0, 1024, 0))[0] == OK
        assert disk.stat().st_blocks <= before - 1000
        assert disk.stat().st_size == 1 << 20


def test_read_only_disk_refuses_writes(folder):
    path, disk = folder / "s", folder / "disk"
    content = pattern(8192, 1)
    disk.write_bytes(content)
    disk.chmod(0o400)
    with Disk(path, "--file", disk, "--read-only"), BlkSession(path) as session:
        session.start()
        assert session.offered & bit(driver.F_RO)
        assert not session.offered & bit(driver.F_DISCARD, driver.F_WRITE_ZEROES)
        assert session.do(OUT, 0, bytes(512))[0] == IOERR
        assert session.do(DISCARD, 0, struct.pack("<QII", 0, 8, 0))[0] == UNSUPP
        assert session.do(IN, 0, room=8192) == (OK, content)
    assert disk.read_bytes() == content


@pytest.mark.parametrize("block", [512, 1024, 2048, 4096])
def test_config_space_tells_the_truth(folder, block):
    path, disk = folder / "s", folder / "disk"
    disk.write_bytes(bytes(65536 + 512))
    with Disk(path, "--file", disk, "--block-size", str(block), "--queues", "3", "--serial",
              "twenty characters ok"), BlkSession(path, rings=3) as session:
        session.start()
        config = session.config()
        capacity, _, seg_max = struct.unpack_from("<QII", config)
        assert capacity == (65536 + 512) // block * (block // 512)
        assert struct.unpack_from("<I", config, 20)[0] == block
        assert struct.unpack_from("<H", config, 34)[0] == 3
        assert seg_max == 126
        wanted = bit(driver.F_SEG_MAX, driver.F_BLK_SIZE, driver.F_FLUSH, driver.F_TOPOLOGY,
                     driver.F_MQ, driver.F_DISCARD, driver.F_WRITE_ZEROES)
        assert session.offered & wanted == wanted
        for ring in session.rings:
            assert session.do(GET_ID, room=20, ring=ring) == (OK, b"twenty characters ok")
        # The last whole block can be read, and nothing behind it.
        assert session.do(IN, capacity - block // 512, room=block)[0] == OK
        assert session.do(IN, capacity, room=block)[0] == IOERR


def test_disk_with_blocks_of_4096_bytes(folder, kind):
    """4Kn: whole blocks are served, parts of one are refused, also of a range."""
    path = folder / "s"
    with Disk(path, *kind, "--block-size", "4096"), BlkSession(path) as session:
        session.start()
        data = pattern(8192, 4)
        assert session.do(OUT, 8, data) == (OK, b"")
        assert session.do(IN, 8, room=8192) == (OK, data)
        for sector, room in ((8, 512), (1, 4096), (9, 4096 - 512)):
            assert session.do(IN, sector, room=room)[0] == IOERR
            assert session.do(OUT, sector, bytes(room))[0] == IOERR
        for first, count in ((8, 1), (1, 8)):
            assert session.do(WRITE_ZEROES, 0, struct.pack("<QII", first, count, 0))[0] == IOERR
        assert session.do(WRITE_ZEROES, 0, struct.pack("<QII", 8, 8, 0))[0] == OK
        assert session.do(IN, 8, room=8192) == (OK, bytes(4096) + data[4096:])


@pytest.fixture(params=[512, 4096])
def loop_device(request, folder):
    """A block device of 4 MiB, and the size of its blocks."""
    image = folder / "image"
    image.write_bytes(bytes(4 << 20))
    done = subprocess.run(["losetup", "--find", "--show", "--sector-size", str(request.param),
                           image], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device can be had here: {done.stderr.strip()}")
    device = done.stdout.strip()
    yield device, request.param
    subprocess.run(["losetup", "--detach", device], check=True)


def test_block_device(folder, loop_device):
    """Its size and blocks are found, and everything reaches it; too small a block is refused."""
    path = folder / "s"
    device, block = loop_device
    if block != 512:
        done = subprocess.run([VHU_BLK, "--socket", path, "--file", device], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 1 and "--block-size 4096" in done.stderr
    with Disk(path, "--file", device, "--block-size", str(block)), \
            BlkSession(path) as session:
        session.start()
        assert struct.unpack_from("<Q", session.config())[0] == 8192
        data = pattern(65536, 6)
        for offset in (0, 7):
            assert session.do(OUT, 64, data, offset=offset) == (OK, b"")
            assert session.do(IN, 64, room=65536, offset=offset) == (OK, data)
        assert session.do(FLUSH) == (OK, b"")
        assert session.do(DISCARD, 0, struct.pack("<QII", 128, 64, 0))[0] == OK
        status, _ = session.do(WRITE_ZEROES, 0, struct.pack("<QII", 64, 8, 1))
        assert status in (OK, UNSUPP)
        zeros = 4096 if status == OK else 0
        assert session.do(IN, 64, room=8192) == (OK, bytes(zeros) + data[zeros:8192])
        assert session.do(FLUSH) == (OK, b"")
    with open(device, "rb") as file:
        file.seek(64 * 512 + 4096)
        assert file.read(4096) == data[4096:8192]


def test_disk_that_grows_is_larger_after_sighup(folder):
    """What is new can be used, config space says so; a file that shrinks changes nothing."""
    path, disk = folder / "s", folder / "disk"
    disk.write_bytes(bytes(1 << 20))
    with Disk(path, "--file", disk) as back, BlkSession(path) as session:
        session.start()
        assert session.do(OUT, 2048, bytes(512))[0] == IOERR
        os.truncate(disk, 3 << 20)
        back.child.send_signal(signal.SIGHUP)
        back.wait_for("3 MiB from now on")
        assert struct.unpack_from("<Q", session.config())[0] == 6144
        data = pattern(4096, 8)
        assert session.do(OUT, 6136, data) == (OK, b"")
        assert session.do(IN, 6136, room=4096) == (OK, data)
        os.truncate(disk, 1 << 20)
        back.child.send_signal(signal.SIGHUP)
        back.wait_for("smaller than it was")
        assert struct.unpack_from("<Q", session.config())[0] == 6144
        assert session.do(IN, 6136, room=4096)[0] == IOERR
        assert session.do(IN, 0, room=4096) == (OK, bytes(4096))


def test_malformed_requests_are_answered(folder, kind):
    """Errors come back as a status; the ring goes on."""
    path = folder / "s"
    with Disk(path, *kind), BlkSession(path) as session:
        session.start()
        assert session.do(77)[0] == UNSUPP
        assert session.do(IN, 1 << 60, room=512)[0] == IOERR
        assert session.do(IN, (1 << 64) - 1, room=512)[0] == IOERR
        assert session.do(OUT, 0, bytes(100))[0] == IOERR
        assert session.do(DISCARD, 0, bytes(15))[0] == IOERR
        assert session.do(DISCARD, 0, bytes(16 * 17))[0] == IOERR
        target = session.submit(b"short", 513)
        session.rings[0].wait_used(1)
        assert session.memory.read(target + 512, 1) == b"\x01"
        # No room for a status: it comes back with nothing written.
        session.submit(driver.header(OUT) + bytes(512), 0)
        assert session.rings[0].wait_used(1)[0].length == 0
        assert session.do(GET_ID, room=3) == (OK, b"vhu")


def test_ring_that_breaks_the_rules_is_given_up_and_no_other(folder):
    """An address outside memory: this disk stands still until the next front-end, others serve."""
    path, other = folder / "s", folder / "other"
    with Disk(path, "--malloc", "1M", "--socket", other, "--malloc", "1M") as disk:
        with BlkSession(path) as session, BlkSession(other) as neighbour:
            session.start()
            neighbour.start()
            ring = session.rings[0]
            ring.describe(0, 1 << 50, 16)
            ring.put_available(0)
            disk.wait_for("vhu-blk: .*: queue 0: ")
            assert neighbour.do(GET_ID, room=3) == (OK, b"vhu")
        with BlkSession(path) as session:
            session.start()
            assert session.do(GET_ID, room=3) == (OK, b"vhu")
        assert disk.stop() == 0


def test_chains_with_more_segments_than_announced(folder, kind):
    """Hundreds of descriptors in indirect tables, many at once."""
    path = folder / "s"
    with Disk(path, *kind), BlkSession(path, ring_size=256) as session:
        session.start()
        table = session.memory.allocate(16 * 600, 16)
        area, ring = session.area, session.rings[0]
        session.memory.write(area, driver.header(OUT, 8) + pattern(512 * 500, 5))
        pieces = [driver.Piece(area, 16, False)]
        pieces += [driver.Piece(area + 16 + 512 * i, 512, False) for i in range(500)]
        pieces.append(driver.Piece(area + (512 << 10), 1, True))
        for _ in range(60):
            ring.add_indirect(pieces, table)
        ring.wait_used(60)
        assert session.do(IN, 8, room=512 * 500) == (OK, pattern(512 * 500, 5))


def test_stalled_front_end_stops_nobody(folder):
    """Half a message, or unread answers, hold up neither other disks nor the end."""
    path, other = folder / "s", folder / "other"
    with Disk(path, "--null", "1M", "--socket", other, "--null", "1M") as disk:
        with BlkSession(path) as session, BlkSession(other) as neighbour:
            session.connection.sock.sendall(b"\x01\x00\x00\x00\x01")
            neighbour.start()
            assert neighbour.do(GET_ID, room=3) == (OK, b"vhu")
            question = messages.header(Request.GET_FEATURES, 0)
            neighbour.connection.sock.settimeout(0.2)
            with pytest.raises(OSError):
                for _ in range(100000):
                    neighbour.connection.sock.sendall(question)
            assert disk.stop() == 0


def test_memory_goes_while_requests_are_under_way(folder, kind):
    """SET_MEM_TABLE in the middle of a burst of writes: every one of them is finished first."""
    path = folder / "s"
    with Disk(path, *kind), BlkSession(path, ring_size=256) as session:
        session.start()
        for turn in range(20):
            for i in range(50):
                session.submit(driver.header(OUT, 8 * i) + pattern(4096, i + turn), 1,
                               offset=8192 * i)
            session.share_memory()
            session.rings[0].wait_used(50)
        for i in range(50):
            assert session.do(IN, 8 * i, room=4096) == (OK, pattern(4096, i + 19))


def test_front_end_vanishes_with_requests_under_way(folder, kind):
    """Over and over; the next one finds every block whole."""
    path = folder / "s"
    with Disk(path, *kind) as disk:
        for turn in range(10):
            with BlkSession(path, ring_size=256) as session:
                session.start()
                for i in range(50):
                    session.submit(driver.header(OUT, 8 * i) + bytes([turn + 1]) * 4096, 1,
                                   offset=8192 * i)
        with BlkSession(path) as session:
            session.start()
            for i in range(50):
                status, data = session.do(IN, 8 * i, room=4096)
                assert status == OK and len(set(data)) == 1
        assert disk.stop() == 0
