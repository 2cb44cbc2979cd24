# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Starts the back-end under test and looks after it around every test."""

import collections
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from frontend import ring  # noqa: E402
from frontend.backend import Backend, BackendError  # noqa: E402
from frontend.census import wait_for_baseline  # noqa: E402
from frontend.connection import Connection  # noqa: E402
from frontend.elements import FORMATS, ElementSession  # noqa: E402
from frontend.memory import GuestMemory  # noqa: E402
from frontend.messages import Feature, Protocol, Request, bit, u64  # noqa: E402
from frontend.session import PATHS, Session  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Devices that a back-end of this kind serves beside the one under test.
OTHERS = {"4": 1, "crowd": 63}


def pytest_addoption(parser):
    group = parser.getgroup("conformance", "vhost-user conformance")
    group.addoption("--build", default=str(ROOT / "build"), metavar="DIR",
                    help="build folder of the back-end (default: build)")
    group.addoption("--backend-command", metavar="COMMAND",
                    default=os.environ.get("VHU_CONFORMANCE_BACKEND"),
                    help="start this instead; {socket} stands for the path of the socket on "
                         "which it must listen, e.g. 'dpdk-testpmd --no-huge -m 512 --vdev "
                         "net_vhost0,iface={socket} -- --auto-start --forward-mode=io'")
    group.addoption("--socket", metavar="PATH",
                    help="test the running back-end that listens here and start none")
    group.addoption("--lcore", metavar="CPU",
                    help="processor for the polling thread (default: the last allowed one)")
    group.addoption("--patience", type=float, default=ring.PATIENCE, metavar="SECONDS",
                    help="how long to wait for what must happen (default: %(default)s)")
    group.addoption("--budget", type=float, metavar="SECONDS",
                    help="skip what has not begun after so long")
    group.addoption("--test-seconds", type=int, default=0, metavar="SECONDS",
                    help="how long a single test may take")
    group.addoption("--give-up", type=int, default=0, metavar="N",
                    help="skip the other parameters of a test that failed with N of them")
    group.addoption("--full-counts", action="store_true",
                    help="repeat as often as the acceptance table says, not a tenth or less")


def pytest_configure(config):
    ring.PATIENCE = config.getoption("--patience")
    config.addinivalue_line("markers",
                            "row(name, ...): row of the acceptance table that the test holds")
    config.addinivalue_line("markers",
                            "backend(kind): which back-end the test needs, see command_of()")


BEGINNING = time.monotonic()
#: Parameters with which each test has failed: {test without its parameters: {test with them}}.
FAILED = collections.defaultdict(set)


def out_of_time(_number, _frame):
    raise ring.Timeout("the test took longer than it may")


def pytest_runtest_setup(item):
    budget = item.config.getoption("--budget")
    if budget is not None and time.monotonic() - BEGINNING > budget:
        pytest.skip("out of time")
    limit = item.config.getoption("--give-up")
    if limit and len(FAILED[name_of(item)]) >= limit:
        pytest.skip("failed before")


