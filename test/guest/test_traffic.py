# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A real Linux driver sends and receives through vhu."""

import pytest

from rig.guest import Guest, ping_statistics
from rig.traffic import VhuTestpmd

FILE_MIB = 16

# What the driver may negotiate: with every offload, with none, with small buffers, and the
# interface of 2008 with its short header.
DEVICES = {
    "default": "",
    "no-offloads": ",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,"
                   "guest_ecn=off,guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,"
                   "host_ufo=off",
    "plain-buffers": ",mrg_rxbuf=off",
    "no-indirect-no-event-index": ",indirect_desc=off,event_idx=off",
    "legacy": ",disable-modern=on,disable-legacy=off,mrg_rxbuf=off",
}


def test_guest_pings(folder):
    """Every echo request is answered, small ones and ones of several fragments."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as back, Guest(folder, [path]) as guest:
        guest.boot()
        guest.address("eth0", "10.0.0.1/24")
        for size in (56, 1400):
            output = guest.must(f"ping -q -A -c 200 -s {size} 10.0.0.9")
            assert ping_statistics(output) == (200, 200)
        guest.close()
        back.stop()


@pytest.mark.parametrize("device", DEVICES)
def test_file_over_tcp_is_intact(folder, device):
    """A file crosses vhu between two TCP stacks and has the same checksum, in both directions."""
    paths = [folder / "0.sock", folder / "1.sock"]
    with VhuTestpmd(paths) as back:
        with Guest(folder, paths, device_options=DEVICES[device]) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.second_host("eth1", "10.0.0.2/24")
            guest.make_file(FILE_MIB)
            guest.must("httpd -h /tmp -p 10.0.0.1:80")
            guest.must(guest.inside("httpd -h /tmp -p 10.0.0.2:80"))
            there = guest.inside("wget -q -O /tmp/there http://10.0.0.1/file")
            back_again = "wget -q -O /tmp/again http://10.0.0.2/there"
            for fetch, copy in ((there, "there"), (back_again, "again")):
                guest.must(fetch, timeout=90)
                assert guest.checksum(copy) == guest.checksum("file")
        back.stop()


def test_guest_survives_a_restart_of_the_back_end(folder):
    """QEMU connects to the next back-end, and the guest's interface works without a reboot."""
    path = folder / "0.sock"
    with VhuTestpmd([path], fwd="icmpecho") as first:
        with Guest(folder, [path], reconnect=True) as guest:
            guest.boot()
            guest.address("eth0", "10.0.0.1/24")
            guest.must("ping -q -A -c 50 10.0.0.9")
            first.process.kill()
            with VhuTestpmd([path], fwd="icmpecho") as second:
                guest.must("until ping -q -c 1 -W 1 10.0.0.9 >/dev/null; do :; done", 30)
                output = guest.must("ping -q -A -c 200 10.0.0.9")
                assert ping_statistics(output) == (200, 200)
                guest.close()
                second.stop()
