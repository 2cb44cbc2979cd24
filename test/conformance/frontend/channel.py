# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The back-end channel: requests of the back-end (vhost-user, "Back-end message types").

The front-end makes a socket pair and hands one end over with SET_BACKEND_REQ_FD. Nothing is
answered by itself: a test receives, judges and answers, or does not.
"""

import enum
import socket
import struct
from dataclasses import dataclass, field
from typing import List

from . import messages
from .connection import Closed, Connection, ProtocolError
from .messages import Request

AREA = struct.Struct("=QQQ")
SHMEM = struct.Struct("=B7xQQQQ")


class BackendRequest(enum.IntEnum):
    IOTLB_MSG = 1
    CONFIG_CHANGE = 2
    VRING_HOST_NOTIFIER = 3
    VRING_CALL = 4
    VRING_ERR = 5
    SHARED_OBJECT_ADD = 6
    SHARED_OBJECT_REMOVE = 7
    SHARED_OBJECT_LOOKUP = 8
    SHMEM_MAP = 9
    SHMEM_UNMAP = 10


#: Payload sizes.
SIZES = {
    BackendRequest.IOTLB_MSG: messages.IOTLB.size,
    BackendRequest.CONFIG_CHANGE: 0,
    BackendRequest.VRING_HOST_NOTIFIER: AREA.size,
    BackendRequest.VRING_CALL: messages.STATE.size,
    BackendRequest.VRING_ERR: messages.STATE.size,
    BackendRequest.SHARED_OBJECT_ADD: 16,
    BackendRequest.SHARED_OBJECT_REMOVE: 16,
    BackendRequest.SHARED_OBJECT_LOOKUP: 16,
    BackendRequest.SHMEM_MAP: SHMEM.size,
    BackendRequest.SHMEM_UNMAP: SHMEM.size,
}


@dataclass
class Message:
    request: BackendRequest
    flags: int
    payload: bytes
    fds: List[int] = field(default_factory=list)

    @property
    def wants_reply(self):
        return bool(self.flags & messages.NEED_REPLY)


class Channel(Connection):
    """Our end of the channel."""

    @classmethod
    def give(cls, connection):
        """Make a channel and hand its other end to the back-end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.must(Request.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        finally:
            theirs.close()
        return cls(ours, connection.timeout)

    def receive_message(self, timeout=None):
        """The back-end's next request; its form is checked."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        fds = []
        try:
            head = self._receive_exactly(messages.HEADER.size, fds)
            request, flags, size = messages.HEADER.unpack(head)
            if flags & ~messages.NEED_REPLY != messages.VERSION:
                raise ProtocolError(f"request {request} of the back-end has flags {flags:#x}")
            if request not in SIZES or size != SIZES[request]:
                raise ProtocolError(f"request {request} of the back-end has {size} bytes")
            payload = self._receive_exactly(size, fds) if size else b""
        finally:
            self.sock.settimeout(self.timeout)
            self._received_fds.extend(fds)
        return Message(BackendRequest(request), flags, payload, fds)

    def expect(self, request, timeout=None):
        message = self.receive_message(timeout)
        if message.request != request:
            raise ProtocolError(f"{message.request.name} came, {request.name} was expected")
        return message

    def silent(self, seconds=0.1):
        """Nothing comes for so long; a closed channel is silent too."""
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(self.timeout)

    def reply(self, message, value=0, flags=messages.REPLY_FLAGS, fds=()):
        """Answer with a u64."""
        self.send_bytes(messages.encode(message.request, messages.u64(value), flags), fds)

    def closed_by_peer(self, timeout=None):
        """Wait for the back-end to close its end."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


__all__ = ["AREA", "SHMEM", "BackendRequest", "Channel", "Closed", "Message"]
