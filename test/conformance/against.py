#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Run the conformance tests against another back-end too, and tell where the two differ.

For our own eyes: what differs is written to the build folder and is nobody's failure. Only tests
that need a socket and a back-end that sends frames back are run. The other back-end may die or
hang: it is started again, each test has its time and so has the whole. What failed with two
parameters counts as failed with the others too.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools" / "rig"))

import hugepages  # noqa: E402  pylint: disable=wrong-import-position

MEMORY_MIB = 256
PAIRS = 4
#: Without pages of 2 MiB it runs on ordinary ones.
PEERS = {
    "net_vhost":
        "dpdk-testpmd {memory} --no-shconf --file-prefix=vhu-against --no-pci -m "
        f"{MEMORY_MIB} --lcores 0@{{lcore}},1@{{lcore}} "
        f"--vdev net_vhost0,iface={{{{socket}}}},queues={PAIRS} -- --auto-start "
        "--forward-mode=io --port-topology=loop --nb-cores=1 "
        f"--rxq={PAIRS} --txq={PAIRS} --total-num-mbufs=20000 --no-flush-rx",
}
#: What conftest.py says of tests that the budget did not reach.
OUT_OF_TIME = "out of time"
#: What it says of the other parameters of a test that failed.
GIVEN_UP = "failed before"
#: These start back-ends of ours, or need more than one device.
LEFT_OUT = "not (test_elements or test_channel or test_device_state or test_inflight " \
           "or test_iommu or test_postcopy or crowd or others)"


def outcomes(path):
    """What became of each test: {name: (outcome, first line of the reason)}."""
    found = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        outcome, reason = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome = {"error": "failed"}.get(child.tag, child.tag).replace("failure", "failed")
                reason = (child.get("message") or "").splitlines()[:1]
                reason = reason[0] if reason else ""
                if GIVEN_UP in reason:
                    outcome = "failed"
        if found.get(name, ("passed",))[0] != "failed":
            found[name] = (outcome, reason)
    return found


def run(name, folder, seconds, words):
    """Run the tests, for so long at most. Returns their outcomes."""
    results = folder / f"conformance-{name}.xml"
    results.unlink(missing_ok=True)
    with open(folder / f"conformance-{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [HERE / "run", f"--junitxml={results}", f"--budget={seconds}", "--give-up=2", "-k",
             LEFT_OUT, *words], stdout=log, stderr=log, start_new_session=True)
        try:
            process.wait(seconds + 60)
        except subprocess.TimeoutExpired:
            # Ours and whatever it has started: they are one session of their own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {}
    return outcomes(results) if results.exists() else {}


def compare(ours, theirs):
    """Tests whose outcome differs: [(name, ours, theirs, reason)]."""
    return [(name, ours[name][0], theirs[name][0], theirs[name][1] or ours[name][1])
            for name in sorted(ours) if name in theirs and ours[name][0] != theirs[name][0]
            and OUT_OF_TIME not in ours[name][1] + theirs[name][1]]


def count(results):
    kinds = [OUT_OF_TIME if reason == OUT_OF_TIME else outcome
             for outcome, reason in results.values()]
    return {kind: kinds.count(kind) for kind in ("passed", "failed", "skipped", OUT_OF_TIME)}


def write(folder, peer, ours, theirs):
    differences = compare(ours, theirs)
    lines = [f"vhu:  {count(ours)}", f"{peer}:  {count(theirs)}",
             f"{len(differences)} tests with different outcomes; without those given up:", ""]
    # Those that were given up are told by the ones that were tried.
    lines += [f"{name:90}  {mine:8} {other:8} {reason[:100]}"
              for name, mine, other, reason in differences if GIVEN_UP not in reason]
    text = "\n".join(lines) + "\n"
    (folder / f"conformance-{peer}.txt").write_text(text, encoding="utf-8")
    (folder / f"conformance-{peer}.json").write_text(json.dumps(
        {"vhu": ours, peer: theirs, "different": differences}, indent=1), encoding="utf-8")
    return text


def main():
    parser = argparse.ArgumentParser(
        description="Run the conformance tests against vhu and another back-end; tell the "
                    "differences.", epilog="example: run --against net_vhost --build build")
    parser.add_argument("--against", required=True, choices=PEERS)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build")
    parser.add_argument("--seconds", type=int, default=240, help="for each side (%(default)s)")
    arguments, words = parser.parse_known_args()
    folder = arguments.build.resolve()
    ours = run("vhu", folder, arguments.seconds, [f"--build={folder}", *words])
    with hugepages.reserved(MEMORY_MIB + 64) as reason:
        command = PEERS[arguments.against].format(
            memory="--in-memory" if reason is None else "--no-huge",
            lcore=max(os.sched_getaffinity(0)))
        theirs = run(arguments.against, folder, arguments.seconds,
                     ["--patience=1", "--test-seconds=5", f"--backend-command={command}", *words])
    print(write(folder, arguments.against, ours, theirs), end="")


if __name__ == "__main__":
    main()
