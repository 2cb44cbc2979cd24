# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Negotiation: features, protocol features, and what they open (rows N1 to N16)."""

import struct

import pytest

from frontend import messages
from frontend.checks import Descriptors, connection_works, plausible_payload, stays
from frontend.connection import Closed, refused
from frontend.messages import (Answer, Feature, MAX_PAYLOAD, Protocol, Request, RULES, bit, state,
                               u64)
from frontend.session import FEATURES

#: Bits that somebody defined for virtio-net, the transport or vhost.
KNOWN = bit(*Feature)
#: A bit that nobody defined.
UNDEFINED = 49

#: Requests without a gate of their own that only a back-end with a dirty log serves.
LOGGING = (Request.SET_LOG_BASE, Request.SET_LOG_FD)


@pytest.mark.row("N1")
def test_offered_features(offered):
    features, _ = offered
    wanted = bit(Feature.INDIRECT_DESC, Feature.EVENT_IDX, Feature.PROTOCOL_FEATURES,
                 Feature.VERSION_1)
    assert features & wanted == wanted
    assert features & ~KNOWN == 0, f"bits nobody defined are offered: {features & ~KNOWN:#x}"


@pytest.mark.row("N1")
def test_offered_protocol_features(offered):
    _, protocol = offered
    assert protocol & bit(Protocol.REPLY_ACK)
    assert protocol & ~bit(*Protocol) == 0


@pytest.mark.row("N1")
def test_log_is_offered_with_its_descriptor_or_not_at_all(offered):
    features, protocol = offered
    assert bool(features & bit(Feature.LOG_ALL)) == bool(protocol & bit(Protocol.LOG_SHMFD))


@pytest.mark.row("N2")
@pytest.mark.parametrize("feature", [UNDEFINED, Feature.ACCESS_PLATFORM, Feature.RING_PACKED,
                                     Feature.IN_ORDER])
def test_features_that_were_not_offered(session, feature):
    session = session()
    session.negotiate()
    if session.offered & bit(feature):
        pytest.skip(f"bit {feature} is offered by this back-end")
    session.set_features()
    session.connection.must_not(Request.SET_FEATURES, u64(session.features | bit(feature)))
    session.share_memory()
    session.make_rings()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()


@pytest.mark.row("N3")
def test_rings_stay_disabled_until_they_are_enabled(prepare):
    session = prepare()
    assert session.has(Feature.PROTOCOL_FEATURES)
    for ring in session.rings:
        session.start_ring(ring)
    pair = session.pairs[0]
    pair.post()
    pair.send(bytes(64))
    pair.transmit_ring.kick()
    session.connection.barrier()
    stays(lambda: all(ring.published_used == 0 for ring in session.rings),
          "a ring was processed while disabled")
    session.enable()
    pair.transmit_ring.wait_used(1)


@pytest.mark.row("N4")
def test_rings_are_enabled_without_protocol_features(start):
    session = start(features=FEATURES & ~bit(Feature.PROTOCOL_FEATURES))
    assert not session.has(Feature.PROTOCOL_FEATURES)
    session.echo()


@pytest.mark.row("N4")
def test_rings_are_enabled_by_features_without_bit_30_after_it_was_there(session):
    session = session()
    session.negotiate()
    session.set_features()
    session.features &= ~bit(Feature.PROTOCOL_FEATURES)
    session.set_features()
    session.share_memory()
    session.make_rings()
    for ring in session.rings:
        session.start_ring(ring)
    session.echo()


@pytest.mark.row("N5")
def test_same_features_again_while_rings_run(start):
    session = start()
    session.echo()
    for first in range(100, 1100, 100):
        session.set_features()
        session.echo(first=first)
    assert session.stop()[1] == 11 * 16


@pytest.mark.row("N5", "L15")
def test_log_feature_toggled_while_rings_run(start, offered):
    if not offered[0] & bit(Feature.LOG_ALL):
        pytest.skip("the back-end does not offer LOG_ALL")
    session = start()
    for first in range(100, 600, 100):
        session.features ^= bit(Feature.LOG_ALL)
        session.set_features()
        session.echo(first=first)


@pytest.mark.row("N5", "HF5")
def test_ring_layout_features_cannot_change_while_rings_run(start):
    session = start()
    session.connection.must_not(Request.SET_FEATURES,
                                u64(session.features ^ bit(Feature.EVENT_IDX)))
    session.echo()


