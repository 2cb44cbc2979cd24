# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The back-end under test: started, watched, stopped."""

import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import time

from .census import Census
from .connection import Connection

#: What a sanitizer prints when it has found something.
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                       r"Sanitizer:DEADLYSIGNAL")
#: Set for back-ends that we start: a report ends the process, so that nobody misses it.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:handle_abort=1:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0",
}


class BackendError(AssertionError):
    """The back-end did something that no back-end may do."""


class Backend:
    """A back-end behind a listening socket. Started by us if there is a command."""

    def __init__(self, socket_path, command=None, log_path=None, others=()):
        self.socket_path = socket_path
        #: Sockets of its other devices, which it makes later.
        self.others = others
        self.command = command
        self.log_path = log_path
        self.process = None
        self.pid = None
        self.baseline = None

    def spawn(self):
        """Start the process, without waiting for anything."""
        words = shlex.split(self.command.format(socket=self.socket_path))
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**SANITIZER_OPTIONS, **os.environ})

    def start(self, timeout=60.0):
        """Start the process if it is ours to start, and wait until it listens."""
        if self.command is not None:
            self.spawn()
        self._wait_until_it_listens(timeout)
        self.baseline = Census(self.pid)
        return self

    def _wait_until_it_listens(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            try:
                connection = Connection.open(self.socket_path, 0.1)
                break
            except OSError:
                if self.process is not None and self.process.poll() is not None:
                    raise BackendError(f"the back-end ended ({self.process.returncode}) before "
                                       f"it listened:\n{self.log()}") from None
                if time.monotonic() > deadline:
                    raise BackendError(f"nobody listens on {self.socket_path} "
                                       f"after {timeout} s:\n{self.log()}") from None
        while not all(map(os.path.exists, self.others)) and time.monotonic() < deadline:
            time.sleep(0.005)
        # The listener's own number, also where the command is a wrapper or somebody else's.
        credentials = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid = struct.unpack("=iII", credentials)[0]
        # Answered: it reads messages, and what it makes for its first front-end is made.
        connection.timeout = timeout
        connection.sock.settimeout(timeout)
        connection.barrier()
        before = Census(self.pid)
        connection.close()
        deadline = time.monotonic() + timeout
        while Census(self.pid).difference(before) == "" and time.monotonic() < deadline:
            time.sleep(0.005)

    def connect(self):
        return Connection.open(self.socket_path)

    def log(self):
        if self.log_path is None or not os.path.exists(self.log_path):
            return "(its log is not ours to read)"
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def log_position(self):
        if self.log_path is None:
            return 0
        return os.stat(self.log_path).st_size

    def log_since(self, position):
        if self.log_path is None or not os.path.exists(self.log_path):
            return "(its log is not ours to read)"
        with open(self.log_path, "rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", errors="replace")

    def alive(self):
        if self.process is not None:
            return self.process.poll() is None
        return os.path.exists(f"/proc/{self.pid}")

    def check(self):
        """It lives and no sanitizer complained."""
        if not self.alive():
            code = self.process.returncode if self.process is not None else "unknown"
            raise BackendError(f"the back-end died (exit status {code})")
        self.check_log()

    def check_log(self):
        if self.log_path is not None and SANITIZER.search(self.log()):
            raise BackendError("a sanitizer reported an error in the back-end")

    def stop(self, timeout=20.0):
        """Ask it to end; it must, and cleanly. Returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise BackendError(f"the back-end did not end within {timeout} s of SIGINT") \
                    from None
        return self.process.returncode
