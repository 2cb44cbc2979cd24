# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""Memory, log and calls change while numbered frames run at full rate: nothing is lost, changed or
out of order.

Where vhu-poller is the back-end, it keeps book of its own calls: no burst may be refused. How long
frames waited is written to the build folder (churn/*.json and churn/report-*.txt), with and without
the changes side by side. It decides nothing: on cores that others use as well it says more about
them than about us. With --full each change is made 10 000 times.
"""

import json
import subprocess

import pytest

from rig import place, traffic
from rig.process import Process

CHURN = place.BUILD / "test" / "loop" / "vhu-churn"
POLLER = place.BUILD / "test" / "loop" / "vhu-poller"
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


class Poller(traffic.BackEnd):
    """vhu-poller with one of two drivers. It polls on one core; all its other threads and the
    driver of the rings share the other one."""

    def __init__(self, path, driver):
        self.book = path.with_suffix(".book")
        plugin = ["-d", place.NET_VHU] if driver == "net_vhu" else []
        client = ",client=0" if driver == "net_vhu" else ""
        super().__init__([path], False, Process("vhu-poller", [
            POLLER, "--lcores", f"0@{traffic.FRONT_CORE},1@{traffic.BACK_CORE}", "--no-pci",
            "--no-telemetry", "--no-huge", "--no-shconf", "-m", 256, *plugin,
            "--vdev", f"{driver}0,iface={path}{client}", "--", self.book]))
        self.process.wait_for("^ready$")


def start(back_end, path):
    """One of ours, so that it loses nothing of its own accord."""
    return back_end([path], options=NO_FLUSH if back_end is traffic.Driver else [])


def end(back):
    """End it properly. vhu-testpmd has counted: a burst that the library refuses would show."""
    if not isinstance(back, traffic.VhuTestpmd):
        back.stop()
        return
    port, = back.summary()["ports"]
    assert sum(port["rx"]["drops"].values()) == sum(port["tx"]["drops"].values()) == 0
    assert port["tx"]["unsent"] == port["drops"] == 0


@pytest.fixture
def cycles(request):
    """How often each thing is changed."""
    return 10000 if request.config.getoption("--full") else 150


def churn(path, works, ring, cycles, name, book=None):
    """Run vhu-churn; give one result per work and keep them in the build folder."""
    if not CHURN.exists():
        pytest.fail(f"{CHURN} is missing; build it with ninja")
    command = [CHURN, "--path", path, "--json", "--cycles", cycles, *RINGS[ring]]
    if book is not None:
        command += ["--book", book]
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
    assert result["cycles"] == cycles
    assert result["received"] > 1000
    assert result["lost"] == result["corrupt"] == result["reordered"] == 0
    assert result["ring_faults"] == 0
    if result["work"] == "call":
        assert result["calls"] > 0, "nobody called, so nothing was shown"
        assert result["missed_calls"] == 0, "a new descriptor was never signalled"
        assert result["late_calls"] == 0, "an old descriptor was signalled after the new one"
    if result["work"] == "log":
        assert result["logged_pages"] > 0, "no page was marked while the log was on"


@pytest.mark.parametrize("work", WORKS)
def test_stream_survives(back_end, path, work, cycles):
    """Each kind of change, on a split ring."""
    with start(back_end, path) as back:
        result, = churn(path, [work], "split", cycles, f"{back_end.__name__}-{work}")
        end(back)
    if "skipped" in result:
        pytest.skip(result["skipped"])
    assert_untouched(result, cycles)


@pytest.mark.parametrize("kind", ["regions", "others"])
@pytest.mark.parametrize("ring", [name for name in RINGS if name != "split"])
def test_stream_survives_on_other_rings(back_end, path, ring, kind, cycles, request):
    """The same under the other ring formats."""
    works = ["table", "call", "log"]
    if kind == "regions":
        full = request.config.getoption("--full")
        works = [work for work in WORKS if work.startswith("regions")] if full else ["regions-64"]
    with start(back_end, path) as back:
        results = churn(path, works, ring, cycles, f"{back_end.__name__}-{ring}-{kind}")
        end(back)
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
    text = f"{name:10} {result['work']:12} {result['cycles']:6} {result['lost']:5}"
    longest = result["longest_of_slices_us"]
    for key in ("quiet", "churn"):
        poller = result[key]["poller"]
        gap = poller["own_gap_us"]
        text += (f" | {result[key]['received'] / result[key]['seconds'] / 1e6:6.2f}"
                 f" {poller['refused']:8} {gap['p999']:7.1f} {gap['p9999']:7.1f}"
                 f" {poller['exceeded_us']['10/s']:7.1f} {longest[key]:7.1f} {gap['max']:8.1f}")
    difference = f"{longest['difference']:.1f} ({longest['low']:.1f}..{longest['high']:.1f})"
    return f"{text} | {difference:>19} {result['fault']}"


HEAD = ["Microseconds from where frames waited, or the burst before, to the end of the burst, "
        "without the time that others had the core: vhu-poller's own book.",
        "Left without changes, right with; both have as much time, in slices that take turns.",
        "Slice: median of the longest ones of slices of 50 ms; difference: the median, and "
        "between what it is in 95 of 100 cases, of slices that follow one another.",
        f"{'back-end':10} {'work':12} {'cycles':>6} {'lost':>5}" +
        f" | {'Mpps':>6} {'refused':>8} {'p99.9':>7} {'p99.99':>7} {'10/s':>7} {'slice':>7}"
        f" {'max':>8}" * 2 + f" | {'difference':>19}"]


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_no_burst_is_refused(path, ring, cycles, request):
    """Whatever changes, frames that wait are received. With --full beside DPDK's own back-end, as
    far as it takes the changes: that is reported only."""
    if not place.NET_VHU.exists():
        pytest.skip("net_vhu was not built: DPDK's driver headers are missing (tools/setup build)")
    lines, results = list(HEAD), {}
    both = request.config.getoption("--full")
    for driver in ("net_vhu", "net_vhost") if both else ("net_vhu",):
        with Poller(path, driver) as back:
            results[driver] = churn(path, WORKS, ring, cycles, f"poller-{driver}-{ring}", back.book)
        lines += [line(driver, result) for result in results[driver]]
        path.unlink(missing_ok=True)
    report = "\n".join(lines) + "\n"
    (place.BUILD / "churn" / f"report-{ring}.txt").write_text(report, encoding="utf-8")
    print(report)
    for result in results["net_vhu"]:
        assert_untouched(result, cycles)
        for key in ("quiet", "churn"):
            assert result[key]["poller"]["refused"] == result[key]["poller"]["unsent"] == 0
