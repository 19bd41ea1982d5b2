"""Queries of each noun: what they promise."""

from __future__ import annotations

import time
from typing import Any

import apsw
import pytest
from harness import nouns

from paas.nouns import lifecycle
from paas.nouns.errors import Conflict, NotFound
from paas.nouns.model import App, Image
from paas.store import (
    Store,
    apps,
    builds,
    configs,
    database,
    deployments,
    domains,
    events,
    formations,
    images,
    instances,
    layer_keys,
    people,
    releases,
)


def make_image(app: App, digest: str = "sha256:1") -> Image:
    return nouns.make_image(
        app_id=app.id,
        digest=digest,
        layers=("sha256:a", "sha256:b"),
        env={"PATH": "/bin"},
        manifest={"cron": []},
        size_bytes=7,
    )


def make_release(tx: database.Tx, app: App, image: str | None = None) -> int:
    return releases.create(
        tx,
        app.id,
        image_digest=image,
        config_number=0,
        limits={},
        description="Deploy 1",
        commit=None,
        actor="me",
    ).number


def restart(tx: database.Tx, app: App, **scope: Any) -> int:
    token = apps.bump_restart(tx, app.id)
    if scope:
        instances.spare_restart(tx, app.id, token, **scope)
    return token


def test_app_ids_and_id_ranges_are_given_once(store: Store) -> None:
    with store.write() as tx:
        first, second, third = (apps.create(tx, name, None) for name in ("one", "two", "three"))
        assert [first.range_index, second.range_index, third.range_index] == [1, 2, 3]
        apps.delete(tx, second.id)
        fourth = apps.create(tx, "two", None)
        assert fourth.range_index == 2
        assert fourth.id != second.id


def test_a_name_is_taken_until_the_app_is_destroyed(store: Store, app: App) -> None:
    with store.write() as tx:
        with pytest.raises(Conflict):
            apps.create(tx, "hello", None)
        domains.add(tx, app.id, "www.example.com")
        apps.set_destroying(tx, app.id)
        again = apps.create(tx, "hello", None)
        domains.add(tx, again.id, "www.example.com")
        assert apps.by_id(tx, app.id) is not None
        apps.rename(tx, again.id, "bye")
        assert apps.by_name(tx, "hello") is None


def test_config_zero_is_empty_and_each_change_is_the_next_number(store: Store, app: App) -> None:
    with store.write() as tx:
        assert configs.get(tx, app.id, 0) == {}
        odd = {"A": "line\nline", "B": "=", "C": "'\"", "D": "ü"}
        assert configs.put(tx, app.id, odd) == 1
        assert configs.put(tx, app.id, {}) == 2
        assert configs.get(tx, app.id, 1) == odd
        assert configs.get(tx, app.id, 2) == {}


def test_images_keep_every_field(store: Store, app: App) -> None:
    image = make_image(app)
    with store.write() as tx:
        images.add(tx, image)
        images.add(tx, image)
        assert images.of_app(tx, app.id) == [image] == images.all(tx)
        make_release(tx, app, image.digest)
        with pytest.raises(apsw.ConstraintError):
            images.delete(tx, app.id, image.digest)
        releases.forget_image(tx, app.id, image.digest)
        images.delete(tx, app.id, image.digest)
        assert images.get(tx, app.id, image.digest) is None


def test_builds_are_numbered_per_app_and_finish_once(store: Store, app: App) -> None:
    with store.write() as tx:
        build = builds.start(tx, app.id, commit="c", tree="t", actor="ann", holder="boot:1:2")
        assert (build.number, build.status) == (1, "running")
        assert builds.running(tx) == [build]
        builds.finish(tx, app.id, 1, "failed", cause="out of memory")
        builds.finish(tx, app.id, 1, "succeeded")
        done = builds.of_app(tx, app.id)[0]
        assert (done.status, done.cause, done.finished_at is None) == ("failed", "out of memory", False)
        assert builds.start(tx, app.id, commit="c", tree="t", actor="ann", holder="x").number == 2


