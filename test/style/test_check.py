# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Each rule of the style check: what is right passes, and each kind of breach is found."""

import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import code_rules  # noqa: E402
import source  # noqa: E402
import text_rules  # noqa: E402
import tree_rules  # noqa: E402

HEAD = "/* SPDX-License-Identifier: BSD-3-Clause\n * Copyright (c) 2026 The vhu founders\n */\n\n"
HASH_HEAD = "# SPDX-License-Identifier: BSD-3-Clause\n# Copyright (c) 2026 The vhu founders\n"
GOOD_C = HEAD + """#include <errno.h>

#include "wire/spec.h"

/* printf() and assert() in a comment, and "exit()" in a string, are nobody's call. */
static inline __attribute__((always_inline)) const char *
name_of(unsigned int number)
{
	if (number == 0) {
		return "abort() printf(";
	} else {
		return "b";
	}
}
"""
WORK = "/" + "work/main"


def found(rule, path, text):
    """What a rule says about one file, as lines of text."""
    return [str(finding) for finding in rule(path, text)]


@pytest.mark.parametrize("rule", text_rules.RULES + code_rules.RULES, ids=lambda r: r.__name__)
def test_good_source_passes_each_rule(rule):
    assert found(rule, "lib/ring/good.c", GOOD_C) == []


BAD = [
    (text_rules.length, "app/a.c", HEAD + "int a;\n" * 800),
    (text_rules.licence, "app/a.c", "int a;\n"),
    (text_rules.licence, "app/a.c", HEAD.replace("BSD-3-Clause", "MIT")),
    (text_rules.licence, "app/a.c", HEAD.replace("The vhu founders", "Somebody")),
    (text_rules.licence, "a.py", "#!/usr/bin/python3\nprint()\n"),
    (text_rules.white_space, "app/a.c", "int a; \n"),
    (text_rules.white_space, "app/a.c", "    int a;\n"),
    (text_rules.white_space, "app/a.c", "int a;"),
    (text_rules.white_space, "app/a.c", "int a;\n\n"),
    (text_rules.white_space, "a.py", "if True:\n\tpass\n"),
    (text_rules.width, "a.py", "a" * 101 + "\n"),
    (text_rules.width, "app/a.c", "\t" * 12 + "abcde" + "\n"),
    (text_rules.words, "app/a.c", "/* TO" "DO: later */\n"),
    (text_rules.words, "app/a.c", "/* FIX" "ME */\n"),
    (text_rules.words, "a.rst", f"see {WORK}\n"),
    (text_rules.words, "a.rst", "from https://py" "pi.org/simple\n"),
    (text_rules.python, "a.py", "def f(:\n"),
    (text_rules.python, "tools/a", "#!/usr/bin/python3\nreturn = 1\n"),
    (text_rules.shell, "a.sh", "if true; then\n"),
    (text_rules.shell, "tools/a", "#!/bin/bash\necho $(\n"),
    (code_rules.includes_of_lib, "lib/ring/a.c", '#include "net/net.h"\n'),
    (code_rules.includes_of_lib, "lib/wire/a.h", '#  include "sock/loop.h"\n'),
    (code_rules.includes_of_lib, "lib/net/a.c", '#include "dev/device.h"\n'),
    (code_rules.includes_of_lib, "lib/dev/a.c", '#include "net/net.h"\n'),
    (code_rules.includes_of_lib, "lib/compat/a.c", '#include "ctrl/port.h"\n'),
    (code_rules.includes_of_lib, "lib/obs/a.c", '#include "mem/map.h"\n'),
    (code_rules.includes_of_lib, "lib/dev/a.c", "#include <rte_mbuf.h>\n"),
    (code_rules.includes_of_lib, "lib/sock/a.c", '#include "loop.h"\n'),
    (code_rules.includes_of_lib, "lib/sock/a.c", '#include "elsewhere/loop.h"\n'),
    (code_rules.includes_of_lib, "lib/elsewhere/a.c", "\n"),
    (code_rules.includes_of_users, "app/x/a.c", '#include "ring/ring.h"\n'),
    (code_rules.includes_of_users, "drivers/net/vhu/a.c", "#include <ring/ring.h>\n"),
    (code_rules.forbidden_calls, "lib/dev/a.c", "\tassert(size > 0);\n"),
    (code_rules.forbidden_calls, "lib/dev/a.c", "\tabort ();\n"),
    (code_rules.forbidden_calls, "lib/net/a.c", '\trte_panic("no");\n'),
    (code_rules.forbidden_calls, "lib/net/a.c", '\trte_exit(1, "no");\n'),
    (code_rules.forbidden_calls, "lib/ctrl/a.c", '\tprintf("here");\n'),
    (code_rules.forbidden_calls, "lib/ctrl/log.c", '\tfprintf(stderr, "here");\n'),
    (code_rules.forbidden_calls, "lib/net/receive.h", "\tfree(packet);\n"),
    (code_rules.forbidden_calls, "lib/ring/split.c", "\tpthread_mutex_lock(&lock);\n"),
    (code_rules.descriptors, "lib/mem/a.c", "\tfd = open(path, O_RDWR);\n"),
    (code_rules.descriptors, "lib/sock/a.c", "\tfd = accept(fd, NULL, NULL);\n"),
    (code_rules.descriptors, "lib/sock/a.c", "\tfd = socket(AF_UNIX,\n\t\tSOCK_STREAM, 0);\n"),
    (code_rules.descriptors, "lib/sock/a.c", "\tsendmsg(fd, &header, MSG_DONTWAIT);\n"),
    (code_rules.layout, "app/a.c", "\tif(a)\n"),
    (code_rules.layout, "app/a.c", "\tif (a){\n"),
    (code_rules.layout, "app/a.c", "\t}\n\telse {\n"),
    (code_rules.layout, "app/a.c", "static int f(void)\n{\n}\n"),
    (code_rules.layout, "app/a.c", "static int\nf(void) {\n}\n"),
    (code_rules.layout, "app/a.c", "int f(int a,\n\tint b)\n{\n}\n"),
]


