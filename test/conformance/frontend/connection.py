# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A vhost-user connection from the front-end's side, byte by byte if need be.

Every reply is checked: the flags must be exactly "version 1, reply", and it must belong to the
request that was sent. Nothing may come that was not asked for; barrier() proves it without
waiting: the reply to a harmless request must be the very next thing on the socket.
"""

import array
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import List

from . import messages, ring
from .messages import Answer, Request


class ProtocolError(AssertionError):
    """The back-end broke the protocol."""


class Closed(Exception):
    """The back-end closed the connection."""


@dataclass
class Reply:
    request: int
    flags: int
    payload: bytes
    fds: List[int] = field(default_factory=list)

    @property
    def u64(self):
        if len(self.payload) != messages.U64.size:
            raise ProtocolError(f"reply to request {self.request} has {len(self.payload)} bytes, "
                                "a u64 was expected")
        return messages.U64.unpack(self.payload)[0]

    @property
    def state(self):
        """(index, value) of a ring state."""
        if len(self.payload) != messages.STATE.size:
            raise ProtocolError(f"reply to request {self.request} has {len(self.payload)} bytes, "
                                "a ring state was expected")
        return messages.STATE.unpack(self.payload)


class Connection:
    """One connected socket. Descriptors that are sent stay the caller's."""

    def __init__(self, sock, timeout=None):
        self.sock = sock
        self.timeout = timeout = ring.PATIENCE if timeout is None else timeout
        self.sock.settimeout(timeout)
        self._received_fds = []

    @classmethod
    def open(cls, path, timeout=None):
        """Connect to a back-end that listens, waiting until it does."""
        timeout = ring.PATIENCE if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(path)
                return cls(sock, timeout)
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        for fd in self._received_fds:
            os.close(fd)
        self._received_fds = []

    def send_bytes(self, data, fds=()):
        """Send bytes; the descriptors travel with the first of them."""
        data = bytes(data)
        try:
            sent = socket.send_fds(self.sock, [data], list(fds)) if fds else self.sock.send(data)
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def send(self, request, payload=b"", fds=(), need_reply=False, flags=None):
        if flags is None:
            flags = messages.VERSION | (messages.NEED_REPLY if need_reply else 0)
        self.send_bytes(messages.encode(request, payload, flags), fds)

    def _receive_exactly(self, count, fds):
        data = b""
        while len(data) < count:
            try:
                part, ancillary, flags, _ = self.sock.recvmsg(
                    count - len(data), socket.CMSG_SPACE(messages.MAX_FDS * 4),
                    socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError as error:
                raise Closed(str(error)) from error
            except TimeoutError as error:
                raise ProtocolError(f"no reply within {self.timeout} s "
                                    f"({len(data)} of {count} bytes came)") from error
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    numbers = array.array("i")
                    numbers.frombytes(content[:len(content) - len(content) % numbers.itemsize])
                    fds.extend(numbers)
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError("more descriptors came than a message may carry")
            if not part:
                raise Closed(f"closed after {len(data)} of {count} bytes")
            data += part
        return data

    def receive(self):
        """One reply, with its flags checked."""
        fds = []
        try:
            head = self._receive_exactly(messages.HEADER.size, fds)
            request, flags, size = messages.HEADER.unpack(head)
            if flags != messages.REPLY_FLAGS:
                raise ProtocolError(f"reply to request {request} has flags {flags:#x}, "
                                    f"{messages.REPLY_FLAGS:#x} is required")
            if size > messages.MAX_PAYLOAD:
                raise ProtocolError(f"reply to request {request} announces {size} bytes")
            payload = self._receive_exactly(size, fds) if size else b""
        finally:
            self._received_fds.extend(fds)
        return Reply(request, flags, payload, fds)

    def receive_for(self, request):
        reply = self.receive()
        if reply.request != request:
            raise ProtocolError(f"a reply to request {reply.request} came, "
                                f"one to {request} was expected")
        return reply

    def ask(self, request, payload=b"", fds=(), need_reply=False):
        """Send a request that has a reply of its own, and return that."""
        self.send(request, payload, fds, need_reply)
        return self.receive_for(request)

    def acknowledge(self, request, payload=b"", fds=()):
        """Send a request with NEED_REPLY and return what the back-end says: 0 is success."""
        return self.ask(request, payload, fds, need_reply=True).u64

    def must(self, request, payload=b"", fds=()):
        """Send a request that must be accepted."""
        value = self.acknowledge(request, payload, fds)
        if value != 0:
            raise ProtocolError(f"{Request(request).name} was refused ({value:#x}), "
                                "success was expected")

    def must_not(self, request, payload=b"", fds=()):
        """Send a request that must be refused, truthfully, by its kind of reply."""
        refused(self.ask(request, payload, fds, need_reply=True))

    def barrier(self):
        """All that was sent is handled and nothing unasked-for was sent by the back-end."""
        return self.ask(Request.GET_FEATURES).u64

    def expect_end(self):
        """The back-end must close, and may send nothing before."""
        try:
            data = self.sock.recv(1)
        except ConnectionResetError:
            return
        if data:
            raise ProtocolError("a byte came where the connection should have been closed")

    def ended(self):
        """Has the back-end closed the connection by now? Does not wait."""
        ready, _, _ = select.select([self.sock], [], [], 0)
        if not ready:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True


# Questions about sets and numbers: refused with none, since 1 would be an answer.
COUNTS = (Request.GET_FEATURES, Request.GET_PROTOCOL_FEATURES, Request.GET_QUEUE_NUM,
          Request.GET_MAX_MEM_SLOTS, Request.GET_STATUS)


def refused(reply):
    """Check that a reply tells of a failure, in the way its kind of request does."""
    rule = messages.RULES.get(reply.request)
    answer = rule.answer if rule else Answer.ACK
    name = Request(reply.request).name if rule else f"request {reply.request}"
    if reply.fds:
        raise ProtocolError(f"the refusal of {name} carries descriptors")
    if answer in (Answer.ACK, Answer.U64, Answer.LOG):
        truthful = (reply.u64 == 0) == (reply.request in COUNTS)
    elif answer is Answer.STATE:
        truthful = reply.state[1] == 0
    elif answer is Answer.INFLIGHT:
        truthful = messages.U64.unpack_from(reply.payload)[0] == 0
    elif answer is Answer.SESSION:
        # The number is the first or the last field, depending on the front-end's age.
        truthful = len(reply.payload) >= 8 and all(
            int.from_bytes(number, sys.byteorder, signed=True) < 0
            for number in (reply.payload[:8], reply.payload[-8:]))
    elif answer is Answer.SHMEM:
        truthful = messages.STATE.unpack_from(reply.payload)[0] == 0
    else:
        truthful = reply.payload == b""
    if not truthful:
        raise ProtocolError(f"{name} should have been refused, the answer tells of success: "
                            f"{reply.payload.hex()}")


class Listener:
    """The server role: the back-end connects to us."""

    def __init__(self, path, timeout=10.0):
        self.path = path
        self.timeout = timeout
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(path)
        self.sock.listen(1)
        self.sock.settimeout(timeout)

    def accept(self):
        sock, _ = self.sock.accept()
        return Connection(sock, self.timeout)

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None
            os.unlink(self.path)
