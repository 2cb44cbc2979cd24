# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""vhu-blk is killed while it works: nothing is lost, and nothing that was completed is done again.

The driver (crash.c) stamps every block with a generation and keeps an in-flight area.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import VHU_BLK
from rig import place

CRASH = place.BUILD / "test" / "blk" / "vhu-blk-crash"


def crash(path, disk, *words, options=(), timeout=300):
    command = [CRASH, *words, path, VHU_BLK, "--socket", path, "--file", disk, "--queues", "4",
               *options]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=timeout, check=False)


def zeros(path):
    path.touch()
    os.truncate(path, 4 << 20)
    return path


@pytest.mark.parametrize("rings", [["--queues", "1"], ["--packed", "--queues", "3"]],
                         ids=["split", "packed"])
@pytest.mark.parametrize("where", ["direct", "buffered", "tmpfs"])
def test_killed_at_random_moments(folder, often, where, rings):
    """Every request comes back, once, and every block holds what was last completed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        disk = zeros((Path(memory) if where == "tmpfs" else folder) / "disk")
        kills = often(12, 100)
        done = crash(folder / "s", disk, "--kills", kills, *rings,
                     options=["--buffered"] if where == "buffered" else [])
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["kills"] == kills and result["before_it_served"] < kills
        assert result["writes"] > kills
        # And from outside: each block is the whole of one write.
        content = disk.read_bytes()
        for block in range(1024):
            data = content[4096 * block:4096 * (block + 1)]
            assert data == data[:16] * 256
