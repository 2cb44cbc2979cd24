# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""vhu-testpmd's command line and prompt: wrong values, help, JSON, the ways in which it ends."""

import json
import os
import pty
import select
import signal
import subprocess

import pytest

from rig import place, traffic
from rig.process import Process, wait_until

TIMEOUT = 60
SHOWS = ["info", "stats", "xstats", "histograms", "rings", "memory"]


@pytest.fixture(autouse=True)
def _built():
    if not place.VHU_TESTPMD.exists():
        pytest.fail(f"{place.VHU_TESTPMD} is missing; build it with ninja")


def run(*words, text=None):
    """Run it to its end."""
    return subprocess.run([str(word) for word in (place.VHU_TESTPMD, *words)], input=text,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)


def eal(lcores=2):
    """EAL options for so many lcores on one core."""
    options = traffic.eal(traffic.BACK_CORE, memory_mib=64)
    if lcores == 1:
        options[1] = f"0@{traffic.BACK_CORE}"
    return options


def prompt(path, *commands, options=(), lcores=2):
    """Run commands through a pipe on one port."""
    return run(*eal(lcores), "--", "-i", "--port", f"path={path}", *options,
               text="".join(command + "\n" for command in commands))


def start(path, *options, interactive=False):
    """Start it and wait until it listens."""
    process = Process("vhu-testpmd", [place.VHU_TESTPMD, *eal(), "--",
                                      *(["-i"] if interactive else []),
                                      "--port", f"path={path}", *options])
    wait_until(lambda: traffic.listens(path), 20, f"vhu-testpmd to listen on {path}")
    return process


def documents(text):
    """All JSON documents in the output, which may hold other lines, too."""
    decoder, found, position = json.JSONDecoder(), [], 0
    lines = text.splitlines(keepends=True)
    for line in lines:
        begin, position = position, position + len(line)
        if line[0] in "[{" and (not found or begin >= found[-1][1]):
            value, end = decoder.raw_decode(text, begin)
            found.append((value, end))
    return [value for value, _ in found]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--", "--help"], ["--no-huge", "--", "-h"]],
                         ids=" ".join)
def test_help_needs_no_eal_and_has_an_example(words):
    result = run(*words)
    assert result.returncode == 0
    assert result.stderr == ""
    assert "Example: vhu-testpmd" in result.stdout
    for option in ("--port", "--fwd", "--stats-period", "--json"):
        assert option in result.stdout


PORT = ["--port", "path=/nonexistent/0.sock"]


