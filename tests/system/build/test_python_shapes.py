"""Python projects of less usual shapes, as they lie in their repositories."""

from __future__ import annotations

import pytest
from harness.builder import BuildPlatform
from harness.platform import ROOT
from harness.serving import serving

MAIN = """import http.server, os
from greetlib import WORD

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WORD.encode())

http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
BACKEND = '[build-system]\nrequires = ["setuptools>=60"]\nbuild-backend = "setuptools.build_meta"\n'
LIBRARY = f"""[project]
name = "greetlib"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["click"]
{BACKEND}"""
MEMBER = {
    "packages/lib/pyproject.toml": LIBRARY,
    "packages/lib/src/greetlib/__init__.py": "import click\nWORD = 'member'\n",
}
WORKSPACE = """[project]
name = "shop"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["greetlib", "itsdangerous"]
[tool.uv.sources]
greetlib = { workspace = true }
[tool.uv.workspace]
members = ["packages/*"]
"""
OWN = {"greetlib.py": "import click\nWORD = 'own'\n"}
SHAPES: dict[str, tuple[dict[str, str], bytes]] = {
    "workspace": (
        {"pyproject.toml": WORKSPACE, "uv.lock": (ROOT / "tests/data/uv-workspace.lock").read_text(), **MEMBER},
        b"member",
    ),
    "workspace-without-project": (
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            "uv.lock": (ROOT / "tests/data/uv-workspace-virtual.lock").read_text(),
            **MEMBER,
        },
        b"member",
    ),
    "setup-cfg": (
        {"setup.cfg": "[metadata]\nname = shop\n[options]\npy_modules = greetlib\ninstall_requires = click\n", **OWN},
        b"own",
    ),
    "dynamic": (
        {
            "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\ndynamic = ["dependencies"]\n'
            f'[tool.setuptools]\npy-modules = ["greetlib"]\n'
            f'[tool.setuptools.dynamic]\ndependencies = {{file = ["needs.txt"]}}\n{BACKEND}',
            "needs.txt": "click\n",
            **OWN,
        },
        b"own",
    ),
    "pre-compile": (
        {
            "requirements.txt": "-r made.txt\n",
            "made.txt": "",
            "bin/pre_compile": "echo click > made.txt; printf 'import click\\nWORD = \"hook\"\\n' > greetlib.py\n",
            "greetlib.py": "",
        },
        b"hook",
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_a_project_of_this_shape_is_installed_and_served(platform: BuildPlatform, shape: str) -> None:
    files, said = SHAPES[shape]
    app = platform.app(f"shape-{shape}")
    image = platform.build(app, {**files, "main.py": MAIN})
    with serving(platform, app, image) as get:
        assert get("/").read() == said
