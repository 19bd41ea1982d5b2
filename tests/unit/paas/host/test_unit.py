from __future__ import annotations

from pathlib import Path

import pytest
from pytest import MonkeyPatch

from paas.host.unit import quoted, render
from paas.nouns.settings import OPTIONS, given


def test_the_unit_runs_the_server_with_the_given_flags_and_spares_the_apps() -> None:
    said = given({"home": "/srv/my paas", "domain": "example.com"}, {})
    lines = render("/opt/paas/.venv/bin/paas", said).splitlines()
    assert 'ExecStart=/opt/paas/.venv/bin/paas server --home "/srv/my paas" --domain example.com' in lines
    assert "KillMode=process" in lines
    assert not any(line.startswith("Environment") for line in lines)


def test_the_unit_says_everything_that_the_environment_said(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {option.variable: option.default or "192.0.2.7" for option in OPTIONS} | {
        "PAAS_HOME": "mine", "PAAS_DOMAIN": "ignored.example", "PAAS_ACME_EMAIL": "50%@a.test", "PAAS_ACME_CA": "ca",
            "PAAS_API_URL": "https://api.a.test", "PAAS_BUILDS_GO_PROXY": "direct", "PAAS_BUILDS_PYTHON_INSTALL_MIRROR": "https://a.test/python",
            "PAAS_BUILDS_PYTHON_DOWNLOADS_JSON_URL": "file:///srv/downloads.json",
    }  # fmt: skip
    lines = render("paas", given({"domain": "flag.example"}, environ)).splitlines()
    command = next(line for line in lines if line.startswith("ExecStart="))
    variables = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    for option in OPTIONS:
        said = f" --{option.name} " in command if option.metavar else f"{option.variable}=" in str(variables)
        assert said, option.name
    assert f" --home {tmp_path}/mine " in command
    assert "--domain flag.example" in command
    assert f"PAAS_ACME_CA={tmp_path}/ca" in variables
    assert '"PAAS_ACME_EMAIL=50%%@a.test"' in variables


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
