"""The receiving half of git's protocol: advertisement, ref updates, push options, report.

dulwich speaks the protocol but trusts its peer. This subclass of its handler adds limits, and runs the deployment
between the checks and the move of the ref. All use of dulwich's private members is in this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from dulwich.errors import GitProtocolError
from dulwich.protocol import (
    SIDE_BAND_CHANNEL_PROGRESS,
    Protocol,
    extract_capabilities,
    format_ref_line,
)
from dulwich.server import Backend, PackHandler, ReceivePackHandler

from paas.nouns.errors import BadInput, PaasError, Unavailable
from paas.nouns.names import OBJECT_ID
from paas.receive import policy, progress
from paas.receive.policy import RefUpdate
from paas.receive.progress import Progress
from paas.receive.repository import ZERO
from paas.receive.wire import Wire
from runtime.kernel.forked import log_crash, log_lines

DECLINED = b"pre-receive hook declined"

_MAX_OPTION_BYTES = 1024
_MAX_UPDATE_BYTES = 64 * 1024 * 1024
_DRAIN_BYTES = 4 * 1024**3
_DRAIN_S = 60.0


class Refused(Exception):
    """The push changes nothing. `unpack` is what git is told if the pack itself is at fault."""

    def __init__(self, error: PaasError, *, unpack: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.unpack = unpack


class ReceivePack(ReceivePackHandler):
    """One push over `wire`. Subclasses say what is advertised and what a push does."""

    _CAPABILITIES: ClassVar[tuple[bytes, ...]] = (
        b"report-status",
        b"delete-refs",
        b"side-band-64k",
        b"quiet",
        b"atomic",
        b"ofs-delta",
        b"push-options",
        b"object-format=sha1",
    )

    def __init__(self, wire: Wire, ref_bytes: int) -> None:
        # not ReceivePackHandler's own: that opens a repository of dulwich's
        PackHandler.__init__(self, Backend(), Protocol(wire.read, wire.write))
        self.wire = wire
        self.progress = Progress(self._write_line)
        self._ref_bytes = ref_bytes
        self.update_count = 0
        self._shallow = False

    # for subclasses
    def advertised_heads(self) -> dict[str, str]:
        """Branch → commit."""
        raise NotImplementedError

    def check(self, updates: list[RefUpdate], options: list[str], *, shallow: bool) -> RefUpdate:
        """Decide before the pack is read. Raises PaasError."""
        raise NotImplementedError

    def deploy(self, update: RefUpdate) -> None:
        """Read the pack, deploy, and move the ref unless the commit is a canary. Raises Refused or PaasError."""
        raise NotImplementedError

    # the protocol
    def capabilities(self) -> Iterable[bytes]:
        return self._CAPABILITIES

    def serve(self) -> None:
        """Serve one push. Raises PaasError, for the caller to print: the client broke the protocol, or this end failed."""
        try:
            self.handle()
        except OSError as error:
            log_crash("git push")
            raise Unavailable(f"The push broke off: {error.strerror}.") from error

    def handle(self) -> None:
        """Advertise, read what the client asks for, deploy, report. Raises BadInput if the client breaks the protocol."""
        self._advertise()
        try:
            updates = self._read_updates()
            options = self._read_options() if updates else []
        except (GitProtocolError, ValueError) as error:  # dulwich raises both for what the client sent
            raise BadInput(f"The client does not speak git's protocol: {error}.") from error
        if not updates:
            return
        try:
            update = self.check(updates, options, shallow=self._shallow)
            self.deploy(update)
        except Refused as refusal:
            self._refuse(refusal, updates)
        except PaasError as error:
            self._refuse(Refused(error), updates)
        else:
            self._report([(b"unpack", b"ok"), (update.ref.encode(), b"ok")])

    def _advertise(self) -> None:
        heads = self.advertised_heads().items()
        refs = sorted((f"refs/heads/{branch}", commit) for branch, commit in heads)
        if not refs:
            refs = [("capabilities^{}", ZERO)]
        for number, (name, commit) in enumerate(refs):
            words = [*self._CAPABILITIES, b"agent=paas"] if number == 0 else None
            self.proto.write_pkt_line(format_ref_line(name.encode(), commit.encode(), words))
        self.proto.write_pkt_line(None)

    def _read_updates(self) -> list[RefUpdate]:
        """The ref updates that the client asks for, all counted; those beyond `ref_bytes` are read and dropped."""
        updates: list[RefUpdate] = []
        size = 0
        while (line := self._next_line()) is not None:
            size += len(line)
            if size > _MAX_UPDATE_BYTES:
                raise GitProtocolError(f"{self.update_count} refs in one push")
            if line.startswith(b"shallow "):
                self._shallow = True
                continue
            self.update_count += 1
            if size <= self._ref_bytes or not updates:
                updates.append(self._parse_update(line, first=not updates))
        return updates

    def _next_line(self) -> bytes | None:
        line: bytes | None = self.proto.read_pkt_line()
        return line

    def _parse_update(self, line: bytes, *, first: bool) -> RefUpdate:
        if first:
            line, words = extract_capabilities(line)
            # harmless, but dulwich refuses whatever was not advertised
            self.set_client_capabilities([word for word in words if not word.startswith(b"session-id=")])
        parts = line.rstrip(b"\n").decode("utf-8", "backslashreplace").split(" ")
        if len(parts) != 3 or not all(OBJECT_ID.fullmatch(part) for part in parts[:2]):
            raise GitProtocolError("a ref update is not OLD NEW REF")
        return RefUpdate(*parts)

    def _read_options(self) -> list[str]:
        if not self.has_capability(b"push-options"):
            return []
        options: list[str] = []
        while (line := self._next_line()) is not None:
            if len(options) >= policy.MAX_OPTIONS or len(line) > _MAX_OPTION_BYTES:
                raise GitProtocolError("too many push options")
            options.append(line.rstrip(b"\n").decode("utf-8", "backslashreplace"))
        return options

    def _refuse(self, refusal: Refused, updates: list[RefUpdate]) -> None:
        """Tell the pusher why, and git that nothing moved."""
        error = refusal.error
        self.progress.say(
            *progress.failure(error), *progress.rejected(error.cause or progress.first_words(error.message))
        )
        log_lines(
            [f"git: event=rejected cause={error.cause or error.code!r}"]
        )  # the job itself does not fail
        status = [(b"unpack", refusal.unpack.encode() or b"ok")]
        reason = b"unpacker error" if refusal.unpack else DECLINED
        status += [(update.ref.encode(), reason) for update in updates]
        self._report(status)
        if any(update.new != ZERO for update in updates):
            # a client that still sends its pack would never read the answer
            self.wire.drain(_DRAIN_BYTES, _DRAIN_S)

    def _report(self, status: list[tuple[bytes, bytes]]) -> None:
        if self.has_capability(b"report-status"):
            self._report_status(status)

    def _write_line(self, line: bytes) -> None:
        if self._client_capabilities is not None and self.has_capability(b"side-band-64k"):
            self.proto.write_sideband(SIDE_BAND_CHANNEL_PROGRESS, line)
        else:
            self.wire.write_aside(line)
