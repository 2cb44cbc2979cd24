# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Install what is missing, build, and run every test of vhu.

The last line of the output is "N passed, N failed, N skipped", counting single tests over all
suites. A missing optional component skips with its reason, a missing required one fails.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hugepages

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
SKIP = 77
# Generous: a suite that takes this long hangs.
SUITE_SECONDS = 1200
HUGEPAGES_MIB = 64

Counts = namedtuple("Counts", "passed failed skipped")
Failure = type("Failure", (Exception,), {})

# What runs now; suites beside one another share it, and nothing is started any more once stopping.
running = set()
stopping = False
# Of two suites that want the same folder the second waits until it is built.
built = {}
building = threading.Lock()


def run(words, log, seconds=SUITE_SECONDS, **environment):
    """Run a command, its output into the log; give its exit status."""
    if stopping:
        raise Failure("stopped")
    log.write(f"$ {' '.join(map(str, words))}\n")
    log.flush()
    child = subprocess.Popen([str(word) for word in words], cwd=ROOT, stdin=subprocess.DEVNULL,
                             stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                             env={**os.environ, **environment})
    running.add(child)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        log.write(f"\nstopped after {seconds} s\n")
        stop(child)
        return 1
    finally:
        running.discard(child)


def stop(child):
    """End it with everything that it started."""
    if child.poll() is not None:
        return
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(child.pid, number)
            child.wait(patience)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def build(name, log, *options, **others):
    """Configure (once) and build a folder, or some targets of it; give its path."""
    with building:
        if name not in built:
            built[name] = build_now(name, log, *options, **others)
        return built[name]


def build_now(name, log, *options, targets=(), **environment):
    """The same for a folder that was not built yet."""
    folder = ROOT / name
    if not (folder / "build.ninja").exists():
        if run(["meson", "setup", folder, ROOT, "-Dwerror=true", *options], log, **environment):
            raise Failure(f"meson setup {name} failed")
    elif run(["meson", "configure", folder, "-Dwerror=true", *options], log):
        raise Failure(f"meson configure {name} failed")
    if run(["ninja", "-C", folder, *targets], log):
        raise Failure(f"ninja -C {name} failed")
    return folder


def release(log):
    """gcc, release: the build that tools/demo uses as well."""
    return build("build", log)


def clang(log):
    """The other compiler, and bursts that read the clock."""
    return build("build-clang", log, "-Dstages=true", CC="clang")


def sanitized(log):
    """ASan and UBSan."""
    return build("build-asan", log, "-Db_sanitize=address,undefined", "-Db_lundef=false",
                 "-Dbuildtype=debugoptimized")


# Programs whose threads meet in data of ours.
THREADED = ["test_compat_threads", "test_compat_contract", "test_compat_memory",
            "test_compat_queue", "test_compat_device", "test_compat_framing",
            "test_compat_hostile", "test_compat_glib", "test_mem_dirty"]


def threads_sanitized(log):
    """TSan, of those programs; clang, because gcc warns of every fence."""
    return build("build-tsan", log, "-Db_sanitize=thread", "-Db_lundef=false",
                 "-Dbuildtype=debugoptimized", CC="clang",
                 targets=[f"test/unit/{name}" for name in THREADED])


def junit(path):
    """Count the tests in a JUnit file as pytest writes it."""
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError) as error:
        raise Failure(f"no results: {error}") from error
    passed = failed = skipped = 0
    reasons = []
    for case in cases:
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            reasons.append(f"failed: {case.get('classname')}.{case.get('name')}")
        elif skip is not None:
            skipped += 1
            reasons.append(f"skipped: {case.get('name')}: {skip.get('message')}")
        else:
            passed += 1
    return Counts(passed, failed, skipped), reasons


def pytest(log, folder, *options, **environment):
    """Run a folder of pytest files."""
    results = ROOT / "build" / "check" / f"{Path(log.name).stem}.xml"
    results.unlink(missing_ok=True)
    status = run([PYTHON, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--tb=short",
                  f"--junitxml={results}", folder, *options], log, **environment)
    counts, reasons = junit(results)
    if status not in (0, 1, 5) or (status != 0 and counts.failed == 0):
        raise Failure(f"pytest ended with status {status}")
    return counts, reasons


