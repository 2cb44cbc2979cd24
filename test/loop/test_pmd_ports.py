# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""net_vhu at testpmd's prompt: ports come, go, stop and tell the truth about their guest."""

import re
import signal

import pytest

from rig import place, process, traffic

DROPS = ("short", "long", "empty", "bad_offload", "no_buffer_room", "no_mbuf")
FLOWING = ["--progress", 50, "--stall", 200]


class Prompt:
    """Debian's dpdk-testpmd with net_vhu0 and a prompt."""

    def __init__(self, path, options=(), arguments=""):
        if not place.program("dpdk-testpmd"):
            pytest.skip("dpdk-testpmd is not installed (tools/setup build)")
        if not place.NET_VHU.exists():
            pytest.skip("net_vhu was not built: DPDK's driver headers are missing"
                        " (tools/setup build)")
        # Lines as they are written, not when a buffer is full.
        self.process = process.Process("dpdk-testpmd", [
            "stdbuf", "-oL", place.program("dpdk-testpmd"), *traffic.eal(0),
            "-d", place.NET_VHU, "--vdev", f"net_vhu0,iface={path}{arguments}", "--", "-i",
            "--no-mlockall", "--nb-cores=1", "--total-num-mbufs=8192", "--disable-link-check",
            "--print-event=all", *options])
        self.process.wait_for("^Done$")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.running():
            self.process.write("stop\nquit\n")
            status = self.process.finish(30)
            assert status == 0, self.process.tail()
        self.process.stop()

    def say(self, command, expected):
        """Enter a command; wait for a line of its answer, and return the match."""
        start = len(self.process.lines)
        self.process.write(command + "\n")
        return self.process.wait_for(expected, start=start)[1]

    def link(self):
        return self.say("show port info 0", r"^Link status: (\w+)$")[1]

    def extended(self, last):
        """Extended statistics of port 0, which end with that name."""
        start = len(self.process.lines)
        self.process.write("show port xstats 0\n")
        end, _ = self.process.wait_for(f"^{last}: ", start=start)
        lines = self.process.lines[start:end + 1]
        found = (re.match(r"^(\w+): (\d+)$", line) for line in lines)
        return {match[1]: int(match[2]) for match in found if match}


@pytest.fixture
def front_end(path):
    """Starts vhu-verify on the socket, as a guest that keeps frames going round."""
    if not place.VERIFY.exists():
        pytest.fail(f"{place.VERIFY} is missing; build it with ninja")
    return lambda: traffic.Verify(path, options=FLOWING)


def end(front):
    """End a front-end in order; nothing that came back was wrong."""
    front.process.child.send_signal(signal.SIGTERM)
    result = front.result()
    assert result["fault"] == ""
    assert result["corrupt"] == result["duplicated"] == 0


def test_link_is_up_only_while_a_guest_runs(path, front_end):
    with Prompt(path) as prompt:
        assert prompt.link() == "down"
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            prompt.process.wait_for("^Port 0: link state change event")
            front.wait_progress()
            assert prompt.link() == "up"
            before = len(prompt.process.lines)
            end(front)
        prompt.process.wait_for("^Port 0: link state change event", start=before)
        assert prompt.link() == "down"


def test_link_is_down_while_the_port_is_stopped(path, front_end):
    with Prompt(path) as prompt:
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            front.wait_progress()
            prompt.say("stop", "^Done")
            prompt.say("port stop 0", "^Done")
            assert prompt.link() == "down"
            prompt.say("port start 0", "^Done")
            assert prompt.link() == "up"


def test_traffic_resumes_after_the_port_was_stopped_and_started(path, front_end):
    with Prompt(path) as prompt:
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            for _ in range(3):
                front.wait_progress()
                prompt.say("stop", "^Done")
                prompt.say("port stop 0", "^Done")
                prompt.say("port start 0", "^Done")
                prompt.say("start", "packet forwarding")
            front.wait_progress()
            end(front)


def test_stopped_queue_moves_nothing(path, front_end):
    with Prompt(path) as prompt:
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            front.wait_progress()
            prompt.say("stop", "^Done")
            prompt.say("port 0 rxq 0 stop", "")
            prompt.say("start", "packet forwarding")
            assert prompt.say("show rxq info 0 0", r"^Rx queue state: (\w+)")[1] == "stopped"
            stopped = prompt.extended("tx_q0_broken")["rx_q0_packets"]
            later = prompt.extended("tx_q0_broken")
            assert later["rx_q0_packets"] == stopped
            prompt.say("stop", "^Done")
            prompt.say("port 0 rxq 0 start", "")
            prompt.say("start", "packet forwarding")
            front.wait_progress()
            end(front)