@pytest.mark.parametrize("words, wrong, allowed", [
    ([], "no port", "--port path="),
    (["--fwd", "warp", *PORT], "'warp'", "io mac macswap rxonly txonly flowgen csum icmpecho"),
    (["--burst", "0", *PORT], "'0'", "1 to 512"),
    (["--burst", "513", *PORT], "'513'", "1 to 512"),
    (["--burst", "many", *PORT], "'many'", "1 to 512"),
    (["--burst", "-1", *PORT], "'-1'", "1 to 512"),
    (["--burst", "8x", *PORT], "'8x'", "1 to 512"),
    (["--txpkts", "41", *PORT], "'41'", "42 to 2048"),
    (["--txpkts", "64,", *PORT], "''", "1 to 2048"),
    (["--txpkts", "64," * 16 + "64", *PORT], "txpkts", "16 lengths"),
    (["--txpkts", "3000", *PORT], "'3000'", "42 to 2048"),
    (["--mbufs", "5", *PORT], "'5'", "1024 to"),
    (["--mbuf-size", "100", *PORT], "'100'", "512 to 65535"),
    (["--nb-cores", "0", *PORT], "'0'", "1 to"),
    (["--stats-period", "-1", *PORT], "'-1'", "0.01 to"),
    (["--stats-period", "nan", *PORT], "'nan'", "0.01 to"),
    (["--duration", "soon", *PORT], "'soon'", "0.01 to"),
    (["--eth-peer", "0", *PORT], "'0'", "PORT,ADDRESS"),
    (["--eth-peer", "0,02:00", *PORT], "'0,02:00'", "PORT,ADDRESS"),
    (["--eth-peer", "64,02:00:00:00:00:01", *PORT], "'64'", "0 to 63"),
    (["--port", "queues=1"], "path=... is missing", "path="),
    (["--port", "path="], "path ''", "1 to 107 bytes"),
    (["--port", "path=/" + "x" * 107], "path '/xxx", "1 to 107 bytes"),
    (["--port", "path=/a,name=" + "n" * 32], "name 'nnn", "1 to 31 bytes"),
    (["--port", "path=/a,queues=0"], "'0'", "1 to 128"),
    (["--port", "path=/a,queues=129"], "'129'", "1 to 128"),
    (["--port", "path=/a,client=2"], "'2'", "0 to 1"),
    (["--port", "path=/a,mtu=67"], "'67'", "68 to 65535"),
    (["--port", "path=/a,mode=0888"], "'0888'", "octal"),
    (["--port", "path=/a,mode=7777"], "'7777'", "octal"),
    (["--port", "path=/a,csum=maybe"], "'maybe'", "offload or software"),
    (["--port", "path=/a,features-off=WARP"], "'WARP'", "CSUM:MRG_RXBUF"),
    (["--port", "path=/a,packed=no"], "'no'", "0 to 1"),
    (["--port", "path=/a,iommu=2"], "'2'", "0 to 1"),
    (["--port", "path=/a,histograms=on"], "'on'", "0 to 1"),
    (["--port", "path=/a,colour=red"], "'colour'", "control-queue, hash, announce"),
    (["--port", "path=/a,colour=red"], "'colour'", "path, name, queues"),
    (["--port", "path=/a", "--port", "path=/a"], "'/a'", "twice"),
    (["--json", "/proc/vhu/x.json", *PORT], "'/proc/vhu/x.json'", "cannot write"),
    (["--port"], "'--port'", "needs a value"),
    (["--warp", *PORT], "'--warp'", "--help"),
    (["-z", *PORT], "'-z'", "--help"),
    (["--auto-start=1", *PORT], "'--auto-start=1'", "takes no value"),
    ([*PORT, "more"], "'more'", "--help"),
], ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "")
def test_wrong_value_costs_one_line(words, wrong, allowed):
    result = run("--", *words)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("vhu-testpmd: ")
    assert wrong in result.stderr
    assert allowed in result.stderr


def test_socket_that_cannot_be_made_is_told(path):
    target = path.parent / "missing" / "0.sock"
    result = run(*eal(), "--", "--port", f"path={target}")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"vhu-testpmd: port {target}: ")


def test_socket_in_use_is_told(path):
    with start(path):
        result = run(*eal(), "--", "--port", f"path={path}")
        assert result.returncode == 1
        assert str(path) in result.stderr.splitlines()[-1]
        assert traffic.listens(path), "the first one lost its socket"


def test_too_few_lcores_are_told(path):
    result = run(*eal(), "--", "--port", f"path={path}", "--nb-cores", 2)
    assert result.returncode == 1
    assert "nb-cores 2: EAL has 1" in result.stderr.splitlines()[-1]


def test_prompt_needs_a_second_lcore_to_forward(path):
    result = prompt(path, "start", lcores=1)
    assert result.returncode == 1
    assert "error: the prompt keeps the main lcore: give EAL a second one" in result.stdout


def test_one_lcore_forwards_without_a_prompt(path):
    result = run(*eal(1), "--", "--port", f"path={path}", "--duration", "0.2", "--json", "-")
    assert result.returncode == 0
    assert json.loads(result.stdout)["settings"]["lcores"] == 1


def test_commands_run_in_order_and_the_end_of_input_ends_it(path):
    result = prompt(path, "set burst 64", "set txpkts 60,100", "set fwd macswap",
                    "# a remark", "", "show config json")
    assert result.returncode == 0
    config, = documents(result.stdout)
    assert (config["burst"], config["txpkts"], config["fwd"]) == (64, [60, 100], "macswap")
    assert not path.exists()


def test_last_command_needs_no_newline(path):
    result = run(*eal(), "--", "-i", "--port", f"path={path}", text="show config json")
    assert documents(result.stdout)[0]["fwd"] == "io"


def test_quit_ignores_what_follows(path):
    result = prompt(path, "quit", "show config json")
    assert result.returncode == 0
    assert documents(result.stdout) == []


