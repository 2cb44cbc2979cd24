# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Both of our back-ends, each as a fixture that starts it, and a folder for sockets."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from rig import hugepages, place, traffic  # noqa: E402

HUGEPAGES_MIB = 768


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true",
                     help="test_churn: change everything 10 000 times (many minutes)")


def _native():
    if not place.VHU_TESTPMD.exists():
        pytest.fail(f"{place.VHU_TESTPMD} is missing; build it with ninja")
    return traffic.VhuTestpmd


def _driver():
    if not place.program("dpdk-testpmd"):
        pytest.skip("dpdk-testpmd is not installed (tools/setup build)")
    if not place.NET_VHU.exists():
        pytest.skip("net_vhu was not built: DPDK's driver headers are missing (tools/setup build)")
    return traffic.Driver


@pytest.fixture(params=["vhu-testpmd", "net_vhu"])
def back_end(request):
    """Class of the back-end under test."""
    if not place.VERIFY.exists():
        pytest.fail(f"{place.VERIFY} is missing; build it with ninja")
    return _native() if request.param == "vhu-testpmd" else _driver()


class _LargeFrames(traffic.Driver):
    """net_vhu in a program that passes requests for segmentation on as they came."""

    arguments = ",tso=1,tx-hints=1"

    def __init__(self, paths, queues=1):
        # Scattered, large, with checksums of TCP and UDP; the same with IPv4's on transmit.
        super().__init__(paths, queues, options=[
            "--rx-offloads=0x201c", "--tx-offloads=0x802e", "--max-lro-pkt-size=65549"])


@pytest.fixture(params=["vhu-testpmd", "net_vhu"])
def large_frames(request):
    """Class of a back-end that forwards frames of 64 KiB."""
    if request.param == "vhu-testpmd":
        return _native()
    _driver()
    return _LargeFrames


@pytest.fixture
def path():
    """A socket path that nobody uses."""
    folder = Path(tempfile.mkdtemp(prefix="vhu-loop-"))
    yield folder / "0.sock"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def huge_memory():
    """Reserved hugepages; skips where there are none to be had."""
    with hugepages.reserved(HUGEPAGES_MIB) as reason:
        if reason:
            pytest.skip(reason)
        yield
