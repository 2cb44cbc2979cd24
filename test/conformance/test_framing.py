# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Framing: bytes, flags, sizes and descriptors of messages (rows F1 to F16)."""

import os
import select
import socket
import time

import pytest

from frontend import messages
from frontend.census import processor_time
from frontend.checks import Descriptors, connection_works, plausible_payload
from frontend.connection import Closed, refused
from frontend.messages import Answer, MAX_PAYLOAD, NEED_REPLY, Request, RULES, VERSION, u64

#: Unknown to the protocol: below, above and far above its range.
UNKNOWN = (0, 46, 1000, 0x80000001)


@pytest.mark.row("F1", "HF1")
def test_header_byte_by_byte(connect):
    connection = connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for byte in messages.encode(Request.GET_FEATURES):
        connection.send_bytes([byte])
    assert connection.receive_for(Request.GET_FEATURES).u64 != 0
    connection_works(connection)


@pytest.mark.row("F1", "HF1")
def test_payload_byte_by_byte(connect):
    connection = connect()
    features = connection.barrier()
    message = messages.encode(Request.SET_FEATURES, u64(features), VERSION | NEED_REPLY)
    for byte in message:
        connection.send_bytes([byte])
    assert connection.receive_for(Request.SET_FEATURES).u64 == 0
    connection_works(connection)


@pytest.mark.row("HF1")
def test_half_a_message_completes_when_the_rest_comes(connect):
    connection = connect()
    features = connection.barrier()
    message = messages.encode(Request.SET_FEATURES, u64(features), VERSION | NEED_REPLY)
    for cut in range(1, len(message)):
        connection.send_bytes(message[:cut])
        ready, _, _ = select.select([connection.sock], [], [], 0.01)
        assert not ready, f"answered after {cut} of {len(message)} bytes"
        connection.send_bytes(message[cut:])
        assert connection.receive_for(Request.SET_FEATURES).u64 == 0


@pytest.mark.row("F2")
def test_two_messages_in_one_send(connect):
    connection = connect()
    features = connection.barrier()
    connection.send_bytes(
        messages.encode(Request.SET_FEATURES, u64(features), VERSION | NEED_REPLY)
        + messages.encode(Request.GET_FEATURES))
    assert connection.receive_for(Request.SET_FEATURES).u64 == 0
    assert connection.receive_for(Request.GET_FEATURES).u64 == features
    connection_works(connection)


@pytest.mark.row("F2")
def test_descriptors_stay_with_their_message(prepare):
    session = prepare()
    connection = session.connection
    for ring in session.rings:
        session.run([step for step in session.ring_steps(ring)
                     if step.request != Request.SET_VRING_CALL])
    # Both are in the socket's buffer before an answer to either is read.
    for ring in session.rings:
        connection.send(Request.SET_VRING_CALL, u64(ring.index), (ring.call_fd,),
                        need_reply=True)
    for ring in session.rings:
        assert connection.receive_for(Request.SET_VRING_CALL).u64 == 0
    session.enable()
    session.echo()
    for ring in session.rings:
        ring.wait_call()


@pytest.mark.row("F2")
def test_descriptor_belongs_to_first_of_two_messages_in_one_send(prepare):
    session = prepare()
    receive, transmit = session.rings
    for ring in session.rings:
        session.run([step for step in session.ring_steps(ring)
                     if step.request != Request.SET_VRING_CALL])
    session.connection.send_bytes(
        messages.encode(Request.SET_VRING_CALL, u64(receive.index), VERSION | NEED_REPLY)
        + messages.encode(Request.SET_VRING_CALL, u64(transmit.index | messages.NOFD),
                          VERSION | NEED_REPLY), (receive.call_fd,))
    for _ in range(2):
        assert session.connection.receive_for(Request.SET_VRING_CALL).u64 == 0
    session.enable()
    session.echo()
    receive.wait_call()
    assert transmit.calls() == 0


