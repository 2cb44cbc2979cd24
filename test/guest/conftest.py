# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A folder for sockets; guests are booted by the tests, because each needs different devices."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import place  # noqa: E402


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
