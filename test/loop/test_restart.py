# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Either side is killed and started again, in either socket role; traffic resumes by itself."""

import signal

from rig.process import wait_until
from rig.traffic import Verify

RESTARTS = 3
SIZES = "64,1518"
# Frames in flight when a side dies are gone: 200 ms without any frame, and they are given up.
FLOWING = ["--progress", 50, "--stall", 200]


def finish(front):
    """End a front-end in order and return its result."""
    front.process.child.send_signal(signal.SIGTERM)
    return front.result()


def assert_intact(result, restarts=0):
    """No frame is wrong, and only what was in flight during a restart is missing."""
    assert result["fault"] == ""
    assert result["corrupt"] == result["duplicated"] == 0
    assert result["lost"] <= result["window"] * result["stalls"]
    assert restarts or result["lost"] == 0


def test_front_end_is_killed_and_back_end_listens(back_end, path):
    """The back-end keeps listening and serves each front-end that comes."""
    with back_end([path]) as back:
        for _ in range(RESTARTS):
            with Verify(path, sizes=SIZES, options=FLOWING) as front:
                front.wait_progress()
                front.process.kill()
        with Verify(path, sizes=SIZES, options=FLOWING) as front:
            front.wait_progress()
            assert_intact(finish(front))
        back.stop()


def test_front_end_is_killed_and_back_end_connects(back_end, path):
    """The back-end connects to each front-end that listens."""
    with back_end([path], client=True) as back:
        for _ in range(RESTARTS):
            with Verify(path, sizes=SIZES, server=True, options=FLOWING) as front:
                front.wait_progress()
                front.process.kill()
            # net_virtio_user refuses to start where its socket file was left behind.
            path.unlink()
        with Verify(path, sizes=SIZES, server=True, options=FLOWING) as front:
            front.wait_progress()
            assert_intact(finish(front))
        back.stop()


def test_back_end_is_killed_and_connects_again(back_end, path):
    """The front-end that listens takes each back-end that comes, and loses no more than it sent."""
    back = back_end([path], client=True)
    with Verify(path, sizes=SIZES, server=True, options=FLOWING) as front:
        try:
            for _ in range(RESTARTS):
                front.wait_progress()
                back.process.kill()
                back = back_end([path], client=True)
            front.wait_progress()
            assert_intact(finish(front), RESTARTS)
        finally:
            back.process.stop()


def test_back_end_is_killed_and_listens_again(back_end, path):
    """The socket file that a killed back-end leaves behind does not stop the next one."""
    for _ in range(RESTARTS):
        with back_end([path]) as back:
            with Verify(path, sizes=SIZES, options=FLOWING) as front:
                front.wait_progress()
                back.process.kill()
                assert path.exists()
                front.process.kill()
    with back_end([path]) as back:
        with Verify(path, sizes=SIZES, options=FLOWING) as front:
            front.wait_progress()
            assert_intact(finish(front))
        back.stop()


def test_back_end_ends_in_order_while_traffic_flows(back_end, path):
    """SIGTERM under load ends the back-end with status 0 and takes its socket away."""
    with back_end([path]) as back:
        with Verify(path, sizes=SIZES, options=FLOWING) as front:
            front.wait_progress()
            back.stop()
            wait_until(lambda: not path.exists(), 5, "the socket file to be removed")
