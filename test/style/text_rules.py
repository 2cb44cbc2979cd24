# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Rules about files as text: size, licence, white space, words, and whether scripts parse."""

import io
import re
import subprocess
import tokenize

from source import Finding, is_c

MOST_LINES = 800
COLUMNS = 100
MADE_BY_PROGRAMS = re.compile(r"doc/guides/perf_(results\.rst|\w+\.svg)")
TAB = 8
LICENCE = "SPDX-License-Identifier: BSD-3-Clause"
COPYRIGHT = "Copyright (c) 2026 The vhu founders"
# No comment can be put into these; LICENSE is the licence.
BARE = ("LICENSE",)
BARE_ENDINGS = (".json", ".bin")
# Assembled here so that this file does not name what it looks for.
MARKS = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X")) + r")\b")
MACHINE = re.compile(
    r"(?<![\w.<{$-])/" "work" r"\b|/" r"home/\w|"
    r"\b(pypi|crates|pythonhosted|registry\.npmjs|proxy\.golang|deb\.debian)\.(org|io)\b", re.I)


def _lines(text):
    return text.split("\n")


def length(path, text):
    """Files stay readable in one sitting; what a program makes need not be."""
    count = len(text.splitlines())
    if count > MOST_LINES and not MADE_BY_PROGRAMS.fullmatch(path):
        yield Finding(path, 0, f"{count} lines, at most {MOST_LINES}: split it by concern")


def licence(path, text):
    """The first lines say the licence and whose it is."""
    if path in BARE or path.endswith(BARE_ENDINGS):
        return
    if not text:
        return  # the mark of a Python package
    lines = _lines(text)
    if lines[0].startswith("#!"):
        lines = lines[1:]
    if is_c(path) and lines[0] != f"/* {LICENCE}":
        yield Finding(path, 1, f"want '/* {LICENCE}' as the first line")
    elif LICENCE not in "\n".join(lines[:2]):
        yield Finding(path, 1, f"want '{LICENCE}' in a comment in the first lines")
    elif not any(COPYRIGHT in line for line in lines[:3]):
        yield Finding(path, 1, f"want '{COPYRIGHT}' below the licence")


def _python_tabs(path, text):
    """Lines of Python that are indented with tabs; tabs in strings are data."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.INDENT and "\t" in token.string:
                yield Finding(path, token.start[0], "indented with a tab, want spaces")
    except (tokenize.TokenError, SyntaxError):
        return  # the rule about compiling tells it better


def white_space(path, text):
    """No white space at the ends of lines or of the file; C is indented with tabs."""
    for number, line in enumerate(_lines(text), 1):
        if line != line.rstrip():
            yield Finding(path, number, "white space at the end of the line")
        if is_c(path) and re.match(r" +[^ *]", line):
            yield Finding(path, number, "indented with spaces, want tabs")
        if path.endswith((".rst", "meson.build")) and "\t" in line:
            yield Finding(path, number, "a tab, want spaces")
    if path.endswith(".py"):
        yield from _python_tabs(path, text)
    if text and not text.endswith("\n"):
        yield Finding(path, 0, "no newline at the end of the file")
    if text.endswith("\n\n"):
        yield Finding(path, 0, "empty lines at the end of the file")


def width(path, text):
    """Lines fit side by side. Addresses, and messages (for searching) are not broken."""
    if path in BARE or path.endswith((".svg", ".json")):
        return
    for number, line in enumerate(_lines(text), 1):
        columns = len(line.expandtabs(TAB))
        if columns > COLUMNS and "://" not in line and not re.match(r"\s*f?\"[^\"]*\"\S*$", line):
            yield Finding(path, number, f"{columns} columns, at most {COLUMNS}")


def words(path, text):
    """Nothing is left for later, and nothing names the machine that it was written on."""
    for number, line in enumerate(_lines(text), 1):
        if MARKS.search(line):
            yield Finding(path, number, f"'{MARKS.search(line).group(0)}': do it or file an issue")
        if MACHINE.search(line):
            yield Finding(path, number,
                          f"'{MACHINE.search(line).group(0)}' names a machine or a registry")


def python(path, text):
    """Python files compile."""
    if not path.endswith(".py") and not re.match(r"#!.*python", text):
        return
    try:
        compile(text, path, "exec")
    except (SyntaxError, ValueError) as error:
        yield Finding(path, getattr(error, "lineno", 0) or 0, f"does not compile: {error}")


def shell(path, text):
    """Shell scripts parse."""
    if not path.endswith(".sh") and not re.match(r"#!.*\b(ba)?sh\b", text):
        return
    done = subprocess.run(["bash", "-n", "/dev/stdin"], input=text, capture_output=True, text=True,
                          check=False, errors="surrogateescape")
    if done.returncode != 0:
        match = re.search(r"line (\d+): (.*)", done.stderr)
        yield Finding(path, int(match.group(1)) if match else 0,
                      "bash -n: " + (match.group(2) if match else done.stderr.strip()))


RULES = (length, licence, white_space, width, words, python, shell)
