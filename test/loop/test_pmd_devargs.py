# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Arguments of net_vhu: wrong ones are explained in one line, and there is no port then.

A driver cannot end a program. dpdk-testpmd does end, with a status, when it is told how many ports
it must have.
"""

import stat

import pytest

from rig import place, process, traffic


def start(*arguments):
    """Debian's dpdk-testpmd with net_vhu devices, of which it needs at least one."""
    if not place.program("dpdk-testpmd"):
        pytest.skip("dpdk-testpmd is not installed (tools/setup build)")
    if not place.NET_VHU.exists():
        pytest.skip("net_vhu was not built: DPDK's driver headers are missing (tools/setup build)")
    devices = [f"--vdev=net_vhu{index}{each}" for index, each in enumerate(arguments)]
    return process.Process("dpdk-testpmd", [
        place.program("dpdk-testpmd"), *traffic.eal(0), "-d", place.NET_VHU, *devices,
        "--", "--no-mlockall", "--total-num-mbufs=4096", "--disable-link-check", "--nb-ports=1",
        "-i"])


# {path} is a socket path that nobody uses.
WRONG = {
    "nothing": ("", "argument 'iface' is missing; say net_vhu0,iface=/path/of/socket"),
    "no iface": (",queues=1", "argument 'iface' is missing; say net_vhu1,iface=/path/of/socket"),
    "empty iface": (",iface=", "iface= is not valid; allowed is the path of a socket,"
                               " 1 to 107 bytes"),
    "long iface": (",iface=/" + "x" * 107, "allowed is the path of a socket, 1 to 107 bytes"),
    "iface twice": (",iface={path},iface=/x", "argument 'iface' is given twice; give it once"),
    "no folder": (",iface={path}/none/0.sock", "does not exist"),
    "unknown key": (",iface={path},quues=1", "unknown argument 'quues'; there are iface queues"
                                             " client"),
    "no queues": (",iface={path},queues=0", "queues=0 is not valid; allowed is 1 to 128"),
    "many queues": (",iface={path},queues=129", "queues=129 is not valid; allowed is 1 to 128"),
    "huge queues": (",iface={path},queues=18446744073709551617", "allowed is 1 to 128"),
    "negative queues": (",iface={path},queues=-1", "queues=-1 is not valid; allowed is 1 to 128"),
    "text queues": (",iface={path},queues=2x", "queues=2x is not valid; allowed is 1 to 128"),
    "client": (",iface={path},client=2", "client=2 is not valid; allowed is 0 or 1"),
    "no value": (",iface={path},client", "client= is not valid; allowed is 0 or 1"),
    "small mtu": (",iface={path},mtu=67", "mtu=67 is not valid; allowed is 68 to 65535"),
    "large mtu": (",iface={path},mtu=65536", "mtu=65536 is not valid; allowed is 68 to 65535"),
    "mode digits": (",iface={path},mode=0689", "mode=0689 is not valid; allowed is permission"),
    "mode bits": (",iface={path},mode=1777", "mode=1777 is not valid; allowed is permission"),
    "owner": (",iface={path},owner=no-such-user", "allowed is a user's name or number"),
    "group": (",iface={path},group=no-such-group", "allowed is a group's name or number"),
    "mac": (",iface={path},mac=02:00:00:00:01", "allowed is a unicast address like"),
    "multicast mac": (",iface={path},mac=01:00:5e:00:00:01", "allowed is a unicast address like"),
    "csum": (",iface={path},csum=yes", "csum=yes is not valid; allowed is 0 or 1"),
    "tso without csum": (",iface={path},tso=1,csum=0", "tso=1 needs checksum offload"),
    "mergeable": (",iface={path},mergeable=2", "mergeable=2 is not valid; allowed is 0 or 1"),
    "packed": (",iface={path},packed=yes", "packed=yes is not valid; allowed is 0 or 1"),
    "iommu": (",iface={path},iommu-support=2", "iommu-support=2 is not valid; allowed is 0 or 1"),
    "postcopy": (",iface={path},postcopy-support=", "postcopy-support= is not valid; allowed is 0"),
    "hash alone": (",iface={path},hash=1", "offer hash needs offer control-queue"),
    "control queue": (",iface={path},queues=128,control-queue=1", "1 to 127 are allowed"),
    "features": (",iface={path},features-off=zz", "allowed is a mask like 0x8000"),
    "populate": (",iface={path},populate=9", "populate=9 is not valid; allowed is 0 or 1"),
    "histograms": (",iface={path},histograms=on", "histograms=on is not valid; allowed is 0 or 1"),
    "tx-hints": (",iface={path},tx-hints=x", "tx-hints=x is not valid; allowed is 0 or 1"),
    "no pause": (",iface={path},reconnect-min=0", "allowed is 1 to 3600000 milliseconds"),
    "pauses": (",iface={path},reconnect-min=9,reconnect-max=8",
               "reconnect-min=9 is more than reconnect-max=8"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """One run with a device per wrong case: its lines, its status and the folder of the sockets."""
    folder = tmp_path_factory.mktemp("devargs")
    arguments = [text.format(path=folder / "0.sock") for text, _ in WRONG.values()]
    with start(*arguments) as testpmd:
        status = testpmd.finish(30)
        return testpmd.lines, status, folder


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_explained_in_one_line(case, refused):
    lines, _, _ = refused
    beginning = f"net_vhu: net_vhu{list(WRONG).index(case)}: "
    ours = [line for line in lines if line.startswith(beginning)]
    assert len(ours) == 1, "\n".join(lines)
    assert WRONG[case][1] in ours[0]


def test_wrong_arguments_make_no_port(refused):
    _, status, folder = refused
    assert status != 0
    assert not list(folder.iterdir())


def test_socket_exists_at_probe_with_its_mode_and_goes_with_the_port(path):
    with start(f",iface={path},queues=2,mode=640") as testpmd:
        process.wait_until(lambda: traffic.listens(path), 20, f"somebody to listen on {path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        testpmd.write("quit\n")
        testpmd.finish(30)
    assert not path.exists()


@pytest.mark.parametrize("switch, bits", [
    ("csum=1,tso=1,mergeable=1", {0: True, 1: True, 7: True, 11: True, 15: True}),
    ("csum=1", {0: True, 1: True, 7: False, 11: False, 15: True}),
    ("csum=0", {0: False, 1: False, 7: False, 11: False}),
    ("mergeable=0", {15: False}),
    ("event-idx=0,indirect=0", {28: False, 29: False}),
    ("announce=0", {16: False, 21: False}),
    ("packed=0,in-order=0,log=0", {34: False, 35: False, 26: False}),
    ("tso=1", {16: True, 21: True, 28: True, 29: True, 33: False, 38: True, 40: False, 56: True}),
    ("ring-reset=1", {40: True}),
    ("features-off=0x20000000", {29: False, 15: True}),
])
def test_switches_decide_which_features_the_guest_is_offered(switch, bits, path):
    with start(f",iface={path},{switch}") as testpmd:
        process.wait_until(lambda: traffic.listens(path), 20, f"somebody to listen on {path}")
        offered = traffic.offered_features(path)
        testpmd.write("quit\n")
        testpmd.finish(30)
    assert {bit: bool(offered >> bit & 1) for bit in bits} == bits
