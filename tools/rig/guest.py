# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A Linux guest under QEMU's TCG whose network devices are vhost-user sockets.

The guest's init (test/guest/init.sh) executes lines from the serial console and reports the exit
status of each with a numbered marker. A second connection, QMP, talks to QEMU itself.
"""

import json
import re
import socket

from rig import place
from rig.process import Failed, Process, wait_until
from rig.traffic import FRONT_CORE

BOOT_TIMEOUT = 60
READY = r"@@ready"


def ping_statistics(output):
    """How many requests were sent and how many replies came, over all pings in the output."""
    found = re.findall(r"(\d+) packets transmitted, (\d+) packets received", output)
    if not found:
        raise Failed(f"ping did not say how it went:\n{output}")
    return sum(int(sent) for sent, _ in found), sum(int(received) for _, received in found)


class Monitor:
    """QEMU's machine protocol: one command, one answer; events in between are skipped."""

    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.settimeout(20)
        self.connection.connect(str(path))
        self.stream = self.connection.makefile("rw", encoding="utf-8")
        self._answer()
        self("qmp_capabilities")

    def _answer(self):
        while True:
            line = self.stream.readline()
            if not line:
                raise Failed("QEMU closed its monitor")
            answer = json.loads(line)
            if "event" not in answer:
                return answer

    def __call__(self, command, **arguments):
        text = {"execute": command}
        if arguments:
            text["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.stream.write(json.dumps(text) + "\n")
        self.stream.flush()
        answer = self._answer()
        if "error" in answer:
            raise Failed(f"QEMU refused {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def close(self):
        self.stream.close()
        self.connection.close()


class Guest:
    """A running guest with one network device per socket path, eth0, eth1, ..."""

    def __init__(self, folder, sockets, memory_mib=256, slots=0, reconnect=False,
                 device_options=""):
        self.monitor_path = folder / "qmp.sock"
        self.number = 0
        self.ready_from = 0
        memory = f"{memory_mib}M"
        if slots:
            memory += f",slots={slots},maxmem=8G"
        command = [
            place.program("qemu-system-x86_64"), "-M", "q35", "-accel", "tcg", "-cpu", "max",
            "-m", memory, "-display", "none", "-nodefaults", "-serial", "stdio",
            "-qmp", f"unix:{self.monitor_path},server=on,wait=off",
            "-kernel", place.GUEST / "vmlinuz", "-initrd", place.GUEST / "initramfs",
            "-append", "console=ttyS0 quiet panic=-1 memhp_default_state=online_movable",
            "-object", f"memory-backend-memfd,id=m0,size={memory_mib}M,share=on",
            "-numa", "node,memdev=m0"]
        for index, path in enumerate(sockets):
            again = ",reconnect=1" if reconnect else ""
            command += [
                "-chardev", f"socket,id=c{index},path={path}{again}",
                "-netdev", f"vhost-user,id=n{index},chardev=c{index}",
                # Without interrupt vectors: QEMU 7.2 under TCG crashes with vhost-user and MSI-X.
                "-device", f"virtio-net-pci,netdev=n{index},romfile=,vectors=0,"
                           f"mac=52:54:00:00:00:{index + 1:02x}{device_options}"]
        self.process = Process("guest", command, cores={FRONT_CORE})
        self.monitor = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def boot(self):
        """Wait until init runs; return the kernel's version. Call it again after a reboot."""
        index, match = self.process.wait_for(READY + r" (\S+)", BOOT_TIMEOUT, self.ready_from)
        self.ready_from = index + 1
        if self.monitor is None:
            wait_until(self.monitor_path.exists, 5, "QEMU's monitor socket")
            self.monitor = Monitor(self.monitor_path)
        return match.group(1)

    def send(self, command):
        """Start a command without waiting for it; return what wait() needs."""
        self.number += 1
        start = len(self.process.lines)
        self.process.write(f"{self.number} {command}\n")
        return self.number, start

    def wait(self, sent, timeout=60):
        """Wait for a command to end; return its exit status and its output."""
        number, start = sent
        index, match = self.process.wait_for(rf"@@done {number} (\d+)", timeout, start)
        return int(match.group(1)), "\n".join(self.process.lines[start:index])

    def run(self, command, timeout=60):
        """Run a command; return its exit status and its output."""
        return self.wait(self.send(command), timeout)

    def must(self, command, timeout=60):
        """Run a command that has to succeed; return its output."""
        status, output = self.run(command, timeout)
        if status != 0:
            raise Failed(f"in the guest '{command}' gave status {status}:\n{output}")
        return output

    def address(self, device, address):
        self.must(f"ip addr add {address} dev {device} && ip link set {device} up")

    def second_host(self, device, address):
        """Move a device into a network namespace of its own: a second host in the same guest.

        Commands for it are run with inside().
        """
        self.must("unshare -n sleep 100000 >/dev/null 2>&1 & echo $! >/run/second; "
                  "until [ \"$(readlink /proc/$(cat /run/second)/ns/net)\" != "
                  "\"$(readlink /proc/self/ns/net)\" ]; do usleep 10000; done")
        self.must(f"ip link set {device} netns $(cat /run/second)")
        self.must(self.inside("ip link set lo up"))
        self.must(self.inside(f"ip addr add {address} dev {device}"))
        self.must(self.inside(f"ip link set {device} up"))

    @staticmethod
    def inside(command):
        """The command, run on the second host."""
        return f"nsenter -t $(cat /run/second) -n {command}"

    def make_file(self, mib):
        """Write a file of random bytes to /tmp/file."""
        self.must(f"dd if=/dev/urandom of=/tmp/file bs=1M count={mib} 2>&1")

    def checksum(self, name):
        """SHA-256 of a file in /tmp."""
        return self.must(f"sha256sum /tmp/{name}").split()[0]

    def received_frames(self, device):
        """What the driver has counted since it was loaded."""
        return int(self.must(f"cat /sys/class/net/{device}/statistics/rx_packets"))

    def memory_mib(self):
        """Memory that the guest's kernel has, MiB."""
        return int(self.must("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"))

    def reset(self):
        """Reset the machine as its button would, without a word to the driver; boot() follows."""
        self.ready_from = len(self.process.lines)
        self.monitor("system_reset")

    def plug_memory(self, number, mib):
        """Hot-plug one DIMM."""
        self.monitor("object-add", **{
            "qom-type": "memory-backend-memfd", "id": f"hot{number}", "size": mib << 20,
            "share": True})
        self.monitor("device_add", driver="pc-dimm", id=f"dimm{number}", memdev=f"hot{number}")

    def close(self):
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None
        self.process.stop()
