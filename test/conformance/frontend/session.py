# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A whole session: negotiate, share memory, start rings, as QEMU does it and in that order."""

from collections import namedtuple

from . import messages, net
from .dirty import DirtyLog
from .iommu import Iommu
from .memory import GuestMemory
from .messages import Feature, Protocol, Request, bit
from .packed import PackedRing
from .ring import SplitRing

#: What a plain session negotiates of what is offered.
FEATURES = bit(Feature.VERSION_1, Feature.MRG_RXBUF, Feature.INDIRECT_DESC, Feature.MQ,
               Feature.PROTOCOL_FEATURES)
PROTOCOL_FEATURES = bit(Protocol.MQ, Protocol.REPLY_ACK, Protocol.CONFIGURE_MEM_SLOTS)

#: Features of every path that a frame can take.
PATHS = {
    "split": FEATURES,
    "split plain": FEATURES & ~bit(Feature.MRG_RXBUF),
    "split in order": FEATURES | bit(Feature.IN_ORDER),
    "split in order plain": FEATURES & ~bit(Feature.MRG_RXBUF) | bit(Feature.IN_ORDER),
    "packed": FEATURES | bit(Feature.RING_PACKED),
    "packed plain": FEATURES & ~bit(Feature.MRG_RXBUF) | bit(Feature.RING_PACKED),
    "packed in order": FEATURES | bit(Feature.RING_PACKED, Feature.IN_ORDER),
    "packed in order plain":
        FEATURES & ~bit(Feature.MRG_RXBUF) | bit(Feature.RING_PACKED, Feature.IN_ORDER),
}

Step = namedtuple("Step", "request payload fds")
Step.__new__.__defaults__ = (b"", ())


