# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""One long TCP connection between the two hosts inside a guest, summed up at both ends."""

CHUNK_MIB = 4
PORT = 5000
SEND = ("(until [ -e /tmp/stop ]; do cat /tmp/file; done) | tee /tmp/copy | "
        f"nc 10.0.0.2 {PORT}")


class Stream:
    """From eth0 (10.0.0.1) to eth1 (10.0.0.2), until it is ended."""

    def __init__(self, guest):
        self.guest = guest
        guest.address("eth0", "10.0.0.1/24")
        guest.second_host("eth1", "10.0.0.2/24")
        guest.make_file(CHUNK_MIB)
        guest.must("mkfifo /tmp/copy")
        guest.must("rm -f /tmp/stop; sha256sum </tmp/copy >/tmp/sent 2>&1 &")
        # An end of input would make the receiver close, so it gets none.
        guest.must(guest.inside(f"sh -c 'tail -f /dev/null | nc -l -p {PORT} | "
                                "sha256sum >/tmp/got' & echo $! >/run/receiver"))
        guest.must(f"until {guest.inside('netstat -lnt')} | grep -q :{PORT}; "
                   "do usleep 10000; done")
        guest.must(f"{SEND} >/dev/null 2>&1 & echo $! >/run/sender")

    def received(self):
        """Frames that the receiving device has counted."""
        return int(self.guest.must(self.guest.inside(
            "awk '/eth1:/ { print $3 }' /proc/net/dev")))

    def wait_flow(self, frames=300, timeout=60):
        """Wait until that many more frames have arrived."""
        target = self.received() + frames
        count = self.guest.inside("awk '/eth1:/ { print $3 }' /proc/net/dev")
        self.guest.must(f"until [ $({count}) -ge {target} ]; do usleep 20000; done", timeout)

    def end(self, timeout=60):
        """End the connection in order; return what was sent and what arrived, as checksums."""
        self.guest.must("touch /tmp/stop; until [ -s /tmp/sent ] && [ -s /tmp/got ]; "
                        "do usleep 20000; done", timeout)
        return [self.guest.must(f"cat /tmp/{name}").split()[0] for name in ("sent", "got")]