@pytest.mark.parametrize("rule, path, text", BAD,
                         ids=[f"{rule.__name__}-{i}" for i, (rule, _, _) in enumerate(BAD)])
def test_breach_is_found(rule, path, text):
    findings = found(rule, path, text)
    assert len(findings) == 1
    assert findings[0].startswith(path)


def test_every_rule_has_a_breach():
    tried = {rule for rule, _, _ in BAD}
    assert tried == set(text_rules.RULES + code_rules.RULES)


ALLOWED = [
    (text_rules.length, "app/a.c", HEAD + "int a;\n" * 700),
    (text_rules.licence, "tools/a", "#!/bin/bash\n" + HASH_HEAD),
    (text_rules.licence, "a.rst", ".. " + HASH_HEAD.replace("# ", "")),
    (text_rules.width, "app/a.c", "\t" * 12 + "abcd" + "\n"),
    (text_rules.width, "app/a.c", '\t\t"' + "a" * 90 + '",\n'),
    (text_rules.words, "tools/a", "mktemp -d name.XXXX" "XX\n"),
    (code_rules.includes_of_lib, "lib/ctrl/a.c", '#include "net/net.h"\n#include <rte_ring.h>\n'),
    (code_rules.includes_of_lib, "lib/mem/a.c", '#include "obs/log.h"\n#include <vhu.h>\n'),
    (code_rules.includes_of_lib, "lib/dev/a.c", '#include "snap/publish.h"\n'),
    (code_rules.includes_of_users, "app/x/a.c", '#include <vhu.h>\n#include "args.h"\n'),
    (code_rules.forbidden_calls, "lib/dev/a.c", 'static_assert(sizeof(int) == 4, "");\n'),
    (code_rules.forbidden_calls, "lib/dev/a.c", "\tfree(job);\n"),
    (code_rules.forbidden_calls, "app/a.c", '\tprintf("here");\n'),
    (code_rules.forbidden_calls, "lib/obs/log.c", '\tfprintf(stderr, "%s", line);\n'),
    (code_rules.descriptors, "lib/sock/a.c", "\tops->send(owner, &reply);\n"),
    (code_rules.descriptors, "lib/sock/a.c", "\tfd = eventfd(0, EFD_CLOEXEC);\n"),
    (code_rules.layout, "app/a.c", "static int __attribute__((format(printf, 1, 2)))\nf(char *t)"
                                   "\n{\n}\n"),
    (code_rules.layout, "app/a.c", "struct a b = {\n\t.c = (struct d){ 0 },\n};\n"),
]


