"""What a confined child can still do: its job, and nothing else. Tried with root and without."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.kernel import caps, syscalls, userns
from runtime.kernel.confine import Bounds, ConfineError, User, become, box_user, confine

NOBODY = User(64903, 64904)
PROGRAMS = ("/usr", "/lib", "/lib64", "/bin")


def outcome(action: Callable[[], object], before: Callable[[], object]) -> str:
    """What `action` does in a child that ran `before`: `done ANSWER`, or the name of the error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 200)
            before()
            text = f"done {action()}"
        except OSError as error:
            text = errno.errorcode[error.errno or 0]
        except BaseException as error:
            text = f"{type(error).__name__} {error}"
        os.write(200, text.encode()[:4000])
        os._exit(0)
    os.close(writer)
    text = b""
    while data := os.read(reader, 4096):
        text += data
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return text.decode() or f"status {status}"


def with_root(bounds: Bounds) -> Callable[[], object]:
    return lambda: confine(bounds, keep=(200,), user=NOBODY)


def without_root(bounds: Bounds) -> Callable[[], object]:
    def enter() -> None:
        become(NOBODY)
        confine(bounds, keep=(200,))

    return enter


WAYS = pytest.mark.parametrize("way", [with_root, without_root], ids=["root", "user"])
Way = Callable[[Bounds], Callable[[], object]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder everybody may enter and write to, with one file; another beside it."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "file").write_text(name)
    return tmp_path


@WAYS
def test_the_job_itself_works(folder: Path, way: Way) -> None:
    def job() -> str:
        (folder / "mine" / "new").write_text("made")
        os.mkdir(folder / "mine" / "d")
        os.rename(folder / "mine" / "new", folder / "mine" / "d" / "new")
        return (folder / "mine" / "d" / "new").read_text()

    assert outcome(job, way(Bounds(write=[folder / "mine"]))) == "done made"


def escape_by_mount() -> None:
    syscalls.mount("none", "/tmp", "tmpfs")


def trace_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def lift_parents_limits() -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (10, 10))


FORBIDDEN: dict[str, tuple[Callable[[], object], str]] = {
    "read beside": (lambda: Path("/etc/passwd").read_text(), "EACCES"),
    "list the root": (lambda: os.listdir("/"), "EACCES"),
    "tcp": (lambda: socket.socket(socket.AF_INET), "EPERM"),
    "unix socket": (lambda: socket.socket(socket.AF_UNIX), "EPERM"),
    "fork": (os.fork, "EPERM"),
    "exec": (lambda: os.execv("/bin/true", ["true"]), "EPERM"),
    "signal": (lambda: os.kill(os.getppid(), 0), "EPERM"),
    "mount": (escape_by_mount, "EPERM"),
    "user namespace": (lambda: syscalls.unshare(syscalls.CLONE_NEWUSER), "EPERM"),
    "chroot": (lambda: os.chroot("/tmp"), "EPERM"),
    "root again": (lambda: os.setresuid(0, 0, 0), "EPERM"),
    "change owner": (lambda: os.chown("/tmp", 0, 0), "EPERM"),
    "ptrace": (trace_parent, "EPERM"),
    "limits of others": (lift_parents_limits, "EPERM"),
    "priority": (lambda: os.setpriority(os.PRIO_PROCESS, 0, -5), "EPERM"),
    "memory file": (lambda: os.memfd_create("x"), "EPERM"),
    "signal by way of a descriptor": (lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()), "EPERM"),
    "choice of that signal": (lambda: fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL), "EPERM"),
    "terminal tricks": (lambda: fcntl.ioctl(0, 0x5412, b"x"), "ENOTTY"),
}


@WAYS
@pytest.mark.parametrize("name", FORBIDDEN)
def test_everything_else_is_refused(folder: Path, way: Way, name: str) -> None:
    action, expected = FORBIDDEN[name]
    assert outcome(action, way(Bounds(write=[folder / "mine"]))) == expected


@WAYS
def test_who_talks_has_threads_and_what_is_open_and_names_nothing(way: Way) -> None:
    enter = way(Bounds(read=["/"], talks=True))
    assert outcome(lambda: threading.Thread(target=os.getpid).start(), enter) == "done None"
    for action in (lambda: os.open("/etc/passwd", os.O_RDONLY), lambda: os.stat("/"), os.fork, socket.socket):
        assert outcome(action, enter) == "EPERM"


@WAYS
def test_reading_is_not_writing_and_other_folders_are_closed(folder: Path, way: Way) -> None:
    enter = way(Bounds(read=[folder / "mine"]))
    assert outcome(lambda: (folder / "mine/file").read_text(), enter) == "done mine"
    assert outcome(lambda: (folder / "mine/new").write_text("x"), enter) == "EACCES"
    assert outcome(lambda: (folder / "mine/file").unlink(), enter) == "EACCES"
    assert outcome(lambda: (folder / "other/file").read_text(), enter) == "EACCES"


