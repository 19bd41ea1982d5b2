"""What is installed is read from layers, lowest first; what hostile layers hold is bounded."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tempfile
import zipfile
from contextlib import ExitStack

import pytest

from paas.build.inventory import packages_of, read_packages
from paas.build.packagefiles import Package
from runtime.image.errors import BadArchive, ImageError

STATUS = """Package: bash
Status: install ok installed
Version: 5.2.15-2+b7
Description: a shell
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: odd name
Status: install ok installed
Version: 1
"""


def layer(**files: str) -> bytes:
    """A tar of these files."""
    return binary_layer(0o644, **{path: text.encode() for path, text in files.items()})


def binary_layer(mode: int = 0o755, **files: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return written.getvalue()


def found(*layers: bytes) -> list[Package]:
    return packages_of([io.BufferedReader(io.BytesIO(data)) for data in layers])  # type: ignore[arg-type]


def node(name: str, version: str) -> str:
    return json.dumps({"name": name, "version": version})


STACK = layer(**{"var/lib/dpkg/status": STATUS, "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\nX\n'})
APP = layer(
    **{
        "app/.venv/lib/python3.11/site-packages/Flask_Login-0.6.3.dist-info/METADATA": "",
        "app/node_modules/ms/package.json": node("ms", "2.1.3"),
        "app/node_modules/@a/b/package.json": node("@a/b", "1.0.0"),
        "app/node_modules/.pnpm/c@1/node_modules/c/package.json": node("c", "1.0.0"),
        "app/node_modules/ms/test/package.json": node("inner", "1.0.0"),
        "app/package.json": node("app", "1.0.0"),
        "var/lib/gems/3.1.0/specifications/rack-3.0.8.gemspec": "",
    }
)


def test_packages_of_every_manager_are_found_where_it_puts_them() -> None:
    assert set(found(STACK, APP)) == {
        Package("deb", "bash", "5.2.15-2+b7"),
        Package("os", "debian", "12"),
        Package("pypi", "Flask_Login", "0.6.3"),
        Package("npm", "ms", "2.1.3"),
        Package("npm", "@a/b", "1.0.0"),
        Package("npm", "c", "1.0.0"),
        Package("gem", "rack", "3.0.8"),
    }


def test_a_higher_layer_replaces_and_hides_what_lies_below() -> None:
    newer = layer(**{"app/node_modules/ms/package.json": node("ms", "3.0.0")})
    assert Package("npm", "ms", "3.0.0") in (all_found := found(APP, newer))
    assert Package("npm", "ms", "2.1.3") not in all_found
    without = layer(**{"app/node_modules/.wh.ms": "", "app/.wh..venv": ""})
    assert {package.name for package in found(APP, without)} == {"@a/b", "c", "rack"}
    opaque = layer(**{"app/.wh..wh..opq": "", "app/node_modules/d/package.json": node("d", "1.0.0")})
    assert {package.name for package in found(APP, opaque)} == {"d", "rack"}
    broken = layer(**{"app/node_modules/ms/package.json": "{"})
    assert "ms" not in {package.name for package in found(APP, broken)}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[" * 100_000, node("x" * 300, "1"), node("a\x1b[2J", "1"), node("a", "1 2"), '{"name": 1, "version": "1"}'],
)  # fmt: skip
def test_what_names_no_package_is_left_out(text: str) -> None:
    assert found(layer(**{"node_modules/a/package.json": text})) == []


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(BadArchive):
        found(b"x" * 1024)


def given_to_a_process(*layers: bytes) -> list[Package]:
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in layers]
        for file, data in zip(files, layers, strict=True):
            file.write(data)
            file.seek(0)
        return read_packages([file.fileno() for file in files])


def test_a_confined_process_reads_the_same() -> None:
    assert given_to_a_process(STACK, APP) == found(STACK, APP)


def test_its_refusals_are_told_and_its_answers_bounded() -> None:
    with pytest.raises(ImageError, match="ustar"):
        given_to_a_process(b"x" * 1024)
    many = {f"node_modules/p{number}/package.json": node(f"p{number}", "1") for number in range(20_050)}
    assert len(given_to_a_process(layer(**many))) == 20_000


def test_a_process_that_needs_too_much_memory_says_so() -> None:
    huge = "\n\n".join(f"Package:{number:x}\nVersion:1\nStatus:x installed" for number in range(700_000))
    with pytest.raises(ImageError, match="too much to list"):
        given_to_a_process(layer(**{"var/lib/dpkg/status": huge}))


GO = (
    b"\xff Go buildinf:\x08\x02"
    + bytes(16)
    + b"\x08go1.27.35"
    + b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"
)
GO_END = b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
NOTE = (
    b"path\texample.com/hello\nmod\texample.com/hello\t(devel)\t\n"
    b"dep\tgithub.com/a/b\tv1.2.3\th1:x=\ndep\trsc.io/q\tv1.5.0+incompatible\n=>\trsc.io/r\tv1.6.0\th1:y=\nbuild\tGOOS=linux\n"
)
MODULES = [
    Package("golang", "stdlib", "1.27.3"),
    Package("golang", "github.com/a/b", "v1.2.3"),
    Package("golang", "rsc.io/q", "v1.5.0+incompatible"),
    Package("golang", "rsc.io/r", "v1.6.0"),
]


def program(path: str, data: bytes, mode: int = 0o755) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(data), mode
        archive.addfile(entry, io.BytesIO(data))
    return written.getvalue()


@pytest.mark.parametrize("before", [100, (1 << 20) - 4 - 8, (1 << 20) - 4 - 38, (1 << 20) - 4 - 64, 3 << 20])
def test_the_modules_of_a_go_program_are_those_that_it_notes(before: int) -> None:
    data = b"\x7fELF" + bytes(before) + GO + NOTE + GO_END + bytes(2 << 20)
    assert found(program("app/bin/hello", data)) == MODULES


def test_only_programs_that_are_not_debians_are_looked_into() -> None:
    data = b"\x7fELF" + GO + NOTE + GO_END
    assert found(program("usr/bin/tool", data)) == []
    assert found(program("app/bin/hello", data, 0o644)) == []
    assert found(program("app/bin/hello", b"#!/bin/sh\n" + data)) == []
    assert found(program("app/bin/hello", b"\x7fELF")) == []
    endless = b"\x7fELF" + GO + NOTE + b"dep\tx\tv1\n" * (1 << 18)
    assert found(program("usr/local/bin/x", endless))[:4] == MODULES


def test_packages_of_php_and_of_deno_are_listed() -> None:
    installed = json.dumps(
        {"packages": [{"name": "monolog/monolog", "version": "3.5.0"}, {"name": 1, "version": "1"}]}
    )
    lock = json.dumps({"version": "5", "npm": {"chalk@5.3.0": {}, "@a/b@1.0.0_react@18.0.0": {}, "odd": {}}})
    files = {"app/vendor/composer/installed.json": installed, "app/deno.lock": lock}
    assert set(found(layer(**files))) == {
        Package("composer", "monolog/monolog", "3.5.0"),
        Package("npm", "chalk", "5.3.0"),
        Package("npm", "@a/b", "1.0.0"),
    }
    for text in ("", "[]", "{", '{"packages": 1}', '{"npm": 1}'):
        assert found(layer(**dict.fromkeys(files, text))) == []


def jar(**files: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name.replace("__", "/"), data)
    return written.getvalue()


def pom(artifact: str, version: str) -> bytes:
    return f"#made by Maven\ngroupId=org.example\nartifactId={artifact}\nversion={version}\n".encode()


def test_a_jar_tells_of_itself_and_of_the_jars_in_it_in_a_confined_process_too() -> None:
    inner = jar(**{"META-INF__maven__org.example__low__pom.properties": pom("low", "2.0")})
    whole = jar(
        **{
            "META-INF__maven__org.example__app__pom.properties": pom("app", "1.0"),
            "BOOT-INF__lib__low.jar": inner,
        }
    )
    wanted = {Package("maven", "org.example/app", "1.0"), Package("maven", "org.example/low", "2.0")}
    made = binary_layer(
        **{"app/target/app.jar": whole, "app/broken.jar": whole[:200], "usr/share/java/x.jar": whole}
    )
    assert set(found(made)) == wanted == set(given_to_a_process(made))
    nested = jar(**{"a.jar": jar(**{"b.jar": inner})})
    assert found(binary_layer(**{"app/nested.jar": nested})) == []


def test_runtimes_that_were_fetched_are_told_by_what_they_hold() -> None:
    header = '#define PY_MAJOR 3\n#define PY_VERSION      	"3.12.1"\n'
    node = (
        b"\x7fELF"
        + b"x" * 3_000_000
        + b"https://nodejs.org/download/release/v24.1.0/node-v24.1.0.tar.gz"
        + b"x"
    )
    program = (
        b"\x7fELF" + b"x" * 1_048_500 + b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.27.3\x90\x01"
        + b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6path\tmain\nmod\tmain\t(devel)\t\n"
        + b"dep\texample.org/a\tv1.2.3\th1:" + base64.b64encode(b"\xab" * 32) + b"\n"
        + b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2" + b"x" * 9
    )  # fmt: skip
    made = binary_layer(
        **{
            "app/.python/cpython-3.12.1/include/python3.12/patchlevel.h": header.encode(),
            "usr/include/python3.11/patchlevel.h": header.encode(),
            "app/.node/bin/node": node,
            "app/server": program,
        }
    )
    assert set(found(made)) == {
        Package("generic", "python", "3.12.1"),
        Package("generic", "node", "24.1.0"),
        Package("golang", "stdlib", "1.27.3"),
        Package("golang", "example.org/a", "v1.2.3", "sha256:" + "ab" * 32),
    }


UV_LOCK = """
[[package]]
name = "markupsafe"
version = "3.0.2"
sdist = {{ url = "https://files.example/markupsafe-3.0.2.tar.gz", hash = "sha256:{}" }}
wheels = [
  {{ url = "https://files.example/MarkupSafe-3.0.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:{}" }},
  {{ url = "https://files.example/MarkupSafe-3.0.2-cp311-cp311-musllinux_1_2_x86_64.whl", hash = "sha256:{}" }},
]
""".format("0" * 64, "1" * 64, "2" * 64)
POETRY_LOCK = """
[[package]]
name = "markupsafe"
version = "3.0.2"
files = [
  {{file = "MarkupSafe-3.0.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:{}"}},
  {{file = "markupsafe-3.0.2.tar.gz", hash = "sha256:{}"}},
]
""".format("1" * 64, "0" * 64)
SRI = "sha512-" + base64.b64encode(b"\xcd" * 64).decode()


@pytest.mark.parametrize(
    ("files", "digest"),
    [
        ({"app/uv.lock": UV_LOCK}, "sha256:" + "1" * 64),
        ({"app/poetry.lock": POETRY_LOCK}, "sha256:" + "1" * 64),
        ({"app/uv.lock": UV_LOCK.replace("3.0.2", "3.0.1")}, ""),
        ({"app/uv.lock": UV_LOCK + "["}, ""),
    ],
)
def test_the_digest_is_that_of_the_wheel_that_was_installed(files: dict[str, str], digest: str) -> None:
    site = "app/.venv/lib/python3.11/site-packages/MarkupSafe-3.0.2.dist-info"
    tags = "Tag: cp311-cp311-manylinux_2_17_x86_64\nTag: cp311-cp311-manylinux2014_x86_64\n"
    installed = layer(**{f"{site}/METADATA": "", f"{site}/WHEEL": f"Wheel-Version: 1.0\n{tags}"})
    assert found(installed, layer(**files)) == [Package("pypi", "MarkupSafe", "3.0.2", digest)]


YARN = f"""# yarn lockfile v1

