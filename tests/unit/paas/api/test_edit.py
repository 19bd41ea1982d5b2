"""One change: everything of it or nothing, and nobody hears of it before it is in the store."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from flask import g
from harness.flask_api import FlaskApi

from paas import logs
from paas.api import context
from paas.api.access import Principal
from paas.api.edit import Edit, edit
from paas.nouns.errors import Conflict
from paas.routing import applied
from paas.store import apps, events

Change = Callable[[Edit], object]


class Changes:
    """An app, and somebody who changes it."""

    def __init__(self, api: FlaskApi, name: str) -> None:
        self.api = api
        with api.store.read() as tx:
            found = apps.by_name(tx, name)
        assert found is not None
        self.app = found
        self.edit: Edit | None = None

    def change(self, work: Change, *, app: bool = True) -> None:
        with self.api.application.test_request_context():
            g.principal = Principal("ann", None, True, "token")
            with edit(self.app if app else None) as self.edit:
                work(self.edit)

    def events(self) -> list[tuple[str | None, str, str]]:
        with self.api.store.read() as tx:
            return [(event.app_id, event.actor, event.verb) for event in events.after(tx, 0)][-2:]

    def said(self) -> list[str]:
        found = logs.tail(self.api.layout, self.app.id, logs.Query(), 100)
        return [logs.message_of(line) for line in found]


@pytest.fixture
def changes(api: FlaskApi, name: str) -> Changes:
    return Changes(api, name)


def test_a_change_is_rows_an_event_and_a_line_that_names_its_author(changes: Changes) -> None:
    def work(made: Edit) -> None:
        apps.set_branch(made.tx, changes.app.id, "production")
        made.record("app.branch", {"to": "production"}, "Set branch")
        made.log("and more")

    changes.change(work)
    with changes.api.store.read() as tx:
        assert apps.get(tx, changes.app.id).deploy_branch == "production"
    assert changes.events()[-1] == (changes.app.id, "ann", "app.branch")
    assert changes.said()[-2:] == ["Set branch by ann", "and more"]


def test_an_error_undoes_the_rows_the_event_and_the_line(changes: Changes) -> None:
    before = changes.events(), changes.said()

    def work(made: Edit) -> None:
        apps.set_branch(made.tx, changes.app.id, "production")
        made.record("app.branch", {}, "Set branch")
        raise Conflict("No.")

    with pytest.raises(Conflict):
        changes.change(work)
    with changes.api.store.read() as tx:
        assert apps.get(tx, changes.app.id).deploy_branch == "main"
    assert (changes.events(), changes.said()) == before


def test_an_event_without_a_line_leaves_the_log_alone(changes: Changes) -> None:
    before = changes.said()
    changes.change(lambda made: made.record("app.looked", {}))
    assert changes.events()[-1][2] == "app.looked" and changes.said() == before


def test_a_change_of_the_platform_is_in_no_apps_log(changes: Changes) -> None:
    before = changes.said()
    changes.change(lambda made: made.record("certificate.add", {}, "Add certificate"), app=False)
    assert changes.events()[-1] == (None, "ann", "certificate.add")
    assert changes.said() == before


@pytest.fixture
def woken(api: FlaskApi) -> Iterator[Callable[[], int]]:
    """How often converge has been woken since the last look."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(api.layout.converge_socket))
        sock.setblocking(False)

        def count() -> int:
            found = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.recv(1)
                    found += 1
            return found

        yield count
    api.layout.converge_socket.unlink()


def test_converge_is_woken_once_and_not_before_the_change_can_be_read(
    changes: Changes, woken: Callable[[], int]
) -> None:
    def work(made: Edit) -> None:
        made.record("app.one", {})
        made.record("app.two", {})
        assert woken() == 0

    changes.change(work)
    assert woken() == 1

    def fails(made: Edit) -> None:
        raise Conflict("No.")

    with pytest.raises(Conflict):
        changes.change(fails)
    assert woken() == 0


def test_a_change_is_applied_when_the_workers_have_it_and_not_an_earlier_one(
    changes: Changes, woken: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "APPLIED_S", 0.0)
    made = []
    for verb in ("one", "two"):
        changes.change(lambda edit, verb=verb: edit.record(verb, {}))
        made.append(changes.edit)
    with changes.api.store.read() as tx:
        last = events.last(tx)
    applied.note(changes.api.layout, last - 1)
    assert [edit.applied() for edit in made if edit] == [True, False]
    applied.note(changes.api.layout, last)
    assert [edit.applied() for edit in made if edit] == [True, True]
