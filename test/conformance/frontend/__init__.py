# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""A scripted vhost-user front-end."""
