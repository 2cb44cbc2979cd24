# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Open vSwitch with DPDK, as Debian has it, with ports that our driver net_vhu serves.

Everything of it is in one folder: database, sockets, no pid files, no daemons. Its bridge exists in
its own process only, but for the tap device that stands for the bridge itself. It always runs DPDK
with --in-memory, which excludes --no-huge: hugepages have to be there.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rig import place, traffic
from rig.process import Failed, Process, wait_until

SWITCH = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
MEMORY_MIB = 256
COMMAND_TIMEOUT = 60
FOLDERS = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
QUIET = ["-vsyslog:off", "-vfile:off"]


def missing():
    """Why there is no switch here, or None."""
    if not SWITCH.exists() or not place.program("ovsdb-server"):
        return "openvswitch-switch-dpdk is not installed (tools/setup test installs it)"
    if not place.NET_VHU.exists():
        return "net_vhu was not built: DPDK's driver headers are missing (tools/setup build)"
    if not os.access("/dev/net/tun", os.W_OK):
        return "/dev/net/tun cannot be opened, which the switch wants for its bridge"
    return None


class Switch(traffic.BackEnd):
    """One bridge; port number n (from 1 on) is behind the n-th path. It learns addresses."""

    def __init__(self, paths):
        self.folder = Path(tempfile.mkdtemp(prefix="vhu-ovs-"))
        self.environment = {name: str(self.folder) for name in FOLDERS}
        self.bridge = f"vhu{os.getpid()}"
        self.remote = f"unix:{self.folder / 'db.sock'}"
        self.store = self.process = None
        try:
            self._database()
            self._start()
            for index, path in enumerate(paths):
                self._add(index, path)
            super().__init__(paths, False, self.process)
        except BaseException:
            self._end()
            raise

    def _run(self, *words):
        done = subprocess.run(
            [str(word) for word in words], timeout=COMMAND_TIMEOUT + 10, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment})
        if done.returncode != 0:
            said = f"\n{self.process.tail()}" if self.process else ""
            raise Failed(f"{words[0]} ended with status {done.returncode}: {done.stdout}{said}")

    def _database(self):
        database = self.folder / "conf.db"
        self._run("ovsdb-tool", "create", database, SCHEMA)
        self.store = Process("ovsdb-server", [
            place.program("ovsdb-server"), database, f"--remote=p{self.remote}",
            f"--unixctl={self.folder / 'store.ctl'}", *QUIET], environment=self.environment)
        wait_until(lambda: traffic.listens(self.folder / "db.sock"), 20, "ovsdb-server to listen")

    def _start(self):
        mask = hex(1 << traffic.BACK_CORE)
        self.configure(
            "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
            "other_config:dpdk-init=true", f"other_config:pmd-cpu-mask={mask}",
            f"other_config:dpdk-lcore-mask={mask}",
            f'other_config:dpdk-socket-mem="{MEMORY_MIB}"',
            f'other_config:dpdk-extra="--no-pci --no-telemetry -d {place.NET_VHU}"')
        self.process = Process("ovs-vswitchd", [
            SWITCH, self.remote, f"--unixctl={self.folder / 'switch.ctl'}", *QUIET,
            "-vconsole:info"], environment=self.environment)
        self.process.wait_for(r"DPDK Enabled - initialized", 60)
        self.configure("add-br", self.bridge, "--", "set", "bridge", self.bridge,
                       "datapath_type=netdev")

    def _add(self, index, path):
        self.configure(
            "add-port", self.bridge, f"p{index}", "--", "set", "Interface", f"p{index}",
            "type=dpdk", f"ofport_request={index + 1}",
            f"options:dpdk-devargs=net_vhu{index},iface={path}")

    def configure(self, *words):
        """Change the switch, and wait until it has done so."""
        self._run("ovs-vsctl", f"--db={self.remote}", f"--timeout={COMMAND_TIMEOUT}", *words)

    def remove(self, index):
        """Take the port of that path away."""
        self.configure("del-port", self.bridge, f"p{index}")

    def reflect(self):
        """From here on each port gets back what it sends."""
        control = f"unix:{self.folder / self.bridge}.mgmt"
        self._run("ovs-ofctl", "del-flows", control)
        self._run("ovs-ofctl", "add-flow", control, "actions=in_port")

    def __exit__(self, *_):
        self._end()

    def _leave(self):
        """Only so does it take its tap device along."""
        self._run("ovs-appctl", "-t", self.folder / "switch.ctl", "exit", "--cleanup")
        return self.process.finish(30)

    def _end(self):
        try:
            if self.process and self.process.running():
                self._leave()
        finally:
            for process in (self.process, self.store):
                if process:
                    process.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        """End it as its scripts do; fail if it does not end well."""
        status = self._leave()
        if status != 0:
            raise Failed(f"ovs-vswitchd ended with status {status}\n{self.process.tail()}")
