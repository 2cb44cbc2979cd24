# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Settings of the guide. Only what Sphinx brings itself: it must build without a network."""

import os

project = "vhu"
copyright = "2026 The vhu founders"
author = "The vhu founders"
version = release = os.environ.get("VHU_VERSION", "")
extensions = []
exclude_patterns = ["*.inc"]
html_theme = "alabaster"
html_theme_options = {
    "description": "vhost-user back-end library for DPDK",
    "page_width": "1100px",
    "fixed_sidebar": True,
}
html_copy_source = False
html_show_sphinx = False
highlight_language = "none"
nitpicky = True
