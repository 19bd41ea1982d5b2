"""The development authority, and what putting a certificate into service leaves in the store and on the disk."""

from __future__ import annotations

import stat
from pathlib import Path

from paas.store import Store, apps, certificates, events
from paas.tls import x509
from paas.tls.development_ca import development_ca, secrets_folder
from paas.tls.install import install, write
from runtime.home import Layout


def home(path: Path) -> Layout:
    layout = Layout(path, path / "stacks", "a1b2c3")
    for folder in (secrets_folder(layout), layout.edge / "certificates", layout.database.parent):
        folder.mkdir(parents=True)
    return layout


def test_the_authority_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    layout = home(tmp_path)
    first = development_ca(layout)
    assert development_ca(layout).pem == first.pem
    (file,) = secrets_folder(layout).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_certificate_is_a_file_a_row_and_an_event_and_replaces_the_one_before(tmp_path: Path) -> None:
    layout = home(tmp_path)
    store = Store.open(layout.database)
    with store.write() as tx:
        app = apps.create(tx, "hello", None)
    rows = []
    for source in ("generated", "acme"):
        pair = x509.issue(development_ca(layout), "hello.localhost", x509.utc_now())
        rows.append(write(layout, pair, app.id, "hello.localhost", source))
        with store.write() as tx:
            install(tx, rows[-1], "ann")
        assert (layout.edge / "certificates" / rows[-1].file).read_bytes() == pair.pem
    with store.read() as tx:
        assert certificates.of_app(tx, app.id) == [rows[-1]]
        found = [
            (event.app_id, event.actor, event.verb, event.detail["source"]) for event in events.after(tx, 0)
        ]
    assert found == [(app.id, "ann", "certificate.add", source) for source in ("generated", "acme")]
    store.close()
