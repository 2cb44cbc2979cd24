# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""libvhost-user as other projects get it: symbols, pkg-config, meson subproject."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from rig import place

LIBRARY = place.BUILD / "lib" / "compat"
PROGRAM = ROOT / "test" / "compat" / "subproject" / "program.c"
FLAGS = ["-std=gnu99", "-Wall", "-Wextra", "-Werror"]


def run(words, **environment):
    """Run a command that has to succeed; give its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          check=False, env={**os.environ, **environment})
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
    return done.stdout


def exported(name):
    """Functions and objects that a library exports."""
    lines = run(["nm", "-D", "--defined-only", LIBRARY / name]).splitlines()
    return {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}


def declared(name, prefix):
    """Functions that a header declares."""
    text = (ROOT / "lib" / "compat" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(rf"\b({prefix}\w+)\([^;{{}}()]*\);", text))


def test_library_exports_what_its_map_names_and_its_header_declares():
    text = (ROOT / "lib" / "compat" / "libvhost-user.map").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(vu_\w+);", text))
    assert exported("libvhost-user.so") == named == declared("libvhost-user.h", "vu_")


def test_symbols_have_a_version():
    lines = run(["nm", "-D", "--defined-only", LIBRARY / "libvhost-user.so"]).splitlines()
    names = [line.split()[2] for line in lines if line.split()[1] == "T"]
    assert names and all(name.endswith("@@LIBVHOST_USER_0") for name in names)


def test_glib_library_exports_what_its_header_declares():
    if not (LIBRARY / "libvhost-user-glib.so").exists():
        pytest.skip("built without glib")
    assert exported("libvhost-user-glib.so") == declared("libvhost-user-glib.h", "vug_")


def test_library_needs_nothing_of_dpdk():
    needed = re.findall(r"NEEDED.*\[(.*)\]", run(["readelf", "-d", LIBRARY / "libvhost-user.so"]))
    assert needed and all(name.startswith(("libc.", "ld-linux", "libgcc")) for name in needed)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An installation below a folder of its own, and how to ask pkg-config there."""
    folder = tmp_path_factory.mktemp("installed")
    run(["meson", "install", "-C", place.BUILD, "--no-rebuild", "--quiet"], DESTDIR=str(folder))
    described = next(folder.rglob("libvhost-user.pc")).parent
    for file in described.glob("*.pc"):
        # Where a package would put it; here everything lies below the folder.
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"^prefix=", f"prefix={folder}", text, flags=re.M),
                        encoding="utf-8")

    def ask(name):
        words = run(["pkg-config", "--cflags", "--libs", name],
                    PKG_CONFIG_PATH=str(described)).split()
        return [*words, f"-Wl,-rpath,{described.parent}"]
    return ask


def test_program_builds_with_what_pkg_config_says(installed, folder):
    run(["gcc", *FLAGS, PROGRAM, "-o", folder / "program", *installed("libvhost-user")])
    assert run([folder / "program"]) == "done with VHOST_USER_SET_OWNER\n"


def test_program_with_glib_builds_with_what_pkg_config_says(installed, folder):
    if not (LIBRARY / "libvhost-user-glib.so").exists():
        pytest.skip("built without glib")
    run(["gcc", *FLAGS, "-DWITH_GLIB", PROGRAM, "-o", folder / "program",
         *installed("libvhost-user-glib")])
    assert run([folder / "program"]) == "done with glib\n"


def test_program_builds_with_the_library_as_a_subproject(folder):
    shutil.copytree(ROOT / "test" / "compat" / "subproject", folder / "program")
    sub = folder / "program" / "subprojects" / "libvhost-user"
    sub.mkdir(parents=True)
    for entry in ROOT.iterdir():
        # Not its build folders: they belong to another project.
        if not entry.name.startswith((".", "build")):
            (sub / entry.name).symlink_to(entry)
    run(["meson", "setup", folder / "build", folder / "program"])
    run(["ninja", "-C", folder / "build", "program"])
    assert run([folder / "build" / "program"]) == "done with VHOST_USER_SET_OWNER\n"