def test_one_unfinished_deployment_per_app(store: Store, app: App) -> None:
    with store.write() as tx:
        first = deployments.create(tx, app.id, release_number=make_release(tx, app), from_release=None)
        with pytest.raises(Conflict):
            deployments.create(tx, app.id, release_number=make_release(tx, app), from_release=None)
        deployments.advance(tx, first.id, "cancelled")
        second = deployments.create(tx, app.id, release_number=make_release(tx, app), from_release=1)
        assert deployments.unfinished(tx) == [second]
        assert deployments.unfinished_of(tx, app.id) == second


def test_the_commit_point_makes_the_release_the_apps(store: Store, app: App) -> None:
    with store.write() as tx:
        number = make_release(tx, app)
        deployment = deployments.create(tx, app.id, release_number=number, from_release=None, push=True)
        for state in ("releasing", "starting", "switching"):
            deployments.advance(tx, deployment.id, state)
            assert apps.get(tx, app.id).release_number is None
        deployments.advance(tx, deployment.id, "draining")
        assert apps.get(tx, app.id).release_number == number
        assert (found := releases.get(tx, app.id, number)) and found.state == "succeeded"
        with pytest.raises(lifecycle.WrongTransition):
            deployments.advance(tx, deployment.id, "failed")
        assert deployments.advance(tx, deployment.id, "succeeded").finished_at is not None


def test_a_failed_deployment_leaves_the_app_and_keeps_its_cause(store: Store, app: App) -> None:
    error = {"message": "web.1 ran out of memory", "cause": "out of memory"}
    with store.write() as tx:
        number = make_release(tx, app)
        deployment = deployments.create(tx, app.id, release_number=number, from_release=None)
        deployments.request_cancel(tx, deployment.id)
        assert deployments.get(tx, deployment.id).cancel_requested
        assert deployments.advance(tx, deployment.id, "failed", error).error == error
        assert apps.get(tx, app.id).release_number is None
        assert (found := releases.get(tx, app.id, number)) and (found.state, found.cause) == (
            "failed",
            "out of memory",
        )


def test_the_pushed_commit_survives_rollbacks_failures_and_pruning(store: Store, app: App) -> None:
    def deploy(commit: str, push: bool, *states: str) -> None:
        number = releases.create(
            tx,
            app.id,
            image_digest=None,
            config_number=0,
            limits={},
            description="",
            commit=commit,
            actor="me",
        ).number
        id = deployments.create(tx, app.id, release_number=number, from_release=None, push=push).id
        for state in states:
            deployments.advance(tx, id, state)

    whole = ("starting", "switching", "draining", "succeeded")
    with store.write() as tx:
        assert deployments.pushed_commit(tx, app.id) is None
        deploy("one", True, *whole)
        deploy("two", True, *whole)
        deploy("bad", True, "failed")
        deploy("one", False, *whole)
        deployments.prune(tx, app.id, 1)
        assert deployments.pushed_commit(tx, app.id) == "two"
        assert tx.execute("SELECT count(*) FROM deployment").fetchone() == (2,)


def test_deployment_lines_come_back_in_order_and_from_a_point(store: Store, app: App) -> None:
    with store.write() as tx:
        id = deployments.create(tx, app.id, release_number=make_release(tx, app), from_release=None).id
        for text in ("one", "two", "three"):
            deployments.add_line(tx, id, text)
        assert deployments.lines(tx, id) == [(1, "one"), (2, "two"), (3, "three")]
        assert deployments.lines(tx, id, after=2) == [(3, "three")]


def test_an_instance_lives_through_its_states(store: Store, app: App) -> None:
    with store.write() as tx:
        made = instances.create(tx, app.id, kind="process", type="web", number=1, release_number=1)
        assert (made.name, made.runtime_id, made.state) == ("web.1", f"i{made.id}", "starting")
        instances.started(tx, made.id, address="10.1.0.2", port=5000, detail={"pid": 5})
        assert instances.healthy(tx, made.id).healthy_at is not None
        assert instances.live_of(tx, app.id) == instances.live(tx)
        with pytest.raises(lifecycle.WrongTransition):
            instances.healthy(tx, made.id)
        over = instances.ended(tx, made.id, cause="exited with status 1", exit={"status": 1})
        assert (over.state, over.address, over.exit, over.detail) == (
            "ended",
            "10.1.0.2",
            {"status": 1},
            {"pid": 5},
        )
        instances.ended(tx, made.id, cause="lost")
        assert instances.get(tx, made.id) == over
        assert instances.live(tx) == []


