# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The back-end channel: requests of the back-end, and front-ends that misbehave (B and T rows)."""

import errno
import os

import pytest

from frontend import messages
from frontend.channel import AREA, SHMEM, BackendRequest
from frontend.checks import Descriptors, stays
from frontend.elements import Op, PROTOCOL_FEATURES
from frontend.messages import NEED_REPLY, NOFD, Protocol, Request, bit, state, u64
from frontend.ring import wait_until
from frontend.session import Step

pytestmark = pytest.mark.backend("elements")

NOTIFIER = PROTOCOL_FEATURES | bit(Protocol.HOST_NOTIFIER)
OBJECTS = PROTOCOL_FEATURES | bit(Protocol.SHARED_OBJECT, Protocol.SHMEM)
INBAND = PROTOCOL_FEATURES | bit(Protocol.INBAND_NOTIFICATIONS)
NAME = bytes(range(1, 17))


def with_channel(elements, protocol_features, **options):
    session = elements(protocol_features=protocol_features, **options)
    session.open_channel()
    return session


def notifier_message(session):
    """Let the device hand over a notifier. Returns (tag, the message)."""
    tag = session.request(Op.NOTIFIER_SET, argument=0)
    return tag, session.channel.expect(BackendRequest.VRING_HOST_NOTIFIER)


@pytest.mark.row("B1")
def test_host_notifier_set_and_removed(elements):
    session = with_channel(elements, NOTIFIER)
    tag, message = notifier_message(session)
    assert len(message.fds) == 1
    index, size, offset = AREA.unpack(message.payload)
    assert (index & 0xFF, index & NOFD, size, offset) == (0, 0, 4096, 0)
    assert message.wants_reply
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0
    tag = session.request(Op.NOTIFIER_REMOVE, argument=0)
    message = session.channel.expect(BackendRequest.VRING_HOST_NOTIFIER)
    assert not message.fds
    assert AREA.unpack(message.payload)[0] == NOFD
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


@pytest.mark.row("B1")
def test_front_end_refuses_the_notifier(elements):
    session = with_channel(elements, NOTIFIER)
    tag, message = notifier_message(session)
    session.channel.reply(message, 1)
    assert session.outcome(tag) == -errno.EREMOTEIO
    tag, message = notifier_message(session)
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


@pytest.mark.row("B1")
def test_front_end_never_answers(elements):
    """
    The request ends after its time. Answers have no number: the next request is not sent before
    the late answer has come, so that neither is taken for the other.
    """
    session = with_channel(elements, NOTIFIER)
    tag, late = notifier_message(session)
    session.echoes(4)
    session.connection.barrier()
    assert session.outcome(tag) == -errno.ETIMEDOUT
    tag = session.request(Op.NOTIFIER_SET)
    assert session.channel.silent(0.05)
    session.channel.reply(late, 0)
    message = session.channel.expect(BackendRequest.VRING_HOST_NOTIFIER)
    session.channel.reply(message, 1)
    assert session.outcome(tag) == -errno.EREMOTEIO


@pytest.mark.row("B1")
def test_front_end_closes_the_channel(elements):
    session = with_channel(elements, NOTIFIER)
    tag, _ = notifier_message(session)
    session.channel.close()
    assert session.outcome(tag) == -errno.ECONNRESET
    tag = session.request(Op.NOTIFIER_SET)
    assert session.outcome(tag) in (-errno.ENOTCONN, -errno.ECONNRESET)
    session.echoes()
    session.open_channel()
    tag, message = notifier_message(session)
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


BAD_ANSWERS = {
    "another request": messages.encode(BackendRequest.CONFIG_CHANGE, u64(0),
                                       messages.REPLY_FLAGS),
    "no reply flag": messages.encode(BackendRequest.VRING_HOST_NOTIFIER, u64(0)),
    "wrong version": messages.encode(BackendRequest.VRING_HOST_NOTIFIER, u64(0), 6),
    "no payload": messages.encode(BackendRequest.VRING_HOST_NOTIFIER, b"", messages.REPLY_FLAGS),
    "too long": messages.encode(BackendRequest.VRING_HOST_NOTIFIER, bytes(16),
                                messages.REPLY_FLAGS),
    "endless": messages.header(BackendRequest.VRING_HOST_NOTIFIER, 0xFFFFFFFF,
                               messages.REPLY_FLAGS),
    "noise": bytes(range(64)),
}


