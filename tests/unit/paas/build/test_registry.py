from __future__ import annotations

import json
from pathlib import Path

import pytest

from paas.build.package_settings import combine, npm_credentials, parse_npm, parse_pip, read
from paas.build.publish import _folders, has_credentials, shareable
from paas.build.registry import BARE_CA_TARGET, CA_TARGET, Registry, build_env, build_mounts

NO_UV: dict[str, list[str]] = {"index": [], "extra": [], "links": []}
SECRET = "https://ann:s3cret@mirror.example/simple"


def test_pip_settings_are_read_with_the_environment_first() -> None:
    text = (
        "global.index-url='https://a.example/simple'\n"
        "global.extra-index-url='file:///srv/one\\nfile:///srv/two'\n"
        "install.find-links='/srv/wheels'\n"
        ":env:.index-url='https://b.example/simple'\n"
        ":env:.default-timeout='60'\n"
        "nonsense\nglobal.broken=open('x')\n"
    )
    found = parse_pip(text)
    assert found == {
        "index-url": "https://b.example/simple",
        "extra-index-url": "file:///srv/one\nfile:///srv/two",
        "find-links": "/srv/wheels",
        "default-timeout": "60",
    }
    registry = combine(found, {}, {}, NO_UV, {})
    assert registry.index_url == "https://b.example/simple"
    assert registry.extra_index_urls == ("file:///srv/one", "file:///srv/two")
    assert registry.timeout_s == 60


def test_npm_settings_are_read_without_the_public_defaults() -> None:
    plain = combine(
        {}, parse_npm('{"registry": "https://registry.npmjs.org/", "strict-ssl": true}'), {}, NO_UV, {}
    )
    assert plain.npm_registry == ""
    assert plain.npm_settings == {}
    told = json.dumps(
        {"registry": "https://npm.example/r", "@team:registry": "https://team.example/", "strict-ssl": False}
    )
    registry = combine({}, parse_npm(told), {}, NO_UV, {})
    assert registry.npm_registry == "https://npm.example/r/"
    assert registry.npm_scopes == {"@team": "https://team.example/"}
    assert registry.npm_settings == {"strict-ssl": "false"}
    assert parse_npm("not json") == {}
    assert parse_npm("[]") == {}


def test_uvs_own_settings_count_before_pips() -> None:
    pip = {
        "index-url": "https://pip.example/simple",
        "extra-index-url": "https://both.example/s https://p.example/s",
    }
    uv = {"index": ["https://uv.example/simple"], "extra": ["https://both.example/s"], "links": []}
    registry = combine(pip, {}, {}, uv, {})
    assert registry.index_url == "https://uv.example/simple"
    assert registry.extra_index_urls == ("https://both.example/s", "https://p.example/s")


def test_credentials_are_withheld_and_it_is_said() -> None:
    registry = Registry(
        index_url=SECRET,
        extra_index_urls=("https://open.example/simple", SECRET),
        npm_registry="https://bob:pw@npm.example/",
        npm_scopes={"@a": "https://x:y@a.example/", "@b": "https://b.example/"},
        npm_auth={"//npm.example/:_authToken": "tok-123"},
        proxies={"http_proxy": "http://u:p@proxy:3128", "https_proxy": "http://proxy:3128"},
    )
    given = shareable(registry, False)
    shown = json.dumps(given.to_json()) + json.dumps(build_env(given))
    for secret in ("s3cret", "pw@", "tok-123", "u:p@", "x:y@"):
        assert secret not in shown
    assert given.extra_index_urls == ("https://open.example/simple",)
    assert given.npm_scopes == {"@b": "https://b.example/"}
    assert given.proxies == {"https_proxy": "http://proxy:3128"}
    assert len(given.withheld) == 6
    assert any("https://***@mirror.example/simple" in sentence for sentence in given.withheld)
    assert shareable(registry, True) is registry


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        (SECRET, True),
        ("https://token@host/simple", True),
        ("https://host/simple", False),
        ("file:///srv/a@b", False),
        ("/srv/wheels", False),
        ("https://[broken", True),
    ],
)
def test_addresses_with_credentials_are_recognised(url: str, secret: bool) -> None:
    assert has_credentials(url) is secret


