# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The ten pairs of receive and transmit functions that net_virtio_user has.

It chooses by what was negotiated and by what the processor can do, so each path names the words
with which the driver's log says that the path was really taken.
"""

import re
from collections import namedtuple

import pytest

from rig.process import Failed
from rig.traffic import Verify

Path = namedtuple("Path", "device receive transmit")

SAY_PATH = "--log-level=pmd.net.virtio.init:info"

PATHS = {
    "split-mergeable": Path("mrg_rxbuf=1,in_order=0", "mergeable buffer", "standard"),
    "split-plain": Path("mrg_rxbuf=0,in_order=0", "standard", "standard"),
    "split-mergeable-in-order": Path("mrg_rxbuf=1,in_order=1", "inorder", "inorder"),
    "split-plain-in-order": Path("mrg_rxbuf=0,in_order=1", "inorder", "inorder"),
    "split-vectorised": Path("mrg_rxbuf=0,in_order=0,vectorized=1", "vectorized", "standard"),
    "packed-mergeable": Path("packed_vq=1,mrg_rxbuf=1,in_order=0",
                             "packed ring mergeable buffer", "packed ring standard"),
    "packed-plain": Path("packed_vq=1,mrg_rxbuf=0,in_order=0",
                         "packed ring standard", "packed ring standard"),
    "packed-mergeable-in-order": Path("packed_vq=1,mrg_rxbuf=1,in_order=1",
                                      "packed ring mergeable buffer", "packed ring standard"),
    "packed-plain-in-order": Path("packed_vq=1,mrg_rxbuf=0,in_order=1",
                                  "packed ring standard", "packed ring standard"),
    "packed-vectorised": Path("packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1",
                              "packed ring vectorized", "packed ring vectorized"),
}


def can_vectorise_packed():
    """DPDK's vectorised functions for packed rings are written for AVX-512."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return any(re.search(r"\bavx512f\b.*\bavx512vl\b|\bavx512vl\b.*\bavx512f\b", line)
                   for line in lines)


def skip_unless_possible(name):
    """Without the processor for it another path would be taken."""
    if name == "packed-vectorised" and not can_vectorise_packed():
        pytest.skip("this processor has no AVX-512")


def run(path, name, queues=1, frames=60000, sizes="64", ring_size=1024, options=(), **more):
    """Send frames on that path; every one of them comes back as it was."""
    # Each ring is full of buffers, and as many may be on their way.
    memory_mib = 128 + queues * ring_size * 3 * 2600 // (1 << 20) * 5 // 4
    with Verify(path, PATHS[name].device, queues, frames, sizes, ring_size=ring_size,
                words=[SAY_PATH], memory_mib=max(256, memory_mib), options=options,
                **more) as front:
        result = front.result()
        assert_taken(front, name)
    assert_perfect(result, frames * queues)


def assert_taken(front, name):
    """The front-end's log names the path."""
    said = "\n".join(front.process.lines)
    for words, way in ((PATHS[name].receive, "Rx"), (PATHS[name].transmit, "Tx")):
        if f"using {words} {way} path" not in said:
            raise Failed(f"the path {name} was not taken:\n{front.process.tail(40)}")


def assert_perfect(result, frames):
    """All came back, nothing else did, and nothing was wrong with it."""
    assert result["fault"] == ""
    assert result["sent"] == frames
    assert result["received"] == frames
    assert result["lost"] == result["late"] == result["duplicated"] == result["corrupt"] == 0


def jumbo(back_end, mbuf_size):
    """What a back-end needs to forward 9000 bytes with mbufs of that size."""
    if back_end.__name__ == "VhuTestpmd":
        return ["--mbuf-size", mbuf_size]
    return ["--max-pkt-len=9216", f"--mbuf-size={mbuf_size}", "--enable-scatter",
            "--tx-offloads=0x8000"]
