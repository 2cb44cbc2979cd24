# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Programs that were written for libvhost-user, unmodified, on ours.

A Linux guest uses the block device and the network bridge. What is not run, and why:
qemu-storage-daemon and virtiofsd are parts of QEMU's own build, which is not done here. A program
that needs what this machine lacks (uinput) is started up to the point where it misses that.
"""

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from rig import place
from rig.guest import Guest, ping_statistics
from rig.process import Process, wait_until

DISK_MIB = 64


@pytest.fixture
def bootable():
    """Skips where no guest can be booted."""
    reason = place.guest_missing()
    if reason:
        pytest.skip(reason)


def serve(programs, name, path, *words):
    """Start a program of ours that listens on the socket."""
    process = Process(name, [programs / "ours" / name, *words])
    wait_until(lambda: path.exists() or not process.running(), 20, f"{name} to listen")
    assert process.running(), process.tail()
    return process


def usage_of(programs, name, *words):
    """Run a program that ends by itself; give its status and all that it said."""
    done = subprocess.run([programs / "ours" / name, *words], capture_output=True, text=True,
                          timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def disk(folder, programs, *words):
    """vhost-user-blk with an image, and the words that give it to a guest."""
    image, path = folder / "disk.img", folder / "disk.sock"
    with open(image, "ab") as file:
        file.truncate(DISK_MIB << 20)
    process = serve(programs, "vhost-user-blk", path, "-s", path, "-b", image, *words)
    return process, ["-chardev", f"socket,id=d0,path={path}",
                     "-device", "vhost-user-blk-pci,chardev=d0,num-queues=1,vectors=0"]


def mount(guest, make=False):
    """Mount the disk at /mnt, with a new file system or with what is there."""
    if make:
        guest.must("mke2fs -b 4096 /dev/vda >/dev/null")
    guest.must("mkdir -p /mnt && mount -t ext4 /dev/vda /mnt")


def fill(guest):
    """Write files of random bytes; give their checksums."""
    guest.must("for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/file$i bs=64k count=64 2>/dev/null"
               " || break; done; sync", timeout=120)
    return sums(guest)


def sums(guest):
    """What is on the disk, read from the disk."""
    guest.must("echo 3 >/proc/sys/vm/drop_caches")
    return guest.must("cd /mnt && sha256sum file*; cd /", timeout=120).splitlines()


def test_link_test_runs(programs):
    assert subprocess.run([programs / "ours" / "link-test"], check=False).returncode == 0


def test_guest_reads_after_a_reboot_what_it_wrote(programs, folder, bootable):
    process, words = disk(folder, programs)
    with process, Guest(folder, [], extra=words) as guest:
        guest.boot()
        mount(guest, make=True)
        written = fill(guest)
        assert len(written) == 4
        guest.must("umount /mnt")
        guest.reset()
        guest.boot()
        mount(guest)
        assert sums(guest) == written
        guest.must("umount /mnt")


def test_guest_reads_from_a_new_process_what_it_wrote(programs, folder, bootable):
    process, words = disk(folder, programs)
    with process, Guest(folder, [], extra=words) as guest:
        guest.boot()
        mount(guest, make=True)
        written = fill(guest)
        guest.must("umount /mnt")
    assert process.child.returncode in (0, -15)
    (folder / "disk.sock").unlink(missing_ok=True)
    process, words = disk(folder, programs, "-r")
    with process, Guest(folder, [], extra=words) as guest:
        guest.boot()
        guest.must("mkdir -p /mnt && mount -t ext4 -o ro /dev/vda /mnt")
        assert sums(guest) == written
        assert guest.run("dd if=/dev/zero of=/dev/vda bs=4k count=1 2>&1")[0] != 0


def test_block_device_ends_when_the_front_end_has_gone(programs, folder):
    process, _ = disk(folder, programs)
    with process:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(folder / "disk.sock"))
        client.close()
        assert process.finish(20) == 0


def bridge_pair(programs, folder):
    """Two bridges that send each other what their guests send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    paths = [folder / "a.sock", folder / "b.sock"]
    return paths, [
        serve(programs, "vhost-user-bridge", path, "-u", path, "-l", f"127.0.0.1:{here}",
              "-r", f"127.0.0.1:{there}")
        for path, here, there in zip(paths, ports, reversed(ports))]


def test_frames_pass_through_two_bridges(programs, folder, bootable):
    paths, (one, two) = bridge_pair(programs, folder)
    with one, two, Guest(folder, paths) as guest:
        guest.boot()
        guest.address("eth0", "10.1.0.1/24")
        guest.second_host("eth1", "10.1.0.2/24")
        for size in (8, 1400):
            sent, received = ping_statistics(
                guest.must(f"ping -c 20 -i 0.05 -W 5 -s {size} 10.1.0.2"))
            assert sent == received == 20
        guest.make_file(1)
        guest.must("httpd -p 10.1.0.1:80 -h /tmp")
        guest.must(guest.inside("wget -q -O /tmp/copy http://10.1.0.1/file"), timeout=120)
        assert guest.checksum("copy") == guest.checksum("file")
    for process in (one, two):
        assert process.child.returncode in (0, -15), process.tail()


