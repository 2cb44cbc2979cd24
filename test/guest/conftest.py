# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A folder for sockets, the QEMUs there are, and the back-end under test.

Guests are booted by the tests, because each needs different devices. Two environment variables:
VHU_LONG=1 repeats as often as we promise (twenty migrations) instead of as often as one waits for;
VHU_BACK_END=net_vhu or net_vhost takes another back-end, the latter to try the tests themselves.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import hugepages, place, qemu, traffic  # noqa: E402

GUEST_MIB = 256
BACK_ENDS = {"vhu-testpmd": traffic.VhuTestpmd, "net_vhu": traffic.Driver,
             "net_vhost": traffic.RteVhost}


@pytest.fixture
def folder():
    """An empty folder; skips where no guest can be booted."""
    reason = place.guest_missing()
    if reason:
        pytest.skip(reason)
    if not place.VHU_TESTPMD.exists():
        pytest.fail(f"{place.VHU_TESTPMD} is missing; build it with ninja")
    name = Path(tempfile.mkdtemp(prefix="vhu-guest-"))
    yield name
    shutil.rmtree(name, ignore_errors=True)


@pytest.fixture(params=["debian-qemu", "newer-qemu"])
def any_qemu(request):
    """Debian's QEMU, and the newer one if it is there."""
    if request.param == "debian-qemu":
        return qemu.debian()
    return _newer()


@pytest.fixture
def newer_qemu():
    """A QEMU of version 10 or later."""
    return _newer()


def _newer():
    reason = place.newer_qemu_missing()
    if reason:
        pytest.skip(reason)
    return qemu.newer()


@pytest.fixture
def newer_image():
    """A guest whose kernel is newer than Debian 12's."""
    reason = place.newer_guest_missing()
    if reason:
        pytest.skip(reason)
    return place.NEWER_GUEST


@pytest.fixture
def back_end():
    """Class of the back-end under test."""
    return BACK_ENDS[os.environ.get("VHU_BACK_END", "vhu-testpmd")]


@pytest.fixture
def huge_memory():
    """Hugepages for a guest that moves: it is in two places at once. Skips without them."""
    with hugepages.reserved(2 * GUEST_MIB) as reason:
        if reason:
            pytest.skip(reason)
        yield


@pytest.fixture
def often():
    """Chooses between a few repetitions and as many as we promise."""
    return lambda few, many: many if os.environ.get("VHU_LONG") == "1" else few
