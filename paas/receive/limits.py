"""Limits of one connection and one push. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of the git daemon; the settings replace the first two."""

    # a push
    pack_bytes: int = 256 * MIB
    source_bytes: int = 1024 * MIB
    files: int = 200_000
    path_bytes: int = 32 * MIB
    objects: int = 1_000_000
    receiving: int = 4
    """Pushes of one user that are received at once; more wait."""
    receive_s: float = 900.0
    index_cpu_s: int = 120
    index_memory_bytes: int = 2048 * MIB
    export_s: float = 120.0
    command_bytes: int = 128 * 1024
    ref_bytes: int = 4 * MIB
    """Ref updates beyond this are counted, but not kept."""
    stall_s: float = 60.0

    # a connection before its login
    login_s: float = 20.0
    greeting_s: float = 20.0
    waiting: int = 512
    waiting_per_source: int = 64
    starting: int = 16
    starting_per_source: int = 8
    prompt_s: float = 1.5
    """A client that logs in faster than this is never closed to make room."""

    # and after it
    connections: int = 128
    connections_per_user: int = 48
    sessions: int = 8
    commands_per_user: int = 16