@pytest.mark.row("N6")
def test_features_without_version_1(session):
    session = session(features=bit(Feature.PROTOCOL_FEATURES, Feature.MRG_RXBUF))
    session.negotiate()
    if session.connection.acknowledge(Request.SET_FEATURES, u64(session.features)) != 0:
        # A back-end for modern guests only says so, and takes the right set afterwards.
        session.features |= bit(Feature.VERSION_1)
        session.set_features()
    session.share_memory()
    session.make_rings()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()


@pytest.mark.row("N6")
def test_no_features_at_all(connect):
    connection = connect()
    connection.acknowledge(Request.SET_FEATURES, u64(0))
    connection.must(Request.SET_FEATURES,
                    u64(connection.barrier() & bit(Feature.VERSION_1, Feature.PROTOCOL_FEATURES)))


@pytest.mark.row("N7")
def test_protocol_features_before_features(connect):
    connection = connect()
    offered = connection.ask(Request.GET_PROTOCOL_FEATURES).u64
    connection.must(Request.SET_PROTOCOL_FEATURES, u64(offered))
    connection.must(Request.SET_FEATURES, u64(connection.barrier()))
    connection_works(connection)


@pytest.mark.row("N7", "N2")
def test_protocol_features_that_were_not_offered(negotiated, offered):
    connection = negotiated()
    missing = ~offered[1] & bit(*Protocol)
    for number in Protocol:
        if missing & bit(number):
            connection.must_not(Request.SET_PROTOCOL_FEATURES, u64(offered[1] | bit(number)))
    connection.must_not(Request.SET_PROTOCOL_FEATURES, u64(offered[1] | bit(63)))
    # What was in force still is.
    if offered[1] & bit(Protocol.CONFIGURE_MEM_SLOTS):
        assert connection.ask(Request.GET_MAX_MEM_SLOTS).u64 > 0


@pytest.mark.row("N7")
def test_protocol_features_cannot_change_while_rings_run(start):
    session = start()
    session.connection.must(Request.SET_PROTOCOL_FEATURES, u64(session.protocol_features))
    session.connection.must_not(Request.SET_PROTOCOL_FEATURES, u64(0))
    session.echo()


@pytest.mark.row("N8")
@pytest.mark.parametrize("missing", [Protocol.BACKEND_REQ, Protocol.REPLY_ACK])
def test_inband_notifications_without_what_they_need(connect, missing):
    connection = connect()
    wanted = bit(Protocol.INBAND_NOTIFICATIONS, Protocol.BACKEND_REQ,
                 Protocol.REPLY_ACK) & ~bit(missing)
    try:
        refused(connection.ask(Request.SET_PROTOCOL_FEATURES, u64(wanted), need_reply=True))
        connection_works(connection)
    except Closed:
        pass
    connection.close()
    connection_works(connect())


@pytest.mark.row("N9")
def test_limits_are_the_same_on_every_connection(negotiated, offered):
    asked = [request for request, feature in
             ((Request.GET_QUEUE_NUM, Protocol.MQ),
              (Request.GET_MAX_MEM_SLOTS, Protocol.CONFIGURE_MEM_SLOTS))
             if offered[1] & bit(feature)]
    if not asked:
        pytest.skip("the back-end offers neither MQ nor CONFIGURE_MEM_SLOTS")
    answers = []
    for _ in range(3):
        connection = negotiated()
        answers.append([connection.ask(request).u64 for request in asked])
        connection.close()
    assert answers[0] == answers[1] == answers[2]
    for request, value in zip(asked, answers[0]):
        assert value >= (32 if request == Request.GET_MAX_MEM_SLOTS else 1)


def config_connection(negotiated, offered):
    if not offered[1] & bit(Protocol.CONFIG):
        pytest.skip("the back-end does not offer CONFIG")
    return negotiated()


@pytest.mark.row("N10")
def test_config_is_echoed_with_its_data(negotiated, offered):
    connection = config_connection(negotiated, offered)
    whole = connection.ask(Request.GET_CONFIG, messages.config(0, 12)).payload
    assert len(whole) == 24 and whole[:12] == messages.CONFIG.pack(0, 12, 0)
    part = connection.ask(Request.GET_CONFIG, messages.config(4, 8)).payload
    assert part in (b"", messages.CONFIG.pack(4, 8, 0) + whole[16:])
    if offered[0] & bit(Feature.MTU):
        assert struct.unpack_from("<H", whole, 12 + 10)[0] >= 68