@WAYS
def test_a_program_may_run_when_allowed_and_is_confined_too(folder: Path, way: Way) -> None:
    bounds = Bounds(read=[folder / "mine", "/etc"], run=PROGRAMS, programs=True)

    def run(*words: str) -> str:
        return subprocess.run(
            words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        ).stdout

    def cat(path: Path) -> str:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.dup2(writer, 1)
            os.execv("/bin/cat", ["cat", str(path)])
        os.close(writer)
        os.wait()
        return os.read(reader, 100).decode()

    assert outcome(lambda: cat(folder / "mine/file"), way(bounds)) == "done mine"
    assert outcome(lambda: cat(folder / "other/file"), way(bounds)) == "done "
    assert outcome(lambda: os.execv(folder / "mine/file", ["x"]), way(bounds)) == "EACCES"


@WAYS
def test_memory_file_size_and_time_are_bounded(folder: Path, way: Way) -> None:
    def grow() -> int:
        return len(bytearray(200 << 20))

    def write() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        return (folder / "mine/big").write_bytes(bytes(2 << 20))

    def spin() -> None:
        while True:
            pass

    small = way(Bounds(write=[folder / "mine"], memory_bytes=64 << 20, file_bytes=1 << 20))
    assert outcome(grow, small).startswith("MemoryError")
    assert outcome(write, small) == "EFBIG"
    assert outcome(spin, way(Bounds(cpu_s=1))) == f"status {-signal.SIGKILL}"
    assert outcome(lambda: time.sleep(60), way(Bounds(wall_s=0.2))) == f"status {-signal.SIGALRM}"


def test_descriptors_of_the_parent_are_closed(folder: Path) -> None:
    fd = os.open("/etc/shadow", os.O_RDONLY)
    try:
        assert outcome(lambda: os.read(fd, 1), with_root(Bounds())) == "EBADF"
    finally:
        os.close(fd)


def test_own_view_holds_what_was_given_and_nothing_more(folder: Path) -> None:
    def enter() -> None:
        flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
        tree = syscalls.open_tree(-100, str(folder / "mine"), flags)
        confine(Bounds(read=["/"]), keep=(200,), user=NOBODY, view={"work": tree})

    def look() -> object:
        return os.listdir("/"), Path("/work/file").read_text(), os.listdir("/work/../../..")

    assert outcome(look, enter) == "done (['work'], 'mine', ['work'])"
    assert outcome(lambda: Path("/new").write_text("x"), enter) in ("EACCES", "EROFS")


def test_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        parent = os.getpid()
        if os.fork() == 0:
            confine(Bounds(), keep=(writer,), user=NOBODY, parent=parent)
            os.write(writer, b"x")
            time.sleep(60)
        time.sleep(60)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_layers_are_named(folder: Path) -> None:
    expected = ("user", *(["landlock"] if syscalls.landlock_abi() else []), "seccomp")
    assert outcome(lambda: None, lambda: None) == "done None"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, repr(confine(Bounds(), keep=(writer,), user=NOBODY)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 1000).decode() == repr(expected)
    os.close(reader)
    os.close(writer)


def test_child_of_a_namespace_keeps_what_owners_take_and_over_its_ids_alone(folder: Path) -> None:
    base, first = 65536 * 7001, 1 << 17
    user = User(first + 1000, first + 1000, userns.make(base, first=first))
    theirs, hosts = folder / "theirs", folder / "hosts"
    for path, owner in ((theirs, base + 33), (hosts, 0)):
        path.write_text("x")
        path.chmod(0o600)
        os.chown(path, owner, owner)
    folder.chmod(0o755)

    def enter() -> None:
        confine(Bounds(read=["/"], write=[folder]), keep=(200,), user=user)

    def capabilities() -> object:
        lines = Path("/proc/self/status").read_text().splitlines()
        return sorted({line.split()[1] for line in lines if line.startswith(("CapPrm", "CapEff", "CapBnd"))})

    def give(path: Path, owner: int) -> object:
        above = os.open(path.parent, os.O_PATH)
        os.chown(path.name, first + owner, first + owner, dir_fd=above, follow_symlinks=False)
        return path.stat().st_uid - first

    try:
        assert outcome(capabilities, enter) == f"done ['{0:016x}', '{caps.OWNERS:016x}']"
        assert outcome(theirs.read_text, enter) == "done x"
        assert outcome(lambda: give(theirs, 65535), enter) == "done 65535"
        assert outcome(lambda: give(theirs, 65536), enter) == "EINVAL"
        assert outcome(lambda: give(theirs, -first), enter) == "EINVAL"
        assert outcome(hosts.read_text, enter) == "EACCES"
        assert outcome(lambda: give(hosts, 1000), enter) == "EPERM"
        assert outcome(lambda: os.setresuid(first, first, first), enter) == "EPERM"
    finally:
        assert user.namespace is not None
        os.close(user.namespace)


def test_root_is_never_a_confined_user() -> None:
    with pytest.raises(ConfineError):
        become(User(0, 0))


def test_missing_box_user_is_named_with_the_remedy() -> None:
    with pytest.raises(ConfineError, match="useradd --system no-such-user"):
        box_user("no-such-user")
    assert sys.platform == "linux"
