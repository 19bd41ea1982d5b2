"""A Go app: modules from a proxy, then a change of the code only."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.platform import Platform, commit

from buildpacks.go import VERSION

GREET = 'package greet\n\nfunc Greeting() string { return "greetings" }\n'
MAIN = """package main

import (
	"bufio"
	"net"
	"os"

	"example.test/greet"
)

func main() {
	listener, _ := net.Listen("tcp", ":"+os.Getenv("PORT"))
	for {
		client, _ := listener.Accept()
		for reader := bufio.NewReader(client); ; {
			if line, err := reader.ReadString('\\n'); err != nil || line == "\\r\\n" {
				break
			}
		}
		client.Write([]byte("HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n" + greet.Greeting()))
		client.Close()
	}
}
"""
"""Without net/http, so that the program is small."""

FILES = {
    "go.mod": "module example.test/shop/v2\n\ngo 1.22\n\nrequire example.test/greet v1.0.0\n",
    "main.go": MAIN,
    "Procfile": "web: shop\n",
}


WORKSPACE = {
    "go.work": "go 1.22\n\nuse (\n\t./api\n\t./root\n)\n",
    "api/go.mod": "module example.test/api\n\ngo 1.22\n",
    "api/main.go": MAIN.replace("example.test/greet", "example.test/root").replace("greet.", "root."),
    "root/go.mod": "module example.test/root\n\ngo 1.22\n",
    "root/root.go": 'package root\n\n// #cgo LDFLAGS: -lm\n// #include <math.h>\nimport "C"\n\nimport "fmt"\n\n'
    'func Greeting() string { return fmt.Sprintf("%.4f", float64(C.sqrt(2))) }\n',
}
"""Two modules, one of them written in C."""


@pytest.fixture
def proxy(lonely: Platform) -> Iterator[Platform]:
    """A platform whose Go proxy is a folder with one module."""
    folder = lonely.folder / "proxy"
    versions = folder / "example.test" / "greet" / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text("v1.0.0\n")
    (versions / "v1.0.0.info").write_text(json.dumps({"Version": "v1.0.0"}))
    (versions / "v1.0.0.mod").write_text("module example.test/greet\n\ngo 1.22\n")
    with zipfile.ZipFile(versions / "v1.0.0.zip", "w") as archive:
        archive.writestr("example.test/greet@v1.0.0/go.mod", "module example.test/greet\n\ngo 1.22\n")
        archive.writestr("example.test/greet@v1.0.0/greet.go", GREET)
    for path in (lonely.folder, folder):
        path.chmod(0o755)
    lonely.settings["builds_go_proxy"] = f"file://{folder}"
    lonely.start()
    lonely.make_key()
    yield lonely


@pytest.mark.long
def test_a_module_is_fetched_compiled_and_served(proxy: Platform) -> None:
    repository = proxy.repository(FILES)
    refused = proxy.push(repository, "shop")
    assert refused.returncode == 1
    assert "lack example.test/greet" in refused.stdout, refused.stdout
    commit(repository, "Add go.sum", **{"go.sum": _sums(proxy.folder / "proxy")})
    done = proxy.push(repository, "shop")
    assert done.returncode == 0, done.stdout
    assert proxy.get("shop").text == "greetings"
    commit(
        repository, "Say it louder", **{"main.go": MAIN.replace("greet.Greeting()", 'greet.Greeting()+"!"')}
    )
    again = proxy.push(repository, "shop")
    assert again.returncode == 0, again.stdout
    assert "Fetching Go" not in again.stdout
    assert proxy.get("shop").text == "greetings!"
    purls = {part.get("purl") for part in proxy.json("image:sbom", "-a", "shop")["components"]}
    assert "pkg:golang/example.test/greet@v1.0.0" in purls
    assert f"pkg:golang/stdlib@{VERSION}" in purls
    proxy.deploy(WORKSPACE, "workspace")
    assert proxy.get("workspace").text == "1.4142"


def _sums(proxy: Path) -> str:
    """go.sum as `go mod tidy` writes it: the hash of a list of hashes (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    import base64
    import hashlib

    def hash1(files: dict[str, bytes]) -> str:
        lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
        return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()

    folder = proxy / "example.test" / "greet" / "@v"
    with zipfile.ZipFile(folder / "v1.0.0.zip") as archive:
        whole = hash1({name: archive.read(name) for name in archive.namelist()})
    module = hash1({"go.mod": (folder / "v1.0.0.mod").read_bytes()})
    return f"example.test/greet v1.0.0 {whole}\nexample.test/greet v1.0.0/go.mod {module}\n"
