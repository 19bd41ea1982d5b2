"""What the API shows of the router's workers, which face the internet and may say anything."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

from harness.flask_api import serve_worker

from paas.api.router import _OF_ALL, _shown
from paas.routing import workers
from runtime.frames import encode_json

SAID: dict[str, Any] = {
    "ok": True,
    "worker": 7,
    "number": 1,
    "core": "pure",
    "generation": 3,
    "draining": False,
    "clients": 99,
    "queues": {"mine": 2, "other": 5},
    "requests": {"mine": {"total": 4, "buckets": [1, "x"], "evil": "text"}, "other": {"total": 1}, "bad": 5},
    "backends": {
        "i1": {"app": "mine", "dyno": "web.1", "inflight": 1, "requests": 4, "failures": 0, "up": True},
        "i2": {"app": "other", "dyno": "web.1", "inflight": 0},
        "i3": None,
    },
}


def test_an_owner_sees_the_own_apps_and_an_administrator_all() -> None:
    own = _shown(SAID, _OF_ALL, {"mine"})
    assert own["apps"] == {"mine": {"total": 4, "buckets": [1, 0], "waiting": 2}}
    assert list(own["backends"]) == ["i1"] and "clients" not in own
    assert set(_shown(SAID, _OF_ALL, {"mine", "other"})["apps"]) == {"mine", "other"}
    assert set(_shown(SAID, _OF_ALL, {"mine", "new"})["apps"]) == {"mine"}, "one that is no more"


def test_nonsense_of_a_worker_is_left_out() -> None:
    assert _shown({"worker": 7, "requests": [], "backends": "x"}, _OF_ALL, {"other"})["apps"] == {}
    assert _shown(SAID, _OF_ALL, {"other"})["backends"]["i2"]["up"] is False


def test_who_says_nothing_drips_or_talks_nonsense_costs_a_moment_and_is_no_answer(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(workers, "TIMEOUT_S", 0.2)
    for number, answer in enumerate((b"", b"\0\0\0\x09{", b"\0\0\0\x02[]", b"\xff\xff\xff\xffxxxx")):
        path = tmp_path / f"worker-{number}.sock"
        serve_worker(path, answer)
        assert workers.ask(path, "stats") is None
    (tmp_path / "worker-9.sock").touch()
    assert workers.ask(tmp_path / "worker-9.sock", "stats") is None
    assert workers.metrics(tmp_path / "worker-9.sock") is None


def test_only_a_worker_with_a_table_as_new_as_any_is_up_to_date(tmp_path: Path) -> None:
    answers = {1: {"generation": 5}, 2: {"generation": 4}, 3: {"generation": "x"}, 4: {}}
    for pid, said in answers.items():
        serve_worker(tmp_path / f"worker-{pid}.sock", encode_json(said))
    assert workers.up_to_date(tmp_path, 1)
    assert not workers.up_to_date(tmp_path, 77)


def test_a_text_must_come_whole_and_with_200(tmp_path: Path) -> None:
    def reply(number: int, answer: bytes) -> str | None:
        path = tmp_path / f"worker-{number}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def once() -> None:
            peer, _ = listener.accept()
            with listener, peer:
                peer.recv(4096)
                peer.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        return workers.metrics(path)

    assert reply(1, b"HTTP/1.1 200 OK\r\n\r\nrouter_x 1\n") == "router_x 1\n"
    assert reply(2, b"HTTP/1.1 404 Not Found\r\n\r\nno") is None
    assert reply(3, b"HTTP/1.1 200 OK\r\n") is None
