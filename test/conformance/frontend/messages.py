# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Numbers and layouts of the vhost-user protocol, from the vhost-user document.

This is written from the document and not from the library, so that a mistake in one shows as a
difference between the two.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Optional, Tuple

HEADER = struct.Struct("=III")
U64 = struct.Struct("=Q")
STATE = struct.Struct("=II")
ADDRESS = struct.Struct("=IIQQQQ")
REGION = struct.Struct("=QQQQ")
LOG = struct.Struct("=QQ")
INFLIGHT = struct.Struct("=QQHHI")
CONFIG = struct.Struct("=III")
IOTLB = struct.Struct("=QQQBB6x")
DEVICE_STATE = struct.Struct("=II")

VERSION = 0x1
REPLY = 0x4
NEED_REPLY = 0x8
#: What the flags of a reply must be, to the bit.
REPLY_FLAGS = VERSION | REPLY

INDEX_MASK = 0xFF
NOFD = 0x100
MAX_FDS = 8
#: No payload of the protocol is longer (the table of shared memory regions).
MAX_PAYLOAD = 8 + 256 * 8


class Request(enum.IntEnum):
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    GET_SHARED_OBJECT = 41
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43
    GET_SHMEM_CONFIG = 44
    GET_VRING_BASE_SKIP_DRAIN = 45


class Protocol(enum.IntEnum):
    """Protocol feature bits."""

    MQ = 0
    LOG_SHMFD = 1
    RARP = 2
    REPLY_ACK = 3
    NET_MTU = 4
    BACKEND_REQ = 5
    CROSS_ENDIAN = 6
    CRYPTO_SESSION = 7
    PAGEFAULT = 8
    CONFIG = 9
    BACKEND_SEND_FD = 10
    HOST_NOTIFIER = 11
    INFLIGHT_SHMFD = 12
    RESET_DEVICE = 13
    INBAND_NOTIFICATIONS = 14
    CONFIGURE_MEM_SLOTS = 15
    STATUS = 16
    XEN_MMAP = 17
    SHARED_OBJECT = 18
    DEVICE_STATE = 19
    GET_VRING_BASE_INFLIGHT = 20
    GPA_ADDRESSES = 21
    SHMEM = 22
    GET_VRING_BASE_SKIP_DRAIN = 23


class Feature(enum.IntEnum):
    """Virtio feature bits that a network back-end may offer."""

    CSUM = 0
    GUEST_CSUM = 1
    CTRL_GUEST_OFFLOADS = 2
    MTU = 3
    MAC = 5
    GUEST_TSO4 = 7
    GUEST_TSO6 = 8
    GUEST_ECN = 9
    GUEST_UFO = 10
    HOST_TSO4 = 11
    HOST_TSO6 = 12
    HOST_ECN = 13
    HOST_UFO = 14
    MRG_RXBUF = 15
    STATUS = 16
    CTRL_VQ = 17
    CTRL_RX = 18
    CTRL_VLAN = 19
    GUEST_ANNOUNCE = 21
    MQ = 22
    CTRL_MAC_ADDR = 23
    NOTIFY_ON_EMPTY = 24
    LOG_ALL = 26
    ANY_LAYOUT = 27
    INDIRECT_DESC = 28
    EVENT_IDX = 29
    PROTOCOL_FEATURES = 30
    VERSION_1 = 32
    ACCESS_PLATFORM = 33
    RING_PACKED = 34
    IN_ORDER = 35
    ORDER_PLATFORM = 36
    NOTIFICATION_DATA = 38
    RING_RESET = 40
    GUEST_USO4 = 54
    GUEST_USO6 = 55
    HOST_USO = 56
    HASH_REPORT = 57
    GUEST_HDRLEN = 59
    RSS = 60
    SPEED_DUPLEX = 63


