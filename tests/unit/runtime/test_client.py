"""The client of the spawner: answers become values, refusals and silence one kind of error."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime import frames
from runtime.client import Spawner, SpawnerError
from runtime.protocol import Exit, Observed
from runtime.spec import Order


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


@pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff\xff", b"\0\0\0\5nojso", b"\0\0\0\0", b"\0\0\0\5{}"])
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


def test_a_list_becomes_values_and_keys_of_a_newer_spawner_are_ignored(tmp_path: Path) -> None:
    order = {"id": "i1", "app": "a1", "type": "web", "number": 2, "release": None, "log": "app"}
    item = {
        "id": "i1", "state": "running", "pid": 5, "start_ticks": 6, "boot_id": "b", "address": None,
        "started_at": 1.5, "order": order, "exit": None, "newer": 1,
    }  # fmt: skip
    server = Answering(tmp_path, {"ok": True, "instances": [item]})
    expected = Observed(5, 6, "b", None, 1.5, "i1", "running", Order("i1", "a1", "web", 2), None)
    assert Spawner(server.path).list() == [expected]
    server.close()


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_layer_is_asked_for_once_more_when_the_spawner_dies_before_its_answer(
    tmp_path: Path, deaths: int
) -> None:
    answer = frames.encode_json({"ok": True, "digest": "sha256:1", "size_bytes": 5, "files": 1})
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        listener.listen()

        def serve() -> None:
            for number in range(2):
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer if number == deaths else b"")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        if deaths == 1:
            assert Spawner(tmp_path / "s.sock").unpack("a.tar").digest == "sha256:1"
        else:
            with pytest.raises(SpawnerError) as error:
                Spawner(tmp_path / "s.sock").unpack("a.tar")
            assert error.value.code == "unavailable"
        thread.join(10)
    assert asked[0] == asked[1]
