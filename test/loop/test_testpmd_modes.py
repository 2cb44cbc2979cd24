# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What each forwarding mode of vhu-testpmd does to frames, seen by a scripted front-end."""

import json
import struct
import sys
from pathlib import Path

import pytest

from rig import place, traffic
from rig.process import Process, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from frontend import net  # noqa: E402
from frontend.connection import Connection  # noqa: E402
from frontend.messages import Feature, bit  # noqa: E402
from frontend.session import FEATURES, Session  # noqa: E402

GUEST_MAC = bytes.fromhex("020000000002")
OTHER_MAC = bytes.fromhex("020000000001")
PORT_MAC = bytes.fromhex("027668750000")
GUEST_IP = bytes([192, 0, 2, 1])
OTHER_IP = bytes([192, 0, 2, 77])
ARP, IPV4, IPV6, VLAN, QINQ = b"\x08\x06", b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xa8"
ICMP, TCP, UDP = 1, 6, 17


class Bench:
    """A vhu-testpmd and front-ends connected to it."""

    def __init__(self, path):
        self.paths = [path]
        self.process = None
        self.sessions = []
        self.summary_path = path.with_name("summary.json")

    def start(self, mode, *options, ports=("",), interactive=False, workers=1):
        self.paths = [self.paths[0].with_name(f"{index}.sock") for index in range(len(ports))]
        eal = traffic.eal(traffic.BACK_CORE, memory_mib=128)
        eal[1] = ",".join(f"{lcore}@{traffic.BACK_CORE}" for lcore in range(workers + 1))
        command = [place.VHU_TESTPMD, *eal, "--", "--fwd", mode, "--json", self.summary_path,
                   *options]
        for path, extra in zip(self.paths, ports):
            command += ["--port", f"path={path}{extra}"]
        if interactive:
            command += ["-i", "--auto-start"]
        self.process = Process("vhu-testpmd", command)
        for path in self.paths:
            wait_until(lambda path=path: traffic.listens(path), 20, f"{path} to be listened on")
        return self

    def connect(self, port=0, features=FEATURES, pairs=1, ring_size=64):
        session = Session(Connection.open(str(self.paths[port])), features=features, pairs=pairs,
                          ring_size=ring_size)
        self.sessions.append(session)
        session.start()
        for pair in session.pairs:
            pair.post()
        return session

    def summary(self):
        """End it and return its statistics of all ports."""
        assert self.process.stop() == 0, self.process.tail()
        return json.loads(self.summary_path.read_text(encoding="utf-8"))["ports"]

    def close(self):
        for session in self.sessions:
            session.close()
        if self.process is not None:
            self.process.stop()


@pytest.fixture
def bench(path):
    if not place.VHU_TESTPMD.exists():
        pytest.fail(f"{place.VHU_TESTPMD} is missing; build it with ninja")
    made = Bench(path)
    yield made
    made.close()


def through(session, data, header=None, pair=0):
    """Send one frame, return the one that comes back as (header, frame)."""
    queue = session.pairs[pair]
    queue.send(data, header)
    queue.transmit_ring.kick()
    (result,) = queue.receive(1)
    queue.post()
    return result


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol, payload, source=GUEST_IP, target=OTHER_IP, options=b"", fragment=0, good=True):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0,
                       20 + len(options) + len(payload), 7, fragment, 64, protocol, 0, source,
                       target) + options
    value = checksum(head) ^ (0 if good else 0x5555)
    return head[:10] + struct.pack("!H", value) + head[12:] + payload


def pseudo(protocol, payload, source=GUEST_IP, target=OTHER_IP):
    return source + target + struct.pack("!HH" if len(source) == 4 else "!II", protocol,
                                         len(payload))


def ethernet(kind, payload, tags=b"", source=GUEST_MAC, target=OTHER_MAC):
    return target + source + tags + kind + payload


def echo_request(length=56, kind=8):
    body = struct.pack("!BBHHH", kind, 0, 0, 0x1234, 1) + bytes(range(256)) * 8
    body = body[:8 + length]
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def arp_request(sender=GUEST_IP, target=OTHER_IP, operation=1):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, GUEST_MAC, sender, bytes(6),
                       target)


