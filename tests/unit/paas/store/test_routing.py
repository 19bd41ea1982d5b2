from __future__ import annotations

from paas.nouns.model import App
from paas.store import Store, apps, domains, routing


def test_values_are_kept_by_domain_and_replaced(store: Store, app: App) -> None:
    with store.write() as tx:
        routing.put(tx, app.id, "", "queue", 5)
        routing.put(tx, app.id, "", "queue", 6)
        routing.put(tx, app.id, "www.example.com", "allow", ["10.0.0.0/8"])
        routing.put(tx, app.id, "", "compress", False)
        routing.put(tx, app.id, "", "sticky", None)
    with store.read() as tx:
        expected = {"": {"queue": 6, "compress": False}, "www.example.com": {"allow": ["10.0.0.0/8"]}}
        assert routing.of_app(tx, app.id) == expected
        assert routing.all(tx) == {app.id: expected}
    with store.write() as tx:
        routing.put(tx, app.id, "", "queue", None)
        assert routing.of_app(tx, app.id)[""] == {"compress": False}


def test_a_removed_domain_and_a_deleted_app_leave_nothing(store: Store, app: App) -> None:
    with store.write() as tx:
        domains.add(tx, app.id, "www.example.com")
        routing.put(tx, app.id, "www.example.com", "queue", 5)
        routing.put(tx, app.id, "", "pages", {"503": "a.html"})
        assert routing.pages(tx) == {"a.html"}
        domains.remove(tx, app.id, "www.example.com")
        assert list(routing.of_app(tx, app.id)) == [""]
        apps.delete(tx, app.id)
        assert routing.all(tx) == {}
        assert routing.pages(tx) == set()


def test_settings_follow_the_apps_own_host_to_its_new_name(store: Store, app: App) -> None:
    with store.write() as tx:
        routing.put(tx, app.id, "", "canonical-host", "old.localhost")
        routing.put(tx, app.id, "old.localhost", "queue", 1)
        routing.put(tx, app.id, "www.example.com", "canonical-host", "www.example.com")
        routing.rename(tx, app.id, "old.localhost", "new.localhost")
        assert routing.of_app(tx, app.id) == {
            "": {"canonical-host": "new.localhost"},
            "new.localhost": {"queue": 1},
            "www.example.com": {"canonical-host": "www.example.com"},
        }
