"""Runs as the only program of a virtual machine with Linux 6.1 and cgroup v2: whole containers by a real spawner.

Prints one JSON line per check. The machine's own root is the image, seen through a bind mount.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, "/opt/paas")

from runtime import frames
from runtime.client import Spawner, SpawnerError
from runtime.spec import MIB, Box, Limits, Mount, Order, Process, Terminal

HOME, STACKS = Path("/var/tmp/home"), Path("/var/tmp/stacks")
IMAGE = "a" * 64
HOSTILE = "b" * 64
RUN = Path("/run/paas/c0ffee")
client = Spawner(RUN / "spawner/spawner.sock")
spawner = None
base = 0
count = 0


def until(condition, what):
    deadline = time.monotonic() + 60
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return answer


def prepare():
    with open("/etc/passwd", "a") as users, open("/etc/group", "a") as groups:
        for number, name in enumerate(("paas", "paas-log", "paas-box"), 900):
            users.write(f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n")
            groups.write(f"{name}:x:{number}:\n")
    for folder in (HOME / "images", HOME / "sources", STACKS / "layers" / IMAGE):
        folder.mkdir(parents=True)
    (HOME / "id").write_text("c0ffee")
    subprocess.run(["mount", "--bind", "/", str(STACKS / "layers" / IMAGE)], check=True)
    # layers of the home need a file system that can be idmapped, which tmpfs on 6.1 cannot, and not the image's
    subprocess.run(["modprobe", "loop"], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "/var/tmp/layers.img", "16M"], check=True)
    (HOME / "layers").mkdir()
    subprocess.run(["mount", "-o", "loop", "/var/tmp/layers.img", str(HOME / "layers")], check=True)


def start_spawner():
    global spawner, base
    command = [
        sys.executable,
        "-P",
        "-m",
        "runtime.spawner.server",
        "--home",
        str(HOME),
        "--stacks",
        str(STACKS),
    ]
    environment = {**os.environ, "PYTHONPATH": "/opt/paas"}
    spawner = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    line = spawner.stderr.readline()
    assert line.startswith("spawner ready"), line + spawner.stderr.read()
    base = client.info()["block"]["id_base"]
    client.layers()


def start(*argv, terminal=None, cwd="/app", **fields):
    global count
    count += 1
    process = Process(argv, {"PATH": "/usr/bin:/bin"}, cwd, terminal=terminal)
    box = {"layers": (f"sha256:{IMAGE}",), "process": process, "id_base": base, "network": False, **fields}
    client.create(Order(f"v{count}", "avm"), Box(**box))
    return f"v{count}"


def observed(name):
    return next((item for item in client.list() if item.id == name), None)


def ended(name):
    return until(lambda: observed(name).exit, f"the end of {name}")


def lines(name):
    text = "".join((HOME / "logs/avm" / f"{name}.{n}.log").read_text() for n in (0, 1))
    return [line.split("]: ", 1)[1] for line in text.splitlines()]


def run(*argv, **fields):
    name = start(*argv, **fields)
    how = ended(name)
    said = lines(name)
    client.delete(name)
    return how, said


def starts():
    how, said = run(
        "/bin/sh",
        "-c",
        "id -u; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; touch /app/x && echo own; touch /etc/x 2>/dev/null || echo closed; exit 3",
    )
    assert how.status == 3, how
    assert [line.split()[-1] for line in said] == ["1000", "0" * 16, "1", "2", "own", "closed"], said
    return said


def limits_memory():
    how, _ = run("python3", "-c", "x = bytearray(200 << 20)", resources=Limits(memory_bytes=48 * MIB))
    assert (how.status, how.signal, how.oom_kills) == (137, 9, 1), how
    return how.peak_memory_bytes


def limits_processes():
    _, said = run(
        "/bin/bash", "-c", "for n in $(seq 30); do sleep 9 & done; wait", resources=Limits(pids=12, wall_s=30)
    )
    assert any("temporarily unavailable" in line for line in said), said


def stops():
    name = start("/bin/sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    until(lambda: lines(name), "the handler")
    client.signal(name, "TERM")
    assert ended(name).status == 5
    assert lines(name)[-1] == "bye"
    client.delete(name)


def shows_its_group():
    _, said = run(
        "/bin/sh",
        "-c",
        "cat /sys/fs/cgroup/memory.max; echo 1 > /sys/fs/cgroup/memory.max; cat /proc/self/cgroup",
        resources=Limits(memory_bytes=64 * MIB),
    )
    assert said[0] == str(64 * MIB), said
    assert any("Read-only" in line or "Permission" in line for line in said), said
    assert said[-1] == "0::/", said


def terminal():
    name = start("/bin/bash", "-c", "tty; stty size; exit 4", terminal=Terminal(31, 97))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(RUN / "instances" / name / "attach.sock"))
        sock.settimeout(60)
        decoder, received = frames.FrameDecoder(), []
        while data := sock.recv(65536):
            received += decoder.feed(data)
    text = b"".join(payload for channel, payload in received if channel == frames.STDOUT)
    assert received[-1] == (frames.EXIT, b'{"status": 4}'), received
    assert text.split() == [b"/dev/pts/0", b"31", b"97"], text
    client.delete(name)


def survives_the_spawner():
    name = start("/bin/sh", "-c", "while :; do echo tick; sleep 0.1; done", network=True)
    until(lambda: lines(name), "a tick")
    before = observed(name)
    spawner.kill()
    spawner.wait()
    seen = len(lines(name))
    until(lambda: len(lines(name)) > seen + 2, "ticks without a spawner")
    start_spawner()
    after = observed(name)
    assert (after.state, after.pid, after.address) == ("running", before.pid, before.address)
    assert client.delete(name).signal == signal.SIGKILL


def refuses_a_hostile_image():
    layer = HOME / "layers" / HOSTILE
    layer.mkdir()
    layer.chmod(0o755)
    for name in ("dev", "proc", "sys", "tmp"):
        (layer / name).symlink_to("/etc")
    before = sorted(os.listdir("/etc"))
    _, said = run(
        "/bin/sh",
        "-c",
        "test -c /dev/null && test -d /proc/self && echo whole",
        layers=(f"sha256:{IMAGE}", f"sha256:{HOSTILE}"),
    )
    assert said == ["whole"], said
    assert sorted(os.listdir("/etc")) == before


def mounts_a_volume():
    mounts = (Mount("volume", "avm/data", "/data/deep"),)
    run("/bin/sh", "-c", "echo kept > /data/deep/f", mounts=mounts)
    _, said = run("/bin/sh", "-c", "cat /data/deep/f", mounts=mounts)
    assert said == ["kept"], said


def escapes_nowhere():
    """The answers of the escape probe, for the host to judge."""
    _, said = run("python3", "-c", Path("/escape.py").read_text(), resources=Limits(wall_s=200))
    return json.loads("".join(said))


def leaves_nothing():
    try:
        start("/bin/true", cwd="/nowhere", network=True)
        raise AssertionError("started in a folder that does not exist")
    except SpawnerError:
        pass
    assert client.list() == []
    assert os.listdir(RUN / "instances") == []
    assert [name for name in os.listdir(HOME / "instances") if name != ".trash"] == []
    groups = [path.name for path in Path("/sys/fs/cgroup/paas-c0ffee").iterdir() if path.is_dir()]
    assert [name for name in groups if name[0] != "_"] == [], groups
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith("pc0ffee")]


prepare()
start_spawner()
for check in (
    starts, limits_memory, limits_processes, stops, shows_its_group, terminal, survives_the_spawner,
    refuses_a_hostile_image, mounts_a_volume, escapes_nowhere, leaves_nothing,
):  # fmt: skip
    try:
        told = {"check": check.__name__, "ok": True, "detail": check()}
    except Exception:
        told = {"check": check.__name__, "ok": False, "detail": traceback.format_exc()}
    print("PROBE " + json.dumps(told), flush=True)
