# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Front-ends that repeat, overlap, lie in bulk or vanish (rows HF3 to HF8)."""

import os
import random

import pytest

from frontend import messages
from frontend.census import Census, address_sanitizer, data_size, wait_for_baseline
from frontend.checks import Descriptors, connection_works, plausible_payload
from frontend.connection import Closed, Connection
from frontend.memory import PAGE, Region
from frontend.messages import (MAX_PAYLOAD, NEED_REPLY, Protocol, Request, RULES, VERSION, bit,
                               mem_reg, state, u64)
from frontend.ring import wait_until
from frontend.session import Step


def settled(backend):
    """A census when nothing changes any more: what is given up is closed a little later."""
    last = [Census(backend.pid)]

    def unchanged():
        last.append(Census(backend.pid))
        return last[-1].difference(last[-2]) == ""

    wait_until(unchanged, "a back-end at rest")
    return last[-1]


def constant(backend, connection, once, repeat):
    """What a repeated message costs the first time it may cost; after that nothing more."""
    for _ in range(64):
        once()
    connection.barrier()
    before, size = settled(backend), data_size(backend.pid)
    for _ in range(repeat):
        once()
    connection.barrier()
    wait_for_baseline(backend.pid, before)
    growth = data_size(backend.pid) - size
    # A sanitizer keeps what was freed; leaks are its own business then.
    assert growth < 1 << 20 or address_sanitizer(backend.pid), f"the heap grew by {growth} bytes"


SAME = [request for request, rule in RULES.items()
        if request not in (Request.SET_VRING_KICK, Request.ADD_MEM_REG)]


@pytest.mark.row("HF7", "I3")
@pytest.mark.parametrize("request_number", SAME, ids=lambda r: r.name)
def test_same_message_over_and_over(negotiated, backend, counts, request_number):
    connection = negotiated()
    rule = RULES[request_number]
    payload = plausible_payload(request_number, rule.sizes[0])
    with Descriptors(rule.fds) as extra:
        constant(backend, connection,
                 lambda: connection.ask(request_number, payload, extra, need_reply=True),
                 counts(100000, 200))
    connection_works(connection)


@pytest.mark.row("HF7")
@pytest.mark.parametrize("request_number", [Request.SET_VRING_KICK, Request.SET_VRING_CALL,
                                            Request.SET_VRING_ERR], ids=lambda r: r.name)
def test_ring_descriptor_over_and_over(start, backend, counts, request_number):
    session = start()
    ring = session.rings[1]
    fd = {Request.SET_VRING_KICK: ring.kick_fd, Request.SET_VRING_CALL: ring.call_fd,
          Request.SET_VRING_ERR: ring.err_fd}[request_number]
    constant(backend, session.connection,
             lambda: session.connection.must(request_number, u64(ring.index), (fd,)),
             counts(100000, 300))
    session.echo()


@pytest.mark.row("HF7", "M14")
def test_same_region_over_and_over(start, backend, counts, closing):
    session = start()
    if not session.has_protocol(Protocol.CONFIGURE_MEM_SLOTS):
        pytest.skip("the back-end does not offer CONFIGURE_MEM_SLOTS")
    region = Region(1 << 40, 1 << 16, 1 << 45)
    closing.append(region)

    def once():
        session.connection.must(Request.ADD_MEM_REG, mem_reg(region.packed()), (region.fd,))
        session.connection.must(Request.REM_MEM_REG, mem_reg(region.packed()))
    constant(backend, session.connection, once, counts(100000, 300))
    session.echo()


@pytest.mark.row("HF7", "R9")
def test_stop_and_start_over_and_over(start, backend, counts):
    session = start()

    def once():
        session.stop()
        session.restart()
    constant(backend, session.connection, once, counts(10000, 100))
    session.echo()


@pytest.mark.row("HF5")
@pytest.mark.parametrize("seed", range(8))
def test_random_messages_at_a_live_device(start, counts, seed):
    """Whatever is said about the rings in any order, each message has its one answer."""
    session = start()
    connection = session.connection
    chance = random.Random(seed)
    numbers = [0, 1, 2, 3, 64, 255, 256, 4096, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF]
    addresses = [0, 1, session.memory.user(session.rings[0].descriptors), 1 << 47, (1 << 64) - 16]

    def one():
        request = chance.choice(list(RULES))
        if request == Request.SET_VRING_ADDR:
            payload = messages.address(chance.choice(numbers[:4]),
                                       *(chance.choice(addresses) for _ in range(3)))
        elif request in (Request.SET_MEM_TABLE, Request.ADD_MEM_REG, Request.REM_MEM_REG):
            payload = plausible_payload(request, RULES[request].sizes[0])
        else:
            payload = (state(chance.choice(numbers), chance.choice(numbers))
                       + bytes(MAX_PAYLOAD))[:RULES[request].sizes[0]]
        return request, payload

    for _ in range(counts(20000, 400)):
        request, payload = one()
        with Descriptors(chance.choice((0, RULES[request].fds, 1))) as extra:
            connection.ask(request, payload, extra, need_reply=True)
    connection_works(connection)