@pytest.mark.row("B1")
@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_answer_that_is_none_closes_the_channel(elements, bad):
    session = with_channel(elements, NOTIFIER)
    tag, _ = notifier_message(session)
    with Descriptors(3) as extra:
        session.channel.send_bytes(BAD_ANSWERS[bad], extra)
    assert session.outcome(tag) in (-errno.ECONNRESET, -errno.EREMOTEIO)
    session.echoes()
    session.connection.barrier()


@pytest.mark.row("B1")
def test_answer_with_descriptors_leaks_none(elements, backend):
    session = with_channel(elements, NOTIFIER)
    before = len(os.listdir(f"/proc/{backend.pid}/fd"))
    for _ in range(10):
        tag, message = notifier_message(session)
        with Descriptors(4) as extra:
            session.channel.reply(message, 0, fds=extra)
        session.outcome(tag)
        if session.channel.closed_by_peer(0.01):
            session.open_channel()
    assert len(os.listdir(f"/proc/{backend.pid}/fd")) <= before


@pytest.mark.row("B1")
def test_bytes_that_nobody_asked_for(elements):
    session = with_channel(elements, NOTIFIER)
    session.channel.send_bytes(messages.encode(BackendRequest.VRING_HOST_NOTIFIER, u64(0),
                                               messages.REPLY_FLAGS))
    session.channel.closed_by_peer(0.5)
    session.echoes()
    session.connection.barrier()


@pytest.mark.row("B2")
def test_notifier_while_the_front_end_waits_for_an_answer(elements):
    """The device asks as soon as its ring runs; the front-end answers only when it has started."""
    session = elements(start=False, protocol_features=NOTIFIER).prepare()
    session.open_channel()
    tag = session.request(Op.NOTIFIER_SET)
    session.start_ring(session.ring)
    session.enable()
    for _ in range(20):
        session.connection.barrier()
    message = session.channel.expect(BackendRequest.VRING_HOST_NOTIFIER)
    session.connection.barrier()
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


@pytest.mark.row("B3")
@pytest.mark.parametrize("missing", [Protocol.HOST_NOTIFIER, Protocol.BACKEND_SEND_FD])
def test_notifier_without_its_features(elements, missing):
    session = with_channel(elements, NOTIFIER & ~bit(missing))
    assert session.outcome(session.request(Op.NOTIFIER_SET)) == -errno.EOPNOTSUPP
    assert session.channel.silent()


@pytest.mark.row("B3")
def test_requests_without_a_channel(elements):
    session = elements(protocol_features=NOTIFIER | OBJECTS)
    for operation in (Op.NOTIFIER_SET, Op.CONFIG_CHANGED, Op.OBJECT_ADD, Op.SHMEM_MAP):
        assert session.outcome(session.request(operation, argument=4096, data=NAME)) in \
            (-errno.ENOTCONN, -errno.EINVAL)
    session.echoes()


@pytest.mark.row("B3", "N15")
def test_channel_that_was_not_negotiated(elements):
    session = elements(protocol_features=NOTIFIER & ~bit(Protocol.BACKEND_REQ))
    with Descriptors(1) as extra:
        session.connection.must_not(Request.SET_BACKEND_REQ_FD, b"", extra)
    session.echoes()


@pytest.mark.row("B4")
def test_configuration_change(elements):
    session = with_channel(elements, PROTOCOL_FEATURES)
    tag = session.request(Op.CONFIG_CHANGED)
    message = session.channel.expect(BackendRequest.CONFIG_CHANGE)
    assert message.payload == b"" and not message.fds
    assert message.flags & ~NEED_REPLY == messages.VERSION
    if message.wants_reply:
        session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


@pytest.mark.row("B5")
def test_channel_replaced_while_an_answer_is_due(elements, backend):
    session = with_channel(elements, NOTIFIER)
    before = len(os.listdir(f"/proc/{backend.pid}/fd"))
    for _ in range(20):
        tag, _ = notifier_message(session)
        old = session.channel
        session.open_channel()
        assert session.outcome(tag) == -errno.ECANCELED
        assert old.closed_by_peer(2)
    assert len(os.listdir(f"/proc/{backend.pid}/fd")) == before
    tag, message = notifier_message(session)
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0