@pytest.mark.row("N10", "N11")
@pytest.mark.parametrize("payload", [
    messages.config(0, 257), messages.config(0, 12)[:-1], messages.config(0, 12) + b"\0",
    messages.config(256, 1), messages.config(0xFFFFFFFF, 12),
    messages.config(0, 0xFFFFFFFF, data=bytes(12))],
    ids=["too long", "too short", "longer", "behind", "far", "lying"])
def test_config_that_does_not_exist(negotiated, offered, payload):
    connection = config_connection(negotiated, offered)
    refused(connection.ask(Request.GET_CONFIG, payload))
    connection_works(connection)


@pytest.mark.row("N12")
@pytest.mark.parametrize("payload", [
    messages.config(250, 12), messages.config(0, 12)[:-1], messages.config(0, 6),
    messages.config(0, 257)], ids=["beyond", "too short", "read only", "too long"])
def test_config_that_cannot_be_written(negotiated, offered, payload):
    connection = config_connection(negotiated, offered)
    connection.must_not(Request.SET_CONFIG, payload)
    connection_works(connection)


@pytest.mark.row("N13", "R3")
@pytest.mark.parametrize("index", [128, 255, 256, 0xFFFF, 0x80000000, 0xFFFFFFFF])
def test_enable_a_ring_that_does_not_exist(start, pairs, index):
    session = start()
    if index < 2 * pairs:
        index = 2 * pairs
    session.connection.must_not(Request.SET_VRING_ENABLE, state(index, 1))
    session.echo()


@pytest.mark.row("N13")
@pytest.mark.parametrize("value", [2, 0x80000000, 0xFFFFFFFF])
def test_enable_with_a_value_other_than_0_and_1(start, value):
    session = start()
    session.connection.must_not(Request.SET_VRING_ENABLE, state(1, value))
    session.echo()


@pytest.mark.row("N13")
def test_enable_before_features(connect):
    connection = connect()
    connection.must_not(Request.SET_VRING_ENABLE, state(0, 1))
    connection_works(connection)


@pytest.mark.row("N14")
def test_status_is_kept_and_leaves_rings_alone(start, offered):
    if not offered[1] & bit(Protocol.STATUS):
        pytest.skip("the back-end does not offer STATUS")
    session = start(protocol_features=~0)
    session.echo()
    for value in (0x0F, 0):
        session.connection.must(Request.SET_STATUS, u64(value))
        assert session.connection.ask(Request.GET_STATUS).u64 == value
    assert session.stop_ring(session.rings[1]) == 16


GATED = [request for request, rule in RULES.items()
         if rule.gate is not None or rule.feature is not None]


@pytest.mark.row("N15")
@pytest.mark.parametrize("request_number", GATED, ids=lambda r: r.name)
def test_message_whose_feature_is_not_negotiated(connect, request_number):
    connection = connect()
    rule = RULES[request_number]
    payload = plausible_payload(request_number, rule.sizes[0])
    reply = connection.ask(request_number, payload, need_reply=True)
    # The answer of GET_CONFIG, GET_QUEUE_NUM and GET_MAX_MEM_SLOTS harms nobody.
    if rule.answer is not Answer.U64:
        refused(reply)
    connection_works(connection)


def served(request, features, protocol):
    """Is this message covered by what is on offer?"""
    rule = RULES[request]
    if request in LOGGING:
        return bool(features & bit(Feature.LOG_ALL))
    if request == Request.GPU_SET_SOCKET:
        return False
    return (rule.gate is None or bool(protocol & bit(rule.gate))) and \
        (rule.feature is None or bool(features & bit(rule.feature)))


@pytest.mark.row("N15")
def test_messages_that_are_not_served_are_refused_truthfully(negotiated, offered):
    connection = negotiated()
    for request, rule in RULES.items():
        if served(request, *offered):
            continue
        payload = plausible_payload(request, rule.sizes[0])
        with Descriptors(rule.fds) as extra:
            refused(connection.ask(request, payload, extra, need_reply=True))
        connection_works(connection)


#: Session descriptions of front-ends of all ages, and the longest message that can be read.
SESSIONS = (8, 64, 648, 1168, MAX_PAYLOAD)


@pytest.mark.row("N15")
@pytest.mark.parametrize("need_reply", [False, True])
@pytest.mark.parametrize("size", SESSIONS)
def test_crypto_session_is_refused_under_traffic(start, size, need_reply):
    session = start(protocol_features=~0)
    session.echo()
    reply = session.connection.ask(Request.CREATE_CRYPTO_SESSION, bytes(size),
                                   need_reply=need_reply)
    refused(reply)
    assert len(reply.payload) == size
    session.echo()


