from __future__ import annotations

import pytest

from paas.unit import quoted, render


def test_the_unit_runs_the_server_with_the_given_flags_and_spares_the_apps() -> None:
    lines = render(
        "/opt/paas/.venv/bin/paas", ["--home", "/srv/my paas", "--domain", "example.com"]
    ).splitlines()
    assert 'ExecStart=/opt/paas/.venv/bin/paas server --home "/srv/my paas" --domain example.com' in lines
    assert "KillMode=process" in lines


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a b", '"a b"'),
        ("50%", '"50%%"'),
        ("$x", '"$$x"'),
        ('say "x"', '"say \\"x\\""'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert quoted(word) == written
