# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Rules about the tree as a whole: the public interface, maintainers' blocks, the formatter."""

import re
import shutil
import subprocess

from source import Finding, is_c, line_of, strip_comments

MAP = "lib/vhu.map"
MAINTAINERS = "MAINTAINERS"
# Share of its lines that the formatter may want otherwise: what a file does consistently counts
# more, but a file that nobody formatted is told apart from one that somebody did.
OTHERWISE = 0.2
AT_LEAST = 6


class Skipped(Exception):
    """A rule that cannot be checked on this machine; says why."""


def _declared(text):
    """(line, name, inline, comment before it) of the functions that a header declares."""
    bare = strip_comments(text)
    bare = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  bare, flags=re.M)
    # What inline functions call is no declaration; the functions stay, with their comment.
    bare = re.sub(r"^\{.*?^\}", lambda m: ";" + re.sub(r"[^\n]", " ", m.group(0))[1:], bare,
                  flags=re.M | re.S)
    for match in re.finditer(r"\b(vhu_\w+)\s*\(([^;{}]*?)\)[^;{}()]*;", bare):
        begin = max(bare.rfind(mark, 0, match.start()) for mark in ";{}") + 1
        if "typedef" in bare[begin:match.start()]:
            continue
        inline = "static inline" in bare[begin:match.start()]
        yield line_of(bare, match.start()), match.group(1), inline, text[begin:match.start()]


def interface(files):
    """What public headers declare is documented and exported, and nothing else is exported."""
    public = [p for p in files if re.fullmatch(r"lib/include/vhu\w*\.h", p)]
    if not public or MAP not in files:
        return
    exported = set(re.findall(r"\b(vhu_\w+)\s*;", strip_comments(files[MAP])))
    declared = set()
    for path in public:
        for line, name, inline, before in _declared(files[path]):
            if not inline:
                declared.add(name)
            if "/**" not in before:
                yield Finding(path, line, f"{name}() has no comment (/** ... */)")
            if not inline and name not in exported:
                yield Finding(path, line, f"{name}() is not exported by {MAP}")
    for name in sorted(exported - declared):
        yield Finding(MAP, 0, f"{name} is exported, but no public header declares it")


def _blocks(text):
    """Lists of patterns, one per block of MAINTAINERS."""
    return [re.findall(r"^F: *(\S+)", block, re.M) for block in re.split(r"\n\s*\n", text)]


def _covers(pattern, path):
    return path.startswith(pattern) if pattern.endswith("/") else path == pattern


def maintainers(files):
    """Each file belongs to a block of MAINTAINERS, and each block to files."""
    if MAINTAINERS not in files:
        return
    patterns = [p for block in _blocks(files[MAINTAINERS]) for p in block]
    for pattern in patterns:
        if not any(_covers(pattern, path) for path in files):
            yield Finding(MAINTAINERS, 0, f"'F: {pattern}' fits no file")
    for path in files:
        if not any(_covers(pattern, path) for pattern in patterns):
            yield Finding(path, 0, f"no block of {MAINTAINERS} has this file")
    tests = re.findall(r"^T: *(\S+)", files[MAINTAINERS], re.M)
    for path in files:
        if re.match(r"test/unit/test_\w+\.c$", path) and path not in tests:
            yield Finding(path, 0, f"no block of {MAINTAINERS} says which folder this test guards")
    for test in tests:
        if not any(path == test or path.startswith(test.rstrip("/") + "/") for path in files):
            yield Finding(MAINTAINERS, 0, f"'T: {test}' is not there")


def _plain(line):
    """A line without what people align by hand: the space before a comment and a backslash."""
    return re.sub(r"\s+(/\*|\\$)", r" \1", line)


def formatting(files, tool="clang-format"):
    """C files look as if .clang-format had been asked."""
    if ".clang-format" not in files:
        return
    if shutil.which(tool) is None:
        raise Skipped(f"{tool} is not installed (tools/setup test)")
    for path, text in files.items():
        if not is_c(path):
            continue
        done = subprocess.run([tool, f"--assume-filename={path}", "--style=file"], input=text,
                              capture_output=True, text=True, check=True,
                              errors="surrogateescape")
        wanted = {_plain(line) for line in done.stdout.split("\n")}
        lines = [_plain(line) for line in text.split("\n") if line.strip()]
        other = sum(line not in wanted for line in lines)
        if other > max(AT_LEAST, OTHERWISE * len(lines)):
            yield Finding(path, 0, f"clang-format would change {other} of {len(lines)} lines: "
                                   "format it")


RULES = (interface, maintainers, formatting)
