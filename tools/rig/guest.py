# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A Linux guest under QEMU's TCG whose network devices are vhost-user sockets.

The guest's init (test/guest/init.sh) executes lines from the serial console and reports the exit
status of each with a numbered marker. A second connection, QMP, talks to QEMU itself.
"""

import re
from pathlib import Path

from rig import place
from rig import qemu as versions
from rig.monitor import Monitor
from rig.process import Failed, Process, wait_until
from rig.traffic import FRONT_CORE

BOOT_TIMEOUT = 60
READY = r"@@ready"
MEMFD = "/memfd:memory-backend-memfd (deleted)"


def ping_statistics(output):
    """How many requests were sent and how many replies came, over all pings in the output."""
    found = re.findall(r"(\d+) packets transmitted, (\d+) packets received", output)
    if not found:
        raise Failed(f"ping did not say how it went:\n{output}")
    return sum(int(sent) for sent, _ in found), sum(int(received) for _, received in found)


def small_mappings(back):
    """How many parts of guests' memory the back-end has mapped that are as small as rings."""
    lines = Path(f"/proc/{back.process.child.pid}/maps").read_text(encoding="utf-8").splitlines()
    ranges = [[int(end, 16) for end in line.split()[0].split("-")]
              for line in lines if line.endswith(MEMFD)]
    return sum(end - start < 1 << 16 for start, end in ranges)


class Guest:
    """A running guest with one network device per socket path, eth0, eth1, ..."""

    def __init__(self, folder, sockets, memory_mib=256, slots=0, reconnect=False,
                 device_options="", queues=1, qemu=None, iommu=False, cpus=1, kernel_words="",
                 name="guest", extra=(), huge=False, image=place.GUEST):
        qemu = qemu or versions.debian()
        self.name = name
        self.monitor_path = folder / f"{name}.qmp"
        self.number = 0
        self.ready_from = 0
        if iommu:
            kernel_words += " " + versions.IOMMU_KERNEL
        command = [
            qemu.program, *versions.machine(memory_mib, slots, huge), "-smp", cpus,
            *versions.kernel(kernel_words, image), *(versions.iommu() if iommu else []),
            "-qmp", f"unix:{self.monitor_path},server=on,wait=off", *extra]
        for index, path in enumerate(sockets):
            command += qemu.network_device(index, path, queues, reconnect, device_options,
                                           iommu)
        self.process = Process(name, command, cores={FRONT_CORE}, apart=True)
        self.monitor = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def boot(self):
        """Wait until init runs; return the kernel's version. Call it again after a reboot."""
        index, match = self.process.wait_for(READY + r" (\S+)", BOOT_TIMEOUT, self.ready_from)
        self.ready_from = index + 1
        self.connect()
        return match.group(1)

    def connect(self):
        """Connect to QEMU's monitor, whatever the guest does."""
        if self.monitor is None:
            try:
                self.monitor = Monitor(self.monitor_path)
            except (Failed, OSError) as error:
                raise Failed(f"{error}\n{self.process.tail()}") from None

    def memory_files(self):
        """The files that hold the guest's memory, in the order in which QEMU made them."""
        folder = Path(f"/proc/{self.process.child.pid}/fd")
        found = [entry for entry in folder.iterdir() if str(entry.readlink()) == MEMFD]
        return sorted(found, key=lambda entry: int(entry.name))

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

    def virtio_name(self, device):
        """The driver core's name of a network device, such as virtio0."""
        return self.must(f"basename $(readlink /sys/class/net/{device}/device)").strip()

    def rebind(self, device):
        """Take the driver off a network device and put it on again; its addresses are gone then."""
        name = self.virtio_name(device)
        driver = "/sys/bus/virtio/drivers/virtio_net"
        self.must(f"echo {name} >{driver}/unbind && echo {name} >{driver}/bind")

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

    def wait_memory(self, fits, timeout=60):
        """Wait until the guest's memory in MiB is as the function says."""
        wait_until(lambda: fits(self.memory_mib()), timeout, "the guest's memory to change")

    def reset(self):
        """Reset the machine as its button would, without a word to the driver; boot() follows."""
        self.ready_from = len(self.process.lines)
        self.monitor("system_reset")

    def devices(self):
        """Names of the devices that have one."""
        return [item["name"] for item in self.monitor("qom-list", path="/machine/peripheral")]

    def plug_memory(self, number, mib):
        """Hot-plug one DIMM."""
        self.monitor("object-add", **{
            "qom-type": "memory-backend-memfd", "id": f"hot{number}", "size": mib << 20,
            "share": True})
        self.monitor("device_add", driver="pc-dimm", id=f"dimm{number}", memdev=f"hot{number}")

    def unplug_memory(self, number):
        """Ask the guest to give one DIMM back; it is gone when the guest has done so."""
        self.monitor("device_del", id=f"dimm{number}")

    def resize_memory(self, mib):
        """Ask the virtio-mem device to give the guest so much memory."""
        self.monitor("qom-set", path="/machine/peripheral/vmem0", property="requested-size",
                     value=mib << 20)

    def close(self):
        if self.monitor is not None:
            self.monitor.close()
            self.monitor = None
        self.process.stop()
