# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Frames that net_virtio_user sends come back, each once, in order, and the same in every byte.

What the frames are like is varied here, the path that they take in test_paths.py.
"""

import pytest

from paths import PATHS, assert_perfect, jumbo
from rig.traffic import Verify

FRAMES = 60000
COMMON_SIZES = "64,128,256,512,1024,1280,1518"


@pytest.mark.parametrize("size", [60, 64, 65, 127, 128, 1514, 1518])
def test_every_byte_returns_of_one_size(back_end, path, size):
    """Sizes at the edges of the copy functions, one at a time."""
    with back_end([path]) as back:
        with Verify(path, packets=FRAMES, sizes=str(size)) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


@pytest.mark.parametrize("name", ["split-mergeable", "split-plain", "packed-mergeable",
                                  "packed-vectorised"])
def test_every_byte_returns_of_random_sizes(back_end, path, name):
    """Sizes drawn at random, so that neighbours in a burst differ."""
    with back_end([path]) as back:
        with Verify(path, PATHS[name].device, packets=FRAMES, sizes="60-1518") as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


def test_every_byte_returns_on_a_small_ring(back_end, path):
    """A ring of 256 entries wraps often and is often nearly full."""
    with back_end([path]) as back:
        with Verify(path, packets=FRAMES, sizes=COMMON_SIZES, ring_size=256,
                    options=["--window", 127]) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


@pytest.mark.parametrize("back_mbuf", [2176, 9600], ids=["segmented", "whole"])
@pytest.mark.parametrize("front_mbuf", [2048, 9216], ids=["many-buffers", "one-buffer"])
def test_jumbo_frames_return(back_end, path, front_mbuf, back_mbuf):
    """9000 bytes in one buffer or several, on both sides, among smaller frames."""
    with back_end([path], options=jumbo(back_end, back_mbuf)) as back:
        with Verify(path, packets=20000, sizes="9000,64,2048,4096,9014",
                    options=["--mbuf-size", front_mbuf]) as front:
            assert_perfect(front.result(), 20000)
        back.stop()


@pytest.mark.parametrize("name", ["split-mergeable", "split-vectorised", "packed-vectorised"])
@pytest.mark.usefixtures("huge_memory")
def test_every_byte_returns_from_hugepages(back_end, path, name):
    """Guest memory on hugepages is mapped by other rules than ordinary memory."""
    with back_end([path]) as back:
        with Verify(path, PATHS[name].device, packets=FRAMES, sizes=COMMON_SIZES,
                    hugepages=True) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()
