# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What the demonstration, the check and the tests share: processes, memory, guests, traffic."""
