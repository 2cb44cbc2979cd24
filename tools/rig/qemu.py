# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The versions of QEMU there are, and the words that make a machine with vhost-user devices."""

from rig import place


class Qemu:
    """One version of QEMU."""

    def __init__(self, program, msix):
        self.program = program
        self.msix = msix

    def network_device(self, index, path, queues=1, reconnect=False, options="", iommu=False):
        """A virtio network device whose back-end is behind the socket.

        Behind the IOMMU it has a root port of its own. On the root bus the guest was never seen to
        say that a translation became invalid, behind a port it always did; that QEMU grants ATS
        only there is our explanation.
        """
        port = ["-device", f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1}"]
        if iommu:
            options += IOMMU_DEVICE + f",bus=port{index}"
        again = ",reconnect=1" if reconnect else ""
        vectors = 2 * queues + 2 if self.msix else 0
        pairs = ",mq=on" if queues > 1 else ""
        return [
            *(port if iommu else []), "-chardev", f"socket,id=c{index},path={path}{again}",
            "-netdev", f"vhost-user,id=n{index},chardev=c{index},queues={queues}",
            "-device", f"virtio-net-pci,id=nic{index},netdev=n{index},romfile=,"
                       f"vectors={vectors}{pairs},mac=52:54:00:00:00:{index + 1:02x}{options}"]


def debian():
    """The QEMU that Debian 12 has. Under TCG it crashes with vhost-user and MSI-X."""
    return Qemu(place.program("qemu-system-x86_64"), msix=False)


def newer():
    """The one that tools/newer-qemu fetches."""
    return Qemu(place.NEWER_QEMU, msix=True)


def machine(memory_mib, slots, huge=False):
    """Machine and memory; DIMMs can be added if there are slots, anything if memory may grow."""
    size = f"{memory_mib}M"
    if slots:
        size += f",slots={slots},maxmem=8G"
    return ["-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", size, "-display", "none",
            "-nodefaults", "-serial", "stdio",
            "-object", f"memory-backend-memfd,id=m0,size={memory_mib}M,share=on"
                       f"{HUGE if huge else ''}",
            "-numa", "node,memdev=m0"]


def kernel(words="", image=place.GUEST):
    """A guest that tools/guest-image makes, by the folder that it is in."""
    return ["-kernel", image / "vmlinuz", "-initrd", image / "initramfs",
            "-append", "console=ttyS0 quiet panic=-1 memhp_default_state=online_movable " + words]


def growing_memory(mib, slots=1):
    """A virtio-mem device that can give that much memory, mapped as so many regions at most."""
    dynamic = ",dynamic-memslots=on" if slots > 1 else ""
    return ["-object", f"memory-backend-memfd,id=grow0,size={mib}M,share=on,reserve=off",
            "-device", f"virtio-mem-pci,id=vmem0,memdev=grow0,node=0,requested-size=0"
                       f"{dynamic}"]


def iommu():
    """A virtual IOMMU; a device behind it needs IOMMU_DEVICE and the kernel IOMMU_KERNEL."""
    return ["-device", "intel-iommu,intremap=off,device-iotlb=on"]


HUGE = ",hugetlb=on,hugetlbsize=2M"
IOMMU_DEVICE = ",iommu_platform=on,disable-legacy=on,ats=on"
IOMMU_KERNEL = "intel_iommu=on"
