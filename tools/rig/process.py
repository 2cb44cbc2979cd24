# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A child process whose output is kept, can be waited for, and that never outlives us."""

import ctypes
import os
import re
import signal
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something did not happen; the text says what, and ends with the last lines of output."""


def wait_until(condition, timeout, what):
    """Call condition until it returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.02)


class Process:
    """One child. Its two outputs are read into one list of lines by a thread.

    With apart messages are kept for themselves, so that none gets into the middle of a line.
    """

    def __init__(self, name, command, cores=None, environment=None, apart=False):
        self.name = name
        self.command = [str(word) for word in command]
        self.lines = []
        self.messages = []  # what it says on its error output, with apart
        self._begun = ""  # a line without its end, such as a prompt
        self._changed = threading.Condition()
        self._open = True
        parent = os.getpid()

        def prepare():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            if cores is not None:
                os.sched_setaffinity(0, cores)

        # A session of its own: Ctrl-C reaches us only, and we end the children in order.
        self.child = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT, preexec_fn=prepare,
            start_new_session=True,
            env={**os.environ, **(environment or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if apart:
            threading.Thread(target=self._read_messages, daemon=True).start()

    def _read_messages(self):
        with self.child.stderr as messages:
            for raw in messages:
                self.messages.append(raw.decode(errors="replace").rstrip("\r\n"))

    def _read(self):
        begun = b""
        while True:
            data = os.read(self.child.stdout.fileno(), 65536)
            if not data:
                break
            *whole, begun = (begun + data).split(b"\n")
            with self._changed:
                self.lines += [raw.decode(errors="replace").rstrip("\r") for raw in whole]
                self._begun = begun.decode(errors="replace")
                self._changed.notify_all()
        with self._changed:
            if begun:
                self.lines.append(begun.decode(errors="replace"))
            self._begun = ""
            self._open = False
            self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def tail(self, count=15):
        """The last lines of output, for error messages."""
        return "\n".join(f"  {self.name}: {line}"
                         for line in self.lines[-count:] + self.messages[-count:])

    def running(self):
        return self.child.poll() is None

    def write(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def wait_for(self, pattern, timeout=20, start=0, prompt=False):
        """Wait for a line in which the pattern is found; return its index and the match.

        Only whole lines count, because the rest of a line could change the match; with prompt also
        one that has not ended yet.
        """
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout
        position = start
        with self._changed:
            while True:
                while position < len(self.lines):
                    match = expression.search(self.lines[position])
                    if match:
                        return position, match
                    position += 1
                match = expression.search(self._begun) if prompt else None
                if match:
                    return position, match
                left = deadline - time.monotonic()
                if not self._open:
                    reason = f"{self.name} ended"
                elif left <= 0:
                    reason = f"{timeout:g} s passed"
                else:
                    self._changed.wait(left)
                    continue
                raise Failed(f"{reason} without a line that matches '{pattern}'\n{self.tail()}")

    def finish(self, timeout=60):
        """Wait until it has ended by itself; return its exit status."""
        try:
            status = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {timeout:g} s\n{self.tail()}") from None
        self._reader.join(5)
        return status

    def stop(self, timeout=10):
        """Ask it to end, insist if it does not; return its exit status."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(5)
        for pipe in (self.child.stdin, self.child.stdout):
            try:
                pipe.close()
            except OSError:
                pass
        return self.child.returncode

    def kill(self):
        """End it at once, as a crash would."""
        self.child.kill()
        self.child.wait()
        self._reader.join(5)
