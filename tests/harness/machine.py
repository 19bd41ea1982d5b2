"""A virtual machine with Debian 12's own kernel (6.1, cgroup v2), emulated, for what this kernel cannot show.

The root disk is the stack's run layer plus the `runtime` package and the host's nft and kmod. A probe
script runs as the machine's init and prints JSON lines behind a marker on the serial console.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from harness.platform import ROOT, STACKS

MARKER = "PROBE "
INITRAMFS_MODULES = ("virtio_pci", "virtio_blk")
GUEST_MODULES = (
    "overlay",
    "veth",
    "dummy",
    "nf_tables",
    "nft_masq",
    "nft_ct",
    "nft_chain_nat",
    "nft_reject_inet",
    "nft_fib_inet",
    "nft_connlimit",
)
PROGRAMS = ("/usr/sbin/nft", "/usr/bin/kmod")

_INITRAMFS = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /mnt
exec /bin/busybox switch_root /mnt /probe-init
"""

_INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size=300m tmpfs /var/tmp
ip link set lo up 2>/dev/null
for module in MODULES; do modprobe $module; done
cd /opt/paas && python3 -P /probe.py
echo o > /proc/sysrq-trigger
sleep 60
"""


class Machine:
    """Builds in `folder`, boots once, returns what the probe printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, probe: str, *, timeout_s: float = 300) -> list[dict[str, Any]]:
        """Boot, run the probe script, and return its JSON lines. Fails with the console's tail."""
        kernel = self._kernel()
        initramfs = self._initramfs(kernel)
        disk = self._disk(kernel, probe)
        command = [
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-M",
            "q35",
            "-m",
            "1536",
            "-smp",
            "2",
        ]
        command += [
            "-nographic",
            "-no-reboot",
            "-net",
            "none",
            "-kernel",
            str(kernel),
            "-initrd",
            str(initramfs),
        ]
        command += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
        command += ["-append", "console=ttyS0 panic=-1 reboot=t quiet"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        lines = [line.strip() for line in done.stdout.splitlines()]
        found = [json.loads(line.partition(MARKER)[2]) for line in lines if MARKER in line]
        assert found, "\n".join(lines[-60:])
        return found

    def _kernel(self) -> Path:
        names = subprocess.run(
            ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True
        )
        package = re.search(r"Depends: (linux-image-\S+)", names.stdout)
        assert package, names.stdout
        subprocess.run(
            ["apt-get", "download", "-qq", package[1]], cwd=self.folder, check=True, capture_output=True
        )
        unpacked = self.folder / "kernel"
        subprocess.run(
            ["dpkg-deb", "-x", str(next(self.folder.glob("linux-image-*.deb"))), str(unpacked)], check=True
        )
        release = next((unpacked / "lib/modules").iterdir()).name
        subprocess.run(["depmod", "-b", str(unpacked), release], check=True)
        return next((unpacked / "boot").glob("vmlinuz-*"))

    def _modules(self, kernel: Path) -> Path:
        return next((kernel.parent.parent / "lib/modules").iterdir())

    def _initramfs(self, kernel: Path) -> Path:
        root = self.folder / "initramfs"
        (root / "bin").mkdir(parents=True)
        (root / "modules").mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        modules = self._modules(kernel)
        order: list[str] = []
        for name in INITRAMFS_MODULES:
            for path in self._needed(modules, name):
                if path.name not in order:
                    shutil.copy(path, root / "modules")
                    order.append(path.name)
        (root / "modules/order").write_text("\n".join(order))
        (root / "init").write_text(_INITRAMFS)
        os.chmod(root / "init", 0o755)
        image = self.folder / "initramfs.gz"
        pack = "find . | cpio -o -H newc --quiet | gzip -1"
        with image.open("wb") as output:
            subprocess.run(["sh", "-c", pack], cwd=root, stdout=output, check=True)
        return image

    def _needed(self, modules: Path, name: str) -> list[Path]:
        command = ["modprobe", "-d", str(modules.parents[2]), "-S", modules.name, "--show-depends", name]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [Path(line.split()[1]) for line in lines if line.startswith("insmod")]

    def _disk(self, kernel: Path, probe: str) -> Path:
        root = self.folder / "root"
        stack = json.loads((STACKS / "debian-12.json").read_text())
        layer = STACKS / "layers" / stack["run"][0].removeprefix("sha256:")
        subprocess.run(["cp", "-a", str(layer), str(root)], check=True)
        for name in ("proc", "sys", "dev", "run", "var/tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / "runtime", root / "opt/paas/runtime")
        for program in PROGRAMS:
            self._copy_program(root, Path(program))
        (root / "usr/sbin/modprobe").unlink(missing_ok=True)
        (root / "usr/sbin/modprobe").symlink_to("/usr/bin/kmod")
        modules = self._modules(kernel)
        shutil.copytree(modules, root / "lib/modules" / modules.name)
        (root / "probe.py").write_text(probe)
        (root / "probe-init").write_text(_INIT.replace("MODULES", " ".join(GUEST_MODULES)))
        os.chmod(root / "probe-init", 0o755)
        disk = self.folder / "root.img"
        subprocess.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(disk), "900M"],
            check=True,
            capture_output=True,
        )
        return disk

    def _copy_program(self, root: Path, program: Path) -> None:
        wanted = [program.resolve()]
        linked = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        wanted += [Path(match) for match in re.findall(r"(?:=> )?(/\S+)", linked)]
        for path in wanted:
            target = root / str(path.resolve()).lstrip("/")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path.resolve(), target)
            alias = root / str(path).lstrip("/")
            if not alias.exists() and not alias.is_symlink():
                alias.parent.mkdir(parents=True, exist_ok=True)
                alias.symlink_to(target.name if target.parent == alias.parent else str(path.resolve()))
        named = root / str(program).lstrip("/")
        if not named.exists():
            named.symlink_to(str(program.resolve()))