@pytest.mark.row("N15")
@pytest.mark.parametrize("request_number, payload", [
    (Request.CLOSE_CRYPTO_SESSION, u64(0)),
    (Request.SET_VRING_ENDIAN, state(0, 0)),
    (Request.SET_VRING_ENDIAN, state(1, 1)),
], ids=["close-session", "little-endian", "big-endian"])
def test_unserved_message_is_refused_under_traffic(start, request_number, payload):
    session = start(protocol_features=~0)
    session.echo()
    session.connection.must_not(request_number, payload)
    session.connection.send(request_number, payload)
    session.connection.barrier()
    session.echo()


@pytest.mark.row("N16")
def test_reset_owner_while_rings_run(start):
    session = start()
    session.echo()
    session.connection.must(Request.RESET_OWNER)
    session.connection.barrier()
    for ring in session.rings:
        session.stop_ring(ring)
        ring.reset()
        session.pairs[0].posted.clear()
        session.start_ring(ring)
    session.enable()
    session.echo()


@pytest.mark.row("N16")
def test_reset_device_while_rings_run(start, offered):
    if not offered[1] & bit(Protocol.RESET_DEVICE):
        pytest.skip("the back-end does not offer RESET_DEVICE")
    session = start(protocol_features=~0)
    session.echo()
    session.connection.must(Request.RESET_DEVICE)
    pair = session.pairs[0]
    used = pair.transmit_ring.published_used
    pair.send(bytes(64))
    stays(lambda: pair.transmit_ring.published_used == used, "processed after RESET_DEVICE")
    session.set_features()
    for ring in session.rings:
        ring.reset()
        session.start_ring(ring)
    pair.posted.clear()
    session.enable()
    session.echo()


@pytest.mark.row("N1")
def test_announcement_of_the_guest_is_sent(start, offered):
    if not offered[1] & bit(Protocol.RARP):
        pytest.skip("the back-end does not offer RARP")
    address = bytes.fromhex("021122334455")
    session = start(protocol_features=~0)
    pair = session.pairs[0]
    pair.post()
    session.connection.must(Request.SEND_RARP, u64(int.from_bytes(address, "little")))
    (_, frame), = pair.receive(1)
    assert frame[:14] == b"\xff" * 6 + address + b"\x80\x35"
    assert frame[22:28] == frame[32:38] == address
    session.echo()


@pytest.mark.row("N1", "N15")
def test_what_is_offered_is_served(negotiated, offered):
    connection = negotiated()
    protocol = offered[1]
    if protocol & bit(Protocol.MQ):
        assert 1 <= connection.ask(Request.GET_QUEUE_NUM).u64 <= 128
    if protocol & bit(Protocol.CONFIGURE_MEM_SLOTS):
        assert connection.ask(Request.GET_MAX_MEM_SLOTS).u64 >= 8
    if protocol & bit(Protocol.NET_MTU):
        connection.must(Request.NET_SET_MTU, u64(1500))
    if protocol & bit(Protocol.RARP):
        connection.must(Request.SEND_RARP, u64(0x020000000002))
    if protocol & bit(Protocol.CONFIG):
        assert connection.ask(Request.GET_CONFIG, messages.config(0, 12)).payload
    if protocol & bit(Protocol.STATUS):
        connection.ask(Request.GET_STATUS)
    if protocol & bit(Protocol.INFLIGHT_SHMFD):
        assert connection.ask(Request.GET_INFLIGHT_FD, messages.inflight(0, 0, 2, 64)).fds
    connection_works(connection)


@pytest.mark.row("N1")
@pytest.mark.parametrize("value", [67, 65536, 1 << 63])
def test_mtu_that_no_ethernet_has(negotiated, offered, value):
    if not offered[1] & bit(Protocol.NET_MTU):
        pytest.skip("the back-end does not offer NET_MTU")
    negotiated().must_not(Request.NET_SET_MTU, u64(value))


@pytest.mark.row("N1")
def test_each_offered_feature_alone_can_be_used(session, offered):
    base = bit(Feature.VERSION_1, Feature.PROTOCOL_FEATURES)
    for number in range(64):
        if not offered[0] & bit(number) & ~base:
            continue
        one = session(features=base | bit(number))
        one.start()
        # Log and multi-queue bits change nothing here; each must still leave a working device.
        one.echo(count=4)
        one.close()
