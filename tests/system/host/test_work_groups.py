"""Work on what tenants sent is charged to groups of its own: bounded memory, and less of the processor than apps get."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from harness.platform import Platform, wait_for

from runtime.cgroup import Group, detect, work_limits
from runtime.spec import Limits


def group(platform: Platform, name: str) -> Group:
    return detect(platform.id).group(name)


def weight_and_memory(lent: Group) -> tuple[int, int]:
    """The cpu weight in hundredths of an app's, and the bytes of memory that are allowed."""
    files = {target: path for path, target in lent.view()}
    if "memory" in files:
        shares = int((files["cpu"] / "cpu.shares").read_text())
        return shares * 100 // 1024, int((files["memory"] / "memory.limit_in_bytes").read_text())
    [leaf] = files.values()
    return int((leaf.parent / "cpu.weight").read_text()), int((leaf / "memory.max").read_text())


def parents(pid: int) -> list[int]:
    found = []
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid")).split()[1])
        found.append(pid)
    return found


def test_a_push_is_work_and_a_login_is_none(platform: Platform) -> None:
    command = [*platform.ssh_words(), "-p", str(platform.ssh), "paas@127.0.0.1", "git-receive-pack '/hello'"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as push:
        assert push.stdin is not None and push.stdout is not None
        assert b"capabilities" in push.stdout.readline()
        lent = group(platform, "_git")
        [job] = wait_for(lent.pids)
        assert platform.pid_of("git") in parents(job)
        weight, memory = weight_and_memory(lent)
        assert memory <= work_limits().memory_bytes
        assert weight < Limits().cpu_weight
        push.stdin.close()
    wait_for(lambda: not lent.pids())


def test_an_archive_is_taken_in_within_a_bound(platform: Platform, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "app.tar", "w") as archive:
        archive.add(Path(__file__), "index.html")
    platform.paas("create", "sent", "--no-remote")
    lent = group(platform, "_api")
    before = lent.stats().peak_memory_bytes
    platform.paas("deploy", "sent", "--archive", str(tmp_path / "app.tar"))
    weight, memory = weight_and_memory(lent)
    assert weight < Limits().cpu_weight and memory <= work_limits().memory_bytes
    assert lent.stats().peak_memory_bytes > before
    wait_for(lambda: not lent.pids())


def test_layers_are_made_within_a_bound(platform: Platform) -> None:
    lent = group(platform, "_layers")
    before = lent.stats().cpu_usec
    platform.deploy({"Procfile": "web: python3 -m http.server $PORT\n", "index.html": "hello\n"}, "layers")
    assert weight_and_memory(lent)[0] < Limits().cpu_weight
    assert lent.stats().peak_memory_bytes > 0 and lent.stats().cpu_usec >= before
    assert not {"_api", "_git", "_layers"} & set(detect(platform.id).groups()), "they are no instances"
