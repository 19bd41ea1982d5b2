"""What a stack takes over from the machine's apt, and what of a build stays out of a layer."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from runtime.stack import build, debian

SOURCES = """\
# Signed-By: /nowhere/commented-out.gpg
Types: deb
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: {keyring}
"""


def pretend(monkeypatch: pytest.MonkeyPatch, uris: str, settings: str = "") -> None:
    answers = {"apt-get": uris, "apt-config": settings}
    monkeypatch.setattr(debian, "_output", lambda command: answers[command[0]])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's /etc/apt with one company mirror and one unrelated source, each with a key; and a work folder."""
    for name in ("apt/sources.list.d", "apt/trusted.gpg.d", "work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "company.gpg").write_bytes(b"\x99binary key")
    (tmp_path / "other.gpg").write_bytes(b"\x99another")
    folder = tmp_path / "apt/sources.list.d"
    (folder / "main.sources").write_text(SOURCES.format(keyring=tmp_path / "company.gpg"))
    (folder / "other.list").write_text(
        f"deb [signed-by={tmp_path}/other.gpg] https://other.example/x stable main\n"
    )
    (folder / "old.list.bak").write_text("deb [trusted=yes] https://mirror.example/debian bookworm main\n")
    (tmp_path / "debian.gpg").write_bytes(b"\x99debian")
    monkeypatch.setattr(debian, "ETC_APT", tmp_path / "apt")
    monkeypatch.setattr(debian, "DEBIAN_KEYRING", tmp_path / "debian.gpg")
    return tmp_path


def uri(base: str, release: str, file: str = "InRelease") -> str:
    return f"'{base}/dists/{release}/{file}' mirror_dists_{release}_{file} 0 \n"


MIRROR = "https://mirror.example/debian"


def test_mirror_and_keyring_of_the_machine_are_used(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    rows = uri(MIRROR, "bookworm") + uri(MIRROR, "bookworm", "main/binary-amd64/Packages.xz")
    rows += uri(MIRROR, "bookworm-updates") + uri(MIRROR, "bookworm-backports")
    rows += uri("https://other.example/x", "stable")
    pretend(monkeypatch, rows)
    apt = debian.read_apt("bookworm", machine / "work")
    assert apt.sources == (f"deb {MIRROR} bookworm main", f"deb {MIRROR} bookworm-updates main")
    keys = {path.name for path in apt.keyrings.iterdir()}
    assert "company.gpg" in keys and "other.gpg" not in keys


def test_unsigned_mirror_is_trusted_when_the_machine_says_so(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    (machine / "apt/sources.list").write_text("deb [trusted=yes] http://unsigned.example/d bookworm main\n")
    pretend(monkeypatch, uri("http://unsigned.example/d", "bookworm") + uri(MIRROR, "bookworm-updates"))
    assert debian.read_apt("bookworm", machine / "work").sources == (
        "deb [trusted=yes] http://unsigned.example/d bookworm main",
        f"deb {MIRROR} bookworm-updates main",
    )


@pytest.mark.parametrize(
    "rows", ["", uri("http://archive.ubuntu.com/ubuntu", "noble"), uri(MIRROR, "bookworm-updates")]
)
def test_machine_without_the_release_builds_from_the_public_mirror(
    monkeypatch: pytest.MonkeyPatch, machine: Path, rows: str
) -> None:
    pretend(monkeypatch, rows)
    assert debian.read_apt("bookworm", machine / "work").sources == debian.public_sources("bookworm")


def test_missing_keys_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.setattr(debian, "DEBIAN_KEYRING", machine / "missing.gpg")
    pretend(monkeypatch, "")
    with pytest.raises(debian.StackError, match="apt-get install debian-archive-keyring"):
        debian.read_apt("bookworm", machine / "work")


def test_credentials_in_addresses_are_not_repeated(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(debian.StackError) as caught:
        debian.run(["sh", "-c", "echo 'I: https://me:secret@mirror/x'; exit 1"], said.append, prefix="I: ")
    assert said == ["https://mirror/x"] and "secret" not in str(caught.value)


def test_network_settings_are_kept_and_hooks_are_not(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\nDPkg::Post-Invoke:: "rm -f /etc/evil";\n'
        'Acquire::cdrom::mount "/media";\nDir::Etc "etc/apt";\nAPT::Update::Post-Invoke:: "true";\n'
    )
    pretend(monkeypatch, "", dump)
    text = debian.read_apt("bookworm", machine / "work").settings.read_text()
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in text
    assert "Invoke" not in text and "cdrom" not in text and 'Dir::Etc "' not in text


@pytest.mark.parametrize(
    "text", ["deb [signed-by={k} arch=amd64] http://x/ bookworm main\n", "Types: deb\nSigned-By: {k} {k}\n"]
)
def test_keys_of_both_source_formats(tmp_path: Path, text: str) -> None:
    key = tmp_path / "k.gpg"
    key.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    (tmp_path / "keys").mkdir()
    debian._take_keys(text.replace("{k}", str(key)), "main", tmp_path / "keys")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["k.asc"]


def test_key_within_a_sources_file_is_taken_out(tmp_path: Path) -> None:
    text = "Types: deb\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc=\n -----END PGP PUBLIC KEY BLOCK-----\n"
    debian._take_keys(text, "main", tmp_path)
    (found,) = tmp_path.iterdir()
    assert found.name == "main-0.asc"
    assert (
        found.read_text()
        == "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc=\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_session_of_the_user_does_not_reach_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("LD_PRELOAD", "/x.so")
    monkeypatch.setenv("APT_CONFIG", "/x")
    environment = debian.environment()
    assert environment["HTTPS_PROXY"] == "http://p:1"
    assert "LD_PRELOAD" not in environment and "APT_CONFIG" not in environment


def test_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(debian.StackError, match=r"(?s)ls failed with status 2:.*no-such-file"):
        debian.run(["ls", str(tmp_path / "no-such-file")], print, prefix="\0")
    expired = "echo 'E: Release file for http://x.example/InRelease is expired (invalid since 3d).'; exit 100"
    with pytest.raises(
        debian.StackError, match=r"lists at http://x.example/InRelease have expired: .*Check-Valid-Until"
    ):
        debian.run(["sh", "-c", expired], print, prefix="\0")
    with pytest.raises(debian.StackError, match="no-such-tool is not installed"):
        debian.run(["no-such-tool"], print, prefix="\0")


def test_times_of_packages_stay_and_times_of_the_build_are_clamped(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    for name, mtime in (("old", 100.0), ("packaged", 5000.0), ("d/generated", 90_000.5)):
        (tree / name).write_text(name)
        os.utime(tree / name, (mtime, mtime))
    (tree / "old").chmod(0o4755)
    size = debian.normalise(tree, since=10_000)
    times = {name: (tree / name).stat().st_mtime for name in ("old", "packaged", "d/generated", "d", ".")}
    assert times == {"old": 100, "packaged": 5000, "d/generated": 5000, "d": 5000, ".": 5000}
    assert (tree / "old").stat().st_mode & 0o7777 == 0o755
    assert size == len("old") + len("packaged") + len("d/generated")


def test_what_belongs_to_the_build_is_cleaned_away(tmp_path: Path) -> None:
    for name in (
        "etc/apt/sources.list.d",
        "var/log/nginx",
        "var/lib/apt/lists/partial",
        "run/lock",
        "var/lib/dpkg",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "etc/apt/sources.list.d/0000company.list", "etc/machine-id", "etc/resolv.conf", "var/log/nginx/error.log",
        "var/log/dpkg.log", "var/lib/apt/lists/x_Packages", "var/lib/dpkg/status", "var/lib/dpkg/status-old",
    ):  # fmt: skip
        (tmp_path / name).write_text("https://user:secret@mirror.example")
    debian.clean(tmp_path, "bookworm")
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["etc/apt/sources.list", "var/lib/dpkg/status"]
    assert (tmp_path / "var/log/nginx").is_dir()
    assert "deb.debian.org" in (tmp_path / "etc/apt/sources.list").read_text()


def test_layer_over_another_writes_whiteouts_as_files(tmp_path: Path) -> None:
    lower, upper, stacks = tmp_path / "lower", tmp_path / "upper", tmp_path / "stacks"
    for folder in (lower / "etc/replaced", upper / "etc/replaced", upper / "new"):
        folder.mkdir(parents=True)
    for folder in (stacks / "layers", stacks / "blobs/sha256"):
        folder.mkdir(parents=True)
    os.mknod(upper / "etc/gone", 0o020600, 0)
    (upper / "etc/kept").write_text("x")
    if os.geteuid() == 0:
        os.setxattr(upper / "etc/replaced", "trusted.overlay.opaque", b"y")
        os.setxattr(upper / "new", "trusted.overlay.opaque", b"y")
    digest = build.publish(upper, build.pack(upper, lower), stacks)
    with tarfile.open(stacks / "blobs/sha256" / digest.removeprefix("sha256:")) as tar:
        names = {member.name.removeprefix("./"): member.isdev() for member in tar}
    opaque = {"etc/replaced/.wh..wh..opq"} if os.geteuid() == 0 else set()
    assert set(names) == {".", "etc", "etc/kept", "etc/replaced", "etc/.wh.gone", "new", *opaque}
    assert not any(names.values())
    assert (stacks / "layers" / digest.removeprefix("sha256:") / "etc/kept").exists()


def test_damaged_description_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "debian-12.json").write_text("{")
    with pytest.raises(debian.StackError, match="remove it, then create the stack again"):
        build.load(tmp_path, "debian-12")


def test_stack_whose_layer_is_gone_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "debian-12.json").write_text(
        '{"name": "debian-12", "run": ["sha256:aa"], "build": ["sha256:aa"], "created": "", "size_bytes": 1, "packages": []}'
    )
    assert build.load(tmp_path, "debian-12") is None and build.load_all(tmp_path) == []
    (tmp_path / "layers" / "aa").mkdir(parents=True)
    assert build.load(tmp_path, "debian-12") is not None


def test_unknown_stack_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(debian.StackError, match="debian-12"):
        build.create("windows-11", tmp_path, print)
