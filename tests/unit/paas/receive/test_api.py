"""The git daemon's requests to the API: what of an answer is an error of the deployment, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.answering import Answering

from paas.keys.proof import HEADER, Proof
from paas.nouns.errors import Conflict, DeployFailed, Forbidden, NotFound
from paas.receive.api import Api, Lost
from paas.receive.dulwich_protocol import Refused

PROOF = Proof(b"session", "paas", "ssh-ed25519", "SHA256:x/y", b"signature", "c0ffee")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path / "api.sock")
    yield made
    made.close()


@pytest.fixture
def api(server: Answering, tmp_path: Path) -> Api:
    return Api(tmp_path / "api.sock", PROOF)


def plain(body: Any, status: str = "200 OK") -> bytes:
    data = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def stream(*messages: dict[str, Any]) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(json.dumps(each).encode() + b"\n" for each in messages)


def deployed(api: Api, said: list[str]) -> int:
    """Deploy, with the lines in `said`; the number of signs of life."""
    ticks: list[None] = []
    api.deploy("hello", {"commit": "1" * 40}, said.append, lambda: ticks.append(None))
    return len(ticks)


def test_lines_and_pings_are_signs_of_life_until_the_commit_is_live(server: Answering, api: Api) -> None:
    server.answer = [stream({"ping": True}, {"line": "one"}, {"ping": True}, {"done": True, "result": {}})]
    said: list[str] = []
    assert deployed(api, said) == 3 and said == ["one"]
    head = server.requests[0].split(b"\r\n\r\n")[0]
    assert head.startswith(b"POST /v1/apps/hello/pushes HTTP/1.1\r\n")
    assert f"\r\n{HEADER}: {PROOF.encode()}".encode() in head


def test_a_failed_deployment_is_a_refusal_with_its_error(server: Answering, api: Api) -> None:
    failed = DeployFailed("web.1 exited.", "See: paas logs", cause="exited", lines=("boom",))
    server.answer = [stream({"line": "one"}, {"done": True, "error": failed.to_json()})]
    said: list[str] = []
    with pytest.raises(Refused) as refusal:
        deployed(api, said)
    error = refusal.value.error
    assert isinstance(error, DeployFailed) and error.lines == ("boom",) and said == ["one"]


def test_a_deployment_that_did_not_begin_raises(server: Answering, api: Api) -> None:
    server.answer = [plain({"error": Forbidden("You may not.").to_json()}, "403 Forbidden")]
    with pytest.raises(Forbidden, match="You may not"):
        deployed(api, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        stream({"line": "one"}),
        stream({"line": "one"}) + b'{"do',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        plain("<html>", "502 Bad Gateway"),
    ],
)
def test_an_answer_that_breaks_off_is_lost(server: Answering, api: Api, answer: bytes) -> None:
    server.answer = [answer]
    with pytest.raises(Lost, match="The platform's api does not answer"):
        deployed(api, [])


def test_an_app_that_the_user_may_not_see_is_none_and_a_renamed_one_an_error(
    server: Answering, api: Api
) -> None:
    server.answer = [plain({"error": NotFound("There is no app.").to_json()}, "404 Not Found")]
    assert api.repository("hello") is None
    assert not api.knows_key("SHA256:a/b")
    server.answer = [
        plain({"error": NotFound("It is called b.", cause="renamed").to_json()}, "404 Not Found")
    ]
    with pytest.raises(NotFound, match="called b"):
        api.repository("hello")


def test_an_app_and_those_who_ask_for_it(server: Answering, api: Api) -> None:
    app = {"id": "a0000000001", "name": "hello", "branches": ["prod"], "live_commit": None, "last_release": 3}
    server.answer = [plain(app)]
    found = api.create("hello")
    assert (found.branches, found.live_commit, found.last_release, found.last_deployment) == (
        ("prod",),
        None,
        3,
        0,
    )
    server.answer = [plain({"error": Conflict("The name is taken.").to_json()}, "409 Conflict")]
    with pytest.raises(Conflict):
        api.create("hello")
    server.answer = [plain({"user": "ann", "apps": ["a1", "a2"]})]
    assert (api.user(), api.app_ids()) == ("ann", {"a1", "a2"})


def test_a_daemon_without_a_proof_sends_none(server: Answering, tmp_path: Path) -> None:
    server.answer = [plain({"user": "ann"})]
    assert Api(tmp_path / "api.sock").knows_key("SHA256:a/b")
    assert b"GET /v1/keys/SHA256%3Aa%2Fb HTTP/1.1" in server.requests[0]
    assert HEADER.encode() not in server.requests[0]
