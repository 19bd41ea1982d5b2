from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime import frames
from runtime.client import Spawner, SpawnerError
from runtime.kernel.poll import readable
from runtime.protocol import Exit
from runtime.spawner.jobs import Jobs
from runtime.spawner.listening import MOST_LINES, listening
from runtime.spawner.loop import Loop
from runtime.spawner.server import Options, StartError


def test_the_command_line_is_read() -> None:
    options = Options.parse(
        ["--home", "/h", "--stacks", "/s", "--allow-bind", "/a", "--allow-bind", "/b", "--user", "u"]
    )
    assert options == Options(Path("/h"), Path("/s"), (Path("/a"), Path("/b")), "u")


@pytest.mark.parametrize(
    "words",
    [[], ["--home", "/h"], ["--home", "/h", "--stacks"], ["--home", "/h", "--stacks", "/s", "--x", "1"]],
)
def test_a_wrong_command_line_is_refused(words: list[str]) -> None:
    with pytest.raises(StartError):
        Options.parse(words)


def test_listening_sockets_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
        "   1: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
        "   2: 0200000A:1388 0300000A:A0B0 01 00000000:00000000 00:00000000 00000000  1000 0 1\n"
    )
    (tmp_path / "tcp6").write_text(
        "  sl  local_address rem_address\n"
        "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 0 1\n"
    )
    assert listening(tmp_path) == [
        {"address": "0.0.0.0", "port": 5000}, {"address": "127.0.0.1", "port": 8000}, {"address": "::1", "port": 80},
    ]  # fmt: skip


def test_an_instance_with_very_many_sockets_costs_a_bounded_read(tmp_path: Path) -> None:
    line = "   0: 0100007F:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
    (tmp_path / "tcp").write_text("  sl\n" + "".join(line.format(port) for port in range(1, 60_000)))
    assert len(listening(tmp_path)) == MOST_LINES - 1


def test_no_proc_files_no_sockets(tmp_path: Path) -> None:
    assert listening(tmp_path) == []


def test_timers_run_in_order() -> None:
    loop, calls = Loop(), []
    loop.after(0.01, lambda: calls.append("second"))
    loop.after(0.0, lambda: calls.append("first"))
    while len(calls) < 2:
        loop.turn()
    assert calls == ["first", "second"]


def test_a_descriptor_is_called_back_until_it_is_forgotten() -> None:
    loop, calls = Loop(), []
    read, write = os.pipe()
    loop.watch(read, calls.append)
    os.write(write, b"x")
    loop.turn()
    loop.turn()
    loop.forget(read)
    loop.forget(read)
    loop.after(0.0, lambda: calls.append(-1))
    loop.turn()
    assert calls == [select.EPOLLIN, select.EPOLLIN, -1]
    os.close(read)
    os.close(write)


def test_a_descriptor_beyond_1023_is_waited_for() -> None:
    read, write = os.pipe()
    high = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, 1500)
    assert not readable(high) and not readable(high, 0.01)
    os.write(write, b"x")
    assert readable(high) and readable(high, None)
    for fd in (read, write, high):
        os.close(fd)


class TestJobs:
    def answer(self, work: Any, timeout_s: float = 20.0) -> dict[str, Any]:
        loop, answers = Loop(), []
        Jobs(loop).start("the job", work, answers.append, timeout_s=timeout_s)
        while not answers:
            loop.turn()
        found: dict[str, Any] = answers[0]
        return found

    def test_what_a_job_returns_is_its_answer(self) -> None:
        assert self.answer(lambda: {"files": 3}) == {"ok": True, "files": 3}

    def test_a_long_answer_arrives_whole(self) -> None:
        assert self.answer(lambda: {"text": "x" * 5_000_000})["text"] == "x" * 5_000_000

    def test_one_that_is_longer_than_a_message_is_refused_by_its_length(self) -> None:
        error = self.answer(lambda: {"text": "x" * frames.MAX_JSON_BYTES})["error"]
        assert (error["code"], "the answer of the job is longer" in error["message"]) == ("too_long", True)

    def test_what_it_raises_is_a_refusal(self) -> None:
        def work() -> dict[str, Any]:
            raise SpawnerError("no_space", "the disk is full", "free some")

        assert self.answer(work) == {
            "ok": False,
            "error": {"code": "no_space", "message": "the disk is full", "hint": "free some"},
        }

    def test_a_killed_job_says_so(self) -> None:
        answer = self.answer(lambda: os.kill(os.getpid(), 9))
        assert answer["error"]["message"] == "the job was killed by signal 9 before it had an answer"

    def test_a_job_that_takes_too_long_is_ended(self) -> None:
        answer = self.answer(lambda: threading.Event().wait(60), timeout_s=0.05)
        assert answer["error"]["code"] == "timed_out"

    def test_a_job_inherits_no_descriptor(self) -> None:
        read, write = os.pipe()
        os.set_inheritable(write, True)

        def work() -> dict[str, Any]:
            return {
                "fds": sorted(
                    int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
                )
            }

        assert write not in self.answer(work)["fds"]
        os.close(read)
        os.close(write)


class Answering:
    """A socket that answers every connection with the same messages."""

    def __init__(self, folder: Path, *messages: Any, raw: bytes | None = None) -> None:
        self.path = folder / "s.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._data = raw if raw is not None else b"".join(frames.encode_json(message) for message in messages)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._data)

    def close(self) -> None:
        self._thread.join()
        self._socket.close()


@pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff\xff", b"\0\0\0\5nojso"])
def test_an_answer_that_is_none_means_unavailable(tmp_path: Path, raw: bytes) -> None:
    server = Answering(tmp_path, raw=raw)
    with pytest.raises(SpawnerError) as error:
        Spawner(server.path).list()
    assert error.value.code == "unavailable"
    server.close()


def test_nobody_there_means_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SpawnerError) as error:
        Spawner(tmp_path / "none.sock").info()
    assert error.value.code == "unavailable"


def test_a_refusal_keeps_its_code_message_and_hint(tmp_path: Path) -> None:
    server = Answering(tmp_path, {"ok": False, "error": {"code": "c", "message": "m", "hint": "h"}})
    with pytest.raises(SpawnerError) as error:
        Spawner(server.path).kill("i1")
    assert (error.value.code, error.value.message, error.value.hint) == ("c", "m", "h")
    server.close()


def test_an_exit_record_becomes_a_value(tmp_path: Path) -> None:
    record = {
        "status": 137,
        "signal": 9,
        "oom_kills": 1,
        "peak_memory_bytes": 5,
        "ended_at": 1.0,
        "wall_exceeded": False,
    }
    server = Answering(tmp_path, {"ok": True, "exit": record})
    assert Spawner(server.path).delete("i1") == Exit(**record)
    server.close()


def test_an_event_right_behind_the_first_answer_is_not_lost(tmp_path: Path) -> None:
    server = Answering(tmp_path, {"ok": True}, {"event": "exit", "id": "i1"})
    watch = Spawner(server.path).watch()
    decoder = frames.JsonDecoder()
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        data += watch.recv(100)
    assert decoder.feed(data) == [{"event": "exit", "id": "i1"}]
    watch.close()
    server.close()
