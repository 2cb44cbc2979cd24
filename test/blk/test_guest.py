# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Linux guests on disks of vhu-blk. VHU_LONG=1 writes 1 GiB; otherwise as much as one waits for.

A second disk, read-only, brings the program that writes and verifies (guest_writer.c).
"""

import os
import random
import signal
import time

import pytest

from conftest import Disk
from rig import place
from rig.guest import Guest

MIB = 1 << 20
WRITER = place.BUILD / "test" / "blk" / "guest_writer"


class BlkGuest(Guest):
    """A guest with the disks vda, under test, and vdb, a program that becomes /tmp/writer."""

    def __init__(self, folder, queues=1, options="", reconnect=False):
        again = ",reconnect=1" if reconnect else ""
        devices = []
        for name, count, more in (("s", queues, options), ("tool", 1, "")):
            devices += ["-chardev", f"socket,id={name},path={folder / name}{again}",
                        "-device", f"vhost-user-blk-pci,chardev={name},num-queues={count},"
                                   f"vectors=0{more}"]
        super().__init__(folder, [], cpus=queues, extra=devices)

    def boot(self):
        version = super().boot()
        self.must("cat /dev/vdb >/tmp/writer && chmod 755 /tmp/writer", 120)
        return version


def disks(folder, size, *words):
    """vhu-blk with a file of so many MiB, and with the program."""
    disk, tool = folder / "disk", folder / "tool.img"
    if not disk.exists():
        disk.touch()
        os.truncate(disk, size * MIB)
    program = WRITER.read_bytes()
    tool.write_bytes(program + bytes(-len(program) % 512))
    back = Disk(folder / "s", "--file", disk, "--serial", "the disk", *words, "--socket",
                folder / "tool", "--file", tool, "--read-only")
    back.wait_for(r"^vhu-blk: \S+/tool: ")
    return back


@pytest.fixture(autouse=True)
def guest_there():
    reason = place.guest_missing()
    if reason:
        pytest.skip(reason)


LONG = os.environ.get("VHU_LONG") == "1"
RINGS = {"split": "", "packed": ",packed=on", "split-no-event-idx": ",event_idx=off",
         "packed-no-event-idx": ",packed=on,event_idx=off"}
# Each ring with one queue and with four; otherwise each with one of the two.
VARIANTS = [pytest.param(queues, options, id=f"{name}-{queues}")
            for i, (name, options) in enumerate(RINGS.items())
            for queues in ((1, 4) if LONG else ((1, 4, 4, 1)[i],))]


@pytest.mark.parametrize("queues,options", VARIANTS)
def test_guest_writes_verifies_and_makes_a_file_system(folder, often, queues, options):
    """Random writes read back, a file system whose file survives, space that discard gives back."""
    size = often(16, 1024)
    with disks(folder, size, "--queues", "4") as back, \
            BlkGuest(folder, queues, options) as guest:
        guest.boot()
        assert "the disk" in guest.must("echo $(cat /sys/block/vda/serial)")
        assert guest.must("ls /sys/block/vda/mq | wc -l").split()[-1] == str(queues)
        guest.must(f"/tmp/writer /dev/vda {size} 8 1", often(300, 3000))
        full = (folder / "disk").stat().st_blocks
        assert full >= size * 2048
        guest.must("blkdiscard /dev/vda", 60)
        assert (folder / "disk").stat().st_blocks < full / 10
        guest.must("mke2fs /dev/vda >/dev/null && mkdir -p /tmp/m && "
                   "mount -t ext2 /dev/vda /tmp/m", 120)
        guest.must("dd if=/dev/urandom of=/tmp/m/file bs=1M count=8 2>/dev/null", 120)
        before = guest.must("sha256sum </tmp/m/file", 60).split()[-2]
        guest.must("umount /tmp/m && echo 3 >/proc/sys/vm/drop_caches && "
                   "mount -t ext2 /dev/vda /tmp/m", 120)
        assert guest.must("sha256sum </tmp/m/file", 60).split()[-2] == before
        guest.must("umount /tmp/m", 60)
        guest.close()
        assert back.stop() == 0


def test_guest_cannot_write_a_read_only_disk(folder):
    (folder / "disk").write_bytes(os.urandom(MIB))
    content = (folder / "disk").read_bytes()
    with disks(folder, 1, "--read-only") as back, BlkGuest(folder) as guest:
        guest.boot()
        assert guest.must("cat /sys/block/vda/ro").split()[-1] == "1"
        assert guest.run("dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct")[0] != 0
        guest.must("dd if=/dev/vda of=/dev/null bs=4096 iflag=direct")
        guest.close()
        assert back.stop() == 0
    assert (folder / "disk").read_bytes() == content


def test_guest_sees_a_disk_with_large_blocks_grow(folder):
    """4Kn, and a file that is made larger while the guest uses it: SIGHUP tells."""
    words = ["--queues", "1", "--block-size", "4096"]
    with disks(folder, 16, *words) as back, BlkGuest(folder) as guest:
        guest.boot()
        blocks = "cat /sys/block/vda/queue/logical_block_size"
        assert guest.must(blocks).split()[-1] == "4096"
        assert [guest.run(f"/tmp/writer /dev/vda {size}")[0] for size in (4096, 512)] == [0, 1]
        os.truncate(folder / "disk", 32 * MIB)
        back.child.send_signal(signal.SIGHUP)
        guest.must("n=0; until [ $(cat /sys/block/vda/size) = 65536 ] || [ $n -gt 200 ]; do "
                   "usleep 100000; n=$((n + 1)); done; [ $(cat /sys/block/vda/size) = 65536 ]")
        guest.must("/tmp/writer /dev/vda 32 4 1", 300)
        # And it writes to what was added.
        assert (folder / "disk").stat().st_blocks >= 32 * 2048
        guest.close()
        assert back.stop() == 0


@pytest.mark.parametrize("options", RINGS.values() if LONG else list(RINGS.values())[:3],
                         ids=list(RINGS) if LONG else list(RINGS)[:3])
def test_guest_survives_that_the_back_end_is_killed(folder, often, options):
    """QEMU connects again and hands the in-flight area over; the guest notices a pause at most."""
    moments = random.Random(1)
    words = ["--queues", "2", "--stats-period", "0.05"]
    back = disks(folder, 16, *words)
    try:
        with BlkGuest(folder, 2, options, reconnect=True) as guest:
            guest.boot()
            guest.must("/tmp/writer /dev/vda 16 8 0 >/tmp/said 2>&1 & echo $! >/tmp/pid")
            for _ in range(often(3, 100)):
                # Its clock for trying again is a second; then writes go on, at some place.
                back.wait_for(r" [1-9]\d* writes/s", 30)
                time.sleep(moments.uniform(0, 0.5))
                back.kill()
                back = disks(folder, 16, *words)
            status, output = guest.run(
                "touch /tmp/stop; wait $(cat /tmp/pid) || { cat /tmp/said; false; }", 300)
            assert status == 0, output
            assert int(guest.must("cat /tmp/said").split()[-2]) >= 1
    finally:
        back.stop()
