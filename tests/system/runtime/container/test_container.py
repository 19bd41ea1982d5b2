"""One container at a time: what it sees, how it ends, what is recorded, what is left."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.spawner import ENV, SpawnerUnderTest, wait_for

from runtime.client import SpawnerError
from runtime.frames import JsonDecoder
from runtime.spec import MIB, Limits, Mount


@pytest.fixture(scope="module")
def spawner() -> Iterator[SpawnerUnderTest]:
    running = SpawnerUnderTest(allow_bind=("/etc/ssl", "/usr/share/zoneinfo"))
    running.start()
    yield running
    running.close()


def test_the_exit_status_and_every_line_are_recorded(spawner: SpawnerUnderTest) -> None:
    ended, lines = spawner.run("/bin/sh", "-c", "echo one; echo two >&2; exit 7")
    assert (ended.status, ended.signal, ended.oom_kills, ended.wall_exceeded) == (7, None, 0, False)
    assert ended.peak_memory_bytes > 0
    assert lines == ["one", "two"]


def test_a_line_names_its_time_source_and_process(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/echo", "hello", app="alog", type="worker", number=3)
    spawner.wait_exit(instance_id)
    line = spawner.log(instance_id, "alog")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 app\[worker\.3\]: hello\n", line)
    spawner.client.delete(instance_id)


def test_the_environment_is_exactly_the_one_given(spawner: SpawnerUnderTest) -> None:
    odd = {
        "PATH": "/usr/bin",
        "QUOTED": 'it\'s "so" $HOME `x`',
        "LINES": "a\nb",
        "EQUALS": "a=b=c",
        "UMLAUT": "ä",
    }
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    _, lines = spawner.run("python3", "-c", script, env=odd)
    seen = json.loads(lines[0])
    seen.pop("LC_CTYPE", None)  # what Python itself adds when no locale is set
    assert seen == odd


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (("no-such-program",), 127, "bash: no-such-program: command not found"),
        (("/app/missing",), 127, "bash: /app/missing: No such file or directory"),
        (("/etc/passwd",), 126, "bash: /etc/passwd: Permission denied"),
        (("/etc",), 126, "bash: /etc: Is a directory"),
        (("/app/carriage",), 127, "bash: /app/carriage: cannot execute: required file not found"),
        (("/app/itself",), 127, "bash: /app/itself: cannot execute: required file not found"),
        (("/app/broken",), 126, "bash: cannot execute"),
        (("/app/plain",), 3, "plain"),
    ],
)
def test_a_command_that_cannot_run_ends_as_in_a_shell(
    spawner: SpawnerUnderTest, argv: tuple[str, ...], status: int, message: str
) -> None:
    files = {
        "carriage": b"#!/bin/bash\r\necho ran\n",
        "itself": b"#!/proc/self/exe\n",
        "broken": b"\x7fELF",
        "plain": b"echo plain; exit 3\n",
    }

    def build(folder: Path) -> None:
        (folder / "app").mkdir()
        for name, content in files.items():
            (folder / "app" / name).write_bytes(content)
            (folder / "app" / name).chmod(0o755)

    ended, lines = spawner.run(*argv, layers=(*spawner.run_layers, spawner.layer(build)))
    assert (ended.status, lines) == (status, [message])


def test_a_missing_working_directory_is_refused_with_its_name(spawner: SpawnerUnderTest) -> None:
    with pytest.raises(SpawnerError, match="/nowhere"):
        spawner.start_container("/bin/true", cwd="/nowhere")


def test_a_missing_layer_is_named_and_nothing_is_left(spawner: SpawnerUnderTest) -> None:
    digest = "sha256:" + "0" * 64
    with pytest.raises(SpawnerError, match=digest):
        spawner.start_container("/bin/true", id="tlost", layers=(digest,))
    assert not (spawner.layout.run_instances / "tlost").exists()
    assert not (spawner.layout.instances / "tlost").exists()


def test_an_id_is_taken_only_once(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sleep", "60")
    with pytest.raises(SpawnerError) as refused:
        spawner.start_container("/bin/true", id=instance_id)
    assert refused.value.code == "exists"
    assert spawner.observed(instance_id).state == "running"
    spawner.client.delete(instance_id)


def test_a_range_of_another_platform_is_refused(spawner: SpawnerUnderTest) -> None:
    with pytest.raises(SpawnerError, match="not in the block"):
        spawner.start_container("/bin/true", id_base=65536)


def test_term_reaches_the_main_process_and_its_handler_runs(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    )
    wait_for(lambda: "ready" in spawner.messages(instance_id), "the handler to be set")
    spawner.client.signal(instance_id, "TERM")
    assert spawner.wait_exit(instance_id).status == 5
    assert spawner.messages(instance_id)[-1] == "bye"
    spawner.client.delete(instance_id)


def test_a_signal_to_all_reaches_processes_that_nobody_would_pass_it_to(spawner: SpawnerUnderTest) -> None:
    child = "trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.05; done"
    script = f"sh -c \"{child}\" & trap '' TERM; wait; wait; echo parent"
    instance_id, _ = spawner.start_container("/bin/sh", "-c", script)
    wait_for(lambda: "ready" in spawner.messages(instance_id), "the child to be ready")
    spawner.client.signal(instance_id, "TERM", all=True)
    spawner.wait_exit(instance_id)
    assert "child" in spawner.messages(instance_id)
    spawner.client.delete(instance_id)


def test_a_process_killed_by_a_signal_is_reported_as_such(spawner: SpawnerUnderTest) -> None:
    ended, _ = spawner.run("/bin/sh", "-c", "kill -SEGV $$")
    assert (ended.status, ended.signal) == (139, 11)


def test_delete_ends_what_runs_and_forgets_what_it_never_knew(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/sleep", "60", network=True)
    ended = spawner.client.delete(instance_id)
    assert ended is not None and (ended.status, ended.signal) == (137, 9)
    assert not Path(f"/proc/{started.pid}").exists()
    assert spawner.observed(instance_id) is None
    assert not (spawner.layout.run_instances / instance_id).exists()
    assert not (spawner.layout.instances / instance_id).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/paas-{spawner.layout.id}/{instance_id}"))
    assert spawner.client.delete(instance_id) is None


def test_more_memory_than_the_limit_ends_it_and_says_so(spawner: SpawnerUnderTest) -> None:
    watch = spawner.client.watch()
    instance_id, _ = spawner.start_container(
        "python3", "-c", "x = bytearray(200 * 1024 * 1024)", resources=Limits(memory_bytes=48 * MIB)
    )
    ended = spawner.wait_exit(instance_id)
    assert (ended.status, ended.signal, ended.oom_kills) == (137, 9, 1)
    assert ended.peak_memory_bytes == 48 * MIB
    events = _events(watch, 2)
    assert {"event": "exit", "id": instance_id} in events
    assert {"event": "oom", "id": instance_id} in events
    spawner.client.delete(instance_id)


def _events(watch: object, count: int) -> list[object]:
    decoder, found = JsonDecoder(), []
    watch.settimeout(30)
    while len(found) < count:
        found += decoder.feed(watch.recv(4096))
    watch.close()
    return found


def test_processes_are_limited(spawner: SpawnerUnderTest) -> None:
    script = "for n in $(seq 40); do sleep 5 & done; wait"
    _, lines = spawner.run("/bin/bash", "-c", script, resources=Limits(pids=16, wall_s=3))
    assert any("Resource temporarily unavailable" in line for line in lines)


def test_time_beyond_the_wall_limit_ends_it(spawner: SpawnerUnderTest) -> None:
    ended, _ = spawner.run("/bin/sleep", "60", resources=Limits(wall_s=0.3))
    assert (ended.signal, ended.wall_exceeded) == (9, True)


def test_limits_can_be_changed_while_it_runs(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sleep", "60", resources=Limits(memory_bytes=64 * MIB))
    spawner.client.limit(instance_id, Limits(memory_bytes=96 * MIB, pids=20))
    group = next(Path("/sys/fs/cgroup").glob(f"*/paas-{spawner.layout.id}/{instance_id}/pids.max"))
    assert group.read_text().strip() == "20"
    spawner.client.delete(instance_id)


def test_the_smallest_limits_still_start(spawner: SpawnerUnderTest) -> None:
    least = Limits(memory_bytes=4 * MIB, cpu_millis=10, pids=4, nofile=64)
    ended, lines = spawner.run("/bin/sh", "-c", "echo alive", resources=least)
    assert (ended.status, lines) == (0, ["alive"])


def test_little_processor_time_is_in_force_once_it_runs(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sleep", "60", resources=Limits(cpu_millis=50))
    quota = next(Path("/sys/fs/cgroup").glob(f"*/paas-{spawner.layout.id}/{instance_id}/cpu.cfs_quota_us"))
    assert quota.read_text().strip() == "5000"
    spawner.client.delete(instance_id)


def test_open_files_are_limited_and_never_beyond_what_the_machine_allows(spawner: SpawnerUnderTest) -> None:
    for wanted in (100, 1_000_000):
        _, lines = spawner.run("/bin/sh", "-c", "ulimit -Sn; ulimit -Hn", resources=Limits(nofile=wanted))
        allowed = min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        assert lines == [str(allowed)] * 2


def test_nothing_stays_open_in_the_spawner(spawner: SpawnerUnderTest) -> None:
    assert spawner.process is not None
    descriptors = Path(f"/proc/{spawner.process.pid}/fd")
    spawner.run("/bin/true", network=True)
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        spawner.run("/bin/true", network=True)
        with pytest.raises(SpawnerError):
            spawner.start_container("/bin/true", cwd="/nowhere", network=True)
    wait_for(lambda: len(list(descriptors.iterdir())) <= before, "descriptors to be closed")


def test_stats_count_memory_time_and_processes(spawner: SpawnerUnderTest) -> None:
    instance_id, started = spawner.start_container("/bin/sleep", "60")
    stats = spawner.client.stats(instance_id)
    assert started.pid in stats["processes"] and len(stats["processes"]) == 2
    assert 0 < stats["memory_bytes"] <= stats["peak_memory_bytes"]
    assert stats["cpu_usec"] > 0 and stats["oom_kills"] == 0
    spawner.client.delete(instance_id)


def test_listening_sockets_are_seen_from_outside(spawner: SpawnerUnderTest) -> None:
    script = (
        "import socket, time\n"
        "a = socket.create_server(('127.0.0.1', 8000)); b = socket.create_server(('0.0.0.0', 5000))\n"
        "time.sleep(60)"
    )
    instance_id, _ = spawner.start_container("python3", "-c", script)
    wait_for(lambda: len(spawner.client.sockets(instance_id)) == 2, "two listening sockets")
    found = {(item.address, item.port) for item in spawner.client.sockets(instance_id)}
    assert found == {("127.0.0.1", 8000), ("0.0.0.0", 5000)}
    spawner.client.delete(instance_id)


def test_the_app_owns_its_folder_and_nothing_else(spawner: SpawnerUnderTest) -> None:
    script = "id -u; touch /app/mine && echo app; touch /etc/x || echo no-etc; touch /x || echo no-root; touch /usr/x || echo no-usr; ls -dn /app"
    _, lines = spawner.run("/bin/sh", "-c", script)
    assert lines[0] == "1000"
    assert [word for word in lines if word in ("app", "no-etc", "no-root", "no-usr")] == [
        "app",
        "no-etc",
        "no-root",
        "no-usr",
    ]
    assert re.match(r"drwxr-xr-x \d+ 1000 1000 ", lines[-1])


def test_what_it_writes_belongs_to_its_range_and_layers_stay_untouched(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sh", "-c", "echo x > /app/file")
    spawner.wait_exit(instance_id)
    status = os.stat(spawner.layout.instances / instance_id / "upper" / "app" / "file")
    assert (status.st_uid, status.st_gid) == (spawner.id_base + 1000, spawner.id_base + 1000)
    spawner.client.delete(instance_id)
    _, lines = spawner.run("/bin/sh", "-c", "ls /app; echo done")
    assert lines == ["done"]


def test_files_of_a_layer_can_be_replaced_and_removed_by_their_owner(spawner: SpawnerUnderTest) -> None:
    def build(folder: Path) -> None:
        for name in ("app", "app/sub"):
            (folder / name).mkdir()
            os.chown(folder / name, 1000, 1000)
        for name in ("app/gone", "app/changed", "app/sub/kept"):
            (folder / name).write_text("layer")
            os.chown(folder / name, 1000, 1000)

    digest = spawner.layer(build)
    script = "rm gone; echo new > changed; mv sub moved; find . -type f | sort; cat changed moved/kept"
    _, lines = spawner.run("/bin/sh", "-c", script, layers=(*spawner.run_layers, digest))
    assert lines == ["./changed", "./moved/kept", "new", "layer"]
    folder = spawner.layout.layers / digest.removeprefix("sha256:") / "app"
    assert (folder / "gone").read_text() == (folder / "changed").read_text() == "layer"


def test_R1_a_fork_bomb_stays_inside_and_ends_with_its_container(spawner: SpawnerUnderTest) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    instance_id, _ = spawner.start_container("python3", "-c", bomb, resources=Limits(pids=50, cpu_millis=300))
    wait_for(lambda: spawner.client.stats(instance_id)["pids"] == 50, "the limit to be reached")
    _, lines = spawner.run("/bin/echo", "a neighbour starts")
    assert lines == ["a neighbour starts"]
    pids = spawner.client.stats(instance_id)["processes"]
    assert spawner.client.delete(instance_id).signal == 9
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def test_clients_at_the_same_time_are_all_served(spawner: SpawnerUnderTest) -> None:
    specs = [spawner.spec("/bin/sh", "-c", f"echo {number}") for number in range(24)]
    ids = [order.id for order, _ in specs]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spawner.client.create, *zip(*specs, strict=True)))
        assert [ended.status for ended in pool.map(spawner.wait_exit, ids)] == [0] * 24
        assert [spawner.messages(id) for id in ids] == [[str(number)] for number in range(24)]
        list(pool.map(spawner.client.delete, ids))
    assert spawner.client.list() == []


def test_temporary_folders_have_a_size(spawner: SpawnerUnderTest) -> None:
    script = (
        "dd if=/dev/zero of=/tmp/big bs=1M count=100 2>&1 | grep -c 'No space'; stat -f -c %T /tmp /dev/shm"
    )
    _, lines = spawner.run("/bin/sh", "-c", script, resources=Limits(memory_bytes=64 * MIB))
    assert lines == ["1", "tmpfs", "tmpfs"]


QUEUES = """
import socket
listener = socket.create_server(("127.0.0.1", 0), backlog=200)
senders, queued = [], 0
for _ in range(90):
    tcp = socket.create_connection(listener.getsockname())
    senders += [tcp, listener.accept()[0]]
