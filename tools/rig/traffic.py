# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Back-ends of ours and a front-end that is not ours (Debian's net_virtio_user).

Back-ends poll on the first core, front-ends on the last. Neither needs hugepages: without them
DPDK takes its memory from an ordinary memory file, which a front-end can share just as well.
"""

import json
import os
import socket
import struct
from pathlib import Path

from rig import place
from rig.process import Failed, Process, wait_until

_CORES = sorted(os.sched_getaffinity(0))
BACK_CORE, FRONT_CORE = _CORES[0], _CORES[-1]
LISTENING = 0x10000
VIRTIO_F_ACCESS_PLATFORM = 33
VIRTIO_F_RING_PACKED = 34
VIRTIO_F_IN_ORDER = 35
VIRTIO_F_RING_RESET = 40
VIRTIO_NET_F_HASH_REPORT = 57
PROTOCOL_F_LOG_SHMFD = 1
PROTOCOL_F_PAGEFAULT = 8
GET_FEATURES = 1
GET_PROTOCOL_FEATURES = 15


def eal(core, hugepages=False, memory_mib=256):
    """EAL options for a main lcore and a worker on one core; no files are left anywhere."""
    memory = ["--in-memory"] if hugepages else ["--no-huge", "--no-shconf"]
    return ["--lcores", f"0@{core},1@{core}", "--no-pci", "--no-telemetry", *memory,
            "-m", memory_mib]


def listens(path):
    """Whether somebody listens on the socket, without connecting to it."""
    for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]:
        words = line.split()
        if len(words) == 8 and words[7] == str(path) and int(words[3], 16) & LISTENING:
            return True
    return False


def offered_features(path, request=GET_FEATURES):
    """Ask the back-end behind the socket which virtio features it offers, or protocol features."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(struct.pack("=III", request, 1, 0))
        answer = connection.recv(20, socket.MSG_WAITALL)
    return struct.unpack("=IIIQ", answer)[3]


class BackEnd:
    """A process of ours that serves one port per path and forwards between them."""

    def __init__(self, paths, client, process):
        self.paths = paths
        self.process = process
        if not client:
            for path in paths:
                wait_until(lambda path=path: self._alive() and listens(path), 20,
                           f"{process.name} to listen on {path}")

    def _alive(self):
        if not self.process.running():
            raise Failed(f"{self.process.name} ended at once\n{self.process.tail()}")
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def stop(self):
        """End it properly; fail if it does not end well."""
        status = self.process.stop()
        if status != 0:
            raise Failed(f"{self.process.name} ended with status {status}\n{self.process.tail()}")


class VhuTestpmd(BackEnd):
    """vhu-testpmd, on the library's own interface."""

    def __init__(self, paths, queues=1, fwd="io", client=False, hugepages=False, options=(),
                 offers=()):
        self.summary_path = Path(str(paths[0]) + f".{os.getpid()}.json")
        command = [place.VHU_TESTPMD, *eal(BACK_CORE, hugepages), "--"]
        more = "".join(f",{offer}=1" for offer in offers)
        for path in paths:
            command += ["--port", f"path={path},queues={queues},client={int(client)}{more}"]
        command += ["--fwd", fwd, "--json", self.summary_path, *options]
        super().__init__(paths, client, Process("vhu-testpmd", command))

    def show(self, what):
        """What 'show ... json' at the prompt says (needs the options -i and --auto-start)."""
        start = len(self.process.lines)
        self.process.write(f"show {what} json\n")
        end, _ = self.process.wait_for(r"^[\]}]", start=start)
        while self.process.lines[start][:1] not in ("[", "{"):
            start += 1  # a line of the log came first
        return json.loads("\n".join(self.process.lines[start:end + 1]))

    def summary(self):
        """Stop it and return what it has counted."""
        self.stop()
        summary = json.loads(self.summary_path.read_text(encoding="utf-8"))
        self.summary_path.unlink()
        return summary


class Driver(BackEnd):
    """Debian's dpdk-testpmd with our driver net_vhu."""

    driver = "net_vhu"
    plugin = ["-d", place.NET_VHU]
    arguments = ""

    def __init__(self, paths, queues=1, fwd="io", client=False, hugepages=False, options=(),
                 offers=()):
        more = self.arguments + "".join(f",{offer}-support=1" for offer in offers)
        # No period for statistics: testpmd would sleep whole seconds, also when it is to end.
        command = [place.program("dpdk-testpmd"), *eal(BACK_CORE, hugepages), *self.plugin]
        for index, path in enumerate(paths):
            command += ["--vdev", f"{self.driver}{index},iface={path},queues={queues},"
                                  f"client={int(client)}{more}"]
        command += ["--", f"--forward-mode={fwd}", "--auto-start", "--no-mlockall",
                    "--nb-cores=1", f"--rxq={queues}", f"--txq={queues}",
                    "--total-num-mbufs=16384", *options]
        super().__init__(paths, client, Process("dpdk-testpmd", command))


class RteVhost(Driver):
    """Debian's dpdk-testpmd with DPDK's own vhost driver: shows whether a test itself works."""

    driver = "net_vhost"
    plugin = []
    arguments = ",tso=1"


class Verify:
    """vhu-verify: sends predictable frames through net_virtio_user, compares all that returns."""

    def __init__(self, path, device="mrg_rxbuf=1,in_order=0", queues=1, packets=0, sizes="64",
                 server=False, hugepages=False, ring_size=1024, options=(), words=(),
                 memory_mib=256):
        shared = ["--single-file-segments"] if hugepages else []
        # The driver's vectorised functions for packed rings need the widest registers.
        wide = ["--force-max-simd-bitwidth=512"] if "vectorized=1" in device else []
        command = [
            place.VERIFY, *eal(FRONT_CORE, hugepages, memory_mib), *shared, *wide, *words, "--vdev",
            f"net_virtio_user0,path={path},queues={queues},queue_size={ring_size},"
            f"server={int(server)},{device}",
            "--", "--packets", packets, "--sizes", sizes, "--queues", queues,
            "--ring-size", ring_size, *options]
        self.process = Process("vhu-verify", command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def reports(self, kind):
        """All JSON lines of that kind so far."""
        found = []
        for line in list(self.process.lines):
            if line.startswith('{"' + kind + '":'):
                found.append(json.loads(line)[kind])
        return found

    def result(self, timeout=60):
        """Wait for the end and return the result."""
        self.process.finish(timeout)
        found = self.reports("result")
        if not found:
            raise Failed(f"vhu-verify ended without a result\n{self.process.tail()}")
        return found[-1]

    def received(self):
        """Frames that came back so far (needs --progress)."""
        found = self.reports("progress")
        return found[-1]["received"] if found else 0

    def wait_progress(self, frames=20000, timeout=30):
        """Wait until that many more frames have come back."""
        target = self.received() + frames

        def arrived():
            if not self.process.running():
                raise Failed(f"vhu-verify ended\n{self.process.tail()}")
            return self.received() >= target

        wait_until(arrived, timeout, f"{frames} frames to come back through {self.process.name}")
