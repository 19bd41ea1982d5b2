"""What of the file system a daemon's user cannot enter, and what is done about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from paas.host.accounts import Account
from paas.host.launch import Program, View, covers, start


def test_the_topmost_folder_that_a_user_may_not_enter_is_covered(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "deeper"
    inner.mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    inner.chmod(0o700)
    assert covers([inner / "file"], 65534, 65534) == {tmp_path / "closed"}
    (tmp_path / "closed").chmod(0o711)
    assert covers([inner / "file"], 65534, 65534) == {inner}
    assert covers([inner / "file"], 65534, 65534, always=[tmp_path]) == {inner, tmp_path}
    assert covers([inner / "file"], 0, 0) == set()


def test_a_daemon_sees_its_own_folders_and_is_its_user(tmp_path: Path) -> None:
    """In a mount namespace and under a user of its own; descriptors keep their numbers."""
    home = tmp_path / "home"
    (home / "own").mkdir(parents=True)
    (home / "other").mkdir()
    (home / "own").chmod(0o777)
    home.chmod(0o755)
    code = (
        "import os,sys; fd=int(sys.argv[1]); home=sys.argv[2];"
        "os.write(fd, repr((os.getuid(), sorted(os.listdir(home)), os.getcwd(), sorted(os.environ))).encode())"
    )
    reader, writer = os.pipe()
    view = View(
        (home,),
        (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent),
        (home / "own",),
    )
    argv = (sys.executable, "-I", "-c", code, str(writer), str(home))
    pid = start(Program(argv, Account("nobody", 65534, 65534), view, {"LANG": "C.UTF-8"}, keep=(writer,)))
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == repr((65534, ["own"], "/", ["LANG"]))
    assert os.waitpid(pid, 0)[1] == 0
