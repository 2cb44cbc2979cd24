# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The device's state on its way to another host (row D1)."""

import fcntl
import os
import select
import socket

import pytest

from frontend.checks import stays
from frontend.elements import Op, PROTOCOL_FEATURES
from frontend.messages import DEVICE_STATE, Protocol, Request, bit

pytestmark = [pytest.mark.backend("elements"), pytest.mark.row("D1")]

SAVE, LOAD = 0, 1
ACCEPTED = 0x100


def state_of(size, tag):
    return bytes((i * 7 + tag) & 0xFF for i in range(size))


@pytest.fixture
def stopped(elements):
    """A session whose device has a state of some size and stands still."""
    def make(size, tag=3, stop=True):
        session = elements(protocol_features=PROTOCOL_FEATURES | bit(Protocol.DEVICE_STATE))
        session.request(Op.STATE, tag, argument=size)
        session.finished(1)
        if stop:
            session.bases = {0: session.stop_ring(session.ring)}
        return session
    return make


def transfer(session, direction, fd, phase=0):
    """Hand a descriptor over. Returns what the device says."""
    reply = session.connection.ask(Request.SET_DEVICE_STATE_FD,
                                   DEVICE_STATE.pack(direction, phase), [fd])
    assert not reply.fds
    return reply.u64


def check(session):
    return session.connection.ask(Request.CHECK_DEVICE_STATE).u64


def read_all(fd):
    data = b""
    while True:
        ready, _, _ = select.select([fd], [], [], 5)
        assert ready, "the state does not end"
        part = os.read(fd, 1 << 16)
        if not part:
            return data
        data += part


def save(session):
    reading, writing = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, SAVE, writing) == ACCEPTED
    os.close(writing)
    data = read_all(reading)
    os.close(reading)
    return data


@pytest.mark.parametrize("size", [0, 1, 4096, 65536, 65537, 1 << 20])
def test_state_is_saved(stopped, size):
    session = stopped(size)
    assert save(session) == state_of(size, 3)
    assert check(session) == 0
    session.restart()
    session.echoes()


@pytest.mark.parametrize("size", [0, 1, 65537, 1 << 20])
def test_state_is_loaded(stopped, size):
    session = stopped(100)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, LOAD, reading) == ACCEPTED
    os.close(reading)
    content = state_of(size, 77)
    done = 0
    while done < size:
        done += os.write(writing, content[done:done + 65536])
    os.close(writing)
    assert check(session) == 0
    assert save(session) == content
    assert check(session) == 0


def test_socket_serves_as_well(stopped):
    session = stopped(200000)
    ours, theirs = socket.socketpair()
    assert transfer(session, SAVE, theirs.fileno()) == ACCEPTED
    theirs.close()
    data = read_all(ours.fileno())
    ours.close()
    assert data == state_of(200000, 3)
    assert check(session) == 0


def test_check_waits_for_the_end_of_the_state(stopped):
    """The answer comes when all is written, and other devices' messages are no matter of it."""
    session = stopped(1 << 20)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, SAVE, writing) == ACCEPTED
    os.close(writing)
    session.connection.send(Request.CHECK_DEVICE_STATE)
    stays(lambda: not select.select([session.connection.sock], [], [], 0)[0],
          "answered before the state was read")
    data = read_all(reading)
    os.close(reading)
    assert session.connection.receive_for(Request.CHECK_DEVICE_STATE).u64 == 0
    assert data == state_of(1 << 20, 3)


def test_reader_that_goes_away(stopped):
    session = stopped(1 << 20)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, SAVE, writing) == ACCEPTED
    os.close(writing)
    os.read(reading, 4096)
    os.close(reading)
    assert check(session) != 0
    assert save(session) == state_of(1 << 20, 3)
    session.restart()
    session.echoes()


def test_peer_that_neither_reads_nor_writes(stopped, backend):
    """The front-end hangs up in the midst of it: everything is given back."""
    session = stopped(1 << 20)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, SAVE, writing) == ACCEPTED
    os.close(writing)
    session.connection.close()
    session.connection = backend.connect()
    session.connection.barrier()
    os.close(reading)


def test_rings_must_be_stopped(stopped):
    session = stopped(100, stop=False)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    value = transfer(session, SAVE, writing)
    assert value & 0xFF and value & ACCEPTED
    os.close(writing)
    assert read_all(reading) == b""
    os.close(reading)
    session.echoes()


@pytest.mark.parametrize("direction, phase", [(2, 0), (0, 1), (1, 1), (0xFFFFFFFF, 0)])
def test_unknown_direction_and_phase(stopped, direction, phase):
    session = stopped(100)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    value = transfer(session, direction, writing, phase)
    assert value & 0xFF and value & ACCEPTED
    os.close(writing)
    assert read_all(reading) == b""
    os.close(reading)


@pytest.mark.parametrize("kind", ["eventfd", "file"])
def test_descriptor_that_is_no_pipe(stopped, tmp_path, kind):
    session = stopped(100)
    if kind == "eventfd":
        fd = os.eventfd(0)
    else:
        fd = os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT)
    value = transfer(session, SAVE, fd)
    os.close(fd)
    # Either refused at once, or the check tells.
    assert value & 0xFF or check(session) != 0
    session.restart()
    session.echoes()


def test_check_without_a_transfer(stopped):
    session = stopped(10)
    check(session)
    session.connection.barrier()


def test_second_transfer_while_one_is_under_way(stopped):
    session = stopped(1 << 20)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    second = os.pipe2(os.O_CLOEXEC)
    assert transfer(session, SAVE, writing) == ACCEPTED
    os.close(writing)
    transfer(session, SAVE, second[1])
    for fd in (reading, *second):
        os.close(fd)
    check(session)
    session.restart()
    session.echoes()


def test_flags_of_the_pipe_stay_the_front_ends(stopped):
    session = stopped(4096)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    before = fcntl.fcntl(writing, fcntl.F_GETFL)
    assert transfer(session, SAVE, writing) == ACCEPTED
    assert check(session) == 0
    assert fcntl.fcntl(writing, fcntl.F_GETFL) == before
    os.close(writing)
    assert read_all(reading) == state_of(4096, 3)
    os.close(reading)
