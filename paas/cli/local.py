"""Which commands concern the machine on which they are typed, and so do not work over SSH. Pure."""

from __future__ import annotations

LOCAL_ONLY = frozenset(
    ("server", "login", "logout", "demo", "doctor", "setup", "git", "open", "router:restart")
)
"""Topics and commands."""


def is_local(word: str) -> bool:
    """Does this command concern the machine on which it is typed?"""
    return word in LOCAL_ONLY or word.partition(":")[0] in LOCAL_ONLY
