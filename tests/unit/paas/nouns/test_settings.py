from __future__ import annotations

from pathlib import Path

import pytest

from paas.nouns.errors import BadInput
from paas.nouns.settings import OPTIONS, Settings, load

ROOT = Path(__file__).resolve().parents[4]


def test_defaults_are_the_documented_ones() -> None:
    settings = load({"home": "/nonexistent"}, {})
    assert (str(settings.http), str(settings.ssh), str(settings.api)) == (
        "127.0.0.1:8080",
        "127.0.0.1:2222",
        "127.0.0.1:8081",
    )
    assert settings.domain == "localhost"
    page = (ROOT / "docs/operating.md").read_text()
    for option in OPTIONS:
        assert f"| `{option.name}` | `{option.default}` | {option.sentence} |" in page


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    (tmp_path / "paas.yml").write_text(
        "domain: file.example\nrouter_workers: 3\nbuilds:\n  memory_bytes: 1G\n"
    )
    environ = {"PAAS_DOMAIN": "variable.example", "PAAS_HOME": str(tmp_path)}
    settings = load({"domain": "flag.example"}, environ)
    assert settings.domain == "flag.example"
    assert load({}, environ).domain == "variable.example"
    assert load({"home": str(tmp_path)}, {}).domain == "file.example"
    assert (settings.router_workers, settings.builds_memory_bytes) == (3, 1 << 30)
    assert settings.drain_timeout_s == 30


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("domian: x.example\n", ["unknown key 'domian'", "domain"]),
        ("builds:\n  memroy_bytes: 1G\n", ["builds.memroy_bytes", "builds.memory_bytes"]),
        ("http: 8080\n", ["http", "ADDRESS:PORT"]),
        ("http: 127.0.0.1:99999\n", ["127.0.0.1:99999"]),
        ("- a\n", ["key: value"]),
        ("a: [\n", ["cannot be read", "line 2"]),
        ("domain: [x]\n", ["domain"]),
        ("https: on\n", ["https", "ADDRESS:PORT", "off"]),
        ("trust: 10.0.0.1/8\n", ["trust", "list of networks"]),
        ("acme_directory: ftp://ca\n", ["acme_directory", "is not an address"]),
        ("router_workers: 0\n", ["router_workers", "above 0"]),
        ("builds.share_registry_credentials: maybe\n", ["neither true nor false"]),
    ],
)
def test_a_bad_file_is_refused_naming_the_key_or_value(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "paas.yml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load({"home": str(tmp_path)}, {})
    for word in words:
        assert word in caught.value.message + caught.value.hint


def test_settings_survive_the_way_to_the_daemons(tmp_path: Path) -> None:
    settings = load({"home": str(tmp_path), "http": "0.0.0.0:80"}, {})
    assert Settings.from_json(settings.to_json()) == settings
    words = {"https": "off", "trust": "10.0.0.0/8, 192.0.2.7", "acme_ca": "/etc/ca.pem"}
    settings = load({"home": str(tmp_path), **words}, {})
    assert (settings.https, [str(network) for network in settings.trust]) == (
        None,
        ["10.0.0.0/8", "192.0.2.7/32"],
    )
    assert Settings.from_json(settings.to_json()) == settings


def test_addresses_are_written_as_people_type_them(tmp_path: Path) -> None:
    settings = load({"home": str(tmp_path), "http": "0.0.0.0:80", "domain": "apps.example.com"}, {})
    assert settings.url(settings.app_host("shop")) == "http://shop.apps.example.com/"
    assert settings.git_url("shop") == "ssh://paas@apps.example.com:2222/shop"
    assert load({"home": str(tmp_path)}, {}).git_url("shop") == "ssh://paas@127.0.0.1:2222/shop"


@pytest.mark.parametrize(
    ("given", "address", "reached"),
    [
        ({}, "http://127.0.0.1:8081", False),
        ({"PAAS_API_URL": "https://api.example.com/"}, "https://api.example.com", True),
        ({"PAAS_API": "0.0.0.0:81"}, "http://localhost:81", False),
        ({"PAAS_API": "0.0.0.0:81", "PAAS_DOMAIN": "a.test"}, "http://a.test:81", True),
        ({"PAAS_API": "192.0.2.7:81", "PAAS_DOMAIN": "a.test"}, "http://192.0.2.7:81", True),
    ],
)
def test_a_hooks_address_is_the_one_from_elsewhere_or_says_that_there_is_none(
    tmp_path: Path, given: dict[str, str], address: str, reached: bool
) -> None:
    made, unreachable = load({"home": str(tmp_path)}, given).hook_url("ab")
    assert made == f"{address}/hooks/ab"
    assert reached == (unreachable == "") and reached != ("sets api_url" in unreachable)