@pytest.mark.row("F3")
@pytest.mark.parametrize("size", [MAX_PAYLOAD + 1, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("fds", [0, 8])
def test_size_that_cannot_be_followed_closes(connect, size, fds):
    connection = connect()
    with Descriptors(fds) as extra:
        connection.send_bytes(messages.header(Request.SET_FEATURES, size), extra)
        connection.expect_end()
    connection_works(connect())


@pytest.mark.row("F3")
def test_size_one_beyond_classic_union_is_refused(connect):
    connection = connect()
    with Descriptors(2) as extra:
        connection.must_not(Request.SET_FEATURES, bytes(273), extra)
    connection_works(connection)


@pytest.mark.row("F4")
@pytest.mark.parametrize("present", [0, 1, 7])
def test_end_within_payload(connect, present):
    connection = connect()
    connection.send_bytes(messages.header(Request.SET_FEATURES, 8) + bytes(present))
    connection.sock.shutdown(socket.SHUT_WR)
    connection.expect_end()
    connection_works(connect())


@pytest.mark.row("F5")
def test_orderly_end(connect, backend):
    connection = connect()
    connection_works(connection)
    connection.close()
    connection_works(connect())
    assert backend.alive()


@pytest.mark.row("F6", "C1")
@pytest.mark.parametrize("present", range(1, 12))
def test_end_within_header(connect, present):
    connection = connect()
    with Descriptors(1) as extra:
        connection.send_bytes(messages.header(Request.SET_VRING_CALL, 8)[:present], extra)
    connection.close()
    connection_works(connect())


@pytest.mark.row("F7")
@pytest.mark.parametrize("flags", [0, 2, 3, VERSION | messages.REPLY])
def test_wrong_version_and_reply_flag_are_refused(connect, flags):
    connection = connect()
    connection.send(Request.SET_OWNER, flags=flags | NEED_REPLY)
    refused(connection.receive_for(Request.SET_OWNER))
    connection_works(connection)


@pytest.mark.row("F7")
@pytest.mark.parametrize("number", range(4, 32))
def test_reserved_flags_are_ignored(connect, number):
    connection = connect()
    connection.send(Request.SET_OWNER, flags=VERSION | NEED_REPLY | 1 << number)
    assert connection.receive_for(Request.SET_OWNER).u64 == 0
    connection_works(connection)


@pytest.mark.row("F8")
@pytest.mark.parametrize("request_number", UNKNOWN)
@pytest.mark.parametrize("fds", [0, 8])
@pytest.mark.parametrize("size", [0, 8, 272])
def test_unknown_request(connect, request_number, fds, size):
    connection = connect()
    with Descriptors(fds) as extra:
        refused(connection.ask(request_number, bytes(size), extra, need_reply=True))
        connection.send(request_number, bytes(size), extra)
    connection_works(connection)


def settle_refusal(connection, request):
    """Refused and in sync, or closed: where the descriptors of a message are beyond repair."""
    try:
        refused(connection.receive_for(request))
        connection_works(connection)
    except Closed:
        pass


@pytest.mark.row("F9")
def test_more_descriptors_than_a_message_may_carry(connect):
    connection = connect()
    with Descriptors(9) as extra:
        connection.send(Request.SET_VRING_CALL, u64(0), extra, need_reply=True)
        settle_refusal(connection, Request.SET_VRING_CALL)
    connection.close()
    connection_works(connect())


@pytest.mark.row("F9")
def test_descriptors_with_every_part_of_a_message(connect):
    connection = connect()
    message = messages.encode(Request.SET_VRING_CALL, u64(0), VERSION | NEED_REPLY)
    with Descriptors(8) as extra:
        try:
            for start in range(0, len(message), 4):
                connection.send_bytes(message[start:start + 4], extra)
        except Closed:
            pass
        else:
            settle_refusal(connection, Request.SET_VRING_CALL)
    connection.close()
    connection_works(connect())


WITHOUT_FDS = [request for request, rule in RULES.items() if rule.fds == 0]


@pytest.mark.row("F10")
@pytest.mark.parametrize("request_number", WITHOUT_FDS, ids=lambda r: r.name)
def test_descriptors_nobody_asked_for(negotiated, request_number):
    connection = negotiated()
    payload = plausible_payload(request_number, RULES[request_number].sizes[0])
    for count in range(1, 9):
        with Descriptors(count) as extra:
            connection.ask(request_number, payload, extra, need_reply=True)
    connection_works(connection)


@pytest.mark.row("F11", "HF2")
@pytest.mark.parametrize("request_number", list(RULES), ids=lambda r: r.name)
def test_wrong_sizes_are_refused(negotiated, request_number):
    connection = negotiated()
    rule = RULES[request_number]
    right = rule.sizes[0]
    sizes = {0, right - 1, right + 1, 272, 273, MAX_PAYLOAD} - set(rule.sizes) - {-1}
    if rule.variable:
        # A table or configuration whose contents agree with such a size is a right one.
        sizes = {right - 1, right + 1} if request_number != Request.CREATE_CRYPTO_SESSION else {0}
    for size in sorted(sizes):
        payload = plausible_payload(request_number, right if rule.variable else size)
        payload = (payload + bytes(size))[:size]
        with Descriptors(rule.fds) as extra:
            refused(connection.ask(request_number, payload, extra, need_reply=True))
    connection_works(connection)


@pytest.mark.row("HF2")
@pytest.mark.parametrize("request_number", list(RULES), ids=lambda r: r.name)
def test_every_size_with_every_number_of_descriptors(negotiated, request_number):
    connection = negotiated()
    rule = RULES[request_number]
    right = rule.sizes[0]
    for size in sorted({0, right - 1, right, right + 1, 272, MAX_PAYLOAD} - {-1}):
        for count in range(9):
            with Descriptors(count) as extra:
                connection.ask(request_number, plausible_payload(request_number, size), extra,
                               need_reply=True)
    connection_works(connection)


WITH_REPLY = [request for request, rule in RULES.items() if rule.answer is not Answer.ACK]


@pytest.mark.row("F12")
@pytest.mark.parametrize("request_number", WITH_REPLY, ids=lambda r: r.name)
def test_one_reply_even_if_one_is_asked_for(negotiated, request_number):
    connection = negotiated()
    rule = RULES[request_number]
    with Descriptors(rule.fds) as extra:
        connection.ask(request_number, plausible_payload(request_number, rule.sizes[0]), extra,
                       need_reply=True)
    connection_works(connection)


@pytest.mark.row("F12")
@pytest.mark.parametrize("request_number", [r for r in RULES if r not in WITH_REPLY],
                         ids=lambda r: r.name)
def test_no_reply_if_none_is_asked_for(negotiated, request_number):
    connection = negotiated()
    rule = RULES[request_number]
    with Descriptors(rule.fds) as extra:
        connection.send(request_number, plausible_payload(request_number, rule.sizes[0]), extra)
        connection_works(connection)


@pytest.mark.row("F13")
def test_need_reply_before_reply_ack_is_negotiated(connect):
    connection = connect()
    assert connection.acknowledge(Request.SET_OWNER) == 0
    refused(connection.ask(46, need_reply=True))
    connection_works(connection)


def fill(connection, message):
    """Send requests until the back-end takes no more. Returns how many went out, and the rest."""
    connection.sock.setblocking(False)
    sent = 0
    rest = b""
    last = time.monotonic()
    while time.monotonic() - last < 0.2:
        try:
            data = rest or message
            count = connection.sock.send(data)
            last = time.monotonic()
            rest = data[count:]
            sent += not rest
        except BlockingIOError:
            select.select([], [connection.sock], [], 0.05)
    connection.sock.settimeout(connection.timeout)
    return sent, rest


@pytest.mark.row("F15")
def test_peer_that_does_not_read_its_replies(connect, backend):
    connection = connect()
    sent, rest = fill(connection, messages.encode(Request.GET_FEATURES))
    before = processor_time(backend.pid)
    time.sleep(0.4)
    after = processor_time(backend.pid)
    clock = os.sysconf("SC_CLK_TCK")
    busy = [thread for thread in after
            if after[thread] - before.get(thread, 0) > 0.3 * clock]
    # One thread polls the rings and is always busy; whoever serves the socket must not be.
    assert len(busy) <= 1, f"threads {busy} spin while the peer does not read"
    if rest:
        connection.receive_for(Request.GET_FEATURES)
        connection.send_bytes(rest)
    for _ in range(sent):
        connection.receive_for(Request.GET_FEATURES)
    connection_works(connection)


@pytest.mark.row("F16")
@pytest.mark.parametrize("way", ["close", "half-close"])
def test_peer_gone_before_the_reply(connect, backend, way):
    for _ in range(50):
        connection = connect()
        for _ in range(20):
            connection.send(Request.GET_FEATURES)
        if way == "half-close":
            connection.sock.shutdown(socket.SHUT_RD)
        connection.close()
    connection_works(connect())
    assert backend.alive()
