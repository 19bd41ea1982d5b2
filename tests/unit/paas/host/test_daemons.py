"""What each daemon is started with, and how its readiness is known."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.platform import free_port

from paas.host import daemons, launch
from paas.host.daemons import ENVIRON, Wiring, _answers_http, _listens, _spawns
from paas.host.listeners import Listeners
from paas.nouns.settings import Settings, load
from runtime.frames import encode_json


@pytest.fixture
def wiring(tmp_path: Path) -> Iterator[Wiring]:
    flags = {"home": str(tmp_path), "acme_ca": "/etc/ssl/ca.pem", "https": "off", "router.workers": "2"}
    flags |= {name: f"127.0.0.1:{free_port()}" for name in ("http", "ssh", "api")}
    settings = Settings.from_json({**load(flags, {}).to_json(), "id": "abcdef"})
    listeners = Listeners(settings, shared=False)
    yield Wiring(settings, settings.layout(), tmp_path / "settings.json", listeners)
    for sock in (*listeners.http, listeners.ssh, listeners.api):
        sock.close()


def test_a_daemon_sees_the_code_and_of_the_home_its_own_folders_only(wiring: Wiring) -> None:
    view = wiring.view([wiring.layout.repos])
    assert (view.hidden, view.writable) == ((wiring.layout.home,), (wiring.layout.repos,))
    assert view.read_only == tuple(launch.code_paths())


def test_the_control_plane_has_no_repository_and_no_host_key(wiring: Wiring) -> None:
    layout, view = wiring.layout, wiring.control_view()
    assert {layout.database.parent, layout.images, layout.logs, layout.edge} <= set(view.writable)
    seen = (*view.writable, *view.read_only)
    for secret in (layout.repos, layout.secrets / "ssh", layout.home):
        assert not any(path == secret or path in secret.parents for path in seen), secret
    assert Path("/etc/ssl/ca.pem") in view.read_only


def test_each_router_worker_gets_its_own_listener_and_outlives_the_supervisor(wiring: Wiring) -> None:
    programs = [_program(daemons._router(wiring, index)) for index in range(2)]
    fds = [sock.fileno() for sock in wiring.listeners.http]
    assert [program.keep for program in programs] == [(fd,) for fd in fds]
    for number, (program, fd) in enumerate(zip(programs, fds, strict=True), 1):
        words = list(program.argv)
        assert words[words.index("--worker") + 1] == str(number)
        assert words[words.index("--listen-fd") + 1] == str(fd)
        assert "--tls-listen-fd" not in words and not program.die_with_parent
        assert program.environ == ENVIRON


def test_the_control_daemons_die_with_the_supervisor(wiring: Wiring) -> None:
    for daemon in (daemons._converge(wiring), daemons._api(wiring)):
        program = _program(daemon)
        assert program.die_with_parent and str(wiring.settings_file) in program.argv
        assert program.account.name == daemon.user


def _program(daemon: daemons.Daemon) -> launch.Program:
    program: launch.Program = daemon.launch.args[0]  # type: ignore[attr-defined]
    return program


def test_a_dead_daemons_socket_is_not_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "poke.sock"
    assert not _listens(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert _listens(path)
    assert path.exists() and not _listens(path)


def serve(path: Path, answer: bytes) -> None:
    """One connection that says this once it has been asked something, then hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def once() -> None:
        peer, _ = listener.accept()
        with listener, peer:
            peer.recv(4096)
            peer.sendall(answer)

    threading.Thread(target=once, daemon=True).start()


@pytest.mark.parametrize(
    ("answer", "ready"),
    [(b"HTTP/1.1 401 Unauthorized\r\n\r\n", True), (b"SSH-2.0-x\r\n", False), (b"", False)],
)
def test_any_answer_in_http_is_a_ready_api(tmp_path: Path, answer: bytes, ready: bool) -> None:
    assert not _answers_http(tmp_path / "api.sock")
    serve(tmp_path / "api.sock", answer)
    assert _answers_http(tmp_path / "api.sock") is ready


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (encode_json({"ok": True, "block": {"id_base": 1}}), True),
        (encode_json({"ok": False, "error": {"code": "x", "message": "no", "hint": ""}}), False),
        (b"", False),
    ],
)
def test_a_spawner_is_ready_when_it_tells_about_itself(tmp_path: Path, answer: bytes, ready: bool) -> None:
    assert not _spawns(tmp_path / "spawner.sock")
    serve(tmp_path / "spawner.sock", answer)
    assert _spawns(tmp_path / "spawner.sock") is ready
