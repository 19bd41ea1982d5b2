"""Builds in real build instances: a tree becomes layers and an image; nothing else is left."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from harness.builder import BuildPlatform, build_platform
from harness.platform import ROOT
from harness.sources import files_of

from paas.build import publish
from paas.host import accounts
from paas.nouns.errors import BadInput, BuildFailed, Cancelled
from paas.nouns.model import Image
from paas.store import instances
from runtime.image.ocilayout import ImageStore

HELLO = files_of(ROOT / "examples" / "hello")
SLEEPER = {
    "package.json": '{"name": "x", "version": "1.0.0", "scripts": {"build": "sleep 60", "start": "true"}}'
}


WITHOUT_A_SERVER = {**HELLO, "Procfile": "web: python3 app.py\n"}
"""Nothing is installed but what requirements.txt names."""


def instances_made(platform: BuildPlatform) -> int:
    with platform.store.write() as tx:
        row = instances.create(tx, tx.execute("SELECT id FROM app").fetchone()[0], kind="build", type="build")
        instances.ended(tx, row.id, cause="counted")
    return row.id


def app_files(platform: BuildPlatform, image: Image) -> dict[str, Path]:
    """The files below /app of an image's own layers; a higher layer's wins."""
    found: dict[str, Path] = {}
    for digest in image.layers:
        root = platform.layout.layers / digest.removeprefix("sha256:") / "app"
        found |= {str(path.relative_to(root)): path for path in root.rglob("*")} if root.is_dir() else {}
    return found


@contextmanager
def changed(platform: BuildPlatform, **settings: float) -> Iterator[None]:
    before = platform.settings
    platform.settings = replace(before, **settings)
    try:
        yield
    finally:
        platform.settings = before


def scripted(script: str, **more: str) -> dict[str, str | bytes]:
    """An app whose build script is this one."""
    package = {"name": "x", "version": "1.0.0", "scripts": {"build": "bash build.sh", "start": "true"}}
    return {"package.json": json.dumps(package), "build.sh": script, **more}


def test_a_code_only_change_starts_nothing_and_keeps_the_dependency_layer(platform: BuildPlatform) -> None:
    app = platform.app("codeonly")
    first = platform.build(app, HELLO)
    before = instances_made(platform)
    second = platform.build(app, {**HELLO, "more.py": "x = 1\n"})
    assert instances_made(platform) == before + 1
    assert "-----> Restoring cache: dependencies unchanged, layer reused" in platform.lines
    assert first.layers[:-1] == second.layers[:-1]
    assert first.layers[-1] != second.layers[-1]
    assert any("3 layers" in line and "(1 new" in line for line in platform.lines)


def test_the_same_inputs_give_the_same_digests(platform: BuildPlatform) -> None:
    one = platform.build(platform.app("same-one"), HELLO)
    two = platform.build(platform.app("same-two"), HELLO)
    assert one.digest == two.digest
    assert one.layers == two.layers


def test_an_image_is_read_by_other_tools(platform: BuildPlatform) -> None:
    image = platform.build(platform.app("readable"), HELLO)
    folder = platform.layout.images
    ImageStore(folder, platform.layout.stacks).tag("hello", image.digest)
    assert shutil.which("skopeo"), "skopeo is one of the packages the tests need"
    command = ["skopeo", "inspect", "--config", f"oci:{folder}:hello"]
    config = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert config["config"]["User"].split(":")[0] == "1000"
    assert config["config"]["WorkingDir"] == "/app"
    assert config["rootfs"]["diff_ids"] == list(image.layers)
    assert config["config"]["Labels"]["paas.process.web"] == "gunicorn app:app"
    stat = subprocess.run(
        ["umoci", "stat", "--image", f"{folder}:hello", "--json"], capture_output=True, check=True
    )
    assert [layer["layer"]["digest"] for layer in json.loads(stat.stdout)["history"]] == list(image.layers)
    for digest in image.layers:
        blob = folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_digest_pinned_dependencies_are_one_layer_for_all_apps(platform: BuildPlatform) -> None:
    lines = [
        "click==8.1.7 --hash=sha256:ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28",
    ]
    files = {**WITHOUT_A_SERVER, "requirements.txt": "\n".join(lines)}
    platform.build(platform.app("pinned-one"), files)
    before = instances_made(platform)
    platform.build(platform.app("pinned-two"), files)
    assert instances_made(platform) == before + 1


def test_apps_that_make_the_same_layer_at_once_end_with_one(platform: BuildPlatform) -> None:
    files = {
        **HELLO,
        "requirements.txt": "iniconfig==2.0.0 --hash=sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374\n",
    }
    made: dict[str, Image] = {}

    def build(name: str) -> None:
        made[name] = platform.build(platform.app(name), files)

    threads = [threading.Thread(target=build, args=(f"racer-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({image.digest for image in made.values()}) == 1
    assert len(made) == 4
    assert platform.spawner.list() == []


def test_unpinned_dependencies_are_not_shared_with_another_app(platform: BuildPlatform) -> None:
    files = {**WITHOUT_A_SERVER, "requirements.txt": "click\n"}
    platform.build(platform.app("loose-one"), files)
    before = instances_made(platform)
    platform.build(platform.app("loose-two"), files)
    assert (
        instances_made(platform) == before + 3
    )  # dependencies, the look at what was compiled, the count itself


def test_a_failing_step_names_its_cause_and_leaves_nothing(platform: BuildPlatform) -> None:
    app = platform.app("failing")
    with pytest.raises(BuildFailed) as caught:
        platform.build(app, files_of(ROOT / "tests" / "apps" / "failing-build"))
    error = caught.value
    assert error.cause == "build command failed"
    assert "no package named no-such-package-anywhere-1f3c" in error.message
    assert "exited with status 1" in error.message
    assert "spelling" in error.hint
    assert any("no-such-package-anywhere-1f3c" in line for line in platform.lines)
    assert platform.spawner.list() == []
    with platform.store.read() as tx:
        assert instances.live_of(tx, app.id) == []
    assert platform.build(app, HELLO).layers


def test_a_script_reads_config_vars_which_never_lie_in_a_layer(platform: BuildPlatform) -> None:
    app = platform.app("canary")
    files = scripted('test "${SECRET%-5f1e}" = canary && echo seen > seen.txt\n')
    image = platform.build(app, files, config={"SECRET": "canary-5f1e"})
    found = app_files(platform, image)
    assert found["seen.txt"].read_text() == "seen\n"
    for path in found.values():
        assert not path.is_file() or b"canary-5f1e" not in path.read_bytes()
    for blob in (platform.layout.images / "blobs" / "sha256").iterdir():
        if blob.is_file() and not blob.is_symlink():
            assert b"canary-5f1e" not in blob.read_bytes()
    with pytest.raises(BuildFailed):
        platform.build(app, files, config={"SECRET": "another"})


def test_development_packages_serve_the_build_script_and_stay_out_of_the_image(
    platform: BuildPlatform,
) -> None:
    package = {
        "name": "x",
        "version": "1.0.0",
        "scripts": {"build": "is-ci && mkdir -p dist && echo built > dist/index.html"},
        "dependencies": {"ms": "2.1.3"},
        "devDependencies": {"is-ci": "3.0.1"},
    }
    image = platform.build(platform.app("devdeps"), {"package.json": json.dumps(package), "src/a.js": "1"})
    found = app_files(platform, image)
    assert found["dist/index.html"].read_text() == "built\n"
    assert "node_modules/ms/package.json" in found
    assert "node_modules/is-ci/package.json" not in found
    assert image.processes["web"] == ".paas/web"
    assert found[".paas/web"].read_text() == "#!/bin/bash\nexec .paas/serve /index.html dist\n"


def test_credentials_of_the_registries_reach_builds_only_when_they_are_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a registry that carries a password, an npm token, and a folder of wheels, as an operator sets them."""
    wheels = Path(tempfile.mkdtemp(prefix="paas-wheels-"))
    wheels.chmod(0o755)
    (wheels / "note.txt").write_text("a folder of the operator")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text(
        "//npm.example/:_authToken=canary-token\n@team:registry=https://npm.example/\n"
    )
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} https://ann:canary-password@wheels.example/")
    script = (
        f"cat {wheels}/note.txt > note.txt\nenv > env.txt\ncat ~/.npmrc >> env.txt\n"
        f"touch {wheels}/mine 2>/dev/null && echo written > written.txt || true\n"
    )
    try:
        with build_platform() as platform:
            for share in (False, True):
                settings = replace(platform.settings, builds_share_registry_credentials=share)
                publish.publish(settings, group_id=accounts.account(accounts.CONTROL).gid)
                app = platform.app(f"nosy-{share}".lower())
                found = app_files(platform, platform.build(app, scripted(script)))
                seen = found["env.txt"].read_text()
                assert found["note.txt"].read_text() == "a folder of the operator"
                assert "written.txt" not in found
                assert "@team:registry=https://npm.example/" in seen
                for canary in ("canary-token", "canary-password"):
                    assert (canary in seen) is share
                told = [line for line in platform.lines if "not given to builds" in line]
                assert len(told) == (0 if share else 2)
                assert not any("canary" in line for line in platform.lines)
    finally:
        shutil.rmtree(wheels)