TAGS = {"plain": b"", "vlan": VLAN + b"\x00\x2a", "qinq": QINQ + b"\x00\x07" + VLAN + b"\x00\x2a"}


@pytest.mark.parametrize("size", [14, 60, 1514])
def test_io_returns_frames_untouched(bench, size):
    session = bench.start("io").connect()
    data = net.frame(1, size)
    assert through(session, data)[1] == data


def test_mac_sets_source_and_peer(bench):
    bench.start("mac", "--eth-peer", "0,02:aa:bb:cc:dd:ee")
    data = net.frame(1)
    got = through(bench.connect(), data)[1]
    assert got == bytes.fromhex("02aabbccddee") + PORT_MAC + data[12:]


def test_macswap_swaps(bench):
    data = net.frame(1)
    got = through(bench.start("macswap").connect(), data)[1]
    assert got == data[6:12] + data[:6] + data[12:]


@pytest.mark.parametrize("mode", ["mac", "macswap", "csum"])
@pytest.mark.parametrize("size", [1, 6, 13])
def test_frames_without_a_whole_ethernet_header_stay_as_they_are(bench, mode, size):
    data = bytes(range(1, size + 1))
    assert through(bench.start(mode).connect(), data)[1] == data


def test_rxonly_counts_and_sends_nothing(bench):
    session = bench.start("rxonly").connect()
    pair = session.pairs[0]
    for number in range(20):
        pair.send(net.frame(number, 100))
    pair.transmit_ring.wait_used(20)
    assert pair.take([]) == []
    port, = bench.summary()
    assert (port["rx"]["packets"], port["rx"]["bytes"]) == (20, 2000)
    assert (port["tx"]["packets"], port["drops"]) == (0, 0)


@pytest.mark.parametrize("lengths", ["42", "43", "64", "1514", "42,1,57", "100,200,300,400"])
def test_txonly_sends_valid_udp_frames(bench, lengths):
    session = bench.start("txonly", "--txpkts", lengths).connect()
    total = sum(int(length) for length in lengths.split(","))
    for _, data in session.pairs[0].receive(40):
        assert len(data) == total
        assert data[12:14] == IPV4
        assert checksum(data[14:34]) == 0
        assert struct.unpack_from("!H", data, 16)[0] == total - 14
        udp = data[34:]
        assert struct.unpack_from("!H", udp, 4)[0] == len(udp)
        assert checksum(pseudo(UDP, udp, data[26:30], data[30:34]) + udp) == 0
        assert udp[6:8] != b"\0\0"


def test_flowgen_goes_through_its_flows_with_valid_checksums(bench):
    session = bench.start("flowgen").connect(ring_size=256)
    pair = session.pairs[0]
    ports = []
    while len(ports) < 2048:
        for _, data in pair.receive(32):
            udp = data[34:]
            assert checksum(pseudo(UDP, udp, data[26:30], data[30:34]) + udp) == 0
            ports.append(struct.unpack_from("!H", udp)[0])
        pair.post()
    # Frames without a buffer are dropped, so the order has gaps, but no flow comes twice in a row.
    assert len(set(ports)) > 256
    assert all(1024 <= port < 2048 for port in ports)
    assert all(first != second for first, second in zip(ports, ports[1:]))


