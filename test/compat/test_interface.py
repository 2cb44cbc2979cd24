# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Every name of interface.txt is in libvhost-user.h, with the type or value written there."""

import re

import pytest

from conftest import ROOT
from test_headers import compile_text

FACTS = ROOT / "test" / "compat" / "interface.txt"
LANGUAGES = [("c", "gnu99"), ("c", "c11"), ("c", "gnu17"), ("c++", "c++11"), ("c++", "gnu++17")]


def facts():
    """The lines as lists of words."""
    lines = FACTS.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    return [line.split("|") for line in lines if line and not line.startswith("#")]


def same(language, given, wanted):
    """A line that compiles if these are the same type."""
    if language == "c":
        return f'_Static_assert(__builtin_types_compatible_p({given}, {wanted}), "type");'
    return f'static_assert(std::is_same<{given}, {wanted}>::value, "type");'


def check(language, kind, *words):
    """A line that compiles if the fact is true."""
    typeof = {"c": "__typeof__", "c++": "decltype"}[language]
    if kind == "macro":
        return f"#ifndef {words[0]}\n#error {words[0]}\n#endif"
    if kind == "value":
        word = {"c": "_Static_assert", "c++": "static_assert"}[language]
        return f'{word}((long)({words[0]}) == {words[1]}, "value");'
    if kind == "field":
        return same(language, f"{typeof}((({words[0]} *)0)->{words[1]})", words[2])
    name, result, parameters = words
    given = name if kind == "callback" else f"{typeof}(&{name})"
    return same(language, given, f"{result} (*)({parameters})")


def program(language, lines):
    """The text of a program with nothing but these facts."""
    first = "#include <type_traits>\n" if language == "c++" else ""
    body = "\n".join(check(language, *line) for line in lines)
    return f"{first}#include <libvhost-user.h>\n{body}\n"


@pytest.mark.parametrize("language,standard", LANGUAGES)
def test_every_name_is_there_with_its_type(language, standard):
    text = program(language, facts())
    assert compile_text(text, "gcc", language, standard) == ""


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("wrong", [
    ["field", "VuDev", "sock", "uint64_t"], ["value", "VHOST_USER_GET_FEATURES", "2"],
    ["function", "vu_dispatch", "bool", "VuDev *, int"], ["macro", "VU_NO_SUCH_NAME"],
    ["callback", "vu_panic_cb", "void", "VuDev *"], ["field", "VuRing", "nothing", "int"]])
def test_wrong_facts_do_not_compile(language, wrong):
    standard = {"c": "gnu99", "c++": "c++11"}[language]
    assert compile_text(program(language, [wrong]), "gcc", language, standard) != ""


@pytest.mark.parametrize("name,prefix", [("libvhost-user.h", "vu_"),
                                         ("libvhost-user-glib.h", "vug_")])
def test_every_parameter_and_result_is_described(name, prefix):
    text = (ROOT / "lib" / "compat" / name).read_text(encoding="utf-8")
    prototype = rf"(\w[\w *]*?)\b({prefix}\w+)\(([^;{{}}()]*)\);"
    found = re.findall(r"/\*\*((?:(?!\*/).)*)\*/\n" + prototype, text, re.S)
    for comment, result, function, parameters in found:
        described = re.findall(r"@param ((?:\w+, )*\w+)", comment)
        described = [word for words in described for word in words.split(", ")]
        named = re.findall(r"(\w+)(?:\[\w+\])?(?:,|$)", parameters)
        assert sorted(described) == sorted(named), function
        assert ("@return" in comment) == (result.strip() != "void"), function
    # None is without a comment right before it.
    names = re.findall(f"^{prototype}", text, re.M | re.S)
    assert sorted(match[2] for match in found) == sorted(match[1] for match in names)
