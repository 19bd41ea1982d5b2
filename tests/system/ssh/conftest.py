"""Fixtures of the git daemon, shared by the rooms that it runs."""

from harness.git_fixtures import ann, daemon, make_daemon, own_daemon, root, shared

__all__ = ["ann", "daemon", "make_daemon", "own_daemon", "root", "shared"]
