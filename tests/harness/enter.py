"""Run a daemon under its own user from wherever this checkout lies: `python enter.py USER FOLDER… -- COMMAND…`.

The folders are writable if their owners let the user; the code is visible even below a folder the user may not enter.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pwd

from paas.host.accounts import Account
from paas.host.launch import View, become, code_paths, enter_view


def command_as(user: str | int, *writable: Path) -> list[str]:
    """The words to put before a command."""
    return [sys.executable, "-P", __file__, str(user), *map(str, writable), "--"]


def main() -> None:
    end = sys.argv.index("--")
    user, folders = sys.argv[1], [Path(word) for word in sys.argv[2:end]]
    if user.isdigit():
        account = Account(user, int(user), int(user))
    else:
        entry = pwd.getpwnam(user)
        account = Account(user, entry.pw_uid, entry.pw_gid)
    enter_view(View((), code_paths(), tuple(folders)), account)
    become(account)
    os.umask(0o007)
    os.execv(sys.argv[end + 1], sys.argv[end + 1 :])


if __name__ == "__main__":
    main()
