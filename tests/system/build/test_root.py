"""Build steps that are root in their container: what dpkg and useradd need works, and nothing beyond it."""

from __future__ import annotations

import os
import stat

import pytest
from harness.builder import BuildPlatform

from paas.build.output import Output
from paas.build.step import MadeLayer, StepSpec, run_step
from paas.nouns.model import App
from paas.store import builds
from runtime.stack import build as stacks

USERS = """
groupadd --gid 2000 crew
useradd --uid 2000 --gid crew --create-home sailor
su sailor -c 'id; touch ~/mine; ! touch /etc/theirs 2>/dev/null'
stat -c '%U:%G' /home/sailor/mine
"""
PACKAGES = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install libpq5 iputils-ping
ldconfig -p | grep -c libpq.so.5
"""


def run_as_root(platform: BuildPlatform, app: App, script: str, outputs: tuple[str, ...]) -> MadeLayer:
    """What one root step made; its output is in `platform.lines`."""
    stack = stacks.load(platform.layout.stacks, app.stack)
    assert stack is not None
    with platform.store.write() as tx:
        row = builds.start(tx, app.id, commit="0" * 40, tree="0" * 40, actor="test", holder="test 0 0")
    platform.lines.clear()
    spec = StepSpec("Being root", script, stack.run, {}, (), b"\0" * 10240, outputs, root=True)
    try:
        return run_step(platform, app, row.number, spec, Output(platform.lines.append))
    finally:
        with platform.store.write() as tx:
            builds.finish(tx, app.id, row.number, "succeeded")


def test_users_are_made_and_become_themselves(platform: BuildPlatform) -> None:
    run_as_root(platform, platform.app("crew"), USERS, ("/srv",))
    said = [line.strip() for line in platform.lines]
    assert "uid=2000(sailor) gid=2000(crew) groups=2000(crew)" in said
    assert said[-1] == "sailor:crew"


def test_B4_set_id_bits_capabilities_and_devices_do_not_get_into_the_layer(platform: BuildPlatform) -> None:
    script = (
        "cd /srv; cp /usr/bin/id id; chmod 6755 id; install -d -m 2775 shared\n"
        "! mknod disk b 254 0 2>/dev/null; ! mount -t tmpfs none /mnt 2>/dev/null\n"
        "! setcap cap_chown+ep id 2>/dev/null; stat -c %a id"
    )
    made = run_as_root(platform, platform.app("setid"), script, ("/srv",))
    assert platform.lines[-1].strip() == "6755"
    tree = platform.layout.layers / made.digest.removeprefix("sha256:") / "srv"
    assert sorted(path.name for path in tree.iterdir()) == ["id", "shared"]
    assert stat.S_IMODE((tree / "id").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "shared").stat().st_mode) == 0o775
    assert os.listxattr(tree / "id") == []


@pytest.mark.long
def test_packages_are_installed_by_apt(platform: BuildPlatform) -> None:
    run_as_root(platform, platform.app("apt"), PACKAGES, ("/srv",))
    assert platform.lines[-1].strip() == "1"
