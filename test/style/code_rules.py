# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Rules about C: who may include whom, what may not be called, and how definitions look.

The floors are those of the guide (doc/guides/contributing.rst): an include never runs up.
"""

import re

from source import Finding, calls, is_c, line_of, strip_comments

FLOORS = {"include": 1, "wire": 1, "mem": 1, "sock": 2, "snap": 2, "obs": 2, "ring": 3,
          "dev": 4, "net": 4, "ctrl": 5, "compat": 5}
# obs is a leaf: it needs public headers only, and everybody may log and name things.
LEAF = "obs"
STRANGERS = ({"dev", "net"},)
NEVER_INCLUDED = ("ctrl", "compat")
WITHOUT_DPDK = ("wire", "mem", "sock", "snap", "obs", "ring", "dev", "include")

# On what a peer sends, nobody may end the process, write to its terminals or overrun a buffer.
FORBIDDEN = (
    "assert|abort|exit|_exit|_Exit|quick_exit|raise|rte_panic|rte_exit|RTE_VERIFY|RTE_ASSERT|"
    "RTE_BUG_ON|__builtin_trap|printf|vprintf|puts|putchar|fprintf|vfprintf|fputs|perror|"
    "system|popen|fork|alloca|gets|sprintf|vsprintf|strcat|strtok|atoi|atol|sleep")
ALLOWED = {
    ("lib/obs/log.c", "fprintf"): "where lines go until a program installs a sink",
}
# What may not happen inside a burst: allocate, log, lock, wait.
LCORE_FILES = re.compile(
    r"lib/(ring/|net/(body|receive|transmit|copy|cursor|select|slow|offload)[^/]*$)")
LCORE_FORBIDDEN = (
    r"malloc|calloc|realloc|free|strdup|rte_malloc\w*|rte_zmalloc\w*|rte_free|vhu_log|rte_log|"
    r"RTE_LOG|pthread_\w+|rte_spinlock_\w+|rte_rwlock_\w+|mmap|munmap|poll|usleep|nanosleep|open|"
    r"close|rte_pause")
# Descriptors must not leak into children, and a peer that is gone must not kill us.
FLAGGED = {
    "open": "O_CLOEXEC", "openat": "O_CLOEXEC", "socket": "SOCK_CLOEXEC",
    "accept4": "SOCK_CLOEXEC", "eventfd": "EFD_CLOEXEC", "epoll_create1": "EPOLL_CLOEXEC",
    "memfd_create": "MFD_CLOEXEC", "timerfd_create": "TFD_CLOEXEC", "pipe2": "O_CLOEXEC",
    "recvmsg": "MSG_CMSG_CLOEXEC", "sendmsg": "MSG_NOSIGNAL", "send": "MSG_NOSIGNAL",
    "sendto": "MSG_NOSIGNAL"}
UNFLAGGABLE = "accept|dup|dup2|pipe|epoll_create|creat"


def _folder(path):
    match = re.match(r"lib/(\w+)/", path)
    return match.group(1) if match else None


def _included(text):
    for match in re.finditer(r"^[ \t]*#[ \t]*include[ \t]+([<\"])([^>\"\n]+)[>\"]", text, re.M):
        yield line_of(text, match.start()), match.group(1) == "<", match.group(2)


def _judge(own, other):
    """Why a folder of lib/ may not include another one, or None."""
    if own == other or other == "include":
        return None
    if other not in FLOORS:
        return f"'{other}' is no folder of lib/"
    if other in NEVER_INCLUDED:
        return f"nobody includes {other}/"
    if own == LEAF:
        return f"{LEAF}/ is a leaf: it includes public headers only"
    if other == LEAF:
        return None
    if {own, other} in STRANGERS:
        return f"{own}/ and {other}/ do not know each other, they meet in snap/"
    if FLOORS[other] > FLOORS[own]:
        return f"{own}/ (floor {FLOORS[own]}) may not include {other}/ (floor {FLOORS[other]})"
    return None


def includes_of_lib(path, text):
    """An include never runs up, and the engine knows no DPDK."""
    own = _folder(path)
    if not is_c(path) or own is None:
        return
    if own not in FLOORS:
        yield Finding(path, 0, f"lib/{own}/ has no floor: give it one in test/style/code_rules.py")
        return
    for line, angled, name in _included(text):
        if angled:
            if name.startswith("rte_") and own in WITHOUT_DPDK:
                yield Finding(path, line, f"<{name}>: {own}/ must work without DPDK")
            continue
        other = name.split("/")[0] if "/" in name else None
        why = _judge(own, other) if other else "name its folder, as in \"wire/spec.h\""
        if why:
            yield Finding(path, line, f"\"{name}\": {why}")


def includes_of_users(path, text):
    """Drivers and programs use what everybody can use: the public headers."""
    if not is_c(path) or not path.startswith(("drivers/", "app/")):
        return
    for line, angled, name in _included(text):
        if angled and name.split("/")[0] in FLOORS:
            yield Finding(path, line, f"<{name}>: only public headers (<vhu*.h>) may be used here")
        if not angled and "/" in name:
            yield Finding(path, line, f"\"{name}\": only public headers and the folder's own")


def forbidden_calls(path, text):
    """The library never ends or talks over the program that it is a part of."""
    if not is_c(path) or not path.startswith("lib/"):
        return
    bare = strip_comments(text)
    for position, name, _ in calls(bare, FORBIDDEN):
        if (path, name) not in ALLOWED:
            yield Finding(path, line_of(bare, position), f"{name}() is not allowed in lib/")
    if LCORE_FILES.match(path):
        for position, name, _ in calls(bare, LCORE_FORBIDDEN):
            yield Finding(path, line_of(bare, position),
                          f"{name}() is not allowed in what lcores run")


def descriptors(path, text):
    """Every descriptor is closed on exec, every send survives a peer that is gone."""
    if not is_c(path) or not path.startswith(("lib/", "drivers/")):
        return
    bare = strip_comments(text)
    for position, name, arguments in calls(bare, "|".join(FLAGGED)):
        before = bare[:position].rstrip()
        if before.endswith((".", "->", "*", "(*")):
            continue  # a member or a declaration, not the system call
        if "," in arguments or name in ("epoll_create1", "send"):
            if FLAGGED[name] not in arguments:
                yield Finding(path, line_of(bare, position), f"{name}() without {FLAGGED[name]}")
    for position, name, _ in calls(bare, UNFLAGGABLE):
        if not bare[:position].rstrip().endswith((".", "->", "*", "(*")):
            yield Finding(path, line_of(bare, position),
                          f"{name}() cannot set close-on-exec: use the variant that can")


ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)")


# From column 0 to the end of the parameters, then '{'.
DEFINITION = re.compile(r"^([A-Za-z_][^\n;={}#]*(?:\n[^;={}#]*?)?\([^;={}#]*\))\s*\{", re.M)


def _name_line(head):
    """The line on which the name stands in the head of a definition, up to its parameters."""
    depth, at = 0, len(head)
    while at > 0:
        at -= 1
        depth += {")": 1, "(": -1}.get(head[at], 0)
        if depth == 0 and head[at] == "(":
            break
    return head[:at].rstrip().rsplit("\n", 1)[-1]


def layout(path, text):
    """Shape of definitions and statements, as far as it can be told line by line."""
    if not is_c(path):
        return
    bare = ATTRIBUTE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), strip_comments(text))
    for number, line in enumerate(bare.split("\n"), 1):
        if re.search(r"\b(if|for|while|switch)\(", line):
            yield Finding(path, number, "want a space between the keyword and '('")
        if re.match(r"\s*(\} else )?(if|for|while|switch)\b.*(?<!_t)\)\{$", line) and \
                not re.search(r"\(struct \w+\)\{$", line):
            yield Finding(path, number, "want a space between ')' and '{'")
        if re.match(r"\s+else\b", line) and re.search(r"\}\s*$", _line_before(bare, number)):
            yield Finding(path, number, "want '} else' on one line")
    for match in DEFINITION.finditer(bare):
        number = line_of(bare, match.start())
        if bare[match.end() - 2] != "\n":
            yield Finding(path, number, "want the '{' of a function on a line of its own")
        if not re.fullmatch(r"\w+", _name_line(match.group(1))):
            yield Finding(path, number, "want the return type on a line of its own")


def _line_before(text, number):
    return text.split("\n")[number - 2] if number > 1 else ""


RULES = (includes_of_lib, includes_of_users, forbidden_calls, descriptors, layout)
