# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Open vSwitch, which we did not write, forwards between our driver and DPDK's front-end."""

import pytest

from rig import ovs, traffic
from rig.process import wait_until

RINGS = {
    "split": "mrg_rxbuf=1,in_order=0",
    "packed": "mrg_rxbuf=1,in_order=0,packed_vq=1",
    "packed-in-order": "mrg_rxbuf=0,in_order=1,packed_vq=1",
}
FRAMES = 50000


@pytest.fixture
def switch(path, huge_memory):
    """A switch with one port, which returns what it is sent."""
    del huge_memory
    with ovs.Switch([path]) as running:
        running.reflect()
        yield running


@pytest.fixture(autouse=True)
def installed():
    """Skips where there is no switch."""
    reason = ovs.missing()
    if reason:
        pytest.skip(reason)


def returned(path, ring):
    """Send frames through the switch's flow table, and compare what comes back."""
    with traffic.Verify(path, RINGS[ring], packets=FRAMES, sizes="64,512,1518") as verify:
        result = verify.result(120)
    assert result["fault"] == ""
    assert result["received"] == FRAMES
    assert result["corrupt"] == 0


@pytest.mark.parametrize("ring", RINGS)
def test_switch_returns_every_frame(switch, path, ring):
    """Also to a front-end that comes after another has gone."""
    returned(path, ring)
    returned(path, ring)
    switch.stop()


def test_port_of_a_switch_goes_while_frames_move(switch, path):
    """The socket is gone then, and the switch goes on."""
    with traffic.Verify(path, RINGS["split"], options=["--progress", 100]) as verify:
        verify.wait_progress()
        switch.remove(0)
    wait_until(lambda: not path.exists(), 20, "the port's socket to go")
    switch.stop()