def test_bridge_serves_a_guest_again_after_a_reset(programs, folder, bootable):
    paths, (one, two) = bridge_pair(programs, folder)
    with one, two, Guest(folder, paths) as guest:
        for _ in range(2):
            guest.boot()
            guest.address("eth0", "10.1.0.1/24")
            guest.second_host("eth1", "10.1.0.2/24")
            guest.must("ping -c 3 -W 5 10.1.0.2")
            guest.reset()
        guest.boot()


def test_iscsi_device_ends_when_it_cannot_reach_its_target(programs, folder):
    if not (programs / "ours" / "vhost-user-scsi").exists():
        pytest.skip("built without libiscsi-dev")
    status, said = usage_of(programs, "vhost-user-scsi", "-h")
    assert status == 0 and "iscsi" in said.lower()
    # Nothing answers at that port; it has to say so to whoever connects, not hang.
    path = folder / "s.sock"
    with serve(programs, "vhost-user-scsi", path, f"--socket-path={path}",
               "--iscsi-uri=iscsi://127.0.0.1:1/none/0") as process:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert process.finish(20) != 0


class Target:
    """Debian's iSCSI target with one disk, and vhost-user-scsi on it.

    Both live in a network namespace of their own: the target takes no port of this machine, and
    nobody else reaches it.
    """

    NAME = "iqn.2026-11.test.vhu:disk"
    SCRIPT = """
        set -e
        ip link set lo up
        mkdir -p /run/tgtd
        tgtd -f -C $1 >$2/tgtd.log 2>&1 &
        n=0
        until tgtadm -C $1 --lld iscsi --op show --mode sys >/dev/null 2>&1; do
            n=$((n + 1)); [ $n -lt 200 ]; sleep 0.05
        done
        tgtadm -C $1 --lld iscsi --op new --mode target --tid 1 -T $3
        tgtadm -C $1 --lld iscsi --op new --mode logicalunit --tid 1 --lun 1 -b $2/scsi.img
        tgtadm -C $1 --lld iscsi --op bind --mode target --tid 1 -I ALL
        echo "the target is there"
        "$4" --socket-path=$2/scsi.sock --iscsi-uri=iscsi://127.0.0.1/$3/1
        """

    def __init__(self, folder, program, mib):
        self.image = folder / "scsi.img"
        self.image.write_bytes(os.urandom(mib << 20))
        # Its control socket is named by a number below 32768.
        self.number = 1000 + os.getpid() % 30000
        self.process = Process("iscsi", [
            "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
            self.SCRIPT, "sh", self.number, folder, self.NAME, program])
        path = folder / "scsi.sock"
        wait_until(lambda: path.exists() or not self.process.running(), 30, "vhost-user-scsi")
        assert self.process.running(), self.process.tail()
        self.words = ["-chardev", f"socket,id=s0,path={path}",
                      "-device", "vhost-user-scsi-pci,chardev=s0,vectors=0"]

    def checksum(self):
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        for left in Path("/run/tgtd").glob(f"socket.{self.number}*"):
            left.unlink()


def test_guest_reads_and_writes_an_iscsi_disk(programs, folder, bootable):
    """vhost-user-scsi hands the guest's SCSI commands to a real target and the answers back."""
    program = programs / "ours" / "vhost-user-scsi"
    if not program.exists():
        pytest.skip("built without libiscsi-dev")
    if not place.program("tgtd"):
        pytest.skip("there is no iSCSI target: tgt is not installed (tools/setup test does)")
    with Target(folder, program, 16) as target, Guest(folder, [], extra=target.words) as guest:
        guest.boot()
        guest.must("for m in scsi_common scsi_mod sd_mod virtio_scsi; do "
                   "insmod /modules/$m.ko || break; done")
        guest.must("n=0; until [ -b /dev/sda ] || [ $n -gt 200 ]; do usleep 100000; "
                   "n=$((n + 1)); done; [ -b /dev/sda ]")
        assert int(guest.must("cat /sys/block/sda/size").split()[-1]) == 16 << 11
        assert guest.must("sha256sum </dev/sda", 120).split()[0] == target.checksum()
        mount_it = "mkdir -p /mnt && mount -t ext2 /dev/sda /mnt"
        guest.must(f"mke2fs -b 4096 /dev/sda >/dev/null && {mount_it}")
        written = fill(guest)
        guest.must("umount /mnt && sync")
        assert guest.must("sha256sum </dev/sda", 120).split()[0] == target.checksum()
        guest.must(mount_it)
        assert sums(guest) == written
        guest.must("umount /mnt")


def test_input_device_serves_a_uinput_device(programs):
    if not Path("/dev/uinput").exists():
        status, said = usage_of(programs, "vhost-user-input", "--evdev-path=/dev/null",
                                "--socket-path=/nowhere/i.sock")
        assert status != 0 and said
        pytest.skip("there is no /dev/uinput here; vhost-user-input was started, and refused "
                    "/dev/null as an evdev device")
    status, said = usage_of(programs, "vhost-user-input", "--help")
    assert status == 0 and "evdev" in said
