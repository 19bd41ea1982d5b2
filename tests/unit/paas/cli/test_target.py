"""Which platform a command talks to, and how its socket is waited for."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from paas.cli.client import Client
from paas.cli.target import Target, find_target, login_path, remote
from paas.daemon.presence import UNKNOWN_S
from paas.nouns.errors import NotFound, PaasError, Unavailable


def test_a_server_that_is_away_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Client(Target("/srv/paas", path=str(tmp_path / "none.sock"))).get("/apps")
    assert "/srv/paas does not answer" in caught.value.message
    assert "server:status" in caught.value.hint


@pytest.mark.parametrize("pid", [os.getpid(), 0], ids=["running", "none"])
def test_only_a_server_that_is_there_is_waited_for(tmp_path: Path, pid: int) -> None:
    socket_path = tmp_path / "api" / "api.sock"
    socket_path.parent.mkdir()
    (tmp_path / "status.json").write_text(json.dumps({"pid": pid, "ready": False}))

    def appear() -> None:
        time.sleep(UNKNOWN_S + 0.5)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(socket_path))
            listener.listen()
            peer, _ = listener.accept()
            peer.close()

    if pid:
        thread = threading.Thread(target=appear)
        thread.start()
        Target("here", path=str(socket_path)).connect().close()
        thread.join()
    else:
        with pytest.raises(Unavailable, match="its server does not run"):
            Target("here", path=str(socket_path)).connect()


def home(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "id").write_text("abcdef\n")
    return folder


def login(folder: Path) -> dict[str, str]:
    path = login_path({"HOME": str(folder)})
    path.parent.mkdir(parents=True)
    path.write_text('{"url": "https://paas.example.com", "token": "paas_x"}')
    return {"HOME": str(folder)}


def test_the_home_in_the_environment_comes_first(tmp_path: Path) -> None:
    target = find_target({**login(tmp_path), "PAAS_HOME": str(home(tmp_path / "home"))})
    assert target.path == "/run/paas/abcdef/api/api.sock"
    assert target.headers == {}


def test_then_the_login_with_its_token(tmp_path: Path) -> None:
    target = find_target(login(tmp_path))
    assert (target.host, target.port, target.tls) == ("paas.example.com", 443, True)
    assert target.headers["Authorization"] == "Bearer paas_x"


def test_over_ssh_the_user_is_told_and_no_login_counts(tmp_path: Path) -> None:
    environ = {
        **login(tmp_path),
        "PAAS_HOME": "/hidden",
        "PAAS_SOCKET": "/run/x.sock",
        "PAAS_SSH_PROOF": "bea",
    }
    target = find_target(environ)
    assert (target.path, target.headers) == ("/run/x.sock", {"X-Paas-Proof": "bea"})


def test_a_folder_that_is_no_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no platform in") as caught:
        find_target({"PAAS_HOME": str(tmp_path)})
    assert f"paas server --home {tmp_path}" in caught.value.hint


@pytest.mark.parametrize("url", ["paas.example.com", "ftp://x", "http://", "http://x:port", "http://x:0"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PaasError, match="is not an address"):
        remote(url, "t")