CMOCKA = {"passed": r"^\[ +OK \] ", "failed": r"^\[  FAILED  \] \S+$",
          "skipped": r"^\[  SKIPPED \] \S+$"}


def meson_tests(log, folder, *options):
    """Run meson's tests and count those inside each program; style() counts the style tests."""
    status = run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
                  "--no-suite", "style", *options], log)
    totals = dict.fromkeys(CMOCKA, 0)
    reasons = []
    with open(folder / "meson-logs" / "testlog.json", encoding="utf-8") as lines:
        for program in map(json.loads, lines):
            output = program.get("stdout", "")
            found = {kind: len(set(re.findall(pattern + ".*", output, re.M)))
                     for kind, pattern in CMOCKA.items()}
            result = {"OK": "passed", "SKIP": "skipped"}.get(program["result"], "failed")
            if found["passed"] + found["failed"] + found["skipped"] == 0:
                found[result] = 1
            elif result == "failed" and found["failed"] == 0:
                found["failed"] = 1  # it ended badly although each test was fine: a leak, say
            for kind, count in found.items():
                totals[kind] += count
            if result != "passed":
                reasons.append(f"{result}: {program['name']}")
            reasons += [f"skipped: {program['name']}: {why}"
                        for why in sorted(set(re.findall("^skipped: (.*)$", output, re.M)))]
    if status != 0 and totals["failed"] == 0:
        raise Failure(f"meson test ended with status {status}")
    return Counts(**totals), reasons


def one(log, words, what, **environment):
    """A command that is one test."""
    status = run(words, log, **environment)
    if status == 0:
        return Counts(1, 0, 0), []
    if status == SKIP:
        return Counts(0, 0, 1), [f"skipped: {what}: {last_line(log)}"]
    return Counts(0, 1, 0), [f"failed: {what}"]


def last_line(log):
    """What a program said last."""
    log.flush()
    lines = Path(log.name).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else ""


def add(*results):
    """Sum of several results."""
    return (Counts(*map(sum, zip(*(counts for counts, _ in results)))),
            [reason for _, reasons in results for reason in reasons])


def style(log):
    """Licence, layout, includes, calls; README and guide agree with the programs."""
    os.environ["VHU_BUILD"] = str(release(log))
    return add(one(log, [PYTHON, "test/style/check.py"], "style"), pytest(log, "test/style"))


def unit(log):
    """Every unit test, gcc, release."""
    return meson_tests(log, release(log), "--no-suite", "style")


def unit_clang(log):
    """Every unit test, clang, release."""
    return meson_tests(log, clang(log), "--no-suite", "style")


def unit_asan(log):
    """Every unit test under ASan and UBSan."""
    return meson_tests(log, sanitized(log), "--no-suite", "style", "--timeout-multiplier", "5")


def unit_tsan(log):
    """The unit tests with threads under TSan."""
    return meson_tests(log, threads_sanitized(log), "--no-suite", "style",
                       "--timeout-multiplier", "5", *THREADED)


def conformance_in(log, folder):
    results = ROOT / "build" / "check" / f"{Path(log.name).stem}.xml"
    results.unlink(missing_ok=True)
    # For the regions of large pages; where there are none, those tests skip and say so.
    with hugepages.reserved(HUGEPAGES_MIB):
        run(["test/conformance/run", "--build", folder, f"--junitxml={results}"], log)
    return junit(results)


def conformance(log):
    """A scripted front-end against the release build."""
    return conformance_in(log, release(log))


def conformance_asan(log):
    """The same against the build with ASan and UBSan."""
    return conformance_in(log, sanitized(log))


def loop(log):
    """Debian's net_virtio_user as the front-end, against vhu-testpmd and net_vhu."""
    return pytest(log, "test/loop", VHU_BUILD=str(release(log)))


def guest(log):
    """A Linux kernel under QEMU."""
    return pytest(log, "test/guest", VHU_BUILD=str(release(log)))


def compat(log):
    """libvhost-user's header, packaging, and programs of others on it, some with a guest."""
    return pytest(log, "test/compat", VHU_BUILD=str(release(log)))


def blk(log):
    """vhu-blk: requests, command line, guests, and killed while it works."""
    return pytest(log, "test/blk", VHU_BUILD=str(release(log)))


def perf(log):
    """vhu-perf: rows come out and every byte moved; no time is judged."""
    return pytest(log, "test/perf", VHU_BUILD=str(release(log)))