def test_runs_are_counted_by_themselves_and_no_number_comes_twice(store: Store, app: App) -> None:
    def run() -> str:
        return instances.create(tx, app.id, kind="run", type="run", detail={"argv": ["ls"]}).name

    with store.write() as tx:
        assert run() == "run.1"
        web = [instances.create(tx, app.id, kind="process", type="web", number=1) for _ in range(5)]
        assert [run(), run()] == ["run.2", "run.3"]
        for instance in [*web, *instances.live(tx)]:
            instances.ended(tx, instance.id, cause="stopped")
        instances.prune(tx, app.id, keep=0)
        assert run() == "run.4"


def test_pruning_forgets_old_ended_instances_only(store: Store, app: App) -> None:
    with store.write() as tx:
        made = [instances.create(tx, app.id, kind="process", type="web", number=1) for _ in range(6)]
        for instance in made[1:]:
            instances.ended(tx, instance.id, cause="stopped")
        assert instances.prune(tx, app.id, keep=2) == [instance.id for instance in made[1:4]]
        assert [i.id for i in instances.recent_of_slot(tx, app.id, "web", 1)] == [
            made[5].id,
            made[4].id,
            made[0].id,
        ]


@pytest.mark.parametrize(
    ("scope", "replaced"),
    [
        ({}, ["web.1", "web.2", "worker.1"]),
        ({"type": "web"}, ["web.1", "web.2"]),
        ({"type": "web", "number": 2}, ["web.2"]),
    ],
)
def test_a_restart_reaches_exactly_its_instances(
    store: Store, app: App, scope: dict[str, Any], replaced: list[str]
) -> None:
    with store.write() as tx:
        for type, number in (("web", 1), ("web", 2), ("worker", 1)):
            instances.create(tx, app.id, kind="process", type=type, number=number)
        token = restart(tx, app, **scope)
        assert [i.name for i in instances.live_of(tx, app.id) if i.restart_token < token] == replaced


def test_a_second_restart_does_not_spare_the_first_ones(store: Store, app: App) -> None:
    with store.write() as tx:
        for number in (1, 2):
            instances.create(tx, app.id, kind="process", type="web", number=number)
        restart(tx, app, type="web", number=1)
        token = restart(tx, app, type="web", number=2)
        assert [i.name for i in instances.live_of(tx, app.id) if i.restart_token < token] == [
            "web.1",
            "web.2",
        ]


def test_formations_scale_stop_and_limit(store: Store, app: App) -> None:
    with store.write() as tx:
        formations.ensure(tx, app.id, "web", 1)
        formations.ensure(tx, app.id, "web", 5)
        formations.set_limits(tx, app.id, "web", {"pids": 9})
        formations.set_stopped(tx, app.id, "web", True)
        entry = formations.of_app(tx, app.id)["web"]
        assert (entry.quantity, entry.limits, entry.stopped) == (1, {"pids": 9}, True)
        formations.set_quantity(tx, app.id, "web", 3)
        assert not formations.of_app(tx, app.id)["web"].stopped


def test_keys_lead_to_users_and_belong_to_one(store: Store) -> None:
    with store.write() as tx:
        ann, bob = people.add_user(tx, "ann", "admin"), people.add_user(tx, "bob", "member")
        people.add_key(tx, ann.id, fingerprint="SHA256:x", public_key="ssh-ed25519 A", comment="c")
        with pytest.raises(Conflict):
            people.add_key(tx, bob.id, fingerprint="SHA256:x", public_key="ssh-ed25519 A", comment="c")
        assert people.user_of_key(tx, "SHA256:x") == ann
        assert people.user_of_key(tx, "SHA256:y") is None
        people.remove_key(tx, "SHA256:x")
        with pytest.raises(NotFound):
            people.remove_key(tx, "SHA256:x")


def test_tokens_are_found_by_hash_until_removed(store: Store) -> None:
    with store.write() as tx:
        ann = people.add_user(tx, "ann", "admin")
        token = people.add_token(tx, ann.id, hash="h", name="laptop")
        assert people.token_by_hash(tx, "h") == (token, ann)
        people.token_used(tx, token.id)
        assert people.tokens_of(tx, ann.id)[0].last_used_at is not None
        people.remove_token(tx, token.id)
        assert people.token_by_hash(tx, "h") is None


