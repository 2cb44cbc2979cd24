# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What tests of different devices do with a guest once it is there."""

FILE_MIB = 8


def exchange_file(guest):
    """A file crosses the back-end between two TCP stacks, there and back, and stays the same."""
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


def assert_negotiated(guest, *bits):
    """The driver of eth0 has accepted these features."""
    accepted = guest.must("cat /sys/class/net/eth0/device/features").strip()
    assert [bit for bit in bits if accepted[bit] != "1"] == []