def test_flowgen_discards_what_the_guest_sends(bench):
    session = bench.start("flowgen").connect()
    pair = session.pairs[0]
    for number in range(30):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(30)
    assert bench.summary()[0]["rx"]["packets"] == 30


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
def test_icmpecho_answers_arp_for_any_address(bench, tags):
    session = bench.start("icmpecho").connect()
    got = through(session, ethernet(ARP, arp_request(), tags, target=b"\xff" * 6))[1]
    assert got[:12] == GUEST_MAC + PORT_MAC
    assert got[12:12 + len(tags)] == tags
    arp = got[12 + len(tags) + 2:]
    assert arp[:28] == struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, PORT_MAC, OTHER_IP,
                                   GUEST_MAC, GUEST_IP)


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
@pytest.mark.parametrize("options", [b"", b"\x01" * 8], ids=["bare", "ip options"])
@pytest.mark.parametrize("length", [0, 1, 56, 1400])
def test_icmpecho_answers_echo_requests(bench, tags, options, length):
    session = bench.start("icmpecho").connect()
    request = echo_request(length)
    got = through(session, ethernet(IPV4, ipv4(ICMP, request, options=options), tags))[1]
    assert got[:12] == GUEST_MAC + PORT_MAC
    assert got[12:12 + len(tags)] == tags
    head = got[14 + len(tags):34 + len(tags) + len(options)]
    reply = got[34 + len(tags) + len(options):]
    assert checksum(head) == 0
    assert head[12:20] == OTHER_IP + GUEST_IP
    assert reply[0] == 0
    assert checksum(reply) == 0
    assert reply[4:] == request[4:]


def test_icmpecho_returns_later_fragments(bench):
    session = bench.start("icmpecho").connect()
    data = b"rest of a large ping" * 3
    got = through(session, ethernet(IPV4, ipv4(ICMP, data, fragment=185)))[1]
    assert got[26:34] == OTHER_IP + GUEST_IP
    assert got[34:] == data


@pytest.mark.parametrize("data", [
    ethernet(ARP, arp_request(sender=bytes(4))),
    ethernet(ARP, arp_request(sender=OTHER_IP)),
    ethernet(ARP, arp_request(operation=2)),
    ethernet(ARP, arp_request()[:-1]),
    ethernet(IPV4, ipv4(UDP, bytes(20))),
    ethernet(IPV4, ipv4(ICMP, echo_request(kind=0))),
    ethernet(IPV4, ipv4(ICMP, echo_request()[:7])),
    ethernet(IPV4, ipv4(ICMP, echo_request(), target=bytes([224, 0, 0, 1]))),
    ethernet(IPV4, ipv4(ICMP, echo_request(), target=b"\xff" * 4)),
    ethernet(IPV4, b"\x4f" + ipv4(ICMP, b"12345678")[1:]),
    ethernet(IPV4, b"\x41" + ipv4(ICMP, echo_request())[1:]),
    ethernet(IPV4, b"\x45"),
    ethernet(IPV6, bytes(60)),
    ethernet(b"", VLAN + b"\x00\x01" + VLAN),
    ethernet(b"", b""),
    b"\x01",
], ids=["arp probe", "arp announcement", "arp reply", "short arp", "udp", "echo reply",
        "short icmp", "multicast", "broadcast", "options past the end", "tiny header",
        "one byte of ip", "ipv6", "cut tag", "no type", "one byte"])
def test_icmpecho_leaves_the_rest_unanswered(bench, data):
    session = bench.start("icmpecho").connect()
    session.pairs[0].send(data)
    got = through(session, ethernet(IPV4, ipv4(ICMP, echo_request())))[1]
    assert got[34] == 0, "something else than the reply came"
    port, = bench.summary()
    assert (port["ignored"], port["echo_replies"], port["arp_replies"]) == (1, 1, 0)


def transport(protocol, payload, value):
    """A TCP or UDP header with that checksum, and its payload."""
    if protocol == TCP:
        return struct.pack("!HHIIBBHHH", 1000, 2000, 1, 2, 0x50, 0x18, 512, value, 0) + payload
    return struct.pack("!HHHH", 1000, 2000, 8 + len(payload), value) + payload


def ip_frame(version, protocol, segment):
    if version == 4:
        return ethernet(IPV4, ipv4(protocol, segment))
    source, target = b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"
    head = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + source + target
    return ethernet(IPV6, head + segment)


def split_ip(data):
    """(pseudo header, transport header with payload, offset of the latter)."""
    if data[12:14] == IPV4:
        return pseudo(data[23], data[34:], data[26:30], data[30:34]), data[34:], 34
    segment = data[54:]
    return pseudo(data[20], segment, data[22:38], data[38:54]), segment, 54


