# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What a test needs from the back-end, without which it would be about nothing."""

import os

import pytest

from rig.traffic import GET_FEATURES, GET_PROTOCOL_FEATURES, offered_features

# What differs little from its neighbours, so that a run of all the rest stays below four minutes.
LONG = pytest.mark.skipif(os.environ.get("VHU_LONG") != "1", reason="runs with VHU_LONG=1")


def params(names, long):
    """Parameters of a test, those in the second list only when there is time."""
    return [pytest.param(name, marks=LONG if name in long else ()) for name in names]


def virtio_features(path, *bits):
    """QEMU takes away silently what the back-end does not offer."""
    _require(path, GET_FEATURES, "virtio", bits)


def protocol_features(path, *bits):
    """The same for features of the vhost-user protocol."""
    _require(path, GET_PROTOCOL_FEATURES, "protocol", bits)


def _require(path, request, kind, bits):
    offered = offered_features(path, request)
    missing = [bit for bit in bits if not offered >> bit & 1]
    if missing:
        pytest.skip(f"the back-end does not offer {kind} features {missing}")
