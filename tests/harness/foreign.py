"""Images that other tools make: umoci and skopeo, with busybox as the only program in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from harness.registry import PASSWORD, USER, RunningRegistry


class Layout:
    """An OCI layout that umoci makes, with busybox in its lowest layer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "layout"
        run("umoci", "init", "--layout", str(self.path))
        run("umoci", "new", "--image", f"{self.path}:v1")
        self.config("--architecture", "amd64" if os.uname().machine == "x86_64" else "arm64", "--os", "linux")

    def layer(self, **files: str) -> None:
        """A layer of these files; a name's `__` is a slash. `bin__sh` is always there."""
        root = self.folder / "root"
        for name, text in files.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        (root / "bin").mkdir(exist_ok=True)
        shutil.copy("/usr/bin/busybox", root / "bin/busybox")
        (root / "bin/sh").symlink_to("busybox")
        run("umoci", "insert", "--image", f"{self.path}:v1", str(root), "/")
        shutil.rmtree(root)

    def hide(self, path: str) -> None:
        run("umoci", "insert", "--whiteout", "--image", f"{self.path}:v1", path)

    def config(self, *words: str) -> None:
        run("umoci", "config", "--image", f"{self.path}:v1", *words)

    def copy(self, registry: RunningRegistry, name: str, *words: str) -> str:
        """Copy it to the registry with skopeo; the manifest's digest there."""
        creds = f"{USER}:{PASSWORD}"
        to = (f"oci:{self.path}:v1", f"docker://{registry.host}/{name}")
        run("skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", creds, *words, *to)
        return str(
            json.loads(run("skopeo", "inspect", "--tls-verify=false", "--creds", creds, to[1]))["Digest"]
        )


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
