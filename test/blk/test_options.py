# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
"""The command line of vhu-blk, how it starts and how it ends."""

import json
import re
import shlex
import signal
import socket
import subprocess

import pytest

from conftest import VHU_BLK, Disk
from driver import BlkSession, IN, OK, OUT


def run(*words, timeout=30):
    return subprocess.run([str(word) for word in (VHU_BLK, *words)], capture_output=True,
                          text=True, timeout=timeout, check=False)


@pytest.mark.parametrize("words,sentence", [
    ([], "no disk"),
    (["--socket", "s"], "no disk"),
    (["--malloc", "1G"], "behind its --socket"),
    (["--socket", "s", "--malloc", "1X"], "no size"),
    (["--socket", "s", "--malloc", "-1"], "no size"),
    (["--socket", "s", "--malloc", "99999999999999999999"], "no size"),
    (["--socket", "s", "--null", "1M", "--malloc", "1M"], "enough"),
    (["--socket", "s", "--null", "1M", "--queues", "65"], "1 to 64"),
    (["--socket", "s", "--null", "1M", "--block-size", "1000"], "512, 1024"),
    (["--socket", "s", "--null", "1M", "--serial", "x" * 21], "20 characters"),
    (["--socket", "s", "--null", "1M", "--threads", "0"], "1 to 128"),
    (["--socket", "s", "--null", "1M", "--cores", "a"], "no core"),
    (["--socket", "s", "--null", "1M", "--duration", "x"], "seconds"),
    (["--fd", "x", "--null", "1M"], "no descriptor"),
    (["--socket", "s" * 200, "--null", "1M"], "characters"),
    (["--socket", "s", "--null", "1M", "word"], "no option"),
])
def test_wrong_words_are_one_line(words, sentence):
    done = run(*words)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_unknown_option_says_so():
    done = run("--sokcet", "x")
    assert done.returncode == 2 and "--sokcet" in done.stderr


@pytest.mark.parametrize("words,sentence", [
    (["--file", "missing"], "cannot be opened"),
    (["--file", "."], "cannot be opened|neither a file"),
    (["--file", "/dev/null"], "neither a file"),
    (["--file", "small"], "no block"),
    (["--malloc", "1M", "--cores", "4095"], "core list"),
    (["--malloc", "1M", "--fd", "0", "--null", "1M"], "fd-0 cannot be listened on"),
])
def test_what_cannot_be_served_is_one_line(folder, words, sentence):
    (folder / "small").write_bytes(b"x")
    words = [folder / word if word in ("missing", "small", ".") else word for word in words]
    done = run("--socket", folder / "s", *words)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr) and done.stderr.count("\n") == 1, done.stderr
    assert not (folder / "s").exists()


def test_file_in_use_is_refused(folder):
    disk = folder / "disk"
    disk.write_bytes(bytes(4096))
    with Disk(folder / "s", "--file", disk):
        done = run("--socket", folder / "t", "--file", disk)
        assert done.returncode == 1 and "in use" in done.stderr
        assert not (folder / "t").exists()
    with Disk(folder / "s", "--file", disk, "--read-only"), \
            Disk(folder / "t", "--file", disk, "--read-only"):
        pass


def test_socket_in_use_is_refused_and_stays(folder):
    path = folder / "s"
    with Disk(path, "--null", "1M") as first:
        done = run("--socket", path, "--null", "1M")
        assert done.returncode == 1 and "in use" in done.stderr.lower()
        with BlkSession(path) as session:
            session.start()
        assert first.stop() == 0
    assert not path.exists()


def test_file_in_the_place_of_the_socket_stays(folder):
    path = folder / "s"
    path.write_text("precious")
    assert run("--socket", path, "--null", "1M").returncode == 1
    assert path.read_text() == "precious"


