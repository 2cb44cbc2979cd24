#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Check what can be told by reading: licence, layout, includes, forbidden calls, interface."""

import argparse
import os
import sys

import code_rules
import source
import text_rules
import tree_rules

HERE = os.path.dirname(os.path.abspath(__file__))


def check(files, root=None):
    """All findings of all rules, and why rules were skipped."""
    findings, skipped = [], []
    for path, text in files.items():
        for rule in text_rules.RULES + code_rules.RULES:
            findings += rule(path, text)
    before = os.getcwd()
    os.chdir(root or before)  # where clang-format finds its settings
    try:
        for rule in tree_rules.RULES:
            try:
                findings += rule(files)
            except tree_rules.Skipped as why:
                skipped.append(f"{rule.__name__}: {why}")
    finally:
        os.chdir(before)
    return findings, skipped


def list_rules():
    """One line per rule: its name and its first sentence."""
    for rule in text_rules.RULES + code_rules.RULES + tree_rules.RULES:
        print(f"{rule.__name__:18} {rule.__doc__.splitlines()[0]}")


def main():
    """Exit status 0: nothing found, 1: findings, 2: wrong usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: test/style/check.py lib/ring app")
    parser.add_argument("paths", nargs="*", metavar="PATH",
                        help="tell findings of these files and folders only (all)")
    parser.add_argument("--rules", action="store_true", help="list the rules and end")
    options = parser.parse_args()
    if options.rules:
        list_rules()
        return 0
    root = os.path.dirname(os.path.dirname(HERE))
    wanted = [os.path.relpath(path, root) for path in options.paths]
    for path, name in zip(wanted, options.paths):
        if not os.path.exists(os.path.join(root, path)):
            parser.error(f"no such file or folder: {name}")
    files = source.read_files(root)
    findings, skipped = check(files, root)
    if wanted and "." not in wanted:
        findings = [f for f in findings
                    if any(f.path == path or f.path.startswith(path + "/") for path in wanted)]
    for line in skipped:
        print(f"skipped {line}")
    for finding in findings:
        print(finding)
    print(f"style: {len(files)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
