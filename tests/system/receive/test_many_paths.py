"""Trees of very many long names, which cost a pusher a few kilobytes: bounded, and never in memory as a whole."""

from __future__ import annotations

import contextlib
import json
import threading
import tracemalloc
from pathlib import Path

import pytest
from harness.git import Client, GitDaemon

from buildpacks.detect import choose
from paas.build.source import SourceTree
from paas.receive import children, git
from paas.receive.export import answer_in_child, export
from paas.receive.limits import Limits

_FOLDERS = "/".join(f"{number:02}" + "d" * 200 for number in range(15))
_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def commit_of(client: Client, files: int) -> str:
    """A commit of so many files, each with a path of about 3,250 bytes, and a Procfile."""
    lines = ["commit refs/heads/main", "committer Ann <ann@example.com> 1700000000 +0000", "data 4", "many"]
    for number in range(files):
        lines += [f"M 644 inline {_FOLDERS}/{'f' * 200}{number:05}", "data 1", "x"]
    lines += ["M 644 inline Procfile", "data 15", "web: sleep 1000"]
    client.git("fast-import", "--quiet", "--force", input="\n".join(lines) + "\n")
    return client.git("rev-parse", "main").stdout.strip()


def test_longest_listing_that_is_allowed_is_never_in_memory(ann: Client, root: Path) -> None:
    commit = commit_of(ann, 10_000)
    sources, limits = root / "exported", Limits()
    (sources / "scratch").mkdir(parents=True)
    repository = ann.tree / ".git"
    done = children.run(
        lambda: answer_in_child(lambda: export(repository, commit, sources / "scratch", limits)),
        bounds=git.bounds(read=(repository,), write=(sources,), memory_bytes=48 << 20),
        timeout_s=120,
    )
    told = json.loads(done.stdout or b"{}")
    assert told.get("files") == 10_001, done
    assert (sources / f"{told['tree']}.index").stat().st_size > 30 << 20

    tracemalloc.start()
    try:
        tree = SourceTree.open(sources, told["tree"])
        plan = choose(tree, {"web": "sleep 1000"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.language and peak < 4 << 20


def test_more_is_refused_before_it_is_unpacked(daemon: GitDaemon, ann: Client) -> None:
    commit_of(ann, 11_000)
    done = ann.push()
    assert done.returncode == 1
    assert " !     Too large: The paths of the commit's files have more than 32 MiB together." in done.stderr
    assert daemon.platform.apps == {} and daemon.settled()


def test_pointers_of_git_lfs_are_told_by_name(daemon: GitDaemon, ann: Client) -> None:
    for number in range(7):
        (ann.tree / f"model{number}.bin").write_text(_POINTER)
    (ann.tree / "notes.txt").write_text("version https://git-lfs.github.com/spec/v1 is a format\n")
    (ann.tree / "long.txt").write_text(_POINTER + "x" * 1024)
    ann.commit("pointers")
    for _ in range(2):  # the second time the source may be there already
        done = ann.push()
        assert done.returncode == 0, done.stderr
        told = " ".join(done.stderr.replace("remote:  !     ", "").split())
        assert "Git LFS keeps the content of 'model0.bin', 'model1.bin'," in told
        assert "'model4.bin' and 2 more elsewhere; the app gets the pointers." in told
        assert "notes.txt" not in told and "long.txt" not in told
        ann.commit("the same files")


class PeakMemory:
    """The most memory that any process below this one has had at its peak, looked at all the time."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.kib: dict[str, int] = {}

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            for pid in self._below(self._pid):
                with contextlib.suppress(OSError, StopIteration, IndexError):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
                    name = lines[0].split()[1]
                    self.kib[name] = max(self.kib.get(name, 0), peak)

    def _below(self, pid: int) -> list[int]:
        found = [pid]
        for parent in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{parent}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found


@pytest.mark.long
def test_150_000_long_names_cost_no_process_much_memory(daemon: GitDaemon, ann: Client) -> None:
    lines = ["commit refs/heads/main", "committer Ann <ann@example.com> 1700000000 +0000", "data 4", "many"]
    for number in range(150_000):
        lines += [f"M 644 inline d{number // 1000:03}/{'f' * 190}{number:06}", "data 1", "x"]
    lines += ["M 644 inline Procfile", "data 15", "web: sleep 1000"]
    ann.git("fast-import", "--quiet", "--force", input="\n".join(lines) + "\n")
    with PeakMemory(daemon.process.pid) as peak:
        done = ann.push()
    assert done.returncode == 0, done.stderr
    assert sum(1 for _ in daemon.platform.pushes[0].source.names()) == 150_001
    print({name: f"{kib >> 10} MiB" for name, kib in peak.kib.items()})
    assert max(peak.kib.values()) < 300 << 10  # a generous double of the budget