def test_a_folder_of_wheels_is_enough_where_no_index_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wheels = Path(tempfile.mkdtemp(prefix="paas-wheels-"))
    wheels.chmod(0o755)
    info = "offline_thing-1.0.dist-info"
    with zipfile.ZipFile(wheels / "offline_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("offline_thing.py", "HERE = True\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: offline-thing\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null" if name == "PIP_CONFIG_FILE" else "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    try:
        with build_platform() as platform:
            app = platform.app("offline")
            files: dict[str, str | bytes] = {
                "requirements.txt": "offline-thing==1.0\n",
                "Procfile": "web: true\n",
            }
            found = app_files(platform, platform.build(app, files))
            assert ".venv/lib/python3.11/site-packages/offline_thing.py" in found
            with pytest.raises(BuildFailed, match="no package named flask"):
                platform.build(app, {**files, "requirements.txt": "flask==3.0.0\n"})
    finally:
        shutil.rmtree(wheels)


def test_out_of_memory_is_told_with_limit_and_peak(platform: BuildPlatform) -> None:
    eater = 'python3 -c "b = []\nwhile True: b.append(bytearray(1 << 22))"\n'
    with changed(platform, builds_memory_bytes=192 << 20), pytest.raises(BuildFailed) as caught:
        platform.build(platform.app("hungry"), scripted(eater))
    assert caught.value.cause == "out of memory"
    assert "limit 192 MiB" in caught.value.message
    assert "builds.memory_bytes" in caught.value.hint


def test_a_build_that_takes_too_long_is_ended(platform: BuildPlatform) -> None:
    with changed(platform, builds_wall_s=1.0), pytest.raises(BuildFailed) as caught:
        platform.build(platform.app("slow"), SLEEPER)
    assert caught.value.cause == "build took too long"
    assert "within 1 s" in caught.value.message


def test_a_cancelled_build_ends_at_once_and_leaves_nothing(platform: BuildPlatform) -> None:
    app = platform.app("cancelled")
    stop = threading.Event()

    def watch() -> None:
        while not any("sleep 60" in line for line in platform.lines):
            time.sleep(0.02)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(Cancelled):
        platform.build(app, SLEEPER, cancelled=stop.is_set)
    watcher.join()
    assert platform.spawner.list() == []
    with platform.store.read() as tx:
        assert instances.live_of(tx, app.id) == []


def test_a_build_sees_nothing_of_the_host_or_of_other_apps(platform: BuildPlatform) -> None:
    canary = platform.layout.home / "canary-file"
    canary.write_text("canary-of-the-host")
    script = (
        "id -u > id.txt\n"
        "find / -xdev -name 'canary-file' 2>/dev/null > found.txt || true\n"
        f"cat {canary} > read.txt 2>/dev/null || true\n"
        "ls /cache > cache.txt\n"
        "grep -h '^Cap\\|^NoNewPrivs' /proc/self/status > status.txt\n"
        "nohup sleep 600 >/dev/null 2>&1 &\n"
    )
    image = platform.build(platform.app("nosy"), scripted(script))
    found = app_files(platform, image)
    assert found["id.txt"].read_text() == "1000\n"
    assert found["found.txt"].read_text() == ""
    assert found["read.txt"].read_text() == ""
    assert "CapEff:\t0000000000000000" in found["status.txt"].read_text()
    assert "NoNewPrivs:\t1" in found["status.txt"].read_text()
    assert platform.spawner.list() == []


def test_output_is_live_harmless_and_bounded(platform: BuildPlatform) -> None:
    script = (
        "printf '\\033[31mred\\033[0m and \\033]0;title\\007plain\\n'\n"
        "printf 'one\\rtwo\\rthree\\n'\n"
        "head -c 300000 /dev/zero | tr '\\0' x; echo\n"
        "printf '\\xff\\xfe\\n'\n"
        "yes flood | head -c 12000000\n"
    )
    platform.build(platform.app("noisy"), scripted(script))
    text = "\n".join(platform.lines)
    assert "       red and plain" in platform.lines
    assert "       three" in platform.lines
    assert "\x1b" not in text
    assert max(map(len, platform.lines)) < 2100
    assert len(text) < 20_000_000
    assert any("the rest is not shown" in line for line in platform.lines)


def test_files_of_any_name_arrive_as_they_are(platform: BuildPlatform) -> None:
    files: dict[str, str | bytes] = {
        "Procfile": "web: true",
        "with space.txt": "1",
        "with\nnewline.txt": "2",
        "b\udcffyte.txt": "3",
        "deep/" * 20 + "file": "4",
        "run.sh": "#!/bin/sh\n",
    }
    image = platform.build(platform.app("names"), files)
    found = app_files(platform, image)
    assert set(files) <= set(found)
    assert found["run.sh"].stat().st_mode & 0o777 == 0o755
    assert found["with space.txt"].stat().st_uid == 1000


def test_an_app_that_says_nothing_to_run_is_refused_before_anything_runs(platform: BuildPlatform) -> None:
    app = platform.app("silent")
    before = instances_made(platform)
    with pytest.raises(BuildFailed, match="says nothing about what to run"):
        platform.build(app, {"requirements.txt": "flask==3.0.0\n"})
    with pytest.raises(BuildFailed, match="No buildpack matched"):
        platform.build(app, {"README.md": "x"})
    with pytest.raises(BadInput, match="Procfile line 1"):
        platform.build(app, {"Procfile": "nonsense"})
    assert instances_made(platform) == before + 1