def test_socket_that_a_dead_process_left_is_replaced(folder):
    path = folder / "s"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with Disk(path, "--null", "1M"), BlkSession(path) as session:
        session.start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_in_order(folder, number):
    """With a front-end connected: exit status 0, a table, no socket left."""
    path = folder / "s"
    with Disk(path, "--malloc", "1M") as disk, BlkSession(path) as session:
        session.start()
        assert session.do(OUT, 0, bytes(512))[0] == OK
        disk.child.send_signal(number)
        assert disk.finish(20) == 0
        assert any(re.match(r"socket +reads +writes", line) for line in disk.lines)
        assert any(re.search(r" write +50 % below \d+\.\d us, 99 %", line)
                   for line in disk.lines)
    assert not path.exists()


def test_json_counts(folder):
    """What was done, per disk and queue, on the standard output alone."""
    path, other = folder / "s", folder / "t"
    command = [VHU_BLK, "--socket", path, "--malloc", "1M", "--queues", "2", "--socket", other,
               "--null", "2M", "--json", "-", "--stats-period", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as child:
        while other.name not in child.stderr.readline():
            pass
        with BlkSession(path, rings=2) as session:
            session.start()
            for ring in session.rings:
                assert session.do(OUT, 0, bytes(1024), ring=ring)[0] == OK
            assert session.do(IN, 0, room=512)[0] == OK
            assert session.do(IN, 1 << 40, room=512)[0] != OK
        while "reads/s" not in child.stderr.readline():
            pass
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
    first, second = json.loads(out)["devices"]
    assert first["total"]["writes"] == 2 and first["total"]["bytes_written"] == 2048
    assert [queue["writes"] for queue in first["queues"]] == [1, 1]
    assert first["total"]["reads"] == 1 and first["total"]["errors"] == 1
    # Latency: power-of-two buckets, by queue and kind of request.
    assert sum(bucket["count"] for bucket in first["total"]["latency"]["write"]) == 2
    for bucket in first["queues"][1]["latency"]["write"]:
        assert bucket["from_ns"] & (bucket["from_ns"] - 1) == 0 and bucket["count"] == 1
    assert "flush" not in first["total"]["latency"] and second["total"]["latency"] == {}
    assert first["connections"] == 1 and second["connections"] == 0
    assert second["engine"] == "null" and second["size"] == 2 << 20


def test_json_that_cannot_be_written_is_an_error(folder):
    done = run("--socket", folder / "s", "--null", "1M", "--duration", "0.1", "--json",
               folder / "no" / "file")
    assert done.returncode == 1 and "cannot be written" in done.stderr


def test_many_disks_and_queues(folder):
    """As many as a host has virtual machines, on two threads."""
    words = []
    for i in range(1, 40):
        words += ["--socket", folder / str(i), "--null", "1M", "--queues", "4"]
    with Disk(folder / "0", "--malloc", "1M", *words, "--threads", "2") as disk:
        disk.wait_for(r"^vhu-blk: \S+/39: ")
        sessions = [BlkSession(folder / str(i)) for i in range(0, 40, 3)]
        for session in sessions:
            session.start()
        for session in sessions:
            assert session.do(IN, 0, room=512) == (OK, bytes(512))
            session.close()
        assert disk.stop() == 0


def test_names_of_the_convention(folder):
    """What management programs expect of a back-end for blocks: names, and a socket by number."""
    done = run("--print-capabilities")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"type": "block", "features": ["blk-file", "read-only"]}
    disk, path = folder / "disk", folder / "s"
    disk.write_bytes(bytes(8192))
    with Disk(folder / "other", "--null", "1M", "--socket-path", path, "--blk-file", disk,
              "--read-only") as back:
        back.wait_for(r"^vhu-blk: \S+/s: file, 0 MiB, 1 queues, read-only")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with subprocess.Popen([VHU_BLK, "--fd", str(listener.fileno()), "--null", "1M"],
                              pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL) as child:
            with BlkSession(path) as session:
                session.start()
                assert session.do(IN, 0, room=512) == (OK, bytes(512))
            child.terminate()
            assert child.wait(20) == 0
        # It is whoever started us who listens: the next one may serve it.
        assert path.exists()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_help_and_its_example(folder):
    """The example is a command that works."""
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    example = shlex.split(re.search(r"^Example: (.*)$", done.stdout, re.M).group(1))
    words = [word.replace("/run/vhu", str(folder)) for word in example[1:]]
    assert run(*words, "--duration", "0.2").returncode == 0