@pytest.mark.parametrize("command, answer", [
    ("warp", "no such command: 'warp'"),
    ("set fwd warp", "want one of io mac"),
    ("set burst 0", "want a number from 1 to 512"),
    ("set txpkts 1", "want a number from 42"),
    ("set stats-period x", "want seconds"),
    ("set eth-peer 1", "want PORT,ADDRESS"),
    ("set port 7 csum offload", "no port '7'; there are 0"),
    ("set port 0 tso x", "want a number from 0 to 65535"),
    ("port attach queues=1", "path=... is missing"),
    ("port detach 9", "no port '9'; there are 0"),
    ("show port info 9", "no port '9'; there are 0"),
    ("stop", "forwarding does not run"),
    ("wait x", "want seconds"),
    ("x" * 600, "line too long"),
])
def test_wrong_command_is_told_and_the_next_one_runs(path, command, answer):
    result = prompt(path, command, "show config json")
    assert result.returncode == 1, "a script must see that a command failed"
    assert len([line for line in result.stdout.splitlines() if line.startswith("error: ")]) == 1
    assert answer in result.stdout
    assert documents(result.stdout)[-1]["burst"] == 32


def test_help_lists_every_command(path):
    result = prompt(path, "help")
    assert result.returncode == 0
    for word in ("help", "start", "start tx_first", "start tx_first N", "stop", "port attach",
                 "port detach", "set fwd", "set burst", "set txpkts", "set stats-period",
                 "show port", "show config", "clear stats", "wait", "quit"):
        assert f"  {word}" in result.stdout


@pytest.mark.parametrize("what", SHOWS)
def test_each_table_has_a_json_twin(path, what):
    result = prompt(path, f"port attach path={path}.b,queues=2,name=b", f"show port {what}",
                    f"show port {what} all", f"show port {what} 1", f"show port {what} json",
                    f"show port {what} all json", f"show port {what} 1 json")
    assert result.returncode == 0, result.stdout
    every, all_of_them, one = documents(result.stdout)
    assert [port["port"] for port in every] == [0, 1]
    assert [port["name"] for port in every] == [path.name, "b"]
    assert [sorted(port) for port in all_of_them] == [sorted(port) for port in every]
    assert one["port"] == 1


def test_events_and_settings_have_a_json_twin(path):
    result = prompt(path, "show events json", "show config json", "show events", "show config")
    assert result.returncode == 0
    events, config = documents(result.stdout)
    assert events == []
    assert config["running"] is False


def test_xstats_exist_before_a_guest_does(path):
    result = prompt(path, "show port xstats 0 json")
    names = documents(result.stdout)[0]["xstats"]
    for name in ("rx_q0_packets", "tx_q0_packets", "rx_q0_drop_bad_offload", "tx_q0_calls"):
        assert names[name] == 0


def test_histograms_are_off_until_they_are_switched_on(path):
    result = prompt(path, "show port info 0 json", "show port histograms 0 json",
                    "show port histograms", f"set port {path.name} histograms on",
                    "show port histograms 0 json", "show port histograms",
                    "set port 0 histograms off", "show port info 0 json")
    assert result.returncode == 0, result.stderr
    off, no_counts, on, off_again = documents(result.stdout)
    assert off["histograms"] is off_again["histograms"] is no_counts["on"] is False
    assert on["on"] is True
    assert [row["direction"] for row in on["histograms"]] == ["tx", "rx"]
    for row in on["histograms"]:
        counters = {name: value for name, value in row.items() if "packets" in name or
                    "bursts" in name}
        assert len(counters) == 20 and not any(counters.values())
    assert result.stdout.count("port 0 does not count: set port 0 histograms on") == 1
    assert result.stdout.count("1024-1518") == result.stdout.count("128-255  > 255") == 2


@pytest.mark.parametrize("command", ["set port 7 histograms on", "set port none histograms off"])
def test_histograms_of_no_port_are_refused(path, command):
    result = prompt(path, command)
    assert "no port '" in result.stdout + result.stderr


def test_json_on_standard_output_is_alone(path):
    result = run(*eal(), "--", "--port", f"path={path}", "--duration", "0.5",
                 "--stats-period", "0.1", "--json", "-")
    assert result.returncode == 0
    summary = json.loads(result.stdout)
    assert [port["port"] for port in summary["ports"]] == [0]
    assert summary["seconds"] >= 0.5
    assert len(summary["samples"]) >= 2
    assert "summary after" in result.stderr


