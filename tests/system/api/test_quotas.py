"""What one member cannot use up for everybody: ranges of user ids, addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.api import Api, As
from harness.rows import deployed

from paas.api.apps import MAX_APPS
from paas.api.runs import MAX_RUNS
from paas.nouns.errors import Conflict
from paas.store import apps, people
from runtime.spawner.idblocks import ID_COUNT
from runtime.spec import ID_RANGE


@pytest.fixture
def api() -> Iterator[Api]:
    running = Api().start()
    try:
        running.user("ann")
        yield running
    finally:
        running.close()


def test_a_member_has_a_bounded_number_of_apps(api: Api) -> None:
    api.user("eve")
    with api.store.write() as tx:
        eve = people.user_named(tx, "eve")
        assert eve is not None
        for number in range(MAX_APPS):
            apps.create(tx, f"e{number}", eve.id)
    for path in ("/v1/apps", "/v1/git/one-more"):
        reply = api.ask("POST", path, {}, As(uid=api.git_uid, user="eve"))
        assert (reply.status, reply.error["code"]) == (409, "conflict"), reply.body
    for asker in (As(), As(uid=api.git_uid, user="ann")):
        assert api.ask("POST", "/v1/apps", {}, asker).status == 201


def test_the_last_range_of_user_ids_is_the_last_app(api: Api) -> None:
    with api.store.write() as tx:
        for number in range(1, ID_COUNT // ID_RANGE):
            apps.create(tx, f"e{number}", None)
        with pytest.raises(Conflict, match="no user ids left"):
            apps.create(tx, "more", None)


def test_an_app_has_a_bounded_number_of_commands(api: Api) -> None:
    name = api.ask("POST", "/v1/apps", {}).json["name"]
    deployed(api, name, web="run")
    wanted = {"command": ["sleep", "600"], "detach": True}
    for _ in range(MAX_RUNS):
        assert api.ask("POST", f"/v1/apps/{name}/runs", wanted).status == 201
    reply = api.ask("POST", f"/v1/apps/{name}/runs", wanted)
    assert (reply.status, reply.error["code"]) == (409, "conflict")