def test_layer_keys_are_renewed_when_used(store: Store) -> None:
    with store.write() as tx:
        layer_keys.put(tx, "k", "sha256:1", 5)
        first = layer_keys.get(tx, "k")
        time.sleep(0.002)
        layer_keys.put(tx, "k", "sha256:1", 5)
        second = layer_keys.get(tx, "k")
        assert first and second and second.used_at > first.used_at
        layer_keys.delete(tx, "k")
        assert layer_keys.all(tx) == []


def test_events_are_read_from_a_point(store: Store, app: App) -> None:
    with store.write() as tx:
        events.add(tx, app.id, "ann", "app.create")
        events.add(tx, app.id, "ann", "config.set", {"names": ["A"]})
        seen = events.after(tx, 1)
        assert [(event.verb, event.detail) for event in seen] == [("config.set", {"names": ["A"]})]


def test_destroying_an_app_takes_everything_of_it(store: Store, app: App) -> None:
    with store.write() as tx:
        configs.put(tx, app.id, {"A": "1"})
        images.add(tx, make_image(app))
        number = make_release(tx, app, "sha256:1")
        deployment = deployments.create(tx, app.id, release_number=number, from_release=None)
        deployments.add_line(tx, deployment.id, "x")
        instances.create(tx, app.id, kind="process", type="web", number=1)
        formations.ensure(tx, app.id, "web", 1)
        builds.start(tx, app.id, commit="c", tree="t", actor="a", holder="h")
        apps.delete(tx, app.id)
        tables = [
            row[0]
            for row in tx.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        left = {t: tx.execute(f"SELECT count(*) FROM {t}").fetchone() for t in tables}
        assert {t for t, count in left.items() if count != (0,)} == set()


def test_an_old_name_leads_to_the_app_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.write() as tx:
        app = apps.create(tx, "first", None)
        apps.rename(tx, app.id, "second")
        apps.rename(tx, app.id, "third")
        found = [apps.by_former_name(tx, name) for name in ("first", "second", "third", "fourth")]
        assert [each and each.name for each in found] == ["third", "third", None, None]
        apps.rename(tx, app.id, "first")
        assert apps.by_former_name(tx, "first") is None
        other = apps.create(tx, "second", None)
        assert apps.by_former_name(tx, "second") is None, "a name that is used anew is its new app's"
        assert apps.by_former_name(tx, "third") is not None
        monkeypatch.setattr(apps, "now", lambda: time.time() + 31 * 86400)
        assert apps.by_former_name(tx, "third") is None
        monkeypatch.undo()
        apps.set_destroying(tx, app.id)
        assert apps.by_former_name(tx, "third") is None
        assert other.name == "second"


def test_an_app_leaves_its_latest_names_behind_and_no_more(store: Store) -> None:
    with store.write() as tx:
        app = apps.create(tx, "n0", None)
        for number in range(1, 40):
            apps.rename(tx, app.id, f"n{number}")
        known = [number for number in range(40) if apps.by_former_name(tx, f"n{number}")]
    assert known == list(range(39 - apps.FORMER_NAMES, 39))


def test_what_did_not_come_by_a_push_leaves_the_branch(store: Store, app: App) -> None:
    def served(commit: str, origin: str) -> None:
        release = releases.create(
            tx, app.id, image_digest=None, config_number=0, limits={}, description="Deploy",
            commit=commit or None, actor="ann", origin=origin,
        )  # fmt: skip
        made = deployments.create(tx, app.id, release_number=release.number, from_release=None, push=True)
        for state in ("starting", "switching", "draining", "succeeded"):
            deployments.advance(tx, made.id, state)

    with store.write() as tx:
        served("", "app.tgz")
        assert deployments.pushed_commit(tx, app.id) is deployments.newest_push(tx, app.id) is None
        served("c" * 40, "")
        pushed = deployments.newest_push(tx, app.id)
        for _ in range(3):
            served("d" * 40, "https://host/x.git#main")
        deployments.prune(tx, app.id, 1)
        assert deployments.pushed_commit(tx, app.id) == "c" * 40
        assert deployments.newest_push(tx, app.id) == pushed
