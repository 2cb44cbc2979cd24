# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""QEMU's machine protocol (QMP), over a socket."""

import json
import socket

from rig.process import Failed, wait_until


class Monitor:
    """One command, one answer; events in between are skipped."""

    def __init__(self, path):
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.settimeout(60)
        wait_until(lambda: self._connects(path), 20, "QEMU's monitor socket")
        self.stream = self.connection.makefile("rw", encoding="utf-8")
        self._answer()
        self("qmp_capabilities")

    def _connects(self, path):
        try:
            self.connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # the socket has its name before QEMU listens on it
        return True

    def _answer(self):
        while True:
            line = self.stream.readline()
            if not line:
                raise Failed("QEMU closed its monitor")
            answer = json.loads(line)
            if "event" not in answer:
                return answer

    def __call__(self, command, **arguments):
        text = {"execute": command}
        if arguments:
            text["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.stream.write(json.dumps(text) + "\n")
        self.stream.flush()
        answer = self._answer()
        if "error" in answer:
            raise Failed(f"QEMU refused {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def close(self):
        self.stream.close()
        self.connection.close()