def instructions(log):
    """Instructions per frame, counted by callgrind, have not grown by more than 3 %."""
    return one(log, ["test/perf/instructions.py", release(log)], "instructions")


def fuzz(log):
    """libFuzzer for 30 seconds."""
    return one(log, ["test/fuzz/run", "--seconds", "30", "build-fuzz"], "fuzz")


def docs(log):
    """Guide and reference, where a warning is a failure."""
    return one(log, ["doc/build", release(log)], "docs")


def install(log):
    """Install into a folder, compile the README's program against that, and run it."""
    folder = release(log)
    return one(log, ["tools/rig/install-test", folder], "install")


SUITES = [style, unit, unit_clang, unit_asan, unit_tsan, conformance, conformance_asan, loop,
          guest, compat, blk, perf, instructions, fuzz, docs, install]
# Suites that keep about one core busy and need no steady time: the two lists are worked off beside
# each other, when the first of these suites would have its turn.
LANES = ([conformance, blk], [conformance_asan, compat, fuzz])
QUICK = [style, unit, conformance]


def name_of(suite):
    """As people write it."""
    return suite.__name__.replace("_", "-")


def show(suite, counts, reasons, seconds):
    """One line a suite, and a line for each test that did not pass."""
    print(f"{name_of(suite):18} {counts.passed:5} passed {counts.failed:4} failed "
          f"{counts.skipped:4} skipped  {seconds:5.0f} s", flush=True)
    for reason in reasons:
        print(f"    {reason}", flush=True)


def run_suite(suite):
    """Run one suite with a log of its own; a suite that cannot run is one failure."""
    path = ROOT / "build" / "check" / f"{name_of(suite)}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"{name_of(suite):18} ...", end="\r" if sys.stdout.isatty() else "\n", flush=True)
    with open(path, "w", encoding="utf-8") as log:
        try:
            counts, reasons = suite(log)
        except (Failure, OSError) as error:
            counts, reasons = Counts(0, 1, 0), [f"failed: {error}"]
    show(suite, counts, reasons, time.monotonic() - began)
    if counts.failed:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"    the end of {path.relative_to(ROOT)}:")
        for line in lines[-40:]:
            print(f"      {line}")
    return counts


def run_all(chosen):
    """Run the suites in their order, those of the lanes beside one another; sum up."""
    lanes = [[suite for suite in lane if suite in chosen] for lane in LANES]
    beside = [suite for lane in lanes for suite in lane]
    counts = []
    for suite in chosen:
        if suite not in beside:
            counts.append(run_suite(suite))
        elif suite is min(beside, key=chosen.index):
            # Each of two suites may want them, and gives back only what it has added.
            with hugepages.reserved(2 * HUGEPAGES_MIB), ThreadPoolExecutor(len(lanes)) as pool:
                done = pool.map(lambda lane: [run_suite(each) for each in lane], lanes)
                counts += [each for lane in done for each in lane]
    return Counts(*map(sum, zip(*counts)))


def stopped(number, _frame):
    """Ctrl-C and the like: nothing that was started stays behind."""
    global stopping
    stopping = True
    for child in list(running):
        stop(child)
    print(f"tools/check: stopped by signal {number}", file=sys.stderr)
    sys.exit(128 + number)


def main():
    """Exit status: 0 all passed or skipped, 1 something failed, 2 wrong usage."""
    names = [name_of(suite) for suite in SUITES]
    parser = argparse.ArgumentParser(
        prog="tools/check", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="suites: " + ", ".join(names) + "\nexample: sudo tools/check --suite unit")
    parser.add_argument("--suite", action="append", choices=names, metavar="NAME",
                        help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true",
                        help="only " + ", ".join(name_of(suite) for suite in QUICK))
    parser.add_argument("--no-setup", action="store_true", help="do not look for missing packages")
    parser.add_argument("--list", action="store_true", help="name the suites and say what they are")
    options = parser.parse_args()
    if options.list:
        for suite in SUITES:
            print(f"{name_of(suite):18} {suite.__doc__}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)
    chosen = QUICK if options.quick else SUITES
    if options.suite:
        chosen = [suite for suite in SUITES if name_of(suite) in options.suite]
    totals = run_all(chosen)
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