@pytest.mark.row("B5", "C1")
def test_front_end_vanishes_while_an_answer_is_due(elements):
    session = with_channel(elements, NOTIFIER)
    notifier_message(session)
    session.connection.close()
    assert session.channel.closed_by_peer()


@pytest.mark.row("B5")
def test_channel_that_is_no_socket(elements):
    session = elements(protocol_features=NOTIFIER)
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    session.connection.acknowledge(Request.SET_BACKEND_REQ_FD, b"", [fd])
    os.close(fd)
    session.request(Op.NOTIFIER_SET)
    session.finished(1)
    session.echoes()


@pytest.mark.row("B5")
def test_front_end_that_does_not_read_its_channel(elements):
    """More requests than the socket holds: they end, and nobody waits for them."""
    session = with_channel(elements, NOTIFIER, ring_size=64)
    for number in range(60):
        session.request(Op.CONFIG_CHANGED if number % 2 else Op.NOTIFIER_SET)
        session.finished()
        session.connection.barrier()
    wait_until(lambda: session.finished() is not None and not session.tag_of,
               "the end of all requests", 30)
    session.echoes()


@pytest.mark.row("B7")
@pytest.mark.parametrize("operation, request_number", [
    (Op.OBJECT_ADD, BackendRequest.SHARED_OBJECT_ADD),
    (Op.OBJECT_REMOVE, BackendRequest.SHARED_OBJECT_REMOVE)])
def test_shared_object_is_told_of(elements, operation, request_number):
    session = with_channel(elements, OBJECTS)
    for value, outcome in ((0, 0), (1, -errno.EREMOTEIO)):
        tag = session.request(operation, data=NAME)
        message = session.channel.expect(request_number)
        assert message.payload == NAME and not message.fds
        if message.wants_reply:
            session.channel.reply(message, value)
            assert session.outcome(tag) == outcome


@pytest.mark.row("B7")
def test_shared_object_is_looked_up(elements):
    session = with_channel(elements, OBJECTS)
    tag = session.request(Op.OBJECT_LOOKUP, data=NAME)
    message = session.channel.expect(BackendRequest.SHARED_OBJECT_LOOKUP)
    assert message.payload == NAME
    with Descriptors(1) as extra:
        session.channel.reply(message, 0, fds=extra)
    assert session.outcome(tag) == 0
    tag = session.request(Op.OBJECT_LOOKUP, data=NAME)
    session.channel.reply(session.channel.expect(BackendRequest.SHARED_OBJECT_LOOKUP), 1)
    assert session.outcome(tag) < 0


@pytest.mark.row("B7")
def test_front_end_asks_for_a_shared_object(elements):
    session = elements(protocol_features=OBJECTS)
    reply = session.connection.ask(Request.GET_SHARED_OBJECT, NAME)
    assert len(reply.fds) == 1
    reply = session.connection.ask(Request.GET_SHARED_OBJECT, bytes(16))
    assert not reply.fds
    session.connection.must_not(Request.GET_SHARED_OBJECT, bytes(16))


@pytest.mark.row("B7")
def test_shared_memory_is_mapped_and_unmapped(elements):
    session = with_channel(elements, OBJECTS)
    sizes = session.connection.ask(Request.GET_SHMEM_CONFIG).payload
    assert len(sizes) == 8 + 256 * 8
    assert messages.STATE.unpack_from(sizes)[0] == 2
    assert [messages.U64.unpack_from(sizes, 8 + 8 * i)[0] for i in range(3)] == [1 << 20, 0, 4096]
    tag = session.request(Op.SHMEM_MAP, argument=8192)
    message = session.channel.expect(BackendRequest.SHMEM_MAP)
    assert len(message.fds) == 1
    assert SHMEM.unpack(message.payload) == (0, 0, 8192, 8192, 1)
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0
    tag = session.request(Op.SHMEM_UNMAP, argument=8192)
    message = session.channel.expect(BackendRequest.SHMEM_UNMAP)
    assert not message.fds
    assert SHMEM.unpack(message.payload)[0:4] == (0, 0, 8192, 8192)
    session.channel.reply(message, 0)
    assert session.outcome(tag) == 0
    # Beyond the region: never sent.
    assert session.outcome(session.request(Op.SHMEM_MAP, argument=1 << 20)) == -errno.EINVAL


