# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Memory, log and calls change while numbered frames run at full rate: nothing is lost, changed or
out of order.

How long nothing came back is written to the build folder (churn/*.json and churn/report.txt), with
and without the changes side by side. It decides nothing here: on two cores that others use as well
it says more about the scheduler than about us. With --full each change is made 10 000 times.
"""

import json
import subprocess

import pytest

from rig import place, traffic
from rig.process import Process

CHURN = place.BUILD / "test" / "loop" / "vhu-churn"
WORKS = ["regions-8", "regions-64", "regions-509", "table", "call", "log"]
RINGS = {
    "split": [],
    "split-mergeable": ["--mergeable"],
    "split-in-order": ["--in-order"],
    "packed": ["--packed"],
    "packed-mergeable": ["--packed", "--mergeable"],
    "packed-in-order": ["--packed", "--in-order"],
}
SECONDS_AT_MOST = 3600  # with --full on a busy machine
# dpdk-testpmd throws away what waits in a queue when forwarding starts, unless told not to.
NO_FLUSH = ["--no-flush-rx"]


class NetVhost(traffic.BackEnd):
    """Debian's dpdk-testpmd with DPDK's own back-end, for comparison."""

    def __init__(self, paths):
        super().__init__(paths, False, Process("dpdk-testpmd", [
            place.program("dpdk-testpmd"), *traffic.eal(traffic.BACK_CORE),
            "--vdev", f"net_vhost0,iface={paths[0]}", "--", "--forward-mode=io", "--auto-start",
            "--no-mlockall", "--nb-cores=1", "--stats-period=3600", "--total-num-mbufs=16384",
            *NO_FLUSH]))


def start(back_end, path):
    """One of ours, so that it loses nothing of its own accord."""
    return back_end([path], options=NO_FLUSH if back_end is traffic.Driver else [])


@pytest.fixture
def cycles(request):
    """How often each thing is changed, and how long nothing is changed before that."""
    return (10000, 2000) if request.config.getoption("--full") else (150, 300)


def churn(path, works, ring, cycles, name):
    """Run vhu-churn; give one result per work and keep them in the build folder."""
    if not CHURN.exists():
        pytest.fail(f"{CHURN} is missing; build it with ninja")
    command = [CHURN, "--path", path, "--json", "--cycles", cycles[0], "--quiet-ms", cycles[1],
               *RINGS[ring]]
    for work in works:
        command += ["--work", work]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=SECONDS_AT_MOST, check=False)
    assert done.returncode in (0, 1), done.stderr
    results = json.loads(done.stdout)["works"]
    folder = place.BUILD / "churn"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def assert_untouched(result, cycles):
    """Everything came back as it went."""
    assert result["fault"] == ""
    assert result["cycles"] == cycles[0]
    assert result["received"] > 1000
    assert result["lost"] == result["corrupt"] == result["reordered"] == 0
    assert result["ring_faults"] == 0


def check(result, cycles):
    if "skipped" in result:
        pytest.skip(result["skipped"])
    assert_untouched(result, cycles)


@pytest.mark.parametrize("work", WORKS)
def test_stream_survives(back_end, path, work, cycles):
    """Each kind of change, on a split ring."""
    with start(back_end, path) as back:
        result, = churn(path, [work], "split", cycles, f"{back_end.__name__}-{work}")
        if back_end.__name__ == "VhuTestpmd":
            port, = back.summary()["ports"]
            # A burst that the library refuses would show here.
            assert sum(port["rx"]["drops"].values()) == sum(port["tx"]["drops"].values()) == 0
            assert port["tx"]["unsent"] == 0
        else:
            back.stop()
    check(result, cycles)
    if work == "call":
        assert result["calls"] > 0, "nobody called, so nothing was shown"
        assert result["missed_calls"] == 0, "a new descriptor was never signalled"
        assert result["late_calls"] == 0, "an old descriptor was signalled after the new one"
    if work == "log":
        assert result["logged_pages"] > 0, "no page was marked while the log was on"


@pytest.mark.parametrize("kind", ["regions", "log"])
@pytest.mark.parametrize("ring", [name for name in RINGS if name != "split"])
def test_stream_survives_on_other_rings(back_end, path, ring, kind, cycles, request):
    """Regions that come and go, and the log, under the other ring formats."""
    works = ["log"]
    if kind == "regions":
        full = request.config.getoption("--full")
        works = [work for work in WORKS if work.startswith("regions")] if full else ["regions-64"]
    with start(back_end, path) as back:
        results = churn(path, works, ring, cycles, f"{back_end.__name__}-{ring}-{kind}")
        back.stop()
    for result in results:
        if "skipped" not in result:
            assert_untouched(result, cycles)
    for result in results:
        if "skipped" in result:
            pytest.skip(result["skipped"])


def line(name, result):
    """One line of the report."""
    if "skipped" in result:
        return f"{name:10} {result['work']:12} {result['skipped']}"
    quiet, changed = result["quiet"], result["churn"]
    return (f"{name:10} {result['work']:12} {result['cycles'] / result['seconds']:9.0f}"
            f" {result['lost']:6} {quiet['net_us']['max']:10.1f} {changed['net_us']['max']:10.1f}"
            f" {quiet['net_us']['p9999']:8.1f} {changed['net_us']['p9999']:8.1f}"
            f" {quiet['raw_us']['max']:10.1f} {changed['raw_us']['max']:10.1f} {result['fault']}")


def test_report_beside_net_vhost(path, cycles):
    """The same changes through DPDK's own back-end, as far as it takes them: reported only."""
    if not place.program("dpdk-testpmd"):
        pytest.skip("dpdk-testpmd is not installed (tools/setup build)")
    lines = ["Longest time without a frame, microseconds; net: without pauses of the poller.",
             f"{'back-end':10} {'work':12} {'cycles/s':>9} {'lost':>6} {'net quiet':>10}"
             f" {'net churn':>10} {'p99.99':>8} {'p99.99':>8} {'raw quiet':>10} {'raw churn':>10}"]
    for name, back_end in (("vhu", traffic.VhuTestpmd), ("net_vhost", NetVhost)):
        with back_end([path]):
            for result in churn(path, WORKS, "split", cycles, f"report-{name}"):
                lines.append(line(name, result))
        path.unlink(missing_ok=True)
    report = "\n".join(lines) + "\n"
    (place.BUILD / "churn" / "report.txt").write_text(report, encoding="utf-8")
    print(report)
    assert sum(text.startswith("vhu ") for text in lines) == len(WORKS)
