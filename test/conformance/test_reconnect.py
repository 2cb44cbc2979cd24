# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Front-ends that come back, in either role of the socket (row C1 and its neighbours)."""

import os
import signal
import tempfile

import pytest

from conftest import command_of
from frontend import net
from frontend.backend import Backend
from frontend.checks import connection_works
from frontend.connection import Listener
from frontend.session import Session


@pytest.mark.row("C1")
def test_reconnect_many_times(backend, session, counts):
    for number in range(counts(1000, 100)):
        one = session()
        one.start()
        one.echo(count=4, first=10 * number)
        if number % 3 == 0:
            one.stop()
        one.close()


@pytest.mark.row("C1")
def test_reconnect_without_a_word(backend, counts):
    for _ in range(counts(1000, 200)):
        backend.connect().close()
    connection = backend.connect()
    connection_works(connection)
    connection.close()


@pytest.mark.row("C1", "R8")
def test_vanish_under_traffic(session, counts):
    for number in range(counts(1000, 50)):
        one = session(ring_size=256)
        one.start()
        pair = one.pairs[0]
        pair.post()
        for i in range(100):
            pair.send(bytes(64), publish=False)
        pair.transmit_ring.publish()
        if number % 2:
            pair.receive(1)
        one.memory.check_guards()
        one.close()


@pytest.mark.row("C1", "R9")
def test_nothing_is_remembered_from_the_former_front_end(start, session):
    first = start()
    first.echo()
    first.connection.close()
    second = session()
    second.negotiate()
    # Rings, memory and features of the first are gone: this one must bring its own.
    assert second.connection.ask(11, (1).to_bytes(4, "little") + bytes(4)).state == (1, 0)
    second.set_features()
    second.share_memory()
    second.make_rings()
    for ring in second.rings:
        second.start_ring(ring)
    second.enable()
    second.echo()


@pytest.fixture
def launch(pytestconfig):
    """Start back-ends of our own, each of which ends in order."""
    if pytestconfig.getoption("--socket") or pytestconfig.getoption("--backend-command"):
        pytest.skip("needs to start back-ends of the build folder")
    with tempfile.TemporaryDirectory(prefix="vhu-conformance-") as folder:
        launched = []

        def launch(kind):
            backend = Backend(os.path.join(folder, "0.sock"), command_of(pytestconfig, kind),
                              os.path.join(folder, f"{len(launched)}.log"))
            launched.append(backend)
            return backend

        yield launch
        for backend in launched:
            status = backend.stop()
            assert status == 0, backend.log()
            backend.check_log()


@pytest.mark.row("C3", "R9")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_back_end_ends_in_order_under_traffic(launch, number):
    """What it said it had used, it had: the next one goes on from there."""
    backend = launch("1").start()
    session = Session(backend.connect(), ring_size=256)
    session.start()
    pair = session.pairs[0]
    pair.post()
    for i in range(200):
        pair.send(net.frame(i), publish=False)
    pair.transmit_ring.publish()
    backend.process.send_signal(number)
    assert backend.process.wait(20) == 0
    session.connection.expect_end()
    session.connection = launch("1").start().connect()
    session.negotiate()
    session.set_features()
    session.share_memory()
    for ring in session.rings:
        session.start_ring(ring, ring.published_used)
    session.enable()
    pair.transmit_ring.wait_used(200)
    assert pair.transmit_ring.published_used == 200
    session.memory.check_guards()
    session.close()


@pytest.fixture
def client(launch):
    """A back-end that connects to us, and our listening socket."""
    backend = launch("client")
    listener = Listener(backend.socket_path, timeout=60)
    backend.spawn()
    yield listener, backend
    assert backend.alive(), backend.log()
    listener.close()


def serve(listener, number, count=8):
    session = Session(listener.accept())
    session.start()
    session.echo(count=count, first=100 * number)
    session.memory.check_guards()
    session.close()


@pytest.mark.row("C1")
def test_back_end_connects_to_the_front_end(client, counts):
    listener, _ = client
    for number in range(counts(1000, 30)):
        serve(listener, number)


@pytest.mark.row("C1")
def test_back_end_waits_for_a_front_end_that_restarts(client):
    listener, backend = client
    serve(listener, 1)
    path = listener.path
    for number in range(5):
        listener.close()
        assert backend.alive()
        listener.__init__(path, 60)
        serve(listener, number)


@pytest.mark.row("C1", "F6")
def test_front_end_that_accepts_and_hangs_up(client, counts):
    listener, _ = client
    for _ in range(counts(1000, 50)):
        listener.accept().close()
    serve(listener, 1)
