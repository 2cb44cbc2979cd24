# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""libvhost-user.h compiles without a warning wherever programs may want it."""

import shutil
import subprocess

import pytest

from conftest import ROOT

SOURCE = ROOT / "test" / "compat" / "layout.c"
SHIM = ROOT / "test" / "compat" / "shim"
WARN = ["-Wall", "-Wextra", "-Werror"]
LANGUAGES = [("c", "gnu99"), ("c", "c99"), ("c", "c11"), ("c", "gnu11"), ("c", "c17"),
             ("c++", "c++11"), ("c++", "gnu++17"), ("c++", "c++20")]
ORDERS = {"alone": "", "after": "#include <linux/virtio_ring.h>\n",
          "after-private-copy": '#include "standard-headers/linux/virtio_ring.h"\n'}


def glib():
    """What the compiler needs for glib; None without."""
    done = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], capture_output=True, text=True,
                          check=False)
    return done.stdout.split() if done.returncode == 0 else None


def compile_text(text, compiler, language, standard, *options):
    """Compile it; give what the compiler said."""
    driver = {"gcc": "g++", "clang": "clang++"}[compiler] if language == "c++" else compiler
    if shutil.which(driver) is None:
        pytest.skip(f"{driver} is not installed")
    done = subprocess.run(
        [driver, f"-x{language}", f"-std={standard}", *WARN, f"-I{ROOT / 'lib' / 'compat'}",
         *options, "-fsyntax-only", "-"], input=text, capture_output=True, text=True, check=False)
    return done.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language,standard", LANGUAGES)
def test_layout_and_names_are_the_interfaces(compiler, language, standard):
    pedantic = ["-Wpedantic"] if language == "c" else []
    assert compile_text(SOURCE.read_text(encoding="utf-8"), compiler, language, standard,
                        *pedantic) == ""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language,standard", [("c", "gnu99"), ("c", "c11"), ("c++", "gnu++17")])
def test_glib_header_compiles(compiler, language, standard):
    flags = glib()
    if flags is None:
        pytest.skip("glib is not installed")
    # glib's headers are the system's here: their warnings are not ours.
    flags = [flag.replace("-I", "-isystem") for flag in flags]
    assert compile_text(SOURCE.read_text(encoding="utf-8"), compiler, language, standard,
                        "-DWITH_GLIB", *flags) == ""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("language,standard", [("c", "gnu99"), ("c", "c11"), ("c++", "c++11")])
def test_rings_may_be_included_before_and_after(order, language, standard):
    if language == "c++" and order != "alone":
        # The kernel's header does not compile as C++ by itself, unless told so.
        extra = ["-DVIRTIO_RING_NO_LEGACY"]
    else:
        extra = []
    text = ORDERS[order] + SOURCE.read_text(encoding="utf-8")
    text = text + "#include <linux/virtio_ring.h>\n#include <libvhost-user.h>\n"
    assert compile_text(text, "gcc", language, standard, f"-I{SHIM}", *extra) == ""


def test_both_spellings_of_the_path_work(folder):
    """QEMU's own tree names the header by its place in it."""
    place = folder / "subprojects"
    place.mkdir()
    (place / "libvhost-user").symlink_to(ROOT / "lib" / "compat")
    text = '#include "subprojects/libvhost-user/libvhost-user.h"\nVuDev device;\n'
    assert compile_text(text, "gcc", "c", "gnu99", f"-I{folder}") == ""
