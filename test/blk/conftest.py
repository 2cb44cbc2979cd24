# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Starts vhu-blk. VHU_LONG=1 kills and writes as often as we promise, not as often as one waits."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "test" / "conformance"))

from rig import place  # noqa: E402
from rig.process import Process, wait_until  # noqa: E402

VHU_BLK = place.BUILD / "app" / "blk" / "vhu-blk"


class Disk(Process):
    """A running vhu-blk with one disk, or with more if the words say so."""

    def __init__(self, socket, *words, wait=True):
        self.socket = socket
        super().__init__("vhu-blk", [VHU_BLK, "--socket", socket, *words])
        if wait:
            self.wait_for(r"^vhu-blk: \S+: ")
            # It listens before it says so; a left-over would be there already.
            wait_until(socket.exists, 10, f"{socket}")


@pytest.fixture
def folder():
    """An empty folder."""
    if not VHU_BLK.exists():
        pytest.fail(f"{VHU_BLK} is missing; build it with ninja (it needs liburing and jansson)")
    name = Path(tempfile.mkdtemp(prefix="vhu-blk-"))
    yield name
    shutil.rmtree(name, ignore_errors=True)


@pytest.fixture(params=["direct", "buffered", "tmpfs", "malloc"])
def kind(request, folder):
    """Words for a disk of 4 MiB, of each kind that keeps what is written."""
    if request.param == "malloc":
        yield ["--malloc", "4M"]
        return
    place_of = folder if request.param != "tmpfs" else Path(tempfile.mkdtemp(dir="/dev/shm"))
    path = place_of / "disk"
    path.touch()
    os.truncate(path, 4 << 20)
    yield ["--file", str(path), *(["--buffered"] if request.param == "buffered" else [])]
    if place_of != folder:
        shutil.rmtree(place_of, ignore_errors=True)


@pytest.fixture
def often():
    """Chooses between a few repetitions and as many as we promise."""
    return lambda few, many: many if os.environ.get("VHU_LONG") == "1" else few
