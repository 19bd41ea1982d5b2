"""The commands about the machine they are typed on, which do not work over SSH. Pure."""

from __future__ import annotations

LOCAL_ONLY = frozenset(
    ("server", "login", "logout", "demo", "doctor", "setup", "git", "open", "router:restart")
)
"""Topics and commands."""


def is_local(word: str) -> bool:
    """True for a command about the machine it is typed on."""
    return word in LOCAL_ONLY or word.partition(":")[0] in LOCAL_ONLY
