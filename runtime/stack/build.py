"""Stacks: the base layers every app runs and builds on, made once per machine and shared by every home.

A stack has two layers: `run` (a small Debian with the runtimes) and over it `build` (compilers and headers).
`STACKS/NAME.json` names them, `STACKS/layers/HEX/` holds each one unpacked and `STACKS/blobs/sha256/HEX` as the
tar it was hashed from. `python -m runtime.stack create debian-12 --stacks DIR`, `… list [--json]`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.image.removal import remove_path
from runtime.kernel import files
from runtime.stack import ahead, debian
from runtime.stack.debian import Say, StackError

DEFAULT_STACKS = Path("/var/cache/paas/stacks")
APP_LINES = {
    "etc/passwd": "app:x:1000:1000:app:/app:/bin/bash\n",
    "etc/group": "app:x:1000:\n",
    "etc/shadow": "app:*:19358:0:99999:7:::\n",
    "etc/gshadow": "app:*::\n",
}


@dataclass(frozen=True)
class Recipe:
    """How a stack is made: a Debian suite and the packages of its two layers."""

    name: str
    suite: str
    run: tuple[str, ...]
    build: tuple[str, ...]
    pythons: tuple[str, ...]
    """The releases of Python that it brings, or newer patches of them; the suite's default first."""


_RUN = ("ca-certificates", "python3", "python3-venv", "nginx-light", "libpq5", "tzdata", "netbase")
_BUILD = (
    "build-essential", "python3-dev", "pkg-config", "git", "libpq-dev", "libffi-dev", "libssl-dev", "curl",
)  # fmt: skip


def _recipe(name: str, suite: str, *pythons: str) -> Recipe:
    """With several Pythons each is named, since `python3` brings the suite's default only."""
    minors = [release.rpartition(".")[0] for release in pythons]
    named = tuple(f"python{minor}" for minor in minors) if len(minors) > 1 else ()
    return Recipe(name, suite, (*_RUN, *named), (*_BUILD, *(f"{package}-dev" for package in named)), pythons)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe("debian-12", "bookworm", "3.11.2"),
        _recipe("debian-13", "trixie", "3.13.5"),
        _recipe("debian-14", "forky", "3.14.8", "3.13.15", "3.15.0"),
    )
}


@dataclass(frozen=True)
class Stack:
    """A stack that is ready. `run` and `build` are layer digests, lowest first; `created` is RFC 3339."""

    name: str
    run: tuple[str, ...]
    build: tuple[str, ...]
    created: str
    size_bytes: int
    packages: tuple[str, ...]


def load(stacks: Path, name: str) -> Stack | None:
    """The stack `name` when it is complete, else None. Raises StackError when its description is damaged."""
    try:
        data = json.loads((stacks / f"{name}.json").read_text())
        stack = Stack(
            data["name"], tuple(data["run"]), tuple(data["build"]), data["created"], data["size_bytes"],
            tuple(data["packages"]),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{stacks}/{name}.json is damaged; remove it, then create the stack again"
        ) from error
    present = all((stacks / "layers" / digest.removeprefix("sha256:")).is_dir() for digest in stack.build)
    return stack if present else None


def load_all(stacks: Path) -> list[Stack]:
    """Every complete stack, by name."""
    found = (load(stacks, path.stem) for path in sorted(stacks.glob("*.json")))
    return [stack for stack in found if stack is not None]


