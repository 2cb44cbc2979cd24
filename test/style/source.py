# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""What the rules look at: the files of the repository, and C text without comments and strings."""

import os
import re
import subprocess
from typing import NamedTuple

SKIPPED_FOLDERS = ("build", ".git", "__pycache__", ".pytest_cache")


class Finding(NamedTuple):
    """One breach of one rule. Line 0: the whole file."""

    path: str
    line: int
    text: str

    def __str__(self):
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.text}"


def _tracked(root):
    command = ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "--cached",
               "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in done.stdout.split("\0") if name]


def _walked(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(SKIPPED_FOLDERS)]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def read_files(root):
    """Path to text of all files: what git knows or could know, or, without git, what there is."""
    names = _tracked(root)
    if names is None:
        names = _walked(root)
    files = {}
    for name in sorted(names):
        full = os.path.join(root, name)
        if not os.path.isfile(full) or os.path.islink(full):
            continue
        with open(full, "rb") as stream:
            data = stream.read()
        if b"\0" in data:
            continue
        files[name] = data.decode("utf-8", "surrogateescape")
    return files


def is_c(path):
    """A C source or header?"""
    return path.endswith((".c", ".h"))


def _blank(match):
    """Keep the newlines, so that line numbers stay."""
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + " " * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


def strip_comments(text):
    """C text with comments, strings and characters blanked, of the same length."""
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", _blank, text,
                  flags=re.S)


def line_of(text, position):
    """Line number of a position, from 1."""
    return text.count("\n", 0, position) + 1


def calls(text, names):
    """(position, name, arguments) of each call of one of these functions in stripped C text."""
    for match in re.finditer(rf"\b({names})\s*\(", text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield match.start(), match.group(1), text[match.end():end - 1]
