# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Every path of net_virtio_user, with the ring sizes, queue pairs and frames it can have.

Each value of each kind is met on each format, not each combination of all: that takes VHU_LONG=1.
"""

import os

import pytest

import paths

COMMON_SIZES = "64,128,256,512,1024,1280,1518"
SPLIT_RINGS = (64, 128, 256, 512, 2048, 4096, 32768)
# A packed ring may have any size.
PACKED_RINGS = (64, 96, 112, 257, 1000, 3001, 32768)
PAIRS = (1, 4, 8)
# Frames to be cut, and some that are not. On a packed ring without in-order use the driver of DPDK
# 22.11 stops sending when frames with an indirect table mix with longer ones without (up to 7 mbufs
# and more than that), whoever serves it; there all frames are of the longer kind.
TO_BE_CUT = "65549,80,1502,1503,65536,16384,65535,9014"
ALL_LONG = "65549,65536,20000,65535,40000"
LONG = os.environ.get("VHU_LONG") == "1"


def rings(name):
    return PACKED_RINGS if name.startswith("packed") else SPLIT_RINGS


def covering():
    """Each ring size of a format on at least two of its paths, each path with small and large."""
    for name in paths.PATHS:
        sizes = rings(name)
        if LONG:
            yield from ((name, size) for size in sizes)
            continue
        place = list(paths.PATHS).index(name) % 5
        chosen = {0: (0, 5), 1: (1, 6), 2: (2, 4), 3: (3, 5), 4: (4, 6)}[place]
        yield from ((name, sizes[index]) for index in chosen)


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("name", paths.PATHS)
def test_every_byte_returns_on_each_path(back_end, path, name, pairs):
    """One queue pair, four and eight; the common frame sizes in turn."""
    with back_end([path], queues=pairs) as back:
        paths.skip_unless_possible(name)
        paths.run(path, name, pairs, 60000 // pairs, COMMON_SIZES, 512)
        back.stop()


@pytest.mark.parametrize("name, ring_size", covering())
def test_every_byte_returns_with_each_ring_size(back_end, path, name, ring_size):
    """Rings from the smallest to the largest, round more than twice."""
    with back_end([path]) as back:
        paths.skip_unless_possible(name)
        paths.run(path, name, frames=max(20000, 5 * ring_size // 2), sizes=COMMON_SIZES,
                  ring_size=ring_size)
        back.stop()


@pytest.mark.parametrize("name", ["split-mergeable", "split-mergeable-in-order", "packed-mergeable",
                                  "packed-mergeable-in-order"])
def test_jumbo_frames_return_in_many_buffers(back_end, path, name):
    """Up to 9000 bytes in buffers of 2 KiB, among smaller frames."""
    with back_end([path], options=paths.jumbo(back_end, 2176)) as back:
        paths.skip_unless_possible(name)
        paths.run(path, name, frames=15000, sizes="60-9014", ring_size=256)
        back.stop()


@pytest.mark.parametrize("name", ["split-plain", "split-plain-in-order", "packed-plain",
                                  "packed-plain-in-order"])
def test_jumbo_frames_return_in_one_buffer(back_end, path, name):
    """Up to 9000 bytes where a frame has to fit into one buffer, and does."""
    with back_end([path], options=paths.jumbo(back_end, 2176)) as back:
        paths.skip_unless_possible(name)
        paths.run(path, name, frames=15000, sizes="60-9014", ring_size=256,
                  options=["--mbuf-size", 9216])
        back.stop()


@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("name", ["split-mergeable", "split-mergeable-in-order", "packed-mergeable",
                                  "packed-mergeable-in-order"])
def test_frames_to_be_cut_return(large_frames, path, name, pairs):
    """TCP of up to 64 KiB to be cut into 1448 bytes: whole, and with the request for cutting."""
    with large_frames([path], queues=pairs) as back:
        paths.skip_unless_possible(name)
        sizes = ALL_LONG if name == "packed-mergeable" else TO_BE_CUT
        paths.run(path, name, pairs, 4000 // pairs, sizes, options=["--tso", 1448])
        back.stop()