@pytest.mark.row("HF2", "F3")
@pytest.mark.parametrize("seed", range(8))
def test_random_bytes(connect, counts, seed):
    chance = random.Random(seed)
    for _ in range(counts(1000, 30)):
        connection = connect()
        try:
            for _ in range(chance.randrange(1, 20)):
                if chance.random() < 0.5:
                    data = chance.randbytes(chance.randrange(1, 400))
                else:
                    data = messages.header(chance.randrange(50), chance.randrange(300),
                                           chance.choice((1, 9, 5, 0))) \
                        + chance.randbytes(chance.randrange(300))
                with Descriptors(chance.choice((0, 0, 1, 8))) as extra:
                    connection.send_bytes(data, extra)
        except (Closed, TimeoutError):
            pass
        connection.close()
    connection_works(connect())


def handshake(session):
    """The messages of a canonical start, without the negotiation's questions."""
    steps = [Step(Request.GET_FEATURES), Step(Request.GET_PROTOCOL_FEATURES),
             Step(Request.SET_PROTOCOL_FEATURES, u64(session.protocol_features)),
             Step(Request.SET_OWNER),
             Step(Request.SET_FEATURES, u64(session.features))]
    steps += session.memory_steps()
    for ring in session.rings:
        steps += session.ring_steps(ring)
    return steps + session.enable_steps(session.rings)


def play(connection, steps, cut):
    """Send the first `cut` bytes of a handshake, answers awaited, and close."""
    for step in steps:
        data = messages.encode(step.request, step.payload, VERSION | NEED_REPLY)
        if cut < len(data):
            if cut:
                connection.send_bytes(data[:cut], step.fds)
            break
        connection.send_bytes(data, step.fds)
        connection.receive_for(step.request)
        cut -= len(data)
    connection.close()


def length(steps):
    return sum(messages.HEADER.size + len(step.payload) for step in steps)


@pytest.mark.row("HF8", "C1")
def test_vanish_at_every_byte_of_the_handshake(prepare, backend, counts):
    session = prepare()
    steps = handshake(session)
    session.connection.close()
    total = length(steps)
    step = counts(1, 7)
    for cut in range(0, total + 1, step):
        play(backend.connect(), steps, cut)
    session.connection = backend.connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    for ring in session.rings:
        session.start_ring(ring)
    session.enable()
    session.echo()


@pytest.mark.row("HF8", "C1")
def test_vanish_without_waiting_for_answers(prepare, backend, counts):
    session = prepare()
    steps = handshake(session)
    session.connection.close()
    for count in range(counts(1000, 100)):
        connection = backend.connect()
        try:
            for step in steps[:count % (len(steps) + 1)]:
                connection.send(*step)
        except Closed as error:
            raise AssertionError("closed on a right handshake") from error
        connection.close()
    connection_works(backend.connect())


@pytest.mark.backend("crowd")
@pytest.mark.row("HF8")
def test_others_lose_nothing_while_one_vanishes_again_and_again(prepare, others, backend, counts):
    victim = prepare()
    steps = handshake(victim)
    victim.connection.close()
    total = length(steps)
    for number in range(counts(1000, 64)):
        play(backend.connect(), steps, total * number // 64 % (total + 1))
        others[number % len(others)].echo(count=8, first=number)
    for each in others:
        each.echo(count=8, first=5000)


@pytest.mark.row("HF1", "F15")
def test_others_are_served_while_one_is_half_way_through_a_message(connect, others):
    connection = connect()
    features = connection.barrier()
    message = messages.encode(Request.SET_FEATURES, u64(features), VERSION | NEED_REPLY)
    for cut in range(len(message)):
        connection.send_bytes(message[cut:cut + 1])
        others[0].echo(count=2, first=10 * cut)
        others[0].stop()
        others[0].restart()
    assert connection.receive_for(Request.SET_FEATURES).u64 == 0


@pytest.mark.row("HF1", "F15")
def test_others_are_served_while_one_reads_no_replies(connect, others):
    connection = connect()
    connection.sock.setblocking(False)
    try:
        for _ in range(100000):
            connection.sock.send(messages.encode(Request.GET_FEATURES))
    except BlockingIOError:
        pass
    for number in range(20):
        others[0].stop()
        others[0].restart()
        others[0].echo(count=8, first=100 * number)


@pytest.mark.row("HF8", "C1")
def test_crowd_of_front_ends_waits_its_turn(backend, closing):
    """One device serves one front-end; the others wait until it has gone."""
    crowd = [Connection.open(backend.socket_path) for _ in range(5)]
    closing.extend(crowd)
    for connection in crowd:
        connection.barrier()
        connection.close()


@pytest.mark.row("HF2", "F10")
def test_descriptors_of_messages_that_never_end(connect, backend):
    before = Census(backend.pid)
    for _ in range(20):
        connection = connect()
        with Descriptors(8) as extra:
            connection.send_bytes(messages.header(Request.SET_MEM_TABLE, 264), extra)
        connection.close()
    connection = connect()
    connection_works(connection)
    held = Census(backend.pid).difference(before)
    assert "memfd" not in held and "eventfd" not in held, held


@pytest.mark.row("HF6")
def test_refusals_leave_no_trace(start, counts, closing):
    session = start()
    if not session.protocol_offered & bit(Protocol.CONFIGURE_MEM_SLOTS):
        pytest.skip("the back-end does not offer CONFIGURE_MEM_SLOTS")
    own = session.memory.regions[0]
    packed = messages.region(own.guest_address + PAGE, PAGE, 1 << 45, 0)
    for _ in range(counts(10000, 200)):
        fd = os.dup(own.fd)
        session.connection.must_not(Request.ADD_MEM_REG, mem_reg(packed), (fd,))
        os.close(fd)
    session.echo()
