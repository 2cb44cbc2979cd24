# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""QEMU's programs in both builds, and a folder for sockets.

tools/qemu-programs makes the programs; where it cannot, the tests that need them skip and say why.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "test" / "conformance"))

from rig import place  # noqa: E402

UNAVAILABLE = 77


@pytest.fixture(scope="session")
def programs():
    """The folder with "ours" and "theirs"."""
    done = subprocess.run([ROOT / "tools" / "qemu-programs", place.BUILD], capture_output=True,
                          text=True, check=False)
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return place.BUILD / "qemu"


@pytest.fixture
def folder():
    """An empty folder."""
    name = Path(tempfile.mkdtemp(prefix="vhu-compat-"))
    yield name
    shutil.rmtree(name, ignore_errors=True)


@pytest.fixture
def bootable():
    """Skips where no guest can be booted."""
    reason = place.guest_missing()
    if reason:
        pytest.skip(reason)