OFFLOADS = FEATURES | bit(Feature.CSUM, Feature.GUEST_CSUM)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize("who", ["software", "offload"])
@pytest.mark.parametrize("guest", [FEATURES, OFFLOADS], ids=["plain guest", "offloading guest"])
@pytest.mark.parametrize("length", [1, 512, 1401])
def test_csum_makes_checksums_right(bench, version, protocol, who, guest, length):
    session = bench.start("csum", ports=(f",csum={who}",)).connect(features=guest)
    payload = (bytes(range(256)) * 6)[:length]
    sent = ip_frame(version, protocol, transport(protocol, payload, 0xDEAD))
    header, got = through(session, sent)
    pseudo_header, segment, start = split_ip(got)
    place_of = 16 if protocol == TCP else 6
    assert segment[20 if protocol == TCP else 8:] == payload
    if header.flags & net.NEEDS_CSUM:
        assert (who, guest) == ("offload", OFFLOADS), "offload was not asked for or not agreed"
        assert (header.checksum_start, header.checksum_offset) == (start, place_of)
        # What the guest's driver does: sum from the start over what is there.
        whole = struct.pack("!H", checksum(segment))
        segment = segment[:place_of] + whole + segment[place_of + 2:]
    assert checksum(pseudo_header + segment) == 0


def test_csum_offload_is_used_when_the_guest_agrees(bench):
    session = bench.start("csum").connect(features=OFFLOADS)
    header, _ = through(session, ip_frame(4, TCP, transport(TCP, b"x" * 100, 0)))
    assert header.flags & net.NEEDS_CSUM


@pytest.mark.parametrize("tso, size", [(0, 1000), (500, 500)], ids=["as received", "own size"])
def test_csum_passes_large_frames_on(bench, tso, size):
    features = OFFLOADS | bit(Feature.HOST_TSO4, Feature.GUEST_TSO4)
    session = bench.start("csum", ports=(f",tso={tso}",)).connect(features=features)
    session.pairs[0].post()
    segment = transport(TCP, bytes(3000), 0)
    # A driver leaves the sum over the pseudo header, length included, in the checksum's place.
    start = ~checksum(pseudo(TCP, segment)) & 0xFFFF
    segment = segment[:16] + struct.pack("!H", start) + segment[18:]
    sent = ip_frame(4, TCP, segment)
    place_of = session.memory.allocate(4096, 4096)
    request = net.Header(net.NEEDS_CSUM, net.GSO_TCPV4, 54, 1000, 34, 16)
    session.pairs[0].send(sent, request, place=place_of)
    (header, got), = session.pairs[0].receive(1)
    assert (header.gso_type, header.gso_size) == (net.GSO_TCPV4, size)
    assert header.flags & net.NEEDS_CSUM
    assert (header.checksum_start, header.checksum_offset) == (34, 16)
    assert got[14:50] + got[52:] == sent[14:50] + sent[52:]
    assert got[50:52] == sent[50:52], "the sum over the pseudo header is wrong"


def test_csum_repairs_and_counts_a_wrong_ipv4_header(bench):
    session = bench.start("csum").connect()
    segment = transport(UDP, b"abc", 0)
    got = through(session, ethernet(IPV4, ipv4(UDP, segment, good=False)))[1]
    assert checksum(got[14:34]) == 0
    assert got[40:42] == b"\0\0", "UDP over IPv4 without a checksum got one"
    assert bench.summary()[0]["bad_checksums"] == 1


@pytest.mark.parametrize("claimed", [0, 19, 27, 2000, 65535])
def test_csum_believes_no_length_beyond_the_frame(bench, claimed):
    session = bench.start("csum", ports=(",csum=software",)).connect()
    packet = ipv4(UDP, transport(UDP, b"abc", 0xDEAD))
    data = ethernet(IPV4, packet[:2] + struct.pack("!H", claimed) + packet[4:])
    got = through(session, data)[1]
    assert got[34:] == data[34:]


