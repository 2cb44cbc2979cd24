# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Frames that net_virtio_user sends come back, each once, in order, and the same in every byte."""

import pytest

from rig.traffic import VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED, Verify, offered_features

# The receive and transmit functions that net_virtio_user chooses from: all ten paths.
FRONT_ENDS = {
    "mergeable": "mrg_rxbuf=1,in_order=0",
    "plain": "mrg_rxbuf=0,in_order=0",
    "mergeable-in-order": "mrg_rxbuf=1,in_order=1",
    "plain-in-order": "mrg_rxbuf=0,in_order=1",
    "vectorised": "mrg_rxbuf=0,in_order=0,vectorized=1",
    "packed-mergeable": "packed_vq=1,mrg_rxbuf=1,in_order=0",
    "packed-plain": "packed_vq=1,mrg_rxbuf=0,in_order=0",
    "packed-mergeable-in-order": "packed_vq=1,mrg_rxbuf=1,in_order=1",
    "packed-plain-in-order": "packed_vq=1,mrg_rxbuf=0,in_order=1",
    "packed-vectorised": "packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1",
}
FRAMES = 60000
COMMON_SIZES = "64,128,256,512,1024,1280,1518"


def assert_perfect(result, frames):
    """All came back, nothing else did, and nothing was wrong with it."""
    assert result["fault"] == ""
    assert result["sent"] == frames
    assert result["received"] == frames
    assert result["lost"] == result["late"] == result["duplicated"] == result["corrupt"] == 0


def assert_offered(path, front_end):
    """A front-end is in order or packed only if the back-end offers it; otherwise it falls back."""
    offered = offered_features(path)
    assert "in_order=1" not in front_end or offered >> VIRTIO_F_IN_ORDER & 1
    assert "packed_vq=1" not in front_end or offered >> VIRTIO_F_RING_PACKED & 1


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_byte_returns(back_end, path, name, queues):
    """Each kind of front-end, one queue pair and four, the common frame sizes in turn."""
    with back_end([path], queues=queues) as back:
        assert_offered(path, FRONT_ENDS[name])
        with Verify(path, FRONT_ENDS[name], queues, FRAMES, COMMON_SIZES) as front:
            assert_perfect(front.result(), FRAMES * queues)
        back.stop()


@pytest.mark.parametrize("size", [60, 64, 65, 127, 128, 1514, 1518])
def test_every_byte_returns_of_one_size(back_end, path, size):
    """Sizes at the edges of the copy functions, one at a time."""
    with back_end([path]) as back:
        with Verify(path, packets=FRAMES, sizes=str(size)) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


@pytest.mark.parametrize("name", ["mergeable", "plain", "packed-mergeable", "packed-vectorised"])
def test_every_byte_returns_of_random_sizes(back_end, path, name):
    """Sizes drawn at random, so that neighbours in a burst differ."""
    with back_end([path]) as back:
        with Verify(path, FRONT_ENDS[name], packets=FRAMES, sizes="60-1518") as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


def test_every_byte_returns_on_a_small_ring(back_end, path):
    """A ring of 256 entries wraps often and is often nearly full."""
    with back_end([path]) as back:
        with Verify(path, packets=FRAMES, sizes=COMMON_SIZES, ring_size=256,
                    options=["--window", 127]) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()


def jumbo_options(back_end, mbuf_size):
    """What a back-end needs to forward 9000 bytes with mbufs of that size."""
    if back_end.__name__ == "VhuTestpmd":
        return ["--mbuf-size", mbuf_size]
    return ["--max-pkt-len=9216", f"--mbuf-size={mbuf_size}", "--enable-scatter",
            "--tx-offloads=0x8000"]


@pytest.mark.parametrize("back_mbuf", [2176, 9600], ids=["segmented", "whole"])
@pytest.mark.parametrize("front_mbuf", [2048, 9216], ids=["many-buffers", "one-buffer"])
def test_jumbo_frames_return(back_end, path, front_mbuf, back_mbuf):
    """9000 bytes in one buffer or several, on both sides, among smaller frames."""
    with back_end([path], options=jumbo_options(back_end, back_mbuf)) as back:
        with Verify(path, packets=20000, sizes="9000,64,2048,4096,9014",
                    options=["--mbuf-size", front_mbuf]) as front:
            assert_perfect(front.result(), 20000)
        back.stop()


def test_jumbo_frames_return_through_plain_buffers(back_end, path):
    """Without mergeable buffers a frame has to fit into one, and does if it is large enough."""
    with back_end([path], options=jumbo_options(back_end, 2176)) as back:
        with Verify(path, FRONT_ENDS["plain"], packets=20000, sizes="9000,64",
                    options=["--mbuf-size", 9216]) as front:
            assert_perfect(front.result(), 20000)
        back.stop()


@pytest.mark.parametrize("name", ["mergeable", "vectorised"])
@pytest.mark.usefixtures("huge_memory")
def test_every_byte_returns_from_hugepages(back_end, path, name):
    """Guest memory on hugepages is mapped by other rules than ordinary memory."""
    with back_end([path]) as back:
        with Verify(path, FRONT_ENDS[name], packets=FRAMES, sizes=COMMON_SIZES,
                    hugepages=True) as front:
            assert_perfect(front.result(), FRAMES)
        back.stop()