class Session:
    """
    Front-end state over one connection. Each step can be called by itself; start() does them all.
    """

    def __init__(self, connection, memory=None, pairs=1, ring_size=64, features=FEATURES,
                 protocol_features=PROTOCOL_FEATURES, buffer_size=2048):
        self.connection = connection
        self.memory = memory or GuestMemory.standard()
        self.wanted_features = features
        self.wanted_protocol_features = protocol_features
        self.pair_count = pairs
        self.ring_size = ring_size
        self.buffer_size = buffer_size
        self.offered = self.features = 0
        self.protocol_offered = self.protocol_features = 0
        self.rings = []
        self.pairs = []
        self.bases = {}
        self.log = None
        self.iommu = None
        self.extras = []

    def close(self):
        for extra in reversed(self.extras):
            extra.close()
        self.extras = []
        self.connection.close()
        for ring in self.rings:
            ring.close()
        self.rings = []
        self.memory.close()

    def has(self, feature):
        return bool(self.features & bit(feature))

    def has_protocol(self, feature):
        return bool(self.protocol_features & bit(feature))

    @property
    def header_size(self):
        modern = self.has(Feature.VERSION_1) or self.has(Feature.MRG_RXBUF)
        return net.HEADER.size if modern else net.LEGACY_HEADER.size

    # Negotiation.

    def negotiate(self):
        """What QEMU says when it has just connected."""
        ask = self.connection.ask
        self.offered = ask(Request.GET_FEATURES).u64
        self.features = self.offered & self.wanted_features
        if self.has(Feature.PROTOCOL_FEATURES):
            self.protocol_offered = ask(Request.GET_PROTOCOL_FEATURES).u64
            self.protocol_features = self.protocol_offered & self.wanted_protocol_features
            self.connection.must(Request.SET_PROTOCOL_FEATURES,
                                 messages.u64(self.protocol_features))
        if self.has_protocol(Protocol.MQ):
            ask(Request.GET_QUEUE_NUM)
        if self.has_protocol(Protocol.CONFIGURE_MEM_SLOTS):
            ask(Request.GET_MAX_MEM_SLOTS)
        self.connection.must(Request.SET_OWNER)

    def set_features(self):
        self.connection.must(Request.SET_FEATURES, messages.u64(self.features))

    # Memory.

    def memory_steps(self):
        if self.has_protocol(Protocol.CONFIGURE_MEM_SLOTS):
            return [Step(Request.ADD_MEM_REG, messages.mem_reg(region.packed()), (region.fd,))
                    for region in self.memory.regions]
        return [Step(Request.SET_MEM_TABLE,
                     messages.mem_table([region.packed() for region in self.memory.regions]),
                     tuple(region.fd for region in self.memory.regions))]

    def share_memory(self):
        self.run(self.memory_steps())

    def add_region(self, region):
        self.connection.must(Request.ADD_MEM_REG, messages.mem_reg(region.packed()), (region.fd,))
        if region not in self.memory.regions:
            self.memory.regions.append(region)

    # Rings.

    def make_rings(self, region=None):
        """The rings and the driver's view of them; call after features are known."""
        kind = PackedRing if self.has(Feature.RING_PACKED) else SplitRing
        for pair in range(self.pair_count):
            receive, transmit = (kind(self.memory, 2 * pair + side, self.ring_size, region,
                                      in_order=self.has(Feature.IN_ORDER)) for side in (0, 1))
            for ring in (receive, transmit):
                ring.event_index = self.has(Feature.EVENT_IDX)
            self.rings += [receive, transmit]
            self.pairs.append(net.NetPair(self.memory, receive, transmit, self.header_size,
                                          self.has(Feature.MRG_RXBUF), self.buffer_size))

    def address_step(self, ring, flags=None, log_address=None):
        """The ring's addresses: user addresses, or I/O virtual ones behind an IOMMU."""
        user = self.memory.user if self.iommu is None else self.iommu.address
        if log_address is None:
            log_address = ring.used if self.iommu is None else self.iommu.address(ring.used)
        flags = (1 if self.has(Feature.LOG_ALL) else 0) if flags is None else flags
        return Step(Request.SET_VRING_ADDR,
                    messages.address(ring.index, user(ring.descriptors), user(ring.used),
                                     user(ring.avail), flags, log_address))

    def ring_steps(self, ring, base=None):
        """What starts one ring."""
        index = ring.index
        base = ring.first_base if base is None else base
        return [
            Step(Request.SET_VRING_NUM, messages.state(index, ring.size)),
            Step(Request.SET_VRING_BASE, messages.state(index, base)),
            self.address_step(ring),
            Step(Request.SET_VRING_ERR, messages.u64(index), (ring.err_fd,)),
            Step(Request.SET_VRING_KICK, messages.u64(index), (ring.kick_fd,)),
            Step(Request.SET_VRING_CALL, messages.u64(index), (ring.call_fd,)),
        ]

    def enable_steps(self, rings, value=1):
        if not self.has(Feature.PROTOCOL_FEATURES):
            return []
        return [Step(Request.SET_VRING_ENABLE, messages.state(ring.index, value))
                for ring in rings]

    def run(self, steps):
        """Send steps one by one; each must succeed."""
        for step in steps:
            if messages.answers_itself(step.request, self.protocol_features):
                self.connection.ask(*step)
            else:
                self.connection.must(*step)

    def start_ring(self, ring, base=None):
        self.run(self.ring_steps(ring, base))

    def enable(self, rings=None, value=1):
        self.run(self.enable_steps(self.rings if rings is None else rings, value))

    def stop_ring(self, ring):
        """Stop a ring and return its base."""
        reply = self.connection.ask(Request.GET_VRING_BASE, messages.state(ring.index, 0))
        index, base = reply.state
        assert index == ring.index, f"the base of ring {index} came, not of {ring.index}"
        return base

    def stop(self):
        """As QEMU stops a device: disable, then fetch the bases."""
        self.enable(value=0)
        self.bases = {ring.index: self.stop_ring(ring) for ring in self.rings}
        return self.bases

    def restart(self):
        """Start again from where stop() left off."""
        for ring in self.rings:
            self.start_ring(ring, self.bases.get(ring.index))
        self.enable()

    def prepare(self):
        """All of start() but starting rings."""
        self.negotiate()
        self.set_features()
        self.share_memory()
        self.make_rings()
        if self.has(Feature.ACCESS_PLATFORM):
            self.iommu = Iommu(self)
            self.extras.append(self.iommu)
            for ring in self.rings:
                ring.to_device = self.iommu.address
        return self

    # Migration.

    def set_log(self, log):
        """Share a dirty log (or another one)."""
        reply = self.connection.ask(Request.SET_LOG_BASE, log.message, [log.fd])
        # Some back-ends answer with nothing at all.
        assert not reply.payload or reply.u64 == 0, f"SET_LOG_BASE was refused ({reply.u64:#x})"
        if log not in self.extras:
            self.extras.append(log)
        self.log = log

    def log_all(self, on, ring_flags=None):
        """Switch logging on or off while rings run, as QEMU does."""
        mask = bit(Feature.LOG_ALL)
        self.features = self.features | mask if on else self.features & ~mask
        self.set_features()
        for ring in self.rings:
            self.run([self.address_step(ring, ring_flags)])

    def start_logging(self, log=None, **options):
        """A log for all of guest memory, and all that makes the back-end write to it."""
        log = log or DirtyLog(max(region.end for region in self.memory.regions))
        self.set_log(log)
        self.log_all(True, **options)
        return log

    def start(self):
        self.prepare()
        for ring in self.rings:
            self.start_ring(ring)
        self.enable()
        # One call is due when a ring starts; what a test counts begins after it.
        return self

    def echo(self, count=16, size=64, first=1, pairs=None):
        for pair in self.pairs if pairs is None else pairs:
            pair.echo(count, size, first)