ms@^2.1.1, ms@^2.1.3:
  version "2.1.3"
  resolved "https://registry.example/ms/-/ms-2.1.3.tgz#0"
  integrity {SRI}

"@a/b@^1.0.0":
  version "1.0.0"
  resolved "https://registry.example/x"
  integrity {SRI}
"""
PNPM = f"""lockfileVersion: '9.0'

packages:

  '@a/b@1.0.0':
    resolution: {{integrity: {SRI}}}

  ms@2.1.3:
    resolution: {{integrity: {SRI}}}
    engines: {{node: '>=6'}}
"""
BUN = f"""{{
  "packages": {{
    "@a/b": ["@a/b@1.0.0", "", {{ "dependencies": {{ "ms": "2" }} }}, "{SRI}"],
    "ms": ["ms@2.1.3", "", {{}}, "{SRI}"],
  }}
}}
"""
NPM = json.dumps(
    {
        "packages": {
            name: {"version": version, "integrity": SRI}
            for name, version in (("node_modules/ms", "2.1.3"), ("node_modules/@a/b", "1.0.0"))
        }
    }
)


@pytest.mark.parametrize(
    ("path", "lock"),
    [
        ("node_modules/.package-lock.json", NPM),
        ("package-lock.json", NPM),
        ("yarn.lock", YARN),
        ("pnpm-lock.yaml", PNPM),
        ("bun.lock", BUN),
    ],
)
def test_locks_of_node_give_digests(path: str, lock: str) -> None:
    digests = {package.name: package.digest for package in found(APP, layer(**{f"app/{path}": lock}))}
    assert (digests["ms"], digests["@a/b"], digests["c"]) == (
        "sha512:" + "cd" * 64,
        "sha512:" + "cd" * 64,
        "",
    )


@pytest.mark.parametrize(
    ("path", "lock"),
    [
        ("Gemfile.lock", f"GEM\n\nCHECKSUMS\n  rack (3.0.8) sha256={'e' * 64}\n"),
        ("requirements.txt", f"flask-login==0.6.3 \\\n    --hash=sha256:{'e' * 64}\nrack==1\n"),
        (
            "Pipfile.lock",
            json.dumps(
                {"default": {"flask-login": {"version": "==0.6.3", "hashes": ["sha256:" + "e" * 64]}}}
            ),
        ),
    ],
)
def test_other_locks_give_a_digest_where_there_is_one_alone(path: str, lock: str) -> None:
    found_in = [package.name for package in found(APP, layer(**{f"app/{path}": lock})) if package.digest]
    assert found_in in (["rack"], ["Flask_Login"])
    double = lock.replace("sha256:", f"sha256:{'d' * 64} --hash=sha256:").replace(
        '"sha256:', f'"sha256:{"d" * 64}", "sha256:'
    )
    assert path == "Gemfile.lock" or not any(
        package.digest for package in found(APP, layer(**{f"app/{path}": double}))
    )
