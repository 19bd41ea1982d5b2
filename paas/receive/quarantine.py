"""The objects of one push before they are accepted: each check is a confined child that reads them and nothing else."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

from paas.nouns.errors import BadInput, Unavailable
from paas.receive import children, export, git
from paas.receive.dulwich_protocol import Refused
from paas.receive.export import Exported
from paas.receive.limits import Limits
from paas.receive.repository import Repository
from paas.receive.sources import Sources
from paas.receive.verdicts import answer_of, incomplete, unpack_error
from paas.receive.wire import Wire

_LENIENT = ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate", "missingSpaceBeforeEmail")
"""Findings of git fsck in old histories that are harmless."""

_STRICT = "--strict=" + ",".join([*(f"{name}=ignore" for name in _LENIENT), "badFilemode=error"])
_PACK_HEADER_BYTES = 12
_PACK_VERSIONS = (b"\0\0\0\2", b"\0\0\0\3")
_INDEX_ROOM_BYTES = 64 << 20
_EXPORT_TRIES = 3


class Quarantine:
    """A bare repository at `path` that sees the objects of `base` too. `tick` is called while a child works."""

    def __init__(self, path: Path, base: Repository | None, limits: Limits, tick: Callable[[], None]) -> None:
        self.path = path
        self._base = base
        self._limits = limits
        self._tick = tick
        self.objects = 0
        self._readable = (path,) if base is None else (path, base.path)

    def receive(self, wire: Wire) -> None:
        """Index and check the pack that the client sends; `objects` counts what it holds. Raises Refused."""
        limits = self._limits
        head = wire.read(_PACK_HEADER_BYTES)
        if len(head) < _PACK_HEADER_BYTES or head[:4] != b"PACK" or head[4:8] not in _PACK_VERSIONS:
            raise Refused(BadInput("The client sent no pack.", cause="no pack"), unpack="not a pack")
        version, count = struct.unpack(">II", head[4:])
        if count > limits.objects:
            sentence = f"The push has {count} objects; {limits.objects} are allowed."
            raise Refused(BadInput(sentence, cause="too large"), unpack="too large")
        # the header is read already: git takes it as an option, the rest from the client's channel itself
        words = ["index-pack", "--stdin", "--fix-thin", f"--pack_header={version},{count}", _STRICT]
        finished = children.run(
            git.command(self.path, *words, f"--max-input-size={limits.pack_bytes}"),
            bounds=git.bounds(
                read=self._readable[1:],
                write=(self.path,),
                memory_bytes=limits.index_memory_bytes,
                file_bytes=2 * limits.pack_bytes + _INDEX_ROOM_BYTES,
                cpu_s=limits.index_cpu_s,
            ),
            timeout_s=limits.receive_s,
            stall_s=limits.stall_s,
            stdin=wire.source,
            tick=self._tick,
        )
        if not finished.ok:
            raise Refused(unpack_error(finished, limits), unpack="index-pack failed")
        self.objects = count

    def check_complete(self, commit: str) -> None:
        """Raises Refused unless everything that the commit needs is here or reached by a branch of `base`."""
        known = [f"^{head}" for head in (self._base.heads().values() if self._base else ())]
        finished = children.run(
            git.command(self.path, "rev-list", "--objects", "--quiet", commit, *known, "--"),
            bounds=git.bounds(read=self._readable, cpu_s=self._limits.index_cpu_s),
            timeout_s=self._limits.export_s,
            tick=self._tick,
        )
        if not finished.ok:
            raise Refused(incomplete(finished))

    def export(self, commit: str, sources: Sources, held: contextlib.ExitStack, root: str = "") -> Exported:
        """Make the source of the commit's folder `root` and keep it until `held` is closed. Raises PaasError."""
        for _ in range(_EXPORT_TRIES):  # another push of the same tree may remove its source meanwhile
            with sources.scratch() as scratch:
                exported = self._export(commit, scratch, root)
            if sources.hold(exported.tree, held):
                return exported
        raise Unavailable("The source vanished while it was being made.", "Push again.")

    def _export(self, commit: str, scratch: Path, root: str) -> Exported:
        limits = self._limits
        finished = children.run(
            lambda: export.answer_in_child(lambda: export.export(self.path, commit, scratch, limits, root)),
            bounds=git.bounds(
                read=self._readable, write=(scratch.parent,), file_bytes=2 * limits.source_bytes
            ),
            timeout_s=limits.export_s,
            tick=self._tick,
        )
        return answer_of(finished, Exported.from_json)

    def is_ancestor(self, commit: str, descendant: str) -> bool:
        finished = children.run(
            git.command(self.path, "merge-base", "--is-ancestor", commit, descendant),
            bounds=git.bounds(read=self._readable),
            timeout_s=self._limits.export_s,
        )
        return finished.ok
