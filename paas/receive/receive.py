"""`git push`: the receiving half of the protocol, with the deployment between the checks and the moving of the ref.

On top of dulwich's handler, which speaks the protocol but trusts its peer: bounds, a quarantine, git's own fsck in
a confined child, connectivity, and a compare-and-swap whose result is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, ClassVar

from dulwich.errors import GitProtocolError, HangupException
from dulwich.protocol import (
    SIDE_BAND_CHANNEL_PROGRESS,
    Protocol,
    extract_capabilities,
    format_ref_line,
)
from dulwich.server import Backend, PackHandler, ReceivePackHandler

from paas.nouns.errors import BadInput, PaasError, Unavailable
from paas.nouns.units import elapsed
from paas.receive import policy, progress
from paas.receive.policy import RefCommand
from paas.receive.repository import OBJECT_ID, ZERO
from paas.receive.wire import Wire
from runtime.kernel.forked import log_crash

HEARTBEAT_S = 10.0
DECLINED = b"pre-receive hook declined"

_MAX_OPTION_BYTES = 1024
_MAX_COMMAND_BYTES = 64 * 1024 * 1024
_DRAIN_BYTES = 4 * 1024**3
_DRAIN_S = 60.0


class Refused(Exception):
    """The push changes nothing; `unpack` set means that the pack itself was at fault."""

    def __init__(self, error: PaasError, *, unpack: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.unpack = unpack


class Voice:
    """What the pusher reads while it happens: side band 2, or stderr for a client without it."""

    def __init__(self, write_line: Any) -> None:
        self._write = write_line
        self._last = time.monotonic()
        self._doing = "working"

    def say(self, *lines: str) -> None:
        for line in lines:
            self._write(progress.harmless(line).encode() + b"\n")
        self._last = time.monotonic()

    def doing(self, what: str) -> None:
        """What a heartbeat says is going on."""
        self._doing = what
        self._began = self._last = time.monotonic()

    def tick(self) -> None:
        """Break a silence of ten seconds."""
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_S:
            self.say(f"       Still {self._doing} ({elapsed(now - self._began)})")

    _began: float = 0.0


class ReceivePack(ReceivePackHandler):
    """One push over `wire`. Subclasses decide what is advertised and what a push means."""

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
        PackHandler.__init__(self, Backend(), Protocol(wire.read, wire.write))
        self.wire = wire
        self._ref_bytes = ref_bytes
        self.asked = 0
        self.voice = Voice(self._write_line)
        self._shallow = False

    # what a subclass answers
    def heads(self) -> dict[str, str]:
        """Branch → commit, as advertised."""
        raise NotImplementedError

    def accept(self, commands: list[RefCommand], options: list[str], *, shallow: bool) -> RefCommand:
        """Decide before the pack is read. Raises PaasError."""
        raise NotImplementedError

    def deploy(self, command: RefCommand) -> None:
        """Read the pack, deploy, move the ref. Raises Refused or PaasError."""
        raise NotImplementedError

    # the protocol
    def capabilities(self) -> Iterable[bytes]:
        return self._CAPABILITIES

    def handle(self) -> None:
        """Serve one push. Raises BadInput for a client that breaks the protocol, HangupException."""
        self._advertise()
        try:
            commands = self._read_commands()
            options = self._read_options() if commands else []
        except (GitProtocolError, ValueError) as error:  # dulwich raises both for what the client sent
            sentence = f"The client does not speak git's protocol: {progress.harmless(str(error))}."
            raise BadInput(sentence) from error
        if not commands:
            return
        try:
            command = self.accept(commands, options, shallow=self._shallow)
            self.deploy(command)
        except Refused as refusal:
            self._refuse(refusal, commands)
        except PaasError as error:
            self._refuse(Refused(error), commands)
        else:
            self._report([(b"unpack", b"ok"), (command.ref.encode(), b"ok")])

    def _advertise(self) -> None:
        refs = sorted((f"refs/heads/{branch}", commit) for branch, commit in self.heads().items())
        if not refs:
            refs = [("capabilities^{}", ZERO)]
        for number, (name, commit) in enumerate(refs):
            words = [*self._CAPABILITIES, b"agent=paas"] if number == 0 else None
            self.proto.write_pkt_line(format_ref_line(name.encode(), commit.encode(), words))
        self.proto.write_pkt_line(None)

    def _read_commands(self) -> list[RefCommand]:
        """The updates the client asks for, counted in `asked`; those beyond `ref_bytes` are read and dropped."""
        commands: list[RefCommand] = []
        size = 0
        while (line := self._next_line()) is not None:
            size += len(line)
            if size > _MAX_COMMAND_BYTES:
                raise GitProtocolError(f"{self.asked} refs in one push")
            if line.startswith(b"shallow "):
                self._shallow = True
                continue
            self.asked += 1
            if size <= self._ref_bytes or not commands:
                commands.append(self._command(line, first=not commands))
        return commands

    def _next_line(self) -> bytes | None:
        line: bytes | None = self.proto.read_pkt_line()
        return line

    def _command(self, line: bytes, *, first: bool) -> RefCommand:
        if first:
            line, words = extract_capabilities(line)
            self.set_client_capabilities([word for word in words if not word.startswith(b"session-id=")])
        parts = line.rstrip(b"\n").decode("utf-8", "backslashreplace").split(" ")
        if len(parts) != 3 or not all(OBJECT_ID.fullmatch(part) for part in parts[:2]):
            raise GitProtocolError("a ref update is not OLD NEW REF")
        return RefCommand(*parts)

    def _read_options(self) -> list[str]:
        if not self.has_capability(b"push-options"):
            return []
        options: list[str] = []
        while (line := self._next_line()) is not None:
            if len(options) >= policy.MAX_OPTIONS or len(line) > _MAX_OPTION_BYTES:
                raise GitProtocolError("too many push options")
            options.append(line.rstrip(b"\n").decode("utf-8", "backslashreplace"))
        return options

    def _refuse(self, refusal: Refused, commands: list[RefCommand]) -> None:
        """Tell the pusher why, and git that nothing moved."""
        error = refusal.error
        self.voice.say(
            *progress.failure(error), *progress.rejected(error.cause or progress.first_words(error.message))
        )
        status = [(b"unpack", refusal.unpack.encode() or b"ok")]
        reason = b"unpacker error" if refusal.unpack else DECLINED
        status += [(command.ref.encode(), reason) for command in commands]
        self._report(status)
        if any(command.new != ZERO for command in commands):
            self.wire.drain(_DRAIN_BYTES, _DRAIN_S)

    def _report(self, status: list[tuple[bytes, bytes]]) -> None:
        if self.has_capability(b"report-status"):
            self._report_status(status)

    def _write_line(self, line: bytes) -> None:
        if self._client_capabilities is not None and self.has_capability(b"side-band-64k"):
            self.proto.write_sideband(SIDE_BAND_CHANNEL_PROGRESS, line)
        else:
            self.wire.write_aside(line)


def serve(handler: ReceivePack) -> int:
    """Run the handler; its exit status. What the client did wrong is told on stderr by the caller."""
    try:
        handler.handle()
    except HangupException:
        return 1
    except OSError as error:
        log_crash("git push")
        raise Unavailable(f"The push broke off: {error.strerror}.") from error
    return 0