def create(name: str, stacks: Path, say: Say, *, again: bool = False) -> Stack:
    """Build the stack unless it is there, or anew beside the old one; waits while another process builds it. Needs root and
    mount rights.

    Publishing is atomic: layers and blobs first, the description last. Raises StackError.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise StackError(f"There is no stack {name!r}; known: {', '.join(RECIPES)}.")
    stacks.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(stacks, say):
        stack = load(stacks, name)
        if stack is not None and not again:
            return stack
        for folder in ("layers", "blobs/sha256"):
            (stacks / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        work = _fresh(stacks / "tmp")
        try:
            return _build(recipe, stacks, work, say)
        finally:
            remove_path(work)


def _build(recipe: Recipe, stacks: Path, work: Path, say: Say) -> Stack:
    began = time.time()
    say(f"Building stack {recipe.name}: Debian {recipe.suite} with {', '.join(recipe.run)}")
    apt = debian.read_apt(recipe.suite, work)
    root = work / "run"
    with ThreadPoolExecutor() as pool:
        unpacked = pool.submit(ahead.unpack, recipe.run, recipe.build, apt, work / "ahead")
        debian.bootstrap(root, recipe.suite, recipe.run, apt, say)
        debian.clean(root, recipe.suite)
        _add_app_user(root)
        size = debian.normalise(root, began)
        say(f"Packing the run layer ({size / 1e6:.0f} MB)")
        packed = pool.submit(pack, root)
        say(f"Adding the build layer: {', '.join(recipe.build)}")
        upper, packages = _build_layer(recipe, root, work, apt, unpacked, say)
        debian.clean(upper, recipe.suite)
        upper_size = debian.normalise(upper, began)
        say(f"Packing the build layer ({upper_size / 1e6:.0f} MB)")
        digests = packed.result(), pack(upper, root)
    os.sync()
    run, build = (publish(tree, digest, stacks) for tree, digest in zip((root, upper), digests, strict=True))
    stack = Stack(
        recipe.name, (run,), (run, build), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        size + upper_size, packages,
    )  # fmt: skip
    files.replace(stacks / f"{recipe.name}.json", json.dumps(asdict(stack), indent=1) + "\n")
    say(f"Stack {recipe.name} is ready: {(size + upper_size) / 1e6:.0f} MB in {time.time() - began:.0f} s")
    return stack


def _build_layer(
    recipe: Recipe, lower: Path, work: Path, apt: debian.Apt, unpacked: Future[ahead.Unpacked], say: Say
) -> tuple[Path, tuple[str, ...]]:
    """Install the build packages over `lower`; returns the overlay's upper folder and all packages' versions."""
    ready = unpacked.result()
    scratch, merged = work / "scratch", work / "merged"
    for folder in (scratch, merged):
        folder.mkdir(mode=0o755)
    options = (
        f"lowerdir={lower},upperdir={ready.tree},workdir={scratch},redirect_dir=off,metacopy=off,index=off"
    )
    debian.run(["mount", "-t", "overlay", "-o", options, "paas-stack", str(merged)], say, prefix="\0")
    try:
        debian.run(["mount", "-t", "proc", "proc", str(merged / "proc")], say, prefix="\0")
        debian.run(["mount", "--bind", "/dev", str(merged / "dev")], say, prefix="\0")
        say(f"Installing {', '.join(recipe.build)}")
        try:
            ahead.install(ready, merged)
        except StackError as error:
            say(str(error))
            debian.install(merged, recipe.build, apt, say)
        query = ["dpkg-query", f"--admindir={merged}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\\n"]
        listing = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    finally:
        for mount in ("dev", "proc", "."):
            subprocess.run(["umount", "-l", str(merged / mount)], capture_output=True, check=False)
    return ready.tree, tuple(listing.splitlines())


def pack(tree: Path, lower: Path | None = None) -> str:
    """Write a finished tree's tar beside it, on the disk; returns `sha256:HEX`. Raises StackError.

    With `lower` the tree is an overlay's upper folder over it: what it hides there is written as `.wh.` files.
    """
    digest = hashlib.sha256()
    with _blob(tree).open("wb") as file, subprocess.Popen(_tar(tree, lower), stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        while chunk := tar.stdout.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if tar.returncode:
        raise StackError(f"tar failed with status {tar.returncode}")
    return f"sha256:{digest.hexdigest()}"


def _blob(tree: Path) -> Path:
    return tree.with_suffix(".tar")


def publish(tree: Path, digest: str, stacks: Path) -> str:
    """Move a packed tree, which is on the disk, into the store as a layer, with its tar as a blob; returns the digest."""
    name = digest.removeprefix("sha256:")
    target = stacks / "layers" / name
    if not target.exists():
        tree.rename(target)
    blob = _blob(tree)
    blob.chmod(0o644)
    blob.rename(stacks / "blobs/sha256" / name)
    for folder in (stacks / "layers", stacks / "blobs/sha256"):
        files.sync_folder(folder)
    return digest


def _tar(tree: Path, lower: Path | None) -> list[str]:
    """The tar command of a layer.

    Unlike layers of apps, a base layer keeps owners, modes and times, which `image.tarwriter` sets to fixed values; and GNU
    tar is several times faster.
    """
    command = ["tar", "--sort=name", "--numeric-owner", "--format=gnu", "--one-file-system", "-cf", "-"]
    devices, marks = _hidden(tree, lower) if lower else ([], [])
    if not marks:
        return [*command, "-C", str(tree), "."]
    side = tree.with_suffix(".hidden")
    for mark in marks:
        (side / mark).parent.mkdir(parents=True, exist_ok=True)
        (side / mark).touch()
        os.utime(side / mark, (debian.FAKE_EPOCH, debian.FAKE_EPOCH))
    excluded, listed = tree.with_suffix(".excluded"), tree.with_suffix(".marks")
    excluded.write_bytes(b"".join(b"./%s\n" % os.fsencode(path) for path in devices))
    listed.write_bytes(b"".join(b"./%s\0" % os.fsencode(path) for path in marks))
    return [
        *command, "--anchored", "--no-wildcards", f"--exclude-from={excluded}", "-C", str(tree), ".",
        "-C", str(side), "--no-recursion", "--null", f"--files-from={listed}",
    ]  # fmt: skip


def _hidden(tree: Path, lower: Path) -> tuple[list[str], list[str]]:
    """The names that an upper folder hides in `lower`: its whiteout devices, and their `.wh.` names."""
    devices, marks = [], []
    for folder, folders, names in os.walk(tree):
        inside = os.path.relpath(folder, tree)
        for name in sorted(names):
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                devices.append(os.path.normpath(os.path.join(inside, name)))
                marks.append(os.path.normpath(os.path.join(inside, f".wh.{name}")))
        for name in sorted(folders):
            path = os.path.join(folder, name)
            opaque = not os.path.islink(path) and "trusted.overlay.opaque" in os.listxattr(path)
            if opaque and (lower / inside / name).is_dir():
                marks.append(os.path.normpath(os.path.join(inside, name, ".wh..wh..opq")))
    return devices, marks


def _add_app_user(root: Path) -> None:
    """The user every app runs as, uid and gid 1000, and its home `/app`."""
    for name, line in APP_LINES.items():
        with (root / name).open("a") as file:
            file.write(line)
    (root / "app").mkdir(mode=0o755)
    os.chown(root / "app", 1000, 1000)


@contextmanager
def _locked(stacks: Path, say: Say) -> Iterator[None]:
    path = stacks / ".lock"
    try:
        descriptor = files.lock(path, wait=False)
    except BlockingIOError:
        say("Another process is building a stack; waiting for it")
        descriptor = files.lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _fresh(parent: Path) -> Path:
    """A new work folder; what a killed builder left is removed (the lock is held)."""
    remove_path(parent)
    parent.mkdir(mode=0o755)
    path = Path(tempfile.mkdtemp(dir=parent))
    path.chmod(0o755)
    return path


def _in_own_mounts() -> None:
    """Run again in a private mount namespace, so that a killed builder leaves no mount behind."""
    if os.environ.get("_STACK_MOUNTS") == "private":
        return
    os.environ["_STACK_MOUNTS"] = "private"
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-P", "-m", "runtime.stack"]
    os.execvp(command[0], [*command, *sys.argv[1:]])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.stack", description=__doc__.split("\n\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("create", "list"):
        sub = verbs.add_parser(verb)
        sub.add_argument("--stacks", type=Path, default=DEFAULT_STACKS)
        if verb == "create":
            sub.add_argument("name")
        else:
            sub.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        if arguments.verb == "list":
            found = load_all(arguments.stacks)
            lines = [f"{s.name}  {s.size_bytes / 1e6:.0f} MB  {s.created}" for s in found]
            print(json.dumps([asdict(s) for s in found]) if arguments.json else "\n".join(lines))
            return 0
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", arguments.name):
            raise StackError(f"{arguments.name!r} is not a stack name")
        _in_own_mounts()
        create(arguments.name, arguments.stacks.absolute(), lambda line: print(line, flush=True))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
