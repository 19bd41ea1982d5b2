"""What a container's processes do after they were asked to end is theirs, however the program was started."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from harness.attach import Client
from harness.spawner import SpawnerUnderTest, wait_for

from runtime import frames
from runtime.spec import Terminal

SERVER = """#!/bin/bash
trap 'sleep 0.5; echo finished; exit 0' TERM INT HUP
echo ready
while :; do sleep 0.05; done
"""
STARTERS = {
    "in-front": "#!/bin/bash\n/app/server\necho not reached\n",
    "env": "#!/usr/bin/env bash\ncd /\n/app/server\n",
    "dash": "#!/bin/dash\n/app/server; true\n",
    "behind": "#!/bin/sh\n/app/server &\nwait\n",
    "no-first-line": "/app/server\ntrue\n",
    "passes-on": "#!/bin/bash\n/app/server &\ntrap 'kill -TERM $!' TERM\nwait\n",
    "daemon": "#!/bin/sh\nsetsid /app/server &\nexec sleep 600\n",
    "other": '#!/usr/bin/python3\nimport subprocess\nsubprocess.run(["/app/starter-in-front"])\n',
    "leaves": (
        "#!/usr/bin/python3\nimport os, signal, subprocess\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(3))\n"
        'subprocess.run(["/app/server"])\n'
    ),
    "inline": "bash -c 'cd /; /app/server; echo after'",
    "subshell": "bash -c '(/app/server); true'",
}

STUBBORN = """python3 -c '
import signal, time
for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
' & wait"""


@pytest.fixture(scope="module")
def layers(spawner: SpawnerUnderTest) -> tuple[str, ...]:
    def build(folder: Path) -> None:
        (folder / "app").mkdir()
        programs = {f"starter-{name}": text for name, text in STARTERS.items()}
        for name, text in {"server": SERVER, **programs}.items():
            (folder / "app" / name).write_text(text)
            (folder / "app" / name).chmod(0o755)

    return (*spawner.run_layers, spawner.layer(build))


def started(spawner: SpawnerUnderTest, layers: tuple[str, ...], *argv: str, **fields: Any) -> str:
    instance_id, _ = spawner.start_container(*argv, layers=layers, **fields)
    if not fields:
        wait_for(lambda: "ready" in spawner.messages(instance_id), "the server")
    return instance_id


@pytest.mark.parametrize("name", STARTERS)
def test_a_server_finishes_whatever_started_it(
    spawner: SpawnerUnderTest, layers: tuple[str, ...], name: str
) -> None:
    instance_id = started(spawner, layers, f"/app/starter-{name}")
    spawner.client.signal(instance_id, "TERM", all=True)
    spawner.wait_exit(instance_id)
    assert spawner.messages(instance_id)[-1] == "finished"
    spawner.client.delete(instance_id)


def test_the_end_is_that_of_the_main_program(spawner: SpawnerUnderTest, layers: tuple[str, ...]) -> None:
    ends = {}
    for name in ("in-front", "leaves", "passes-on"):
        instance_id = started(spawner, layers, f"/app/starter-{name}")
        spawner.client.signal(instance_id, "TERM", all=True)
        ended = spawner.wait_exit(instance_id)
        ends[name] = (ended.status, ended.signal)
        spawner.client.delete(instance_id)
    assert ends == {"in-front": (143, 15), "leaves": (3, None), "passes-on": (143, 15)}


def test_what_does_not_end_is_killed_all_the_same(spawner: SpawnerUnderTest, layers: tuple[str, ...]) -> None:
    instance_id = started(spawner, layers, "/bin/bash", "-c", STUBBORN)
    spawner.client.signal(instance_id, "TERM", all=True)
    wait_for(lambda: len(spawner.client.stats(instance_id)["processes"]) == 2, "the main program to end")
    assert spawner.observed(instance_id).state == "running"
    spawner.client.kill(instance_id)
    assert spawner.wait_exit(instance_id).status > 128
    spawner.client.delete(instance_id)


def test_without_a_stop_the_end_of_the_main_program_is_the_end_of_all(
    spawner: SpawnerUnderTest, layers: tuple[str, ...]
) -> None:
    instance_id = started(spawner, layers, "/bin/bash", "-c", "/app/server & sleep 0.5; exit 7")
    assert spawner.wait_exit(instance_id).status == 7
    assert spawner.messages(instance_id) == ["ready"]
    spawner.client.delete(instance_id)


def test_pid_1_passes_a_signal_on_and_reaps_what_others_left(
    spawner: SpawnerUnderTest, layers: tuple[str, ...]
) -> None:
    script = (
        "trap 'echo passed; exit 4' USR1; (true &); sleep 0.2; cat /proc/[0-9]*/stat | grep -c ' Z '; kill -USR1 1;"
        " while :; do sleep 0.05; done"
    )
    ended, lines = spawner.run("/bin/bash", "-c", script)
    assert (ended.status, lines) == (4, ["0", "passed"])


def test_nobody_inside_sees_or_changes_pid_1(spawner: SpawnerUnderTest) -> None:
    script = "import os\nfor name in ('exe', 'fd', 'environ', 'mem', 'maps'):\n"
    script += (
        "    try: print(name, os.open(f'/proc/1/{name}', os.O_RDONLY))\n    except PermissionError: pass\n"
    )
    assert spawner.run("python3", "-c", script)[1] == []


@pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("INT", 0), ("HUP", 129)])
def test_a_command_that_its_client_interrupts_finishes(
    spawner: SpawnerUnderTest, layers: tuple[str, ...], name: str, status: int
) -> None:
    """As at a terminal: a shell whose command took Ctrl-C for its own affair goes on."""
    instance_id = started(spawner, layers, "/app/starter-in-front", attach=True)
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.send(frames.SIGNAL, name.encode())
    assert client.exit() == {"status": status}
    assert b"finished\n" in client.output()
    spawner.client.delete(instance_id)


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "hung-up"])
def test_a_command_with_a_terminal_finishes(
    spawner: SpawnerUnderTest, layers: tuple[str, ...], stopped: bool
) -> None:
    script = "/app/server; echo not reached"
    instance_id = started(spawner, layers, "/bin/bash", "-c", script, terminal=Terminal())
    client = Client(spawner, instance_id)
    client.until(b"ready")
    if stopped:
        spawner.client.signal(instance_id, "TERM", all=True)
        client.exit()
        assert b"finished" in client.output()
    client.sock.close()
    ended = spawner.wait_exit(instance_id)
    assert ended.signal == (signal.SIGTERM if stopped else signal.SIGHUP)
    spawner.client.delete(instance_id)


@pytest.mark.long
def test_what_an_interrupted_command_leaves_behind_does_not_stay(
    spawner: SpawnerUnderTest, layers: tuple[str, ...]
) -> None:
    instance_id = started(spawner, layers, "/bin/bash", "-c", STUBBORN, attach=True)
    client = Client(spawner, instance_id)
    client.until(b"ready")
    client.send(frames.SIGNAL, b"TERM")
    wait_for(lambda: spawner.observed(instance_id).state == "exited", "the end of the rest", 60)
    spawner.client.delete(instance_id)


def test_a_stop_goes_on_while_the_spawner_is_replaced(spawner: SpawnerUnderTest) -> None:
    script = f"bash -c {shlex.quote(SERVER)}; true"
    instance_id = started(spawner, spawner.run_layers, "/bin/bash", "-c", script)
    spawner.client.signal(instance_id, "TERM", all=True)
    spawner.restart()
    assert spawner.wait_exit(instance_id).status == 143
    assert spawner.messages(instance_id)[-1] == "finished"
    spawner.client.delete(instance_id)
