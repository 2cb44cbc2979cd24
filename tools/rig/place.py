# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Where things are. The environment variable VHU_BUILD names another build folder."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("VHU_BUILD", ROOT / "build")).resolve()
GUEST = ROOT / "build" / "guest"
NEWER_GUEST = ROOT / "build" / "newer-guest"
NEWER_QEMU = ROOT / "build" / "qemu" / "qemu-system-x86_64"

VHU_TESTPMD = BUILD / "app" / "testpmd" / "vhu-testpmd"
NET_VHU = BUILD / "drivers" / "net" / "vhu" / "librte_net_vhu.so"
VERIFY = BUILD / "test" / "loop" / "vhu-verify"


def program(name):
    """Path of an installed program, or None."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def guest_missing():
    """Why no guest can be booted here, or None."""
    if not program("qemu-system-x86_64"):
        return "qemu-system-x86_64 is not installed (tools/setup guest installs it)"
    if not (GUEST / "vmlinuz").exists() or not (GUEST / "initramfs").exists():
        return "the guest's kernel is missing (tools/setup guest fetches it)"
    return None


def newer_qemu_missing():
    """Why there is no newer QEMU, or None."""
    if not NEWER_QEMU.exists():
        return "QEMU 10 is not in build/qemu (tools/newer-qemu fetches it)"
    return None


def newer_guest_missing():
    """Why there is no guest with a newer kernel, or None."""
    if not (NEWER_GUEST / "initramfs").exists():
        return "Linux 6.12 is not in build/newer-guest (tools/guest-image --newer fetches it)"
    return None