for sender in senders:
    sender.setblocking(False)
    try:
        while True: queued += sender.send(bytes(65536))
    except BlockingIOError: pass
print(queued)
"""


def test_what_waits_in_sockets_is_bounded_by_the_memory_limit(spawner: SpawnerUnderTest) -> None:
    _, lines = spawner.run("python3", "-c", QUEUES, resources=Limits(memory_bytes=256 * MIB))
    assert 0 < int(lines[0]) < 64 * MIB


def test_names_inside_are_its_own(spawner: SpawnerUnderTest) -> None:
    _, lines = spawner.run(
        "/bin/sh", "-c", "hostname; cat /etc/hostname; getent hosts hello; getent hosts localhost",
        hostname="hello", network=True,
    )  # fmt: skip
    assert lines[:2] == ["hello", "hello"]
    assert re.match(r"10\.\d+\.\d+\.\d+\s+hello", lines[2])
    assert re.match(r"127\.0\.0\.1\s+localhost", lines[3])


def test_volumes_and_caches_outlive_the_container(spawner: SpawnerUnderTest) -> None:
    mounts = (Mount("volume", "atest/data", "/data/store"), Mount("cache", "atest", "/cache"))
    spawner.run("/bin/sh", "-c", "echo v > /data/store/f; echo c > /cache/f", mounts=mounts)
    _, lines = spawner.run("/bin/sh", "-c", "cat /data/store/f /cache/f", mounts=mounts)
    assert lines == ["v", "c"]


def test_a_read_only_mount_refuses_writes(spawner: SpawnerUnderTest) -> None:
    mounts = (Mount("volume", "atest/data", "/data", read_only=True),)
    _, lines = spawner.run("/bin/sh", "-c", "touch /data/new 2>&1", mounts=mounts)
    assert "Read-only file system" in lines[0]


def test_host_folders_are_bound_only_if_allowed_and_never_writable(spawner: SpawnerUnderTest) -> None:
    allowed = (Mount("host", "/usr/share/zoneinfo", "/app/zones"),)
    _, lines = spawner.run(
        "/bin/sh", "-c", "test -f /app/zones/UTC && echo there; touch /app/zones/x 2>&1", mounts=allowed
    )
    assert lines[0] == "there" and "Read-only file system" in lines[1]
    for source in ("/etc", "/root", "/etc/ssl/../shadow"[:8] + "/.."):
        with pytest.raises(SpawnerError):
            spawner.start_container("/bin/true", mounts=(Mount("host", source, "/x"),))


def test_a_link_on_the_host_cannot_widen_what_is_allowed(spawner: SpawnerUnderTest, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/root")
    with pytest.raises(SpawnerError, match="not told to allow"):
        spawner.start_container("/bin/true", mounts=(Mount("host", str(link), "/x"),))


def test_control_characters_of_a_tenant_never_reach_the_log(spawner: SpawnerUnderTest) -> None:
    script = r"printf 'a\033[31mred\033[0m\033]0;title\007\tb\r\n\033[2J\xff\xc2\x9bend\n'"
    _, lines = spawner.run("/bin/bash", "-c", script)
    assert lines == ["ared\tb", "�end"]


def test_a_flood_of_lines_is_cut_and_counted(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "yes flood-flood-flood-flood-flood-flood | head -c 60000000; echo end"
    )
    spawner.wait_exit(instance_id)
    text = spawner.log(instance_id)
    assert len(text) < 17 * MIB
    dropped = sum(int(n) for n in re.findall(r"paas\[web\.1\]: dropped (\d+) lines", text))
    kept = text.count("]: flood")
    assert dropped > 0 and dropped + kept == pytest.approx(60_000_000 / 36, rel=0.01)
    spawner.client.delete(instance_id)


def test_snapshot_makes_a_layer_that_the_next_container_stands_on(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container(
        "/bin/sh", "-c", "mkdir /app/.venv; echo dep > /app/.venv/dep; echo no > /app/other"
    )
    spawner.wait_exit(instance_id)
    layer = spawner.client.snapshot(instance_id, ["/app/.venv"])
    assert layer.digest is not None and layer.files >= 2
    spawner.client.delete(instance_id)
    _, lines = spawner.run(
        "/bin/sh", "-c", "cat /app/.venv/dep; ls -A /app", layers=(*spawner.run_layers, layer.digest)
    )
    assert lines == ["dep", ".venv"]
    assert layer.digest in [stored.digest for stored in spawner.client.layers()]
    spawner.client.remove_layer(layer.digest)
    assert layer.digest not in [stored.digest for stored in spawner.client.layers()]


def test_nothing_to_snapshot_is_no_layer(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/true")
    spawner.wait_exit(instance_id)
    assert spawner.client.snapshot(instance_id, ["/app/.venv"]).digest is None
    spawner.client.delete(instance_id)


def test_a_running_container_cannot_be_snapshot(spawner: SpawnerUnderTest) -> None:
    instance_id, _ = spawner.start_container("/bin/sleep", "60")
    with pytest.raises(SpawnerError, match="still runs"):
        spawner.client.snapshot(instance_id, ["/app"])
    spawner.client.delete(instance_id)


def test_apps_folders_come_and_go_whole(spawner: SpawnerUnderTest) -> None:
    layout = spawner.layout
    spawner.client.create_app("agone")
    folders = [layout.logs / "agone", layout.volumes / "agone", layout.caches / "agone"]
    assert all(folder.is_dir() for folder in folders)
    deep = folders[1]
    for _ in range(300):
        deep = deep / "d"
        deep.mkdir()
    spawner.client.remove_app("agone")
    assert not any(folder.exists() for folder in folders)
    wait_for(lambda: not list((layout.volumes / ".trash").iterdir()), "the trash to be emptied")
    spawner.client.remove_app("agone")


def test_requests_that_are_none_get_a_sentence(spawner: SpawnerUnderTest) -> None:
    for verb, arguments in (
        ("nonsense", {}), ("__init__", {}), ("create", {}), ("create", {"order": {"id": "../x", "app": "a"}}), ("create", {"order": {"id": "x", "app": "a"}}), ("delete", {"id": "../x"}),
        ("signal", {"id": "t1", "signal": "SEGV"}), ("snapshot", {"id": "tnone", "paths": ["/app"]}),
        ("app_remove", {"app_id": "../../etc"}), ("unpack", {"tar": "../../etc/passwd"}), ("layer_remove", {"digest": "x"}),
    ):  # fmt: skip
        with pytest.raises(SpawnerError) as refused:
            spawner.client.call(verb, **arguments)
        assert refused.value.message and refused.value.code != "internal", verb


def test_many_at_once_start_and_end(spawner: SpawnerUnderTest) -> None:
    started = [spawner.start_container("/bin/sh", "-c", "echo $0", str(n), env=ENV)[0] for n in range(20)]
    assert [spawner.wait_exit(instance_id).status for instance_id in started] == [0] * 20
    assert [spawner.messages(instance_id) for instance_id in started] == [[str(n)] for n in range(20)]
    for instance_id in started:
        spawner.client.delete(instance_id)


def command_line(spawner: SpawnerUnderTest, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "runtime", words[0], "--home", str(spawner.home), *words[1:]]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )  # fmt: skip


def test_the_command_line_runs_a_command_with_its_streams_and_status(spawner: SpawnerUnderTest) -> None:
    done = command_line(
        spawner, "run", "--no-network", "--", "sh", "-c", "cat; echo err >&2; exit 5", stdin="in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "in\n", "err\n")
    assert spawner.client.list() == []


def test_the_command_line_starts_lists_signals_and_deletes(spawner: SpawnerUnderTest) -> None:
    started = command_line(spawner, "run", "--detach", "--no-network", "--", "sleep", "60")
    name = started.stdout.strip()
    assert re.match(rf"{name} +running +- +pid \d+$", command_line(spawner, "list").stdout)
    assert command_line(spawner, "kill", name).returncode == 0
    spawner.wait_exit(name)
    assert "exited" in command_line(spawner, "list").stdout
    assert command_line(spawner, "delete", name).returncode == 0
    assert command_line(spawner, "list").stdout == ""
    refused = command_line(spawner, "kill", name)
    assert (refused.returncode, refused.stderr) == (1, f"there is no instance {name}\n")


def test_the_machine_sees_no_mount_of_a_container(spawner: SpawnerUnderTest) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    instance_id, _ = spawner.start_container("/bin/sleep", "60")
    assert spawner.layout.id not in Path("/proc/self/mountinfo").read_text().replace(before, "")
    assert str(spawner.home) not in Path("/proc/self/mountinfo").read_text()
    spawner.client.delete(instance_id)