def start_in_band(session, with_call=False):
    """Start the ring by message; the call descriptor only if wanted."""
    ring = session.ring
    skipped = [Request.SET_VRING_KICK, Request.SET_VRING_ERR]
    if not with_call:
        skipped.append(Request.SET_VRING_CALL)
    session.run([step for step in session.ring_steps(ring) if step.request not in skipped])
    session.run([Step(Request.VRING_KICK, state(ring.index, 0))])
    session.enable()


@pytest.mark.row("T8")
def test_calls_in_band(elements):
    session = elements(start=False, protocol_features=INBAND).prepare()
    session.open_channel()
    start_in_band(session)
    for _ in range(5):
        session.echoes(2)
        message = session.channel.expect(BackendRequest.VRING_CALL)
        assert messages.STATE.unpack(message.payload) == (0, 0)
        while True:
            if message.wants_reply:
                session.channel.reply(message, 0)
            if session.channel.silent(0.03):
                break
            message = session.channel.expect(BackendRequest.VRING_CALL)
    session.connection.must(Request.VRING_KICK, state(0, 0))
    assert not session.ring.calls()


@pytest.mark.row("T8")
def test_front_end_that_reads_no_calls(elements):
    """Requests go on, messages are answered, for longer than an answer may take."""
    session = elements(start=False, protocol_features=INBAND).prepare()
    session.open_channel()
    start_in_band(session)
    for _ in range(200):
        session.echoes(4)
        session.connection.barrier()
    base = session.stop_ring(session.ring)
    assert base == (session.ring.base if elements.packed else session.ring.avail_index)


@pytest.mark.row("T8")
def test_error_in_band(elements):
    session = elements(start=False, protocol_features=INBAND, rings=2).prepare()
    session.open_channel()
    start_in_band(session)
    if elements.packed:
        session.ring.put(0x80000000, 64, 0, 0)
    else:
        session.ring.describe(0, 0x80000000, 64)
        session.ring.put_available(0)
    message = session.channel.receive_message()
    while message.request == BackendRequest.VRING_CALL:
        message = session.channel.receive_message()
    assert message.request == BackendRequest.VRING_ERR
    assert messages.STATE.unpack(message.payload) == (0, 0)
    session.connection.barrier()


@pytest.mark.row("T9")
def test_call_descriptor_goes_before_in_band_calls(elements):
    session = elements(start=False, protocol_features=INBAND).prepare()
    session.open_channel()
    start_in_band(session, with_call=True)
    session.echoes()
    session.ring.wait_call()
    assert session.channel.silent()


@pytest.mark.row("T9", "R14")
def test_guest_that_polls_gets_no_calls_in_band(elements):
    session = elements(start=False, protocol_features=INBAND).prepare()
    session.open_channel()
    session.connection.must(Request.SET_VRING_CALL, u64(NOFD))
    start_in_band(session)
    session.echoes()
    assert session.channel.silent()


@pytest.mark.row("T8", "N15")
def test_kick_in_band_that_was_not_negotiated(elements):
    session = elements()
    session.connection.must_not(Request.VRING_KICK, state(0, 0))
    session.echoes()


@pytest.mark.row("T8", "R3")
@pytest.mark.parametrize("index", [4, 255, 0xFFFFFFFF])
def test_kick_in_band_of_a_ring_that_does_not_exist(elements, index):
    session = elements(protocol_features=INBAND)
    session.connection.must_not(Request.VRING_KICK, state(index, 0))
    session.echoes()


@pytest.mark.row("T7", "T8")
def test_nothing_is_sent_while_all_rings_are_stopped(elements):
    session = with_channel(elements, NOTIFIER)
    session.stop_ring(session.ring)
    session.ring.calls()
    assert session.channel.silent()
    stays(lambda: session.ring.calls() == 0, "called while stopped")
    session.start_ring(session.ring, session.ring.base if elements.packed
                       else session.ring.avail_index)
    session.echoes()
