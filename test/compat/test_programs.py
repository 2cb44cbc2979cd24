# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Programs that were written for libvhost-user, unmodified, on ours.

A Linux guest uses the block device and the network bridge; test_iscsi.py has the SCSI device.
What is not run, and why:
qemu-storage-daemon and virtiofsd are parts of QEMU's own build, which is not done here. The input
device reads a stand-in for an event device (evdev.c), because kernels may lack uinput.
"""

import os
import socket
import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from frontend import messages
from frontend.connection import Connection
from frontend.messages import Feature, Protocol, Request, bit
from frontend.ring import Piece, SplitRing
from frontend.session import Session
from rig import place
from rig.guest import Guest, ping_statistics
from rig.process import Process, wait_until

DISK_MIB = 64


def serve(programs, name, path, *words, environment=None):
    """Start a program of ours that listens on the socket."""
    process = Process(name, [programs / "ours" / name, *words], environment=environment)
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


@pytest.fixture
def keyboard(folder):
    """What to preload to make an event device of a pipe (evdev.c): kernels may lack uinput."""
    library = folder / "evdev.so"
    source = place.ROOT / "test" / "compat" / "evdev.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", source, "-o", library], check=True)
    return library


class InputSession(Session):
    """A driver of virtio-input: QEMU's device for it refuses to start without KVM."""

    def make_rings(self, region=None):
        self.rings = [SplitRing(self.memory, index, self.ring_size, region) for index in (0, 1)]
        self.area = self.memory.allocate(4096, 64)

    def about(self, what, more=0):
        """One answer of config space, as bytes."""
        self.connection.must(Request.SET_CONFIG, messages.config(0, 2, bytes([what, more])))
        reply = self.connection.ask(Request.GET_CONFIG, messages.config(0, 136))
        select, _, size = reply.payload[-136:-133]
        assert select == what
        return reply.payload[-128:][:size]


def test_input_device_hands_events_to_a_driver(programs, folder, keyboard):
    """vhost-user-input describes the device as it is, and every event arrives."""
    pipe, path = folder / "events", folder / "input.sock"
    os.mkfifo(pipe)
    process = serve(programs, "vhost-user-input", path, f"--evdev-path={pipe}",
                    f"--socket-path={path}", environment={"LD_PRELOAD": str(keyboard)})
    ev_syn, ev_key, key_a = 0, 1, 30
    events = [(ev_key, key_a, 1), (ev_syn, 0, 0), (ev_key, key_a, 0), (ev_syn, 0, 0)]
    session = InputSession(
        Connection.open(str(path)), features=bit(Feature.VERSION_1, Feature.PROTOCOL_FEATURES),
        protocol_features=bit(Protocol.REPLY_ACK, Protocol.CONFIG))
    with process, closing(session), open(pipe, "r+b", 0) as keys:
        session.start()
        assert session.about(1).rstrip(b"\0") == b"a keyboard of two keys"
        assert session.about(0x11, ev_key)[key_a // 8] >> key_a % 8 & 1
        ring = session.rings[0]
        for i in range(len(events)):
            ring.add([Piece(session.area + 8 * i, 8, True)])
        ring.kick()
        keys.write(b"".join(struct.pack("<qqHHi", 0, 0, *event) for event in events))
        ring.wait_used(len(events))
        for i, event in enumerate(events):
            assert struct.unpack("<HHi", session.memory.read(session.area + 8 * i, 8)) == event
