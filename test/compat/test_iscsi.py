# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""QEMU's vhost-user-scsi, unmodified, on ours, between a Linux guest and Debian's iSCSI target."""

import hashlib
import os
import subprocess

import pytest

from test_programs import fill, sums
from rig import place
from rig.guest import Guest
from rig.process import Process, wait_until

# What runs behind these words has no network but its own, and ends with the first of it.
APART = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

CONFIGURATION = """
[Global]
  NodeBase "iqn.2026-11.test.vhu"
  PidFile {folder}/istgt.pid
  MediaDirectory {folder}
  Timeout 30
  DiscoveryAuthMethod None
[UnitControl]
  Portal UC1 127.0.0.1:3261
  Netmask 127.0.0.0/8
[PortalGroup1]
  Portal DA1 127.0.0.1:3260
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName disk
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UnitType Disk
  LUN0 Storage {image} {mib}MB
"""


class Target:
    """Debian's iSCSI target with one disk, and vhost-user-scsi on it.

    Both live in a network namespace of their own: the target takes no port of this machine, and
    nobody else reaches it. The disk is unit 0, the only one that vhost-user-scsi asks for; of tgt,
    the other target that Debian has for user space, unit 0 is always the controller.
    """

    SCRIPT = """
        ip link set lo up
        "$1" -D -q -c "$2" &
        exec "$3" --socket-path="$4" --iscsi-uri=iscsi://127.0.0.1/iqn.2026-11.test.vhu:disk/0
        """

    def __init__(self, folder, program, mib):
        self.image = folder / "scsi.img"
        self.image.write_bytes(os.urandom(mib << 20))
        configuration, path = folder / "istgt.conf", folder / "scsi.sock"
        configuration.write_text(
            CONFIGURATION.format(folder=folder, image=self.image, mib=mib))
        self.process = Process("iscsi", [
            *APART, "sh", "-c", self.SCRIPT, "sh", place.program("istgt"), configuration, program,
            path])
        wait_until(lambda: path.exists() or not self.process.running(), 30, "vhost-user-scsi")
        # It connects to the target when a guest connects to it.
        wait_until((folder / "istgt.pid").exists, 30, "the iSCSI target")
        assert self.process.running(), self.process.tail()
        self.words = ["-chardev", f"socket,id=s0,path={path}",
                      "-device", "vhost-user-scsi-pci,chardev=s0,vectors=0"]

    def checksum(self):
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


def test_guest_reads_and_writes_an_iscsi_disk(programs, folder, bootable):
    """vhost-user-scsi hands the guest's SCSI commands to a real target and the answers back."""
    program = programs / "ours" / "vhost-user-scsi"
    if not program.exists():
        pytest.skip("built without libiscsi-dev")
    if not place.program("istgt"):
        pytest.skip("there is no iSCSI target: istgt is not installed (tools/setup test does)")
    apart = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    if apart.returncode != 0:
        pytest.skip(f"there are no network namespaces here: {apart.stderr.strip()}")
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
