"""What is installed is read from layers, lowest first; what hostile layers hold is bounded."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from contextlib import ExitStack

import pytest

from paas.build.inventory import Package, packages_of, read_packages
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
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
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


GO = b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"
GO_END = b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
NOTE = (
    b"path\texample.com/hello\nmod\texample.com/hello\t(devel)\t\n"
    b"dep\tgithub.com/a/b\tv1.2.3\th1:x=\ndep\trsc.io/q\tv1.5.0+incompatible\n=>\trsc.io/r\tv1.6.0\th1:y=\nbuild\tGOOS=linux\n"
)
MODULES = [
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


@pytest.mark.parametrize("before", [100, (1 << 20) - 4 - 8, (1 << 20) - 4 - 40, 3 << 20])
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
    assert found(program("usr/local/bin/x", endless))[:3] == MODULES


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
