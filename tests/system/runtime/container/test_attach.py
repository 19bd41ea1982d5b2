"""Attached containers: frames both ways, a real terminal, hang-ups, buffers."""

from __future__ import annotations

import struct
import time

import pytest
from harness.attach import Client
from harness.spawner import SpawnerUnderTest, wait_for

from runtime import frames
from runtime.spec import Limits, Terminal


def test_streams_are_separate_and_the_status_comes_last(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "echo out; echo err >&2; cat; exit 9", attach=True
    )
    client = Client(spawner, instance_id)
    client.send(frames.STDIN, b"typed\n")
    client.send(frames.STDIN)
    assert client.exit() == {"status": 9}
    assert client.output() == b"out\ntyped\n"
    assert client.output(frames.STDERR) == b"err\n"
    assert sorted(spawner.messages(instance_id)) == ["err", "out", "typed"]
    spawner.client.delete(instance_id)


def test_output_waits_for_the_first_client_even_after_the_end(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sh", "-c", "seq 1000", attach=True)
    assert spawner.wait_exit(instance_id).status == 0
    client = Client(spawner, instance_id)
    assert client.exit() == {"status": 0}
    assert client.output() == b"".join(b"%d\n" % n for n in range(1, 1001))
    spawner.client.delete(instance_id)


def test_a_slow_client_gets_every_byte(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x", attach=True
    )
    client = Client(spawner, instance_id)
    time.sleep(0.5)
    assert client.exit() == {"status": 0}
    assert len(client.output()) == 8_000_000
    spawner.client.delete(instance_id)


def test_a_large_input_arrives_whole(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sh", "-c", "sleep 0.3; wc -c", attach=True)
    client = Client(spawner, instance_id)
    for _ in range(64):
        client.send(frames.STDIN, b"y" * 60_000)
    client.send(frames.STDIN)
    assert client.exit() == {"status": 0}
    assert client.output() == b"3840000\n"
    spawner.client.delete(instance_id)


def test_a_client_that_hangs_up_ends_the_input_only(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sh", "-c", "cat; echo ended", attach=True)
    client = Client(spawner, instance_id)
    client.send(frames.STDIN, b"x\n")
    client.until(b"x\n")
    client.sock.close()
    assert spawner.wait_exit(instance_id).status == 0
    assert spawner.messages(instance_id) == ["x", "ended"]
    spawner.client.delete(instance_id)


def test_a_second_client_is_turned_away(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/cat", attach=True)
    first = Client(spawner, instance_id)
    first.send(frames.STDIN, b"x\n")
    first.until(b"x\n")
    second = Client(spawner, instance_id)
    assert second.sock.recv(100) == b""
    first.send(frames.STDIN)
    assert first.exit() == {"status": 0}
    spawner.client.delete(instance_id)


def test_a_terminal_is_a_real_one(spawner: SpawnerUnderTest) -> None:
    script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo terminal; echo to-err >&2; read line; echo got $line"
    instance_id, _ = spawner.start_container("/bin/bash", "-c", script, terminal=Terminal(33, 101))
    client = Client(spawner, instance_id)
    client.until(b"to-err")
    client.send(frames.STDIN, b"hi\r")
    assert client.exit() == {"status": 0}
    words = client.output().decode().replace("\r", "").split("\n")
    assert words[:4] == ["/dev/pts/0", "33 101", "terminal", "to-err"]
    assert "got hi" in words
    assert spawner.messages(instance_id) == []
    spawner.client.delete(instance_id)


def test_a_new_size_reaches_the_program(spawner: SpawnerUnderTest) -> None:
    script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"
    instance_id, _ = spawner.start_container("/bin/bash", "-c", script, terminal=Terminal(24, 80))
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.send(frames.RESIZE, struct.pack(">HH", 50, 132))
    assert client.exit() == {"status": 3}
    assert b"50 132" in client.output()
    spawner.client.delete(instance_id)


def test_ctrl_c_interrupts_the_program_in_front(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/bash", "-c", "echo ready; exec sleep 60", terminal=Terminal()
    )
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.send(frames.STDIN, b"\x03")
    assert client.exit() == {"status": 130}
    spawner.client.delete(instance_id)


def test_an_interactive_shell_has_job_control(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/bash", "-i", terminal=Terminal())
    client = Client(spawner, instance_id)
    client.send(frames.STDIN, b"sleep 60 & jobs; kill %1; wait; exit 4\r")
    assert client.exit() == {"status": 4}
    text = client.output()
    assert b"no job control" not in text and b"[1]" in text
    spawner.client.delete(instance_id)


def test_a_hung_up_terminal_ends_the_program(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/bash", "-c", "echo ready; sleep 60", terminal=Terminal())
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.sock.close()
    assert spawner.wait_exit(instance_id).signal == 1
    spawner.client.delete(instance_id)


def test_a_signal_frame_reaches_the_program(spawner: SpawnerUnderTest) -> None:
    script = "trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done"
    instance_id, _ = spawner.start_container("/bin/sh", "-c", script, attach=True)
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.send(frames.SIGNAL, b"USR1")
    assert client.exit() == {"status": 6}
    spawner.client.delete(instance_id)


def test_nonsense_from_a_client_hangs_it_up_and_the_container_runs_on(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sleep", "60", attach=True)
    client = Client(spawner, instance_id)
    client.sock.sendall(b"\xff" * 100)
    assert client.sock.recv(100) == b""
    assert spawner.observed(instance_id).state == "running"
    spawner.client.delete(instance_id)


@pytest.mark.long
def test_without_any_client_the_container_does_not_wait_for_ever(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh",
        "-c",
        "head -c 4000000 /dev/zero | tr '\\0' '\\n'; echo end",
        attach=True,
        resources=Limits(wall_s=60),
    )
    ended = spawner.wait_exit(instance_id)
    assert (ended.status, ended.wall_exceeded) == (0, False)
    wait_for(lambda: not spawner_shim_alive(spawner, instance_id), "the shim to end")
    spawner.client.delete(instance_id)


def spawner_shim_alive(spawner: SpawnerUnderTest, instance_id: str) -> bool:
    pid = spawner.state(instance_id)["shim"]["pid"]
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False
