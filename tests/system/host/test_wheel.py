"""The platform as an ordinary package: built as a wheel, installed elsewhere, and the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness.platform import ROOT, Platform

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment that holds the wheel and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(folder / "venv")], check=True)
    pip = str(folder / "venv/bin/pip")
    subprocess.run([pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], check=True)
    subprocess.run([pip, "install", "-q", str(next(folder.glob("*.whl")))], check=True)
    return folder / "venv/bin"


def test_an_installed_wheel_serves_a_pushed_app(stacks: str, installed: Path) -> None:
    where = subprocess.run(
        [str(installed / "python"), "-P", "-c", "import paas; print(paas.__file__)"],
        capture_output=True, text=True, check=True, cwd="/", env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert str(ROOT) not in where.stdout
    elsewhere = Platform(program=installed / "paas")
    try:
        elsewhere.start()
        elsewhere.make_key()
        elsewhere.deploy("examples/hello", "packaged")
        assert elsewhere.get("packaged").status == 200
        assert elsewhere.get("nobody").status == 404
    finally:
        elsewhere.close()