def bit(*numbers):
    """Mask of these bit numbers."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


class Answer(enum.Enum):
    """How a request is answered."""

    ACK = "u64, only if NEED_REPLY is set"
    U64 = "always a u64"
    STATE = "a ring state"
    CONFIG = "the configuration asked for; nothing on failure"
    INFLIGHT = "an inflight description; its size 0 on failure"
    DESCRIPTOR = "a descriptor; none on failure"
    LOG = "u64 with LOG_SHMFD, otherwise as ACK"
    SHMEM = "table of shared memory sizes"
    SESSION = "session description as long as the request; number -1 on failure"


@dataclass(frozen=True)
class Rule:
    """What a valid request looks like."""

    sizes: Tuple[int, ...] = (0,)
    fds: int = 0
    gate: Optional[Protocol] = None
    feature: Optional[Feature] = None
    answer: Answer = Answer.ACK
    #: Sizes depend on the payload: only the first is tried as the right one.
    variable: bool = False


RULES = {
    Request.GET_FEATURES: Rule(answer=Answer.U64),
    Request.SET_FEATURES: Rule((8,)),
    Request.SET_OWNER: Rule(),
    Request.RESET_OWNER: Rule(),
    Request.SET_MEM_TABLE: Rule((8 + 32,), fds=1, variable=True),
    Request.SET_LOG_BASE: Rule((16,), fds=1, answer=Answer.LOG),
    Request.SET_LOG_FD: Rule((0, 8), fds=1),
    Request.SET_VRING_NUM: Rule((8,)),
    Request.SET_VRING_ADDR: Rule((40,)),
    Request.SET_VRING_BASE: Rule((8,)),
    Request.GET_VRING_BASE: Rule((8,), answer=Answer.STATE),
    Request.SET_VRING_KICK: Rule((8,), fds=1),
    Request.SET_VRING_CALL: Rule((8,), fds=1),
    Request.SET_VRING_ERR: Rule((8,), fds=1),
    Request.GET_PROTOCOL_FEATURES: Rule(answer=Answer.U64),
    Request.SET_PROTOCOL_FEATURES: Rule((8,)),
    Request.GET_QUEUE_NUM: Rule(gate=Protocol.MQ, answer=Answer.U64),
    Request.SET_VRING_ENABLE: Rule((8,), feature=Feature.PROTOCOL_FEATURES),
    Request.SEND_RARP: Rule((8,), gate=Protocol.RARP),
    Request.NET_SET_MTU: Rule((8,), gate=Protocol.NET_MTU),
    Request.SET_BACKEND_REQ_FD: Rule(fds=1, gate=Protocol.BACKEND_REQ),
    Request.IOTLB_MSG: Rule((32,), feature=Feature.ACCESS_PLATFORM, answer=Answer.U64),
    Request.SET_VRING_ENDIAN: Rule((8,), gate=Protocol.CROSS_ENDIAN),
    Request.GET_CONFIG: Rule((12 + 12,), gate=Protocol.CONFIG, answer=Answer.CONFIG,
                             variable=True),
    Request.SET_CONFIG: Rule((12 + 12,), gate=Protocol.CONFIG, variable=True),
    Request.CREATE_CRYPTO_SESSION: Rule((64,), gate=Protocol.CRYPTO_SESSION,
                                        answer=Answer.SESSION, variable=True),
    Request.CLOSE_CRYPTO_SESSION: Rule((8,), gate=Protocol.CRYPTO_SESSION),
    Request.POSTCOPY_ADVISE: Rule(gate=Protocol.PAGEFAULT, answer=Answer.DESCRIPTOR),
    Request.POSTCOPY_LISTEN: Rule(gate=Protocol.PAGEFAULT),
    Request.POSTCOPY_END: Rule(gate=Protocol.PAGEFAULT, answer=Answer.U64),
    Request.GET_INFLIGHT_FD: Rule((24, 20), gate=Protocol.INFLIGHT_SHMFD,
                                  answer=Answer.INFLIGHT),
    Request.SET_INFLIGHT_FD: Rule((24, 20), fds=1, gate=Protocol.INFLIGHT_SHMFD),
    Request.GPU_SET_SOCKET: Rule(fds=1),
    Request.RESET_DEVICE: Rule(gate=Protocol.RESET_DEVICE),
    Request.VRING_KICK: Rule((8,), gate=Protocol.INBAND_NOTIFICATIONS),
    Request.GET_MAX_MEM_SLOTS: Rule(gate=Protocol.CONFIGURE_MEM_SLOTS, answer=Answer.U64),
    Request.ADD_MEM_REG: Rule((40,), fds=1, gate=Protocol.CONFIGURE_MEM_SLOTS),
    Request.REM_MEM_REG: Rule((40,), gate=Protocol.CONFIGURE_MEM_SLOTS),
    Request.SET_STATUS: Rule((8,), gate=Protocol.STATUS),
    Request.GET_STATUS: Rule(gate=Protocol.STATUS, answer=Answer.U64),
    Request.GET_SHARED_OBJECT: Rule((16,), gate=Protocol.SHARED_OBJECT,
                                    answer=Answer.DESCRIPTOR),
    Request.SET_DEVICE_STATE_FD: Rule((8,), fds=1, gate=Protocol.DEVICE_STATE,
                                      answer=Answer.U64),
    Request.CHECK_DEVICE_STATE: Rule(gate=Protocol.DEVICE_STATE, answer=Answer.U64),
    Request.GET_SHMEM_CONFIG: Rule(gate=Protocol.SHMEM, answer=Answer.SHMEM),
    Request.GET_VRING_BASE_SKIP_DRAIN: Rule((8,), gate=Protocol.GET_VRING_BASE_SKIP_DRAIN,
                                            answer=Answer.STATE),
}


def answers_itself(request, protocol_features):
    """Does this request get a reply whether or not NEED_REPLY is set?"""
    answer = RULES[request].answer
    if answer is Answer.LOG:
        return bool(protocol_features & bit(Protocol.LOG_SHMFD))
    return answer is not Answer.ACK


def u64(value):
    return U64.pack(value)


def state(index, value):
    return STATE.pack(index, value)


def address(index, descriptor, used, avail, flags=0, log_guest_address=0):
    return ADDRESS.pack(index, flags, descriptor, used, avail, log_guest_address)


def region(guest_address, size, user_address, file_offset):
    return REGION.pack(guest_address, size, user_address, file_offset)


def mem_table(regions, count=None):
    """A table of packed regions; count may lie."""
    return STATE.pack(len(regions) if count is None else count, 0) + b"".join(regions)


def mem_reg(packed):
    return U64.pack(0) + packed


def config(offset, size, data=None, flags=0):
    return CONFIG.pack(offset, size, flags) + (bytes(size) if data is None else data)


def inflight(size, offset, queues, queue_size):
    return INFLIGHT.pack(size, offset, queues, queue_size, 0)


def header(request, size, flags=VERSION):
    return HEADER.pack(request, flags, size)


def encode(request, payload=b"", flags=VERSION):
    """Header and payload of one request."""
    return HEADER.pack(request, flags, len(payload)) + payload
