#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Write the C program of the README to a file, so that it can be compiled as a user would."""

import argparse
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def sample(text):
    """The only ```c block of a page of Markdown."""
    blocks = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
    if len(blocks) != 1:
        sys.exit(f"readme_sample.py: README.md has {len(blocks)} C programs, want exactly 1")
    return blocks[0]


def main():
    """Exit status 0: written."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     epilog="example: test/style/readme_sample.py echo.c")
    parser.add_argument("file", help="where to write it")
    options = parser.parse_args()
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as stream:
        text = sample(stream.read())
    try:
        with open(options.file, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        sys.exit(f"readme_sample.py: cannot write {options.file}: {error.strerror}")


if __name__ == "__main__":
    main()
