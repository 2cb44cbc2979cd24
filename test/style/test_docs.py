# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What README and guide say is true: their program compiles, their options and paths exist."""

import glob
import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("VHU_BUILD", os.path.join(ROOT, "build")))
TESTPMD = os.path.join(BUILD, "app", "testpmd", "vhu-testpmd")
PAGES = [os.path.join(ROOT, "README.md"),
         *sorted(glob.glob(os.path.join(ROOT, "doc", "guides", "*.rst")))]
LONG = r"(?<![\w-])--[a-z][a-z-]*"


def read(*path):
    """Text of a file of the repository."""
    with open(os.path.join(ROOT, *path), encoding="utf-8") as stream:
        return stream.read()


def commands(text):
    """Lines of console blocks, continuation lines joined, without what a '#' explains."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        yield from _lines(block)
    for block in re.findall(r"^ *\.\. code-block:: console\n((?:\n| +.*\n)+)", text, re.M):
        yield from _lines(block)


def _lines(block):
    for line in block.replace("\\\n", " ").split("\n"):
        line = re.sub(r"\s+", " ", re.sub(r"(^|\s)# .*", "", line)).strip()
        if line:
            yield line


def all_commands():
    """(page, command) of README and guide."""
    for page in PAGES:
        for command in commands(read(page)):
            yield os.path.relpath(page, ROOT), command


def help_of(*program):
    """Text of --help, which must work."""
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, cwd=ROOT,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "xample" in done.stdout, f"{program[0]} --help shows no example"
    return done.stdout


def missing_options(text, known):
    """Long options in a command that a help text does not have."""
    return sorted(set(re.findall(LONG, text)) - set(re.findall(LONG, known)))


@pytest.fixture(scope="module")
def testpmd_help():
    if not os.path.exists(TESTPMD):
        pytest.fail(f"{TESTPMD} is missing; build it with ninja")
    return help_of(TESTPMD)


def commands_of_testpmd():
    """What stands behind '--' in commands that run vhu-testpmd."""
    found = []
    for page, command in all_commands():
        match = re.search(r"(?:^|[|/ ])vhu-testpmd\b[^|]*? -- ([^|>]*)", command)
        if match:
            found.append((page, match.group(1)))
    return found


def test_commands_are_found_in_both_kinds_of_pages():
    text = "x\n```console\na \\\n  --b  # c\n```\n.. code-block:: console\n\n   d --e\n\nf\n"
    assert list(commands(text)) == ["a --b", "d --e"]
    assert len(commands_of_testpmd()) >= 5


def test_option_that_does_not_exist_is_found():
    assert missing_options("--burst 3 --no-such", "  --burst N\n") == ["--no-such"]


def test_options_of_vhu_testpmd_exist(testpmd_help):
    for page, options in commands_of_testpmd():
        assert missing_options(options, testpmd_help) == [], f"{page}: {options}"


def test_port_keys_of_vhu_testpmd_exist(testpmd_help):
    known = set(re.findall(r"^ +([a-z-]+)=[A-Za-z]", testpmd_help, re.M)) | {"client", "csum"}
    for page, options in commands_of_testpmd():
        for port in re.findall(r"--port (\S+)", options):
            used = {word.split("=")[0] for word in port.split(",")}
            assert used <= known, f"{page}: {port}"


def test_forwarding_modes_exist(testpmd_help):
    known = re.search(r"--fwd MODE +([a-z ]+) \(", testpmd_help).group(1).split()
    for page, options in commands_of_testpmd():
        for mode in re.findall(r"--fwd (\S+)", options):
            assert mode in known, f"{page}: {mode}"


def test_manual_of_vhu_testpmd_has_every_option(testpmd_help):
    manual = read("doc", "guides", "testpmd.rst")
    assert missing_options(testpmd_help.replace("--lcores", ""), manual + "--help") == []


def scripts():
    """Programs of the repository that the pages run."""
    found = set()
    for _, command in all_commands():
        found |= set(re.findall(r"(?<![\w/.-])((?:tools|doc|test)/[\w./-]+)", command))
    return sorted(found)


@pytest.mark.parametrize("script", scripts())
def test_script_of_the_pages_runs_and_has_the_options(script):
    text = help_of(os.path.join(ROOT, script))
    for page, command in all_commands():
        for used in re.findall(rf"(?<![\w/.-]){script}\b([^|;&]*)", command):
            assert missing_options(used, text) == [], f"{page}: {command}"


def test_arguments_of_the_driver_are_those_of_its_manual():
    source = read("drivers", "net", "vhu", "vhu_args.c")
    table = source[source.index("argument_table[]"):]
    keys = set(re.findall(r"^\t(?:\{ |OFFER\()\"([a-z-]+)\"", table[:table.index("};")], re.M))
    manual = read("doc", "guides", "pmd.rst")
    section = manual[manual.index("\nArguments\n"):manual.index("\nOffloads\n")]
    rows = re.findall(r"^   \* - (``.*)", section, re.M)
    assert len(keys) > 10
    assert {key for row in rows for key in re.findall(r"``([a-z-]+)``", row)} == keys


def test_options_of_meson_are_those_of_the_guide():
    options = set(re.findall(r"^option\('(\w+)'", read("meson_options.txt"), re.M))
    guide = read("doc", "guides", "getting_started.rst")
    assert set(re.findall(r"^   \* - ``(\w+)``", guide, re.M)) == options
    for page in PAGES:
        for used in re.findall(r"-D([a-z_]+)=", read(page)):
            assert used in options | {"enable_driver_sdk"}, f"{page}: {used}"


def paths_in(text):
    """Files and folders of the repository that a page names in code style."""
    for name in re.findall(r"`{1,2}((?:lib|app|drivers|test|tools|doc)/[^`\s]*)`{1,2}", text):
        yield re.sub(r"<\w+>", "*", name)
    yield from re.findall(r"\]\((doc/[^)]+)\)", text)


@pytest.mark.parametrize("page", PAGES, ids=os.path.basename)
def test_paths_exist(page):
    for name in paths_in(read(page)):
        assert glob.glob(os.path.join(ROOT, name)), f"{os.path.basename(page)} names {name}"


def test_path_that_does_not_exist_is_found():
    assert list(paths_in("see ``lib/none/x.c`` and [a](doc/none)")) == ["lib/none/x.c", "doc/none"]


def compiler_says(source):
    """What the compiler has to say about a program that uses the public headers; "" is praise."""
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], text=True, check=True,
                           capture_output=True).stdout.split()
    done = subprocess.run(["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags,
                           f"-I{ROOT}/lib/include", source], text=True, check=False,
                          capture_output=True, timeout=60)
    return done.stderr if done.returncode != 0 else ""


def test_program_of_the_readme_is_short_and_compiles(tmp_path):
    """Only the compiler's opinion here: tools/rig/install-test links it and runs it."""
    source = tmp_path / "echo.c"
    subprocess.run([sys.executable, os.path.join(HERE, "readme_sample.py"), source], check=True)
    lines = [line for line in source.read_text().split("\n") if line.strip()]
    assert len(lines) <= 32
    assert compiler_says(source) == ""


API_PAGE = """#include <stdio.h>
#include <rte_mbuf.h>
#include <vhu_control.h>
#include <vhu_net.h>
void page(struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t received, uint16_t sent);
void page(struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t received, uint16_t sent)
{
%s
}
"""


def test_code_of_the_page_about_the_library_compiles(tmp_path):
    page = read("doc", "guides", "api.rst")
    blocks = re.findall(r"^ *\.\. code-block:: c\n((?:\n| +.*\n)+)", page, re.M)
    assert len(blocks) >= 3
    source = tmp_path / "page.c"
    source.write_text(API_PAGE % "\n".join(blocks))
    assert compiler_says(source) == ""
    source.write_text(API_PAGE % "\n".join([*blocks, "vhu_no_such_function(port);"]))
    assert "vhu_no_such_function" in compiler_says(source)
