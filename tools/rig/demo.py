# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The show itself; tools/demo has got everything ready. Arguments: loop|guest SECONDS yes|no."""

import re
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig import hugepages, place  # noqa: E402
from rig.guest import Guest, ping_statistics  # noqa: E402
from rig.process import Failed, Process  # noqa: E402
from rig.traffic import FRONT_CORE, VhuTestpmd, eal  # noqa: E402

HUGEPAGES_MIB = 640
IN_FLIGHT_BURSTS = 16
FILE_MIB = 32
LIVE_LINE = r"^\s*\S+ s\s+port \d+\s+rx (\S+) Mpps"


def say(text=""):
    print(text, flush=True)


@contextmanager
def socket_folder():
    """A folder for sockets, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="vhu-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def front_end(path, huge):
    """Debian's testpmd as the guest: it sends back what it receives."""
    shared = ["--single-file-segments"] if huge else []
    return Process("dpdk-testpmd", [
        place.program("dpdk-testpmd"), *eal(FRONT_CORE, huge), *shared, "--vdev",
        f"net_virtio_user0,path={path},queues=1,queue_size=1024,packed_vq=0,mrg_rxbuf=1,in_order=0",
        "--", "-i", "--nb-cores=1", "--txd=1024", "--rxd=1024", "--total-num-mbufs=8192",
        "--no-mlockall"])


def show_lines(process, seconds):
    """Print the back-end's live lines, from the first with traffic on."""
    position, shown = 0, 0
    while shown < seconds:
        position, match = process.wait_for(LIVE_LINE, 20, position)
        if shown or float(match.group(1)) > 0:
            say("  " + process.lines[position].strip())
            shown += 1
        elif position > 20:
            raise Failed(f"no packet came\n{process.tail()}")
        position += 1


def show_summary(port, seconds):
    """What was moved, and how well."""
    received, sent = port["rx"], port["tx"]
    say()
    say(f"Forwarded {received['packets']:,} frames from the guest and {sent['packets']:,} to it, "
        f"{received['bytes'] // max(received['packets'], 1)} bytes each:")
    say(f"  {port['rx_mpps']:.2f} Mpps in and {port['tx_mpps']:.2f} Mpps out, "
        f"{port['gbps']:.2f} Gbit/s together, {port['drops']} dropped, "
        f"{port['cycles_per_packet']:.0f} cycles per packet over {seconds} s")


def choose_memory(stack, wanted):
    """Whether there are hugepages to work with; says what that means."""
    if not wanted:
        say("Memory: ordinary pages, as you wish (slower than hugepages)")
        return False
    reason = stack.enter_context(hugepages.reserved(HUGEPAGES_MIB))
    if reason:
        say(f"Memory: {reason}; going on with ordinary pages, which is slower")
        return False
    say(f"Memory: {HUGEPAGES_MIB} MiB of hugepages, given back at the end")
    return True


def loop(seconds, want_hugepages):
    """Packets between vhu and a virtio driver that is not ours."""
    with ExitStack() as stack:
        huge = choose_memory(stack, want_hugepages)
        folder = stack.enter_context(socket_folder())
        path = folder / "0.sock"
        back = stack.enter_context(VhuTestpmd(
            [path], hugepages=huge, options=["--stats-period", 1]))
        say(f"Back-end: vhu-testpmd listens on {path}")
        front = stack.enter_context(front_end(path, huge))
        front.wait_for("^Done|testpmd>", prompt=True)
        say("Guest: dpdk-testpmd with net_virtio_user is connected and forwards\n")
        front.write("set fwd io\n")
        front.write(f"start tx_first {IN_FLIGHT_BURSTS}\n")
        show_lines(back.process, seconds)
        front.write("quit\n")
        front.stop()
        show_summary(back.summary()["ports"][0], seconds)


def guest():
    """A Linux guest with two network cards, joined by vhu, each a host of its own."""
    reason = place.guest_missing()
    if reason:
        raise Failed(reason)
    with ExitStack() as stack:
        folder = stack.enter_context(socket_folder())
        paths = [folder / "0.sock", folder / "1.sock"]
        back = stack.enter_context(VhuTestpmd(paths))
        say(f"Back-end: vhu-testpmd forwards between {paths[0]} and {paths[1].name}")
        machine = stack.enter_context(Guest(folder, paths))
        say(f"Guest: QEMU runs Linux {machine.boot()}, emulated, one processor")
        machine.address("eth0", "10.0.0.1/24")
        machine.second_host("eth1", "10.0.0.2/24")
        say("Guest: eth0 is 10.0.0.1; eth1 is 10.0.0.2 in a network namespace of its own, so that")
        say("       what they say to one another leaves the guest and crosses vhu\n")
        output = machine.must("ping -c 5 -A 10.0.0.2")
        for line in output.splitlines():
            if re.match(r"\d+ bytes|round-trip", line):
                say("  " + line)
        sent, received = ping_statistics(output)
        if received != sent:
            raise Failed(f"of {sent} echo requests {received} were answered")
        transfer(machine)
        show_guest_summary(back.summary()["ports"])


def transfer(machine):
    """A file over TCP, compared by its checksum."""
    machine.make_file(FILE_MIB)
    machine.must("httpd -h /tmp -p 10.0.0.1:80")
    fetch = machine.inside("wget -q -O /tmp/copy http://10.0.0.1/file")
    output = machine.must(f"read start rest </proc/uptime; {fetch} || exit 1; "
                          "read end rest </proc/uptime; echo took $start $end", 120)
    start, end = re.search(r"took (\S+) (\S+)", output).groups()
    taken = max(float(end) - float(start), 0.01)
    say(f"\n  {FILE_MIB} MiB over TCP in {taken:.1f} s, {FILE_MIB * 8.388608 / taken:.0f} Mbit/s")
    original, copy = machine.checksum("file"), machine.checksum("copy")
    say(f"  sha256 sent      {original}")
    say(f"  sha256 received  {copy}")
    if original != copy:
        raise Failed("the file was changed on its way")
    say("  the same")


def show_guest_summary(ports):
    """What the back-end has seen of it."""
    say()
    for port in ports:
        say(f"Port {port['port']}: {port['rx']['packets']:,} frames from the guest, "
            f"{port['tx']['packets']:,} to it, {port['drops']} dropped")


def end_in_order(*_):
    """Ctrl-C and SIGTERM unwind the stack, so that everything is put back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(130)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_in_order)
    mode, seconds, want_hugepages = sys.argv[1:]
    try:
        if mode == "guest":
            guest()
        else:
            loop(int(seconds), want_hugepages == "yes")
    except Failed as failed:
        print(f"tools/demo: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