def test_live_lines_come_with_the_period(path):
    result = run(*eal(), "--", "--port", f"path={path}", "--duration", "0.6",
                 "--stats-period", "0.2")
    lines = [line for line in result.stdout.splitlines() if "Mpps  tx" in line]
    assert 1 <= len(lines) <= 3
    for word in (" s  port 0  rx ", " Gbit/s  drops ", " cycles/packet"):
        assert word in lines[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("interactive", [False, True], ids=["plain", "prompt"])
def test_signal_ends_it_with_a_summary(path, number, interactive):
    with start(path, interactive=interactive) as process:
        process.child.send_signal(number)
        assert process.finish(20) == 0
        assert any("summary after" in line for line in process.lines)
        assert not path.exists(), "the socket is left behind"


def test_ports_come_and_go_while_forwarding_runs(path):
    other = path.with_name("other.sock")
    with start(path, "--auto-start", interactive=True) as process:
        position = 0
        for _ in range(5):
            process.write(f"port attach path={other},name=other\nshow config json\n")
            position, _ = process.wait_for("port 1 attached", start=position)
            position, _ = process.wait_for('"streams": 2', start=position)
            assert traffic.listens(other)
            process.write("port detach other\nshow config json\n")
            position, _ = process.wait_for("port 1 detached", start=position)
            position, _ = process.wait_for('"streams": 1', start=position)
            assert not other.exists()
        process.write("quit\n")
        assert process.finish(20) == 0


def test_number_of_a_detached_port_is_given_again(path):
    result = prompt(path, f"port attach path={path}.b", "port detach 0",
                    f"port attach path={path}.c", "show port info all json")
    assert result.returncode == 0
    ports, = documents(result.stdout)
    assert [(port["port"], port["path"]) for port in ports] == \
        [(0, f"{path}.c"), (1, f"{path}.b")]


def test_socket_mode_is_set(path):
    with Process("vhu-testpmd", [place.VHU_TESTPMD, *eal(), "--", "--port",
                                 f"path={path},mode=0600"]):
        wait_until(lambda: traffic.listens(path), 20, f"vhu-testpmd to listen on {path}")
        assert path.stat().st_mode & 0o777 == 0o600


def test_features_can_be_withheld(path):
    with Process("vhu-testpmd", [place.VHU_TESTPMD, *eal(), "--", "--port",
                                 f"path={path},features-off=MRG_RXBUF:csum"]):
        wait_until(lambda: traffic.listens(path), 20, f"vhu-testpmd to listen on {path}")
        offered = traffic.offered_features(path)
    assert offered & (1 << 15 | 1 << 0) == 0
    assert offered & (1 << 28), "more was withheld than was asked for"


def test_offers_can_be_withheld(path):
    """Each by its name; what was offered is shown."""
    result = run(*eal(), "--", "-i", "--port", f"path={path},event-idx=0,announce=0,iommu=1",
                 text="show port info 0 json\n")
    assert result.returncode == 0, result.stderr
    info = documents(result.stdout)[0]
    offers = set(info["offers"])
    assert "iommu" in offers
    assert {"event-idx", "announce", "control-queue", "postcopy"}.isdisjoint(offers)
    assert int(info["features_offered_mask"], 16) & (1 << 29 | 1 << 21) == 0
    assert (info["format"], info["in_order"], info["postcopy"]) == ("split", False, "none")


def test_terminal_completes_and_ends_with_control_d(path):
    leader, follower = pty.openpty()
    command = [str(word) for word in (place.VHU_TESTPMD, *eal(), "--", "-i", "--port",
                                      f"path={path}")]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower,
                          start_new_session=True) as child:
        os.close(follower)
        seen = ""

        def expect(text):
            nonlocal seen
            while text not in seen:
                ready, _, _ = select.select([leader], [], [], 20)
                assert ready, f"waited in vain for '{text}' after:\n{seen}"
                seen += os.read(leader, 4096).decode(errors="replace")
            seen = seen[seen.index(text) + len(text):]

        try:
            expect("vhu-testpmd> ")
            os.write(leader, b"set fwd macs\t\n")
            expect("set fwd macswap")
            os.write(leader, b"show con\t\n")
            expect("show config")
            expect("fwd: macswap")
            expect("vhu-testpmd> ")
            os.write(leader, b"\x04")
            expect("summary after")
            assert child.wait(20) == 0
        finally:
            child.kill()
            os.close(leader)
