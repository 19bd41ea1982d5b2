"""The client's end of an attached process: pipes, a terminal, signals, and connections that break."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.frames import EXIT, RESIZE, SIGNAL, STDERR, STDIN, STDOUT, FrameDecoder, encode_frame
from runtime.kernel.poll import readable

ROOT = Path(__file__).parents[3]
_CODE = """
import socket, sys
from paas.cli.attach import Attachment
from paas.nouns.errors import PaasError
try:
    sys.exit(Attachment(socket.socket(fileno=int(sys.argv[1])), b"", terminal=sys.argv[2] == "tty").run())
except PaasError as error:
    sys.stderr.write(error.message); sys.exit(1)
"""


class Shim:
    """The far end of the connection."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.settimeout(20)
        self._decoder = FrameDecoder()
        self._frames: list[tuple[int, bytes]] = []

    def start(self, mode: str = "pipe", **streams: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _CODE, str(self.near.fileno()), mode]
        process = subprocess.Popen(command, pass_fds=[self.near.fileno()], cwd=ROOT, **streams)  # type: ignore[call-overload]
        self.near.close()
        return process  # type: ignore[no-any-return]

    def frame(self) -> tuple[int, bytes]:
        while not self._frames:
            data = self.far.recv(65536)
            assert data, "the client hung up"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def until(self, channel: int) -> bytes:
        while True:
            found, payload = self.frame()
            if found == channel:
                return payload

    def send(self, channel: int, payload: bytes = b"") -> None:
        self.far.sendall(encode_frame(channel, payload))

    def exit(self, **how: int) -> None:
        self.send(EXIT, json.dumps(how).encode())


@pytest.fixture
def shim() -> Iterator[Shim]:
    made = Shim()
    yield made
    made.far.close()


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def test_streams_stay_apart_and_the_status_is_the_commands(shim: Shim) -> None:
    process = shim.start(**PIPES)
    shim.send(STDOUT, b"out")
    shim.send(STDERR, b"err")
    shim.exit(status=42)
    assert process.communicate(timeout=20) == (b"out", b"err")
    assert process.returncode == 42


@pytest.mark.parametrize(
    ("how", "status"), [({"signal": 9}, 137), ({"status": 0}, 0), ({"status": 143}, 143)]
)
def test_a_signal_is_128_and_its_number(shim: Shim, how: dict[str, int], status: int) -> None:
    process = shim.start(**PIPES)
    shim.exit(**how)
    process.communicate(timeout=20)
    assert process.returncode == status


def test_megabytes_both_ways_do_not_lock_up(shim: Shim) -> None:
    """`cat` of something large: the far end reads only as fast as its answers are taken."""
    size = 6 << 20
    process = shim.start(**PIPES)

    def echo() -> None:
        while payload := shim.until(STDIN):
            shim.send(STDOUT, payload)
        shim.exit(status=0)

    thread = threading.Thread(target=echo)
    thread.start()
    out, _ = process.communicate(os.urandom(1 << 20) * (size >> 20), timeout=60)
    thread.join()
    assert len(out) == size
    assert process.returncode == 0


@pytest.mark.parametrize("source", ["file", "null", "closed"])
def test_input_that_cannot_be_waited_for_arrives_whole(shim: Shim, tmp_path: Path, source: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"x" * 300_000)
    streams = {**PIPES, "stdin": subprocess.DEVNULL}
    if source == "file":
        streams["stdin"] = path.open("rb")  # type: ignore[assignment]
    elif source == "closed":
        streams["preexec_fn"] = lambda: os.close(0)  # type: ignore[assignment]
    process = shim.start(**streams)
    total = 0
    while payload := shim.until(STDIN):
        total += len(payload)
    shim.exit(status=0)
    process.communicate(timeout=20)
    assert total == (300_000 if source == "file" else 0)
    assert process.returncode == 0


@pytest.mark.parametrize("source", ["/dev/zero", "sparse"])
def test_a_file_that_nobody_reads_is_not_kept_in_memory(shim: Shim, tmp_path: Path, source: str) -> None:
    """The far end takes nothing: what is read ahead of it stays small, however much there is."""
    if source == "sparse":
        path = tmp_path / "input"
        with path.open("wb") as file:
            file.truncate(20 << 30)
        source = str(path)
    process = shim.start(**{**PIPES, "stdin": open(source, "rb")})  # type: ignore[arg-type]  # noqa: SIM115
    shim.until(STDIN)
    read = Path(f"/proc/{process.pid}/io")
    seen = 0
    while (now := int(read.read_text().split()[1])) != seen:
        seen = now
        time.sleep(0.3)
    status = Path(f"/proc/{process.pid}/status").read_text()
    shim.exit(status=0)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 80_000  # type: ignore[index]


def test_a_broken_connection_is_an_error(shim: Shim) -> None:
    process = shim.start(**PIPES)
    shim.send(STDOUT, b"begun")
    shim.far.shutdown(socket.SHUT_RDWR)
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == (b"begun", 1)
    assert b"broke" in err


def test_interrupts_go_to_the_process_and_the_third_gives_up(shim: Shim) -> None:
    process = shim.start(**PIPES)
    shim.send(STDOUT, b"ready")
    assert process.stdout is not None
    assert process.stdout.read(5) == b"ready"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert shim.until(SIGNAL) == b"INT"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_terminal_is_raw_meanwhile_tells_its_size_and_is_put_back(shim: Shim) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    before = termios.tcgetattr(follower)

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = shim.start("tty", stdin=follower, stdout=follower, stderr=follower, preexec_fn=own_terminal)
    assert struct.unpack(">HH", shim.until(RESIZE)) == (33, 99)
    os.write(leader, b"\x03q")
    assert shim.until(STDIN) == b"\x03q"
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    assert struct.unpack(">HH", shim.until(RESIZE)) == (40, 120)
    shim.send(STDOUT, b"line\r\n")
    seen = b""
    deadline = time.monotonic() + 20
    while b"line" not in seen and time.monotonic() < deadline:
        if readable(leader, 0.2):
            seen += os.read(leader, 1000)
    assert seen == b"line\r\n"
    shim.exit(status=3)
    assert process.wait(20) == 3
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    os.close(follower)