@pytest.mark.parametrize("rule, path, text", ALLOWED,
                         ids=[f"{rule.__name__}-{i}" for i, (rule, _, _) in enumerate(ALLOWED)])
def test_what_is_allowed_passes(rule, path, text):
    assert found(rule, path, text) == []


HEADER = """/** Does a. @return 0. */
int vhu_a(struct vhu_port *port,
	int b);
typedef void (*vhu_callback)(int c);
static inline int vhu_inline(void) { return 0; }
"""
EXPORTS = "VHU_0 {\n\tglobal:\n\t\tvhu_a;\n\tlocal: *;\n};\n"


def interface(header, exports):
    """Findings about an interface of one header."""
    return found(lambda path, text: tree_rules.interface({path: text, "lib/vhu.map": exports}),
                 "lib/include/vhu.h", header)


def test_interface_that_is_documented_and_exported_passes():
    assert interface(HEADER, EXPORTS) == []


def test_public_function_without_comment_is_found():
    assert len(interface(HEADER + "int vhu_b(void);\n", EXPORTS.replace("a;", "a; vhu_b;"))) == 1


def test_public_function_that_is_not_exported_is_found():
    assert len(interface(HEADER + "/** b */\nint vhu_b(void);\n", EXPORTS)) == 1


def test_export_that_no_header_declares_is_found():
    assert len(interface(HEADER, EXPORTS.replace("a;", "a; vhu_gone;"))) == 1


BLOCK = "Wire\nF: lib/wire/\nF: MAINTAINERS\nT: lib/wire/spec.h\n"


@pytest.mark.parametrize("text, extra, count", [
    (BLOCK, {}, 0),
    (BLOCK, {"lib/mem/map.c": ""}, 1),
    (BLOCK + "F: lib/none/\n", {}, 1),
    (BLOCK + "T: test/none\n", {}, 1),
    (BLOCK + "F: test/unit/\n", {"test/unit/test_a.c": ""}, 1),
    (BLOCK + "F: test/unit/\nT: test/unit/test_a.c\n", {"test/unit/test_a.c": ""}, 0),
], ids=["complete", "file-without-block", "block-without-file", "test-that-is-not-there",
        "test-that-guards-nothing", "test-that-guards"])
def test_maintainers(text, extra, count):
    files = {"MAINTAINERS": text, "lib/wire/spec.h": "", **extra}
    assert len(list(tree_rules.maintainers(files))) == count


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="clang-format is not installed")
def test_unformatted_file_is_found_and_a_formatted_one_is_not(tmp_path, monkeypatch):
    root = os.path.dirname(os.path.dirname(HERE))
    shutil.copy(os.path.join(root, ".clang-format"), tmp_path)
    monkeypatch.chdir(tmp_path)
    bad = HEAD + "".join(f"int f{i}( int a ){{ return a+{i} ; }}\n" for i in range(10))
    findings = tree_rules.formatting({".clang-format": "", "a.c": GOOD_C, "b.c": bad})
    assert [finding.path for finding in findings] == ["b.c"]


def test_missing_formatter_skips_with_a_reason():
    with pytest.raises(tree_rules.Skipped, match="no-such-formatter"):
        list(tree_rules.formatting({".clang-format": "", "a.c": ""}, "no-such-formatter"))


def copy_of_the_check(folder):
    """A small tree of its own with the check in it."""
    shutil.copytree(HERE, folder / "test" / "style",
                    ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    return [sys.executable, str(folder / "test" / "style" / "check.py")]


def test_exit_status_tells_whether_there_are_findings(tmp_path):
    command = copy_of_the_check(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (tmp_path / "bad.py").write_text("def f(:\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bad.py:1: does not compile" in done.stdout


def test_unknown_path_is_wrong_usage(tmp_path):
    command = copy_of_the_check(tmp_path) + ["no/such/folder"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such file or folder: no/such/folder" in done.stderr


def test_comments_and_strings_are_blanked_in_place():
    text = 'a /* b\n */ "c\\"d" \'e\'; // f\n'
    bare = source.strip_comments(text)
    assert len(bare) == len(text) and bare.count("\n") == 2
    assert not set("bcdef") & set(bare)
