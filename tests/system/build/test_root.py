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


def run_as_root(
    platform: BuildPlatform,
    app: App,
    script: str,
    outputs: tuple[str, ...],
    *layers: str,
    root: bool = True,
) -> MadeLayer:
    """What one step over the stack and `layers` made; its output is in `platform.lines`."""
    stack = stacks.load(platform.layout.stacks, app.stack)
    assert stack is not None
    with platform.store.write() as tx:
        row = builds.start(tx, app.id, commit="0" * 40, tree="0" * 40, actor="test", holder="test 0 0")
    platform.lines.clear()
    spec = StepSpec("Being root", script, (*stack.run, *layers), {}, (), b"\0" * 10240, outputs, root=root)
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


def test_another_app_sees_owners_as_they_were_and_reads_no_file_of_root(platform: BuildPlatform) -> None:
    script = (
        "useradd --uid 2000 --create-home sailor; install -d -m 700 /srv/private\n"
        "echo secret | tee /srv/key /srv/private/key > /dev/null; chmod 600 /srv/key\n"
        "echo all > /srv/all; chown www-data:1000 /srv/all; chmod 640 /srv/all"
    )
    made = run_as_root(platform, platform.app("maker"), script, ("/srv", "/home", "/etc/passwd"))
    look = (
        "cd /srv; stat -c '%n %u:%g %a' . key private all /home/sailor /home/sailor/.bashrc /etc; id -u; cat all\n"
        "! cat key; ! ls private; ! touch /srv/new /etc/new; ! chmod 644 key; stat -c %U /home/sailor"
    )
    reader = platform.app("reader")
    run_as_root(platform, reader, look, ("/app/x",), made.digest, root=False)
    said = [line.strip() for line in platform.lines]
    for line in (
        ". 0:0 755", "key 0:0 600", "private 0:0 700", "all 33:1000 640", "/home/sailor 2000:2000 755",
        "/home/sailor/.bashrc 2000:2000 644", "/etc 0:0 755", "1000", "all", "sailor",
        "cat: key: Permission denied",
    ):  # fmt: skip
        assert line in said, said
    assert "secret" not in said


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
