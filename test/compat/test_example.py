# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""app/example, the device of the guide, with a guest."""

import subprocess

import pytest

from conftest import ROOT
from rig import place
from rig.guest import Guest
from rig.process import Process, wait_until

EXAMPLE = place.BUILD / "app" / "example" / "vhu-example"


@pytest.fixture
def example():
    """The program; skips without glib."""
    if not EXAMPLE.exists():
        pytest.skip("vhu-example was not built: glib is not installed")
    return EXAMPLE


def test_guest_keeps_a_file_on_the_examples_disk(example, folder):
    reason = place.guest_missing()
    if reason:
        pytest.skip(reason)
    path = folder / "disk.sock"
    with Process("vhu-example", [example, path, 64]) as process:
        wait_until(path.exists, 20, "vhu-example to listen")
        with Guest(folder, [], extra=[
                "-chardev", f"socket,id=d0,path={path}", "-device",
                "vhost-user-blk-pci,chardev=d0,num-queues=1,vectors=0"]) as guest:
            guest.boot()
            assert int(guest.must("cat /sys/block/vda/size")) == 64 << 11
            guest.must("mke2fs -b 4096 /dev/vda >/dev/null && mkdir -p /mnt")
            guest.must("mount -t ext4 /dev/vda /mnt")
            guest.make_file(4)
            guest.must("cp /tmp/file /mnt/file && umount /mnt")
            guest.must("echo 3 >/proc/sys/vm/drop_caches && mount -t ext4 /dev/vda /mnt")
            guest.must("cp /mnt/file /tmp/copy")
            assert guest.checksum("copy") == guest.checksum("file")
        assert process.finish(20) == 0


def test_example_says_how_it_is_used(example):
    done = subprocess.run([example, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Usage" in done.stdout
    assert subprocess.run([example], capture_output=True, check=False).returncode == 2


def test_guide_names_what_is_there():
    text = (ROOT / "doc" / "guides" / "libvhost-user.rst").read_text(encoding="utf-8")
    for name in ("app/example/main.c", "test/perf/elements", "tools/guest-image"):
        assert name in text and (ROOT / name).exists()