def test_environment_speaks_to_pip_uv_and_npm() -> None:
    registry = Registry(
        index_url="https://i.example/simple",
        extra_index_urls=("file:///srv/one", "file:///srv/two"),
        find_links=("/opt/a", "/opt/b"),
        trusted_hosts=("i.example",),
        timeout_s=30,
        ca_bundle="/etc/pki/company.pem",
        proxies={"https_proxy": "http://proxy:1"},
        npm_registry="https://n.example/",
        npm_scopes={"@t": "https://t.example/"},
        npm_auth={"//n.example/:_authToken": "tok"},
        npm_settings={"strict-ssl": "false"},
    )
    env = build_env(registry)
    assert env["PIP_INDEX_URL"] == env["UV_DEFAULT_INDEX"] == "https://i.example/simple"
    assert env["UV_INDEX"] == env["PIP_EXTRA_INDEX_URL"] == "file:///srv/one file:///srv/two"
    assert env["UV_FIND_LINKS"] == "/opt/a,/opt/b"
    assert env["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert env["UV_HTTP_TIMEOUT"] == "30"
    assert env["SSL_CERT_FILE"] == env["npm_config_cafile"] == CA_TARGET
    assert env["https_proxy"] == env["HTTPS_PROXY"] == "http://proxy:1"
    assert env["npm_config_registry"] == "https://n.example/"
    assert env["npm_config_strict_ssl"] == "false"
    assert env["PAAS_NPMRC"] == "@t:registry=https://t.example/\n//n.example/:_authToken=tok\n"
    assert env["PAAS_NPM_TOKEN"] == "tok"


def test_a_bare_step_has_the_certificates_beside_its_images_own() -> None:
    registry = Registry(ca_bundle="/etc/pki/company.pem")
    assert build_env(registry, bare=True)["SSL_CERT_FILE"] == BARE_CA_TARGET
    (bound,) = build_mounts(registry, bare=True)
    assert (bound.source, bound.destination) == ("/etc/pki/company.pem", BARE_CA_TARGET)


def test_no_index_reaches_both_installers() -> None:
    env = build_env(Registry(no_index=True, find_links=("/srv/wheels",)))
    assert env["PIP_NO_INDEX"] == "1"
    assert env["PAAS_UV_TOML"] == "no-index = true\n"


def test_a_machine_without_settings_gives_none() -> None:
    assert build_env(Registry()) == {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    assert build_mounts(Registry()) == ()


def test_settings_written_for_the_api_read_back_the_same() -> None:
    registry = Registry(
        index_url="https://i/", find_links=("/a",), folders=("/a",), proxies={"no_proxy": "x"}
    )
    assert Registry.from_json(json.loads(json.dumps(registry.to_json()))) == registry


def test_local_folders_are_bound_read_only_where_they_are(tmp_path: Path) -> None:
    index, wheels = tmp_path / "mirror" / "simple", tmp_path / "wheels"
    (index / "flask").mkdir(parents=True)
    wheels.mkdir()
    (index / "flask" / "index.html").write_text('<a href="../../files/flask.whl#sha256=0">flask</a>')
    registry = Registry(
        extra_index_urls=(f"file://{index}", "https://x.example/"),
        find_links=(str(wheels), str(tmp_path / "missing"), "/", "/etc"),
    )
    folders = _folders(registry)
    assert folders == (str(tmp_path / "mirror"), str(wheels))
    mounts = build_mounts(Registry(folders=folders))
    assert all(mount.read_only and mount.source == mount.destination for mount in mounts)


def test_gos_proxy_is_bound_when_it_is_a_folder_and_withheld_when_it_has_a_password(tmp_path: Path) -> None:
    registry = Registry(go_proxy=f"file://{tmp_path},direct")
    assert build_env(registry)["GOPROXY"] == f"file://{tmp_path},direct"
    assert _folders(registry) == (str(tmp_path),)
    secret = shareable(Registry(go_proxy="https://me:pw@proxy.example"), False)
    assert (secret.go_proxy, len(secret.withheld)) == ("", 1) and "pw" not in secret.withheld[0]


def test_folder_inside_another_is_bound_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    registry = Registry(find_links=(str(tmp_path / "a"), str(tmp_path / "a" / "b")))
    assert _folders(registry) == (str(tmp_path / "a"),)


def test_npm_tokens_come_from_npmrc_files(tmp_path: Path) -> None:
    file = tmp_path / ".npmrc"
    file.write_text("registry=https://n/\n//n.example/:_authToken=tok\n//m/:_authToken=${TOKEN}\n; //c/=x\n")
    assert npm_credentials([file, tmp_path / "none"]) == {"//n.example/:_authToken": "tok"}


def test_what_decides_the_packages_is_part_of_the_key() -> None:
    base = Registry(index_url="https://a/")
    assert base.fingerprint() != Registry(index_url="https://b/").fingerprint()
    assert base.fingerprint() == Registry(index_url="https://a/", timeout_s=9).fingerprint()


def test_uv_is_asked_by_its_environment_and_file(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "uv"
    folder.mkdir(parents=True)
    (folder / "uv.toml").write_text(
        'index-url = "https://file.example/simple"\nfind-links = ["/srv/wheels"]\n'
        '[[index]]\nurl = "https://more.example/simple"\n[[index]]\nurl = "https://only.example/"\nexplicit = true\n'
    )
    registry = read(
        {"HOME": str(tmp_path), "PATH": "/nonexistent", "UV_DEFAULT_INDEX": "main=https://env.example/s"}
    )
    assert registry.index_url == "https://env.example/s"
    assert registry.extra_index_urls[:1] == ("https://more.example/simple",)
    assert "/srv/wheels" in registry.find_links