def name_of(item):
    return item.nodeid.partition("[")[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    seconds = item.config.getoption("--test-seconds")
    if seconds:
        signal.signal(signal.SIGALRM, out_of_time)
        signal.alarm(seconds)
    yield
    if seconds:
        signal.alarm(0)


def command_of(config, kind):
    """
    The back-end of each kind, polling on one processor and without hugepages.
    A number: so many queue pairs; "client": connects to the front-end; "crowd": many devices;
    "iommu", "postcopy", "ring-reset": offers that are not made by default;
    "elements": a device that keeps requests, without EAL.
    """
    folder = pathlib.Path(config.getoption("--build")) / "test/conformance"
    if kind == "elements":
        return f"{folder / 'conformance-elements'} {{socket}}"
    program = folder / "conformance-backend"
    if not program.exists():
        raise pytest.UsageError(f"{program} does not exist: build it first, or name another "
                                "folder with --build DIR or a program with --backend-command")
    lcore = config.getoption("--lcore") or str(max(os.sched_getaffinity(0)))
    roles = {"client": "--client", "crowd": "--pairs 1", "iommu": "--pairs 4 --offer iommu",
             "postcopy": "--pairs 4 --offer postcopy",
             "ring-reset": "--pairs 4 --offer ring-reset"}
    role = roles.get(kind, f"--pairs {kind}")
    # Beside the device that is tormented, others that must not notice.
    others = "".join(f" {{socket}}.{i}" for i in range(OTHERS.get(kind, 0)))
    return (f"{program} --no-huge --no-shconf --file-prefix=vhu-conformance --no-pci -m 256 "
            f"--lcores 0@{lcore} -- {role} {{socket}}{others}")


class Keeper:
    """Keeps one back-end running and replaces it when it has died or another kind is needed."""

    def __init__(self, config):
        self.config = config
        self.folder = tempfile.mkdtemp(prefix="vhu-conformance-")
        self.foreign = config.getoption("--socket")
        self.socket = self.foreign or os.path.join(self.folder, "0.sock")
        self.current = None
        self.kind = None
        self.started = 0

    def command(self, kind):
        if self.foreign:
            return None
        return self.config.getoption("--backend-command") or command_of(self.config, kind)

    def backend(self, kind):
        if self.foreign or self.config.getoption("--backend-command"):
            kind = "given"
        if self.current is not None and (kind != self.kind or not self.current.alive()):
            self.stop()
        if self.current is None:
            self.kind = kind
            self.current = self.start(kind)
        return self.current

    def start(self, kind):
        self.started += 1
        log = None if self.foreign else os.path.join(self.folder, f"backend-{self.started}.log")
        others = [f"{self.socket}.{i}" for i in range(OTHERS.get(kind, 0))]
        if not self.foreign:
            # One that was killed leaves them, and not every other replaces them.
            for path in [self.socket, *others]:
                pathlib.Path(path).unlink(missing_ok=True)
        backend = Backend(self.socket, self.command(kind), log, others)
        try:
            # One that was given may hang, and the time for all the tests is short.
            return backend.start(60.0 if kind != "given" else 15.0)
        except Exception:
            if backend.process is not None:
                backend.process.kill()
                backend.process.wait()
            raise

    def discard(self):
        """A back-end that leaks or is stuck must not spoil the tests that follow."""
        if self.current is not None and not self.foreign:
            if self.current.process.poll() is None:
                self.current.process.kill()
            self.current.process.wait()
            self.current = None

    def stop(self):
        """End the back-end; it must end well."""
        if self.current is None or self.foreign:
            return
        backend, self.current = self.current, None
        died = not backend.alive()
        status = backend.stop()
        backend.check_log()
        if status != 0 and not died:
            raise BackendError(f"the back-end ended with {status} after SIGINT:\n{backend.log()}")

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def keeper(pytestconfig):
    keeper = Keeper(pytestconfig)
    yield keeper
    keeper.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed:
        FAILED[name_of(item)].add(item.nodeid)
    watched = getattr(item, "watched_backend", None)
    if report.failed and watched is not None:
        backend, position = watched
        report.sections.append(("log of the back-end", backend.log_since(position)))


@pytest.fixture
def backend(keeper, request):
    """The back-end; alive, clean and back at its baseline when the test is over."""
    marker = request.node.get_closest_marker("backend")
    backend = keeper.backend(marker.args[0] if marker else "4")
    request.node.watched_backend = (backend, backend.log_position())
    yield backend
    try:
        backend.check()
        wait_for_baseline(backend.pid, backend.baseline)
    except Exception:
        keeper.discard()
        raise


@pytest.fixture
def closing(backend):
    """Things to be closed before the census; the youngest first."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def connect(backend, closing):
    """Open connections."""
    def connect():
        connection = backend.connect()
        closing.append(connection)
        return connection
    return connect


@pytest.fixture
def negotiated(connect):
    """A connection on which all protocol features on offer are in force."""
    def negotiate(wanted=~0):
        connection = connect()
        connection.ask(Request.GET_FEATURES)
        offered = connection.ask(Request.GET_PROTOCOL_FEATURES).u64
        connection.must(Request.SET_PROTOCOL_FEATURES, u64(offered & wanted))
        connection.protocol_features = offered & wanted
        return connection
    return negotiate


@pytest.fixture
def session(backend, closing):
    """Sessions that are connected but have said nothing."""
    def make(**options):
        session = Session(backend.connect(), **options)
        closing.append(session)
        return session
    yield make
    for thing in closing:
        if isinstance(thing, Session):
            thing.memory.check_guards()


@pytest.fixture
def prepare(session):
    """Sessions with memory and rings, none of them started."""
    return lambda **options: session(**options).prepare()


@pytest.fixture
def start(session):
    """Sessions that run."""
    return lambda **options: session(**options).start()


@pytest.fixture(params=FORMATS)
def elements(request, backend, closing, pytestconfig):
    """Running sessions with the device of elements.c, over either ring format."""
    if pytestconfig.getoption("--socket") or pytestconfig.getoption("--backend-command"):
        pytest.skip("needs the device of elements.c")

    def make(start=True, features=0, **options):
        session = ElementSession(backend.connect(), features=FORMATS[request.param] | features,
                                 **options)
        closing.append(session)
        return session.start() if start else session
    make.packed = request.param == "packed"
    return make


@pytest.fixture
def others(backend, closing, request):
    """Running sessions with the other devices of the same back-end."""
    marker = request.node.get_closest_marker("backend")
    paths = [f"{backend.socket_path}.{i}" for i in range(OTHERS[marker.args[0] if marker else "4"])]
    if not all(os.path.exists(path) for path in paths):
        pytest.skip("the back-end given on the command line serves one device")
    sessions = [Session(Connection.open(path), memory=GuestMemory.small(), ring_size=16)
                for path in paths]
    closing.extend(sessions)
    for each in sessions:
        each.start()
    yield sessions
    for each in sessions:
        each.memory.check_guards()


@pytest.fixture
def two_pairs(start, pairs):
    """A session whose second pair, if there is one, must never notice anything."""
    return lambda **options: start(pairs=min(2, pairs), **options)


@pytest.fixture
def counts(pytestconfig):
    """Choose between the acceptance table's count and a shorter one."""
    full = pytestconfig.getoption("--full-counts")
    return lambda table, short: table if full else short


@pytest.fixture
def offered(connect):
    """(virtio features, protocol features) on offer."""
    connection = connect()
    features = connection.ask(Request.GET_FEATURES).u64
    protocol = connection.ask(Request.GET_PROTOCOL_FEATURES).u64
    connection.close()
    return features, protocol


@pytest.fixture
def needs(offered):
    """Skip, with the reason, unless the back-end offers all of these (Feature or Protocol)."""
    def needs(*wanted):
        for feature in wanted:
            if not offered[isinstance(feature, Protocol)] & bit(feature):
                pytest.skip(f"the back-end does not offer {feature.name}")
    return needs


@pytest.fixture(params=PATHS)
def path(request, needs):
    """The features of one path; skips if the back-end offers not all of them."""
    features = PATHS[request.param]
    needs(*(feature for feature in (Feature.RING_PACKED, Feature.IN_ORDER)
            if features & bit(feature)))
    return features


@pytest.fixture
def pairs(connect, offered):
    """Queue pairs that the back-end serves."""
    if not offered[1] & bit(Protocol.MQ):
        return 1
    connection = connect()
    connection.must(Request.SET_PROTOCOL_FEATURES, u64(bit(Protocol.MQ)))
    count = connection.ask(Request.GET_QUEUE_NUM).u64
    connection.close()
    return count
