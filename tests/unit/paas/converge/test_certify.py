from __future__ import annotations

import time
from pathlib import Path

from paas.converge.certify import Certifier
from paas.nouns.certificates import Certificate, Challenge
from paas.nouns.settings import load
from paas.store import Store, apps, certificates

DAY = 86400.0


def test_people_are_told_once_a_day_of_a_certificate_in_use_that_expires(tmp_path: Path) -> None:
    for name in ("store", "logs"):
        (tmp_path / name).mkdir()
    (tmp_path / "id").write_text("abcdef\n")
    store = Store.open(tmp_path / "store/paas.db")
    settings = load({"home": str(tmp_path), "https": "127.0.0.1:9443"}, {})
    certifier, now = Certifier(settings), time.time()
    with store.write() as tx:
        app = apps.create(tx, "hello", None)
        for domain, days in (("soon.io", 3), ("over.io", -1), ("later.io", 80), ("unused.io", 1)):
            row = Certificate(
                app.id,
                domain,
                (domain,),
                f"{domain}.pem",
                "added",
                "Root",
                "ff",
                now - 300 * DAY,
                now + days * DAY,
                0,
            )
            certificates.put(tx, row)
        certificates.add_challenge(tx, Challenge("new.io", "t", "t.k"))
    (tmp_path / "logs" / app.id).mkdir()
    for seq in range(3):
        with store.read() as tx:
            sections = certifier.read(tx, {app.id: ("soon.io", "over.io", "later.io")}, seq)
        assert certifier.act() > 1000
    assert sections["https_port"] == 9443
    assert sections["challenges"] == {"new.io": {"t": "t.k"}}
    assert [entry["names"] for entry in sections["certificates"]] == [["later.io"], ["over.io"], ["soon.io"]]  # type: ignore[attr-defined]
    lines = (tmp_path / "logs" / app.id / "platform.log").read_text().splitlines()
    assert sorted(line.partition("certificate for ")[2].partition(" on ")[0] for line in lines) == [
        "over.io expired",
        "soon.io expires",
    ]
    certifier.close()
    store.close()
