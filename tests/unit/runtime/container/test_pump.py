"""The shim's loop over real pipes and a real terminal: output to the log and to a client, input from it, the end on record."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.engine import forked

from runtime import frames
from runtime.cgroup import Group
from runtime.container.attach import Attach
from runtime.container.logs import Journal, Ring
from runtime.container.processes import Processes
from runtime.container.pump import Ends, Pump


@dataclass
class Shim:
    """Runs a function as pid 1 of a container, with pipes or a terminal, and pumps until it has ended."""

    folder: Path
    group: Group
    heard: list[tuple[int, bytes]] = field(default_factory=list)

    def run(
        self, program: Callable[[], None], *said: bytes, client: bool = False, terminal: bool = False
    ) -> None:
        """`said` is what the client sends at once; then it reads until it is hung up on."""
        ends, inside = self._terminal() if terminal else self._pipes(client)

        def child() -> None:
            os.setsid()
            for number, fd in enumerate(inside):
                os.dup2(fd, number)
            os.closerange(3, 1 << 20)  # the write end of its own input among them
            program()

        pid = forked(child)
        for fd in set(inside):
            os.close(fd)
        self.group.join(pid)
        report, writing = os.pipe()
        processes = Processes(self.group, pid, os.pidfd_open(pid), report, None)
        logs = [
            os.open(self.folder / f"{number}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            for number in (0, 1)
        ]
        record = os.open(self.folder / "exit.json", os.O_CREAT | os.O_WRONLY)
        attach = self._attach(said) if client else None
        Pump(ends, processes, Journal("app", "web.1"), Ring((logs[0], logs[1])), record, attach).run()
        if attach is not None:
            attach.hang_up()
            self.thread.join(30)
            self.listener.close()
        for fd in (*logs, record, report, writing, processes.pidfd):
            os.close(fd)

    def _pipes(self, client: bool) -> tuple[Ends, tuple[int, int, int]]:
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        in_r, in_w = os.pipe()
        if client:
            return Ends(out_r, err_r, in_w), (in_r, out_w, err_w)
        for fd in (err_r, err_w, in_w):
            os.close(fd)
        return Ends(out_r), (in_r, out_w, out_w)

    def _terminal(self) -> tuple[Ends, tuple[int, int, int]]:
        master, slave = os.openpty()
        return Ends.of_terminal(master), (slave, slave, slave)

    def _attach(self, said: tuple[bytes, ...]) -> Attach:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / "attach.sock"))
        self.listener.listen(1)
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.folder / "attach.sock"))
        client.sendall(b"".join(said))

        def read() -> None:
            decoder = frames.FrameDecoder()
            with client:
                while data := client.recv(65536):
                    self.heard += decoder.feed(data)

        self.thread = threading.Thread(target=read)
        self.thread.start()
        return Attach(self.listener)

    def log(self) -> list[str]:
        return [line.split("+00:00 ", 1)[1] for line in (self.folder / "0.log").read_text().splitlines()]

    def status(self) -> int:
        found: int = json.loads((self.folder / "exit.json").read_text())["status"]
        return found

    def of(self, channel: int) -> bytes:
        return b"".join(payload for one, payload in self.heard if one == channel)


@pytest.fixture
def shim(tmp_path: Path, group: Group) -> Shim:
    folder = tmp_path / "shim"
    folder.mkdir()
    return Shim(folder, group)


def write(*pieces: tuple[int, bytes], status: int = 0) -> Callable[[], None]:
    def program() -> None:
        for fd, data in pieces:
            while data:
                data = data[os.write(fd, data) :]
        os._exit(status)

    return program


def copy() -> None:
    """What cat does."""
    while data := os.read(0, 65536):
        os.write(1, data)
    os.write(2, b"end of input\n")
    os._exit(7)


def test_without_a_client_both_outputs_are_lines_of_the_log_in_their_order(shim: Shim) -> None:
    shim.run(write((1, b"one\ntw"), (2, b"o\n\x1b[31mthree"), status=3))
    assert shim.log() == ["app[web.1]: one", "app[web.1]: two", "app[web.1]: three"]
    assert shim.status() == 3


def test_output_that_is_written_just_before_the_end_is_not_lost(shim: Shim) -> None:
    shim.run(write((1, b"".join(b"line %d\n" % number for number in range(9000)))))
    assert shim.log() == [f"app[web.1]: line {number}" for number in range(9000)]


def test_a_client_gets_both_outputs_apart_and_the_status_last_and_the_log_has_them_too(shim: Shim) -> None:
    shim.run(write((1, b"out\n"), (2, b"err\n"), status=5), client=True)
    assert (shim.of(frames.STDOUT), shim.of(frames.STDERR)) == (b"out\n", b"err\n")
    assert shim.heard[-1] == (frames.EXIT, b'{"status": 5}')
    assert sorted(shim.log()) == ["app[web.1]: err", "app[web.1]: out"]


def test_input_of_a_client_reaches_the_program_whole_and_so_does_its_end(shim: Shim) -> None:
    data = os.urandom(100_000)
    said = [frames.encode_frame(frames.STDIN, part) for part in (data[:50_000], data[50_000:], b"")]
    shim.run(copy, *said, client=True)
    assert shim.of(frames.STDOUT) == data and shim.of(frames.STDERR) == b"end of input\n"
    assert shim.status() == 7


def test_a_client_may_signal_the_program_but_only_with_known_signals(shim: Shim) -> None:
    said = [frames.encode_frame(frames.SIGNAL, name) for name in (b"TRAP", b"nonsense", b"\xff", b"SIGUSR2")]
    shim.run(copy, *said, client=True)
    assert shim.status() == 128 + 12


def test_a_terminal_has_the_size_and_the_input_of_its_client_and_no_line_in_the_log(shim: Shim) -> None:
    def program() -> None:
        while os.get_terminal_size(0) != (99, 33):
            pass
        line = os.read(0, 100)
        end = os.read(0, 100)
        os.write(1, b"got %r %r" % (line, end))
        os._exit(0)

    shim.run(
        program,
        frames.encode_frame(frames.RESIZE, b"\0\x21\0"),  # too short: it changes nothing
        frames.encode_frame(frames.RESIZE, b"\0\x21\0\x63"),
        frames.encode_frame(frames.STDIN, b"typed\n"),
        frames.encode_frame(frames.STDIN),
        client=True,
        terminal=True,
    )
    assert shim.of(frames.STDOUT).endswith(b"got b'typed\\n' b''")
    assert shim.log() == [] and shim.status() == 0
