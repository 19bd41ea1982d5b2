"""Images made to harm the runtime itself. Tests bear the ids X1… of the threat table, each a hole others had."""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.spawner import SpawnerUnderTest, wait_for

from runtime.client import SpawnerError
from runtime.spec import Mount

RENAME_EXCHANGE = 2
AT_FDCWD = -100


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host, and files of it, that must stay as they are."""
    folder = tmp_path / "canary"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "file").write_text("host")
    before = fingerprint(folder)
    yield folder
    assert fingerprint(folder) == before


def fingerprint(folder: Path) -> list[tuple[str, int, int, str]]:
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = path.read_text() if stat.S_ISREG(status.st_mode) else ""
        found.append((path.name, status.st_mode, status.st_uid, content))
    return found


def with_layer(spawner: SpawnerUnderTest, build: Callable[[Path], None]) -> tuple[str, ...]:
    return (*spawner.run_layers, spawner.layer(build))


def link(name: str, target: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)

    return build


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "tmp", "app", "etc"])
@pytest.mark.parametrize("kind", ["link out", "link in", "file"])
def test_X6_X7_a_mount_point_that_is_no_folder_is_harmless(
    spawner: SpawnerUnderTest, canary: Path, name: str, kind: str
) -> None:
    """The only layer: nothing below gives the name back as a folder."""

    def build(folder: Path) -> None:
        if kind == "file":
            (folder / name).write_text("not a folder")
        else:
            (folder / name).symlink_to(str(canary) if kind == "link out" else "/usr")

    _, lines = spawner.run(
        "/bin/sh", "-c",
        "for d in proc sys dev tmp app; do test -L /$d && echo link $d; test -d /$d || echo none $d; done; "
        "stat -f -c %T /proc /dev; test -c /dev/null && echo null; ls /proc/self >/dev/null && echo self",
        layers=with_layer(spawner, build),
    )  # fmt: skip
    assert lines == ["proc", "tmpfs", "null", "self"]


def test_X4_a_false_null_device_cannot_turn_a_mask_into_a_door(spawner: SpawnerUnderTest) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    _, lines = spawner.run(
        "/bin/sh", "-c", "test -c /dev/null && echo device; head -c 4 /proc/keys | wc -c; echo x > /proc/sys/kernel/core_pattern",
        layers=with_layer(spawner, link("dev/null", "/proc/sys/kernel/core_pattern")),
    )  # fmt: skip
    assert lines[:2] == ["device", "0"]
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


@pytest.mark.parametrize("name", ["dev/console", "dev/pts/0", "dev/ptmx", "dev/tty", "dev/shm", "dev/pts"])
def test_X5_a_false_terminal_is_not_used(spawner: SpawnerUnderTest, canary: Path, name: str) -> None:
    from runtime.spec import Terminal

    layers = with_layer(spawner, link(name, str(canary / "file")))
    instance_id, _ = spawner.start_container("/usr/bin/tty", layers=layers, terminal=Terminal())
    assert spawner.wait_exit(instance_id).status == 0
    spawner.client.delete(instance_id)


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
def test_X2_files_of_ours_in_etc_are_not_written_through_links(
    spawner: SpawnerUnderTest, canary: Path, name: str
) -> None:
    layers = with_layer(spawner, link(f"etc/{name}", str(canary / "file")))
    _, lines = spawner.run(
        "/bin/sh", "-c", f"test -L /etc/{name} && echo link; cat /etc/hostname", layers=layers, hostname="me"
    )
    assert lines == ["me"]


def test_X1_an_interpreter_line_that_names_the_running_program_runs_nothing_of_the_host(
    spawner: SpawnerUnderTest,
) -> None:
    """CVE-2019-5736: `#!/proc/self/exe` made the runtime run itself inside and be overwritten."""
    hosts = [Path(os.path.realpath(program)) for program in ("/usr/bin/python3", "/bin/sh")]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in hosts]

    def build(folder: Path) -> None:
        (folder / "evil").write_text("#!/proc/self/exe\n")
        (folder / "evil").chmod(0o755)

    ended, _ = spawner.run("/evil", layers=with_layer(spawner, build))
    assert ended.status != 0
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in hosts] == before


def test_X2_nothing_of_the_image_is_loaded_by_the_runtime(spawner: SpawnerUnderTest) -> None:
    """Poison at every path that a lazy import, a codec, a name lookup or a loader of ours might read.

    A poisoned module that ran would leave its mark, since until it drops its rights the runtime may write anywhere.
    """
    import sys

    poison = "open('/canary', 'a').write(__name__)\nraise SystemExit(1)\n"
    repository = Path(__file__).parents[4]

    def build(folder: Path) -> None:
        roots = {*filter(None, sys.path), str(repository), os.path.dirname(os.__file__)}
        for root in roots:
            for name in ("encodings/idna.py", "encodings/utf_8.py", "encodings/ascii.py", "linecache.py", "traceback.py",
                         "ctypes/util.py", "runtime/spec.py", "runtime/container/child.py", "json/decoder.py", "stat.py", "pwd.py"):  # fmt: skip
                path = folder / root.lstrip("/") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(poison)
        for name in (
            "etc/ld.so.preload",
            "etc/nsswitch.conf",
            "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
            "etc/locale.alias",
        ):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("/evil.so\n")

    _, lines = spawner.run(
        "/bin/bash", "-c", "test -e /canary && echo poisoned; echo done", env={"PATH": "/usr/bin:/bin", "LANG": "de_DE.ISO-8859-1"},
        layers=with_layer(spawner, build),
    )  # fmt: skip
    assert lines[-1] == "done" and "poisoned" not in lines


@pytest.mark.parametrize("argv", [("missing-ä",), ("/etc/passwd",)])
def test_X2_failures_after_the_root_changed_load_nothing_either(
    spawner: SpawnerUnderTest, argv: tuple[str, ...]
) -> None:
    ended, lines = spawner.run(*argv)
    assert ended.status in (126, 127) and len(lines) == 1


@pytest.mark.parametrize("number", range(3, 21))
def test_X3_a_working_folder_behind_a_descriptor_is_refused(spawner: SpawnerUnderTest, number: int) -> None:
    """CVE-2024-21626, by a link of the image, since the path itself is refused by the spec."""
    layers = with_layer(spawner, link("work", f"/proc/self/fd/{number}"))
    try:
        _, lines = spawner.run("/bin/sh", "-c", "ls ../../../../; pwd", cwd="/work", layers=layers)
    except SpawnerError as refused:
        assert refused.code == "container_failed"
    else:
        raise AssertionError(lines)


def test_X3_the_spec_refuses_proc_as_working_folder(spawner: SpawnerUnderTest) -> None:
    with pytest.raises(SpawnerError) as refused:
        spawner.start_container("/bin/true", cwd="/proc/self/fd/7")
    assert refused.value.code == "bad_spec"


@pytest.mark.parametrize("target", ["/data/inner", "/link", "/deep/link/inner"])
def test_X8_a_mount_below_a_link_stays_inside(spawner: SpawnerUnderTest, canary: Path, target: str) -> None:
    def build(folder: Path) -> None:
        (folder / "data").symlink_to(str(canary))
        (folder / "link").symlink_to("../../../../.." + str(canary))
        (folder / "deep").mkdir()
        (folder / "deep" / "link").symlink_to(str(canary))

    mounts = (Mount("volume", "aX8/v", target),)
    try:
        spawner.run(
            "/bin/sh", "-c", f"echo x > {target}/written", layers=with_layer(spawner, build), mounts=mounts
        )
    except SpawnerError as refused:
        assert refused.code == "container_failed"


def test_X8_a_link_exchanged_during_starts_leads_nowhere(spawner: SpawnerUnderTest, canary: Path) -> None:
    """A folder and a link change places in a shared volume while containers mount below that name."""
    mounts = (Mount("volume", "arace/v", "/shared"), Mount("volume", "arace/inner", "/shared/place/below"))
    spawner.run("/bin/sh", "-c", "true", mounts=mounts[:1])
    shared = spawner.layout.volumes / "arace" / "v"
    (shared / "place").mkdir()
    (shared / "other").symlink_to(str(canary))
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()

    def exchange() -> None:
        one, two = os.fsencode(shared / "place"), os.fsencode(shared / "other")
        while not stop.is_set():
            libc.renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE)

    racer = threading.Thread(target=exchange)
    racer.start()
    outcomes = {"started": 0, "refused": 0}
    try:
        for _ in range(60):
            try:
                instance_id, _ = spawner.start_container(
                    "/bin/sh", "-c", "echo x > /shared/place/below/f", mounts=mounts
                )
                outcomes["started"] += 1
                spawner.client.delete(instance_id)
            except SpawnerError:
                outcomes["refused"] += 1
    finally:
        stop.set()
        racer.join()
    assert outcomes["started"], outcomes


def test_X12_attributes_of_the_overlay_in_a_layer_change_nothing(spawner: SpawnerUnderTest) -> None:
    def build(folder: Path) -> None:
        (folder / "redirected").mkdir()
        os.setxattr(folder / "redirected", "trusted.overlay.redirect", b"/root")
        (folder / "metacopy").write_text("")
        os.setxattr(folder / "metacopy", "trusted.overlay.metacopy", b"")
        os.setxattr(folder / "metacopy", "trusted.overlay.redirect", b"/etc/shadow")
        (folder / "user").mkdir()
        os.setxattr(folder / "user", "user.overlay.opaque", b"y")

    _, lines = spawner.run(
        "/bin/sh", "-c", "ls -A /redirected 2>/dev/null | wc -l; cat /metacopy 2>/dev/null | wc -c; grep -c redirect_dir=nofollow /proc/mounts",
        layers=with_layer(spawner, build),
    )  # fmt: skip
    assert lines == ["0", "0", "1"]


def test_X13_removal_never_crosses_into_a_volume(spawner: SpawnerUnderTest) -> None:
    mounts = (Mount("volume", "akeep/v", "/data"),)
    spawner.run("/bin/sh", "-c", "mkdir -p /data/a/b; echo keep > /data/a/b/c", mounts=mounts)
    kept = spawner.layout.volumes / "akeep" / "v" / "a" / "b" / "c"
    for _ in range(20):
        instance_id, _ = spawner.start_container("/bin/sleep", "60", mounts=mounts)
        spawner.client.delete(instance_id)
    assert kept.read_text() == "keep\n"
    wait_for(
        lambda: not list((spawner.layout.instances / ".trash").iterdir()), "the trash to be emptied", 120
    )


def test_R5_a_very_deep_and_odd_tree_is_removed(spawner: SpawnerUnderTest) -> None:
    script = (
        "import os\n"
        "os.mkdir(b'/app/\\xff\\n odd'); os.symlink('loop', '/app/loop'); os.mkfifo('/app/fifo')\n"
        "open('/app/' + 'n' * 255, 'w').close()\n"
        "for n in range(20000):\n"
        "    os.mkdir('d'); os.chdir('d')\n"
        "print('deep')"
    )
    instance_id, _ = spawner.start_container("python3", "-c", script)
    spawner.wait_exit(instance_id)
    assert spawner.messages(instance_id) == ["deep"]
    spawner.client.delete(instance_id)
    assert not (spawner.layout.instances / instance_id).exists()
    wait_for(
        lambda: not list((spawner.layout.instances / ".trash").iterdir()), "the trash to be emptied", 120
    )


def test_a_hundred_layers_are_stacked(spawner: SpawnerUnderTest) -> None:
    def numbered(number: int) -> Callable[[Path], None]:
        return lambda folder: (folder / f"layer{number}").write_text(str(number)) and None

    layers = (*spawner.run_layers, *(spawner.layer(numbered(n)) for n in range(119)))
    _, lines = spawner.run("/bin/sh", "-c", "ls / | grep -c layer; cat /layer118", layers=layers)
    assert lines == ["119", "118"]
