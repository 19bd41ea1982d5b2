"""The sockets of the platform: shared between router workers, refused when somebody else has the address."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from harness.platform import free_port

from paas.host.listeners import Listeners
from paas.nouns.errors import Conflict, Unavailable
from paas.nouns.settings import Settings, load


def settings(home: Path, **more: str) -> Settings:
    flags = {
        "home": str(home),
        "https": "off",
        **{name: f"127.0.0.1:{free_port()}" for name in ("http", "ssh", "api")},
    }
    return load({**flags, "router.workers": "2", **more}, {})


def close(made: Listeners) -> None:
    for sock in (*made.http, *made.https, made.ssh, made.api):
        sock.close()


def test_each_router_worker_has_a_socket_of_its_own_on_one_port(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    made = Listeners(chosen, shared=False)
    assert [sock.getsockname()[1] for sock in made.http] == [chosen.http.port] * 2
    again = Listeners(
        Settings.from_json(
            {**chosen.to_json(), "ssh": f"127.0.0.1:{free_port()}", "api": f"127.0.0.1:{free_port()}"}
        ),
        shared=True,
    )
    assert len(again.http) == 2
    close(made)
    close(again)


@pytest.mark.parametrize("flag", ["http", "ssh", "api"])
def test_an_address_in_use_is_named_with_its_flag(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"127.0.0.1:{port} is in use by another program") as caught:
            Listeners(settings(tmp_path, **{flag: f"127.0.0.1:{port}"}), shared=False)
    assert caught.value.hint == f"Choose another with --{flag}."


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be listened on"):
        Listeners(settings(tmp_path, api="192.0.2.1:81"), shared=False)