def test_two_ports_exchange_frames(bench):
    bench.start("io", ports=("", ""))
    left, right = bench.connect(0), bench.connect(1)
    data = net.frame(5, 300)
    left.pairs[0].send(data)
    (_, got), = right.pairs[0].receive(1)
    assert got == data
    right.pairs[0].send(got)
    assert left.pairs[0].receive(1)[0][1] == data


def test_many_queues_reach_a_guest_with_one(bench):
    bench.start("io", ports=(",queues=4", ",queues=4"))
    many, one = bench.connect(0, pairs=4), bench.connect(1)
    arrived = set()

    def all_arrived():
        # The queues of a guest that has just come are found after a moment: until then frames are
        # dropped, and sent again here.
        for number, pair in enumerate(many.pairs):
            pair.transmit_ring.take_used()
            pair.send(net.frame(number))
        arrived.update(net.number_of(data) for _, data in one.pairs[0].take([]))
        one.pairs[0].post()
        return arrived == {0, 1, 2, 3}

    wait_until(all_arrived, 10, "frames of all four queues")


def test_lcores_share_the_queues(bench):
    session = bench.start("io", ports=(",queues=4",), workers=3).connect(pairs=4)
    for _ in range(3):
        session.echo(count=40)
    port, = bench.summary()
    assert port["rx"]["packets"] == 3 * 4 * 40
    assert port["drops"] == 0


def test_one_lcore_serves_ports_beside_its_other_duties(bench):
    bench.start("io", ports=(",queues=2", ",queues=2"), workers=0)
    left, right = bench.connect(0, pairs=2), bench.connect(1, pairs=2)
    for number, (sender, receiver) in enumerate(zip(left.pairs, right.pairs)):
        data = net.frame(number, 200)
        sender.send(data)
        assert receiver.receive(1)[0][1] == data


def test_frames_for_a_guest_that_is_not_there_are_counted(bench):
    bench.start("io", ports=("", ""))
    pair = bench.connect(0).pairs[0]
    for number in range(7):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(7)
    left, right = bench.summary()
    assert left["rx"]["packets"] == 7
    assert right["tx"]["unsent"] == 7


def test_guests_come_and_go(bench):
    bench.start("io")
    for _ in range(3):
        session = bench.connect()
        session.echo()
        session.close()
        bench.sessions.remove(session)
    port, = bench.summary()
    assert port["rx"]["packets"] == 3 * 16
    assert port["drops"] == 0


def test_ports_come_and_go_under_traffic(bench):
    session = bench.start("io", interactive=True).connect()
    other = bench.paths[0].with_name("other.sock")
    position = 0
    for _ in range(3):
        bench.process.write(f"port attach path={other}\n")
        position, _ = bench.process.wait_for("port 1 attached", start=position)
        pair = session.pairs[0]
        pair.send(net.frame(1))
        pair.transmit_ring.wait_used(1)
        bench.process.write("port detach 1\n")
        position, _ = bench.process.wait_for("port 1 detached", start=position)
        session.echo()


def test_mode_changes_under_traffic(bench):
    session = bench.start("io", interactive=True).connect()
    data = net.frame(1)
    assert through(session, data)[1] == data
    bench.process.write("set fwd macswap\nshow config json\n")
    bench.process.wait_for('"fwd": "macswap"')
    assert through(session, data)[1][:12] == data[6:12] + data[:6]


def test_tx_first_fills_an_empty_loop(bench):
    session = bench.start("io", interactive=True).connect()
    wait_until(lambda: bench.process.running(), 5, "the prompt")
    bench.process.write("stop\nstart tx_first 1\n")
    bench.process.wait_for("sent 32 frames first")
    assert len(session.pairs[0].receive(32)) == 32


def test_clear_starts_counting_again(bench):
    session = bench.start("rxonly", interactive=True).connect()
    pair = session.pairs[0]
    for number in range(5):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(5)
    bench.process.write("clear stats\nshow config json\n")
    bench.process.wait_for('"fwd": "rxonly"')
    for number in range(3):
        pair.send(net.frame(number))
    pair.transmit_ring.wait_used(3)
    port, = bench.summary()
    assert (port["rx"]["packets"], port["busy_packets"]) == (3, 3)