def test_port_comes_and_goes_while_another_forwards(path, front_end):
    other = path.with_name("1.sock")
    with Prompt(path) as prompt:
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            for _ in range(3):
                front.wait_progress()
                prompt.say(f"port attach net_vhu1,iface={other}", "^Port 1 is attached")
                assert traffic.listens(other)
                front.wait_progress()
                prompt.say("port detach 1", "^Device is detached")
                assert not other.exists()
            front.wait_progress()
            end(front)


def test_attaching_with_a_wrong_argument_leaves_the_others_alone(path, front_end):
    with Prompt(path) as prompt:
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            front.wait_progress()
            refusal = prompt.say(f"port attach net_vhu1,iface={path}", "^net_vhu: net_vhu1: (.*)")
            assert "is served by port net_vhu0" in refusal[1]
            prompt.say(f"port attach net_vhu1,iface={path},queues=0",
                       "^net_vhu: net_vhu1: queues=0 is not valid; allowed is 1 to 128")
            front.wait_progress()
            end(front)


def test_extended_statistics_exist_before_a_guest_does_and_count(path, front_end):
    with Prompt(path) as prompt:
        before = prompt.extended("tx_q0_broken")
        for direction in ("rx", "tx"):
            expected = ["packets", "bytes", "bursts", "empty_bursts", "mbuf_failures", "calls",
                        "calls_suppressed", *(f"drop_{reason}" for reason in DROPS), "running",
                        "broken"]
            assert [f"{direction}_q0_{name}" for name in expected] == \
                [name for name in before if name.startswith(f"{direction}_q0_")]
        assert not any(before.values())
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            front.wait_progress()
            running = prompt.extended("tx_q0_broken")
            assert running["rx_q0_running"] == running["tx_q0_running"] == 1
            end(front)
        prompt.say("stop", "^Done")
        after = prompt.extended("tx_q0_broken")
        assert after["rx_q0_packets"] == after["rx_good_packets"] >= 20000
        assert after["rx_q0_bytes"] == 64 * after["rx_q0_packets"]
        assert after["rx_q0_running"] == after["tx_q0_running"] == 0
        prompt.process.write("clear port xstats 0\n")
        assert prompt.extended("tx_q0_broken")["rx_q0_packets"] == 0


SIZES = ("undersize_packets", "size_64_packets", "size_65_127_packets", "size_128_255_packets",
         "size_256_511_packets", "size_512_1023_packets", "size_1024_1518_packets",
         "size_1519_max_packets")
BURSTS = ("1", "2_3", "4_7", "8_15", "16_31", "32_63", "64_127", "128_255", "256_max")


def test_histograms_are_extended_statistics_that_add_up(path, front_end):
    with Prompt(path, arguments=",histograms=1") as prompt:
        before = prompt.extended("tx_q0_broken")
        for direction in ("rx", "tx"):
            expected = [*SIZES, "multicast_packets", "broadcast_packets",
                        *(f"bursts_of_{number}" for number in BURSTS), "bursts_full"]
            names = [name for name in before if name.startswith(f"{direction}_q0_")]
            first = names.index(f"{direction}_q0_undersize_packets")
            assert [f"{direction}_q0_{name}" for name in expected] == names[first:first + 20]
        assert not any(before.values())
        prompt.say("start", "packet forwarding")
        with front_end() as front:
            front.wait_progress()
            end(front)
        prompt.say("stop", "^Done")
        after = prompt.extended("tx_q0_broken")
        for queue in ("rx_q0", "tx_q0"):
            assert sum(after[f"{queue}_{name}"] for name in SIZES) == after[f"{queue}_packets"]
            assert after[f"{queue}_size_64_packets"] == after[f"{queue}_packets"] >= 20000
            assert sum(after[f"{queue}_bursts_of_{number}"] for number in BURSTS) == \
                after[f"{queue}_bursts"]
        prompt.process.write("clear port xstats 0\n")
        assert prompt.extended("tx_q0_broken")["rx_q0_size_64_packets"] == 0
