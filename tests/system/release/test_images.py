"""An app's image leaves the platform, into a registry that wants a login and into a file, without a secret; and images of others
come: they run as they say of themselves, without a right that an app has not."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from harness.foreign import Layout
from harness.platform import Platform, commit, git, wait_for
from harness.registry import PASSWORD, USER, RunningRegistry, running

APP = "image"
SECRET = "canary-config-5e7a"
LOGIN = ("--username", USER, "--password-stdin")


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """One whose operator allows registries on loopback."""
    made = Platform(private_registries="127.0.0.0/8")
    try:
        made.start()
        made.make_key()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def repository(platform: Platform) -> Path:
    platform.paas("create", APP)
    platform.paas("config:set", f"SECRET_KEY={SECRET}", "-a", APP)
    made = platform.repository("examples/hello", APP)
    scripts = {"scripts": {"paas": {"postdeploy": "echo served by $PAAS_RELEASE"}}}
    commit(made, "Say who serves", **{"app.json": json.dumps(scripts)})
    pushed = platform.push(made, APP)
    assert pushed.returncode == 0, pushed.stdout
    return made


@pytest.fixture(scope="module")
def registry(repository: Path) -> Iterator[RunningRegistry]:
    with running("token") as made:
        yield made


def push(platform: Platform, reference: str, *words: str, check: bool = True) -> Any:
    command = ("image:push", reference, "-a", APP, *LOGIN, *words)
    return platform.paas(*command, check=check, input=f"{PASSWORD}\n")


def skopeo(*words: str) -> Any:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def test_a_push_sends_what_is_missing_and_no_secret_with_it(
    platform: Platform, repository: Path, registry: RunningRegistry
) -> None:
    done = push(platform, registry.reference("team/hello:v1"))
    assert re.search(
        rf"Pushing {APP} to http://\S+\.\.\. done, 3 layers sent \(\S+ \S+\), 0 there", done.stderr
    )
    assert re.fullmatch(rf"http://{registry.host}/team/hello:v1@sha256:[0-9a-f]{{64}}\n", done.stdout)
    commit(repository, "Say more", **{"more.py": "x = 1\n"})
    assert platform.push(repository, APP).returncode == 0
    source = platform.json("image:history", "-a", APP)["layers"][-1]["digest"].removeprefix("sha256:")
    wait_for(
        lambda: (platform.home / "images/gzip" / source).exists()
    )  # made ahead, since the app was pushed before
    body = json.loads(push(platform, registry.reference("team/hello:v2"), "--json").stdout)
    assert body["layers"] == {"sent": 1, "there": 2, "mounted": 0}
    body = json.loads(
        push(platform, registry.reference("team/other"), "--mount-from", "team/hello", "--json").stdout
    )
    assert body["layers"] == {"sent": 0, "there": 0, "mounted": 3}
    assert body["reference"].endswith("/team/other:latest")

    assert PASSWORD not in done.stdout + done.stderr + platform.paas("logs", "-a", APP, "-n", "500").stdout
    logs = [path for folder in ("logs", "builds") for path in (platform.home / folder).rglob("*")]
    for path in [*registry.blobs, *(platform.home / "images").rglob("*"), *logs, platform.log_path]:
        if path.is_file():
            found = contents(path)
            assert SECRET.encode() not in found and PASSWORD.encode() not in found, path
    assert any(b"app.py" in contents(path) for path in registry.blobs)
    for path in platform.home.rglob("*"):
        if path.is_file() and not path.is_relative_to(platform.home / "layers"):
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_other_tools_read_what_was_pushed_and_where_it_comes_from(
    platform: Platform, repository: Path, registry: RunningRegistry
) -> None:
    push(platform, registry.reference("team/read:v9"), "--compression", "zstd")
    release = platform.json("apps:info", "-a", APP)["release"]
    image, login = f"docker://{registry.host}/team/read:v9", f"{USER}:{PASSWORD}"
    config = json.loads(skopeo("inspect", "--config", "--tls-verify=false", "--creds", login, image))
    read = ("--tls-verify=false", "--creds", login, image)
    kinds = {layer["mediaType"] for layer in json.loads(skopeo("inspect", "--raw", *read))["layers"]}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == APP
    assert labels["org.opencontainers.image.version"] == f"v{release}"
    assert labels["org.opencontainers.image.revision"] == git(repository, "rev-parse", "HEAD")
    assert labels["org.opencontainers.image.created"] == config["created"]
    assert labels["paas.process.web"] == "gunicorn app:app"
    assert not any(SECRET in item for item in config["config"]["Env"])


@pytest.mark.long
def test_umoci_and_podman_make_the_app_of_what_they_are_given(
    platform: Platform, repository: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    push(platform, registry.reference("team/run:v9"))
    image, login = f"{registry.host}/team/run:v9", f"{USER}:{PASSWORD}"
    source = ("--src-tls-verify=false", "--src-creds", login, f"docker://{image}")
    skopeo("copy", "-q", *source, f"oci:{tmp_path}/copy:read")
    command = ["umoci", "unpack", "--image", f"{tmp_path}/copy:read", str(tmp_path / "bundle")]
    subprocess.run(command, check=True, capture_output=True)
    app = tmp_path / "bundle/rootfs/app"
    assert (app / "app.py").read_bytes() == (repository / "app.py").read_bytes()
    assert (app / "app.py").stat().st_uid == 1000

    file = tmp_path / "image.tar"
    platform.paas("image:export", str(file), "-a", APP)
    runroot = tempfile.mkdtemp(prefix="paas-podman-")  # podman takes at most 50 characters
    folders = ("--root", f"{tmp_path}/root", "--runroot", runroot, "--storage-driver", "vfs")

    def podman(*words: str) -> str:
        done = subprocess.run(["podman", *folders, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    push(platform, registry.reference("team/run:z"), "--compression", "zstd")
    for tag in ("v9", "z"):
        podman("pull", "-q", "--tls-verify=false", "--creds", login, image.replace(":v9", f":{tag}"))
    release = platform.json("apps:info", "-a", APP)["release"]
    for source_of in (("pull", "-q", f"docker-archive:{file}"), ("load", "-q", "-i", str(file))):
        podman(*source_of)
        (read,) = json.loads(podman("inspect", f"{APP}:v{release}"))
        assert read["Labels"]["org.opencontainers.image.title"] == APP
    folder = Path(podman("image", "mount", f"{APP}:v{release}").strip())
    assert (folder / "app/app.py").read_bytes() == (repository / "app.py").read_bytes()
    podman("image", "unmount", "-a")
    shutil.rmtree(runroot)


@contextlib.contextmanager
def docker() -> Iterator[list[str]]:
    """A Docker daemon without a network, in namespaces of its own; the words that begin a command to it."""
    folder = tempfile.mkdtemp(prefix="paas-docker-")
    daemon = [
        "dockerd",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--bridge=none",
        "--storage-driver=vfs",
    ]
    daemon += [
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        f"-Hunix://{folder}/sock",
    ]
    with open(f"{folder}/log", "wb") as log:
        process = subprocess.Popen(["unshare", "-mnpf", "--kill-child", *daemon], stdout=log, stderr=log)
    words = ["docker", "-H", f"unix://{folder}/sock"]
    try:
        wait_for(
            lambda: subprocess.run([*words, "info"], capture_output=True, check=False).returncode == 0, 60
        )
        yield words
    finally:
        process.kill()  # everything else in its namespace dies with it
        process.wait(30)
        shutil.rmtree(folder)


@pytest.mark.long
def test_docker_loads_an_exported_image_and_what_it_saves_is_deployed(
    platform: Platform, repository: Path, tmp_path: Path
) -> None:
    file, release = tmp_path / "image.tar", platform.json("apps:info", "-a", APP)["release"]
    platform.paas("image:export", str(file), "-a", APP)
    with docker() as words:
        loaded = subprocess.run(
            [*words, "load", "-q", "-i", str(file)], capture_output=True, text=True, check=True
        )
        assert loaded.stdout == f"Loaded image: {APP}:v{release}\n"
        (read,) = json.loads(subprocess.check_output([*words, "inspect", f"{APP}:v{release}"]))
        platform.paas("create", "saved")
        command = [str(platform.program), "deploy", "--image", "-", "-a", "saved"]
        with subprocess.Popen([*words, "save", f"{APP}:v{release}"], stdout=subprocess.PIPE) as saved:
            done = subprocess.run(
                command, stdin=saved.stdout, env=platform.environ(), capture_output=True, check=False
            )
        assert done.returncode == 0, done.stderr
    assert platform.get("saved").status == 200
    assert read["RootFS"]["Layers"] == [
        layer["digest"] for layer in platform.json("image:history", "-a", APP)["layers"]
    ]
    assert (read["Config"]["User"], read["Config"]["WorkingDir"]) == ("1000:1000", "/app")


def test_the_history_says_what_made_each_layer(platform: Platform, repository: Path) -> None:
    layers = platform.json("image:history", "-a", APP)["layers"]
    assert [layer["made_by"].split(" (")[0] for layer in layers] == [
        "Stack debian-12", "Installing dependencies with uv", "Source",
    ]  # fmt: skip
    shown = platform.paas("image:history", APP, "--release", "v2").stdout.splitlines()
    assert shown[0].startswith(f"=== {APP} v2 Image sha256:")
    assert shown[1].split() == ["LAYER", "SIZE", "MADE", "BY"]
    assert shown[2].split()[0] == layers[0]["digest"][:19]


def test_an_exported_image_is_read_as_an_oci_and_as_a_docker_archive(
    platform: Platform, repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "image.tar"
    done = platform.paas("image:export", str(file), "-a", APP)
    assert re.search(rf"Exporting {APP} to \S+\.\.\. done, \S+ MB", done.stderr)
    layers = [layer["digest"] for layer in platform.json("image:history", "-a", APP)["layers"]]
    for kind in ("oci-archive", "docker-archive"):
        read = json.loads(skopeo("inspect", "--config", f"{kind}:{file}"))
        assert read["rootfs"]["diff_ids"] == layers
        skopeo("copy", "-q", f"{kind}:{file}", f"dir:{tmp_path}/{kind}")
    with (tmp_path / "piped.tar").open("wb") as piped:
        command = [str(platform.program), "image:export", "-", "-a", APP]
        subprocess.run(command, stdout=piped, env=platform.environ(), check=True)
    assert (tmp_path / "piped.tar").read_bytes() == file.read_bytes()


def test_over_ssh_an_image_is_pushed_and_exported_with_no_client(
    platform: Platform, repository: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    words = ("image:push", registry.reference("team/ssh"), "-a", APP, "--username", USER, "--password-stdin")
    done = platform.over_ssh(*words, input=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"http://{registry.host}/team/ssh:latest@sha256:")
    file = tmp_path / "image.tar"
    ssh = [*platform.ssh_words(), "-p", str(platform.ssh), "paas@127.0.0.1", "image:export", "-", "-a", APP]
    with file.open("wb") as piped:
        subprocess.run(ssh, stdout=piped, check=True)
    assert (
        json.loads(skopeo("inspect", f"oci-archive:{file}"))["Labels"]["org.opencontainers.image.title"]
        == APP
    )


def deploy_image(platform: Platform, reference: str, app: str, *words: str, check: bool = True) -> str:
    command = ("deploy", "--image", reference, "-a", app, *LOGIN, *words)
    done = platform.paas(*command, check=check, input=f"{PASSWORD}\n")
    return done.stdout + done.stderr


def pull_image(platform: Platform, reference: str, app: str) -> dict[str, Any]:
    done = platform.paas("image:pull", reference, "-a", app, *LOGIN, "--json", input=f"{PASSWORD}\n")
    return dict(json.loads(done.stdout))


_SHOW = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
busybox id; pwd; echo port $PORT home $HOME greet $GREET
busybox grep Cap /proc/self/status; busybox ls /www
"""
_START = "trap 'echo told to stop; kill $!; exit 0' INT\nbusybox httpd -f -p $1 -h /www & wait\n"


def test_an_image_from_elsewhere_runs_with_its_own_command_user_folder_port_and_signal(
    platform: Platform, registry: RunningRegistry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.layer(
        etc__passwd="root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n",
        **{"www__old.html": "old", "www__index.html": "hello", "www__cgi-bin__show": _SHOW},
    )
    layout.hide("/www/old.html")
    layout.layer(start=_START)
    layout.config(
        "--config.entrypoint", "/bin/sh", "--config.entrypoint", "/start", "--config.cmd", "8080",
        "--config.user", "web", "--config.workingdir", "/www", "--config.exposedports", "8080/tcp",
        "--config.env", "GREET=a b", "--config.stopsignal", "SIGINT",
    )  # fmt: skip
    zstd = ("--dest-compress-format", "zstd")
    digest, reference = layout.copy(registry, "team/site:v1", *zstd), registry.reference("team/site:v1")
    raw = skopeo(
        "inspect", "--raw", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}",
        f"docker://{registry.host}/team/site:v1",
    )  # fmt: skip
    assert {layer["mediaType"][-9:] for layer in json.loads(raw)["layers"]} == {".tar+zstd"}
    platform.paas("create", "site")
    said = deploy_image(platform, reference, "site")
    assert "web runs: /bin/sh /start 8080" in said and "User 101, folder /www, PORT=8080" in said, said
    assert re.search(r"Deploying \S+ to site\.\.\. done, v[0-9]+", said)
    assert platform.get("site").text == "hello"
    shown = platform.get("site", "/cgi-bin/show").text
    assert "uid=101(web) gid=102" in shown and "/www/cgi-bin\nport 8080 home /srv greet a b\n" in shown, shown
    assert set(re.findall(r"Cap\w+:\s*(\w+)", shown)) == {"0" * 16}
    assert "old.html" not in shown and platform.get("site", "/old.html").status == 404
    assert platform.json("releases", "-a", "site")[0]["description"] == f"Deploy image {reference}"
    assert pull_image(platform, registry.reference(f"team/site@{digest}"), "site")["digest"] == digest
    platform.paas("ps:restart", "-a", "site")

    def logged() -> str:
        return platform.paas("logs", "-a", "site", "-n", "200").stdout

    wait_for(lambda: "Stopping all processes with SIGINT" in logged() and "told to stop" in logged())
    assert platform.paas("run", "-a", "site", "--", "busybox", "echo", "a;b").stdout == "a;b\n"

    file = tmp_path / "saved.tar"
    skopeo("copy", "-q", f"oci:{layout.path}:v1", f"docker-archive:{file}:site:v9")
    said = platform.paas("deploy", "--image", f"docker-archive:{file}", "-a", "site").stderr
    assert re.search(r"Deploying docker-archive:\S+ to site\.\.\. done, v2", said), said
    subprocess.run(["gzip", str(file)], check=True)
    command = [str(platform.program), "deploy", "--image", "-", "-a", "site"]
    with (tmp_path / "saved.tar.gz").open("rb") as packed:
        done = subprocess.run(command, stdin=packed, env=platform.environ(), capture_output=True, check=False)
    assert b"Deploying - to site... done, v3" in done.stderr, done.stderr
    assert platform.get("site").text == "hello"


def test_what_was_pushed_is_the_same_image_when_it_is_pulled(
    platform: Platform, repository: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    done = push(platform, registry.reference("team/same:v1"), "--mount-from", "team/hello", "--json")
    platform.paas("create", "away")
    said = deploy_image(platform, registry.reference("team/same:v1"), "away")
    assert "web runs: gunicorn app:app" in said and "User" not in said
    assert "       served by v1\n" in said, said
    rebuilt = platform.paas("ps:rebuild", "-a", "away", check=False)
    assert rebuilt.returncode == 1 and "The image of v1 was built elsewhere" in rebuilt.stderr
    there = [platform.json("image:history", "-a", app)["digest"] for app in (APP, "away")]
    assert there[0] == there[1]
    again = pull_image(platform, registry.reference("team/same:v1"), "away")
    assert again["release"] is None
    assert again["digest"] == json.loads(done.stdout)["digest"] and again["image"] == there[0]
    file = tmp_path / "image.tar"
    platform.paas("image:export", str(file), "-a", APP)
    for words in (f"oci-archive:{file}", f"docker-archive:{file}"):
        assert platform.paas("image:pull", words, "-a", "away").stdout == f"{there[0]}\n"
    assert platform.get("away").status == 200


def test_a_refusal_of_the_registry_is_told_with_what_to_do(
    platform: Platform, repository: Path, registry: RunningRegistry
) -> None:
    refused = platform.paas("image:push", registry.reference("team/hello"), "-a", APP, check=False)
    assert refused.returncode == 1
    assert f" !     {registry.host} wants a login for team/hello" in refused.stderr
    assert "--username NAME --password-stdin" in refused.stderr
    missing = push(platform, "http://127.0.0.1:1/x", check=False)
    assert "127.0.0.1:1 cannot be reached: Connection refused." in missing.stderr
    private = push(platform, "10.0.0.1/x", check=False)
    assert "private network" in private.stderr and "private_registries" in private.stderr
    assert push(platform, "Not A Reference", check=False).returncode == 1


def test_the_bill_of_materials_names_what_is_installed(platform: Platform, repository: Path) -> None:
    bill = platform.json("image:sbom", "-a", APP)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(bill)) is None
    history = platform.json("image:history", "-a", APP)
    assert bill["metadata"]["component"]["bom-ref"] == history["digest"]
    found = {part["name"]: part for part in bill["components"]}
    assert found["flask"]["purl"].startswith("pkg:pypi/flask@")
    assert re.fullmatch(
        r"pkg:deb/debian/python3\.11@3\.11\.\S+\?distro=debian-12", found["python3.11"]["purl"]
    )
    assert (found["debian"]["type"], found["debian"]["version"]) == ("operating-system", "12")
    shown = platform.paas("image:sbom", APP).stdout.splitlines()
    assert shown[1].split() == ["NAME", "VERSION", "KIND"]
    assert len(shown) == 2 + len(bill["components"])


DOCKERFILE = """FROM debian-12
RUN --mount=type=secret,id=SECRET_KEY --mount=type=cache,target=/var/cache/mine \\
    wc -c </run/secrets/SECRET_KEY | tee /srv/size >/var/cache/mine/size
CMD python3 -m http.server "$PORT"
"""
COMPILE = """#!/bin/sh
set -eu
wc -c <"$3/SECRET_KEY" | tee "$1/size" >"$2/size"
echo "---> read $(cat "$1/size") bytes"
"""


def test_no_secret_gets_into_what_dockerfiles_and_buildpacks_of_others_make(
    platform: Platform, registry: RunningRegistry, tmp_path: Path
) -> None:
    classic = {
        "app.json": json.dumps({"buildpacks": [{"url": "./pack"}]}),
        "pack/bin/detect": "#!/bin/sh\necho Mine\n",
        "pack/bin/compile": COMPILE,
        "Procfile": "web: python3 -m http.server $PORT\n",
    }
    read = str(len(SECRET))
    for app, files in (("sealed", {"Dockerfile": DOCKERFILE}), ("classic", classic)):
        platform.paas("create", app)
        platform.paas("config:set", f"SECRET_KEY={SECRET}", "-a", app)
        repository = platform.repository(files, app)
        for program in repository.glob("pack/bin/*"):
            program.chmod(0o755)
            commit(repository, f"Make {program.name} run")
        done = platform.push(repository, app)
        assert done.returncode == 0 and SECRET not in done.stdout, done.stdout
        shown = platform.paas("run", "-a", app, "--", "cat /srv/size /app/size 2>/dev/null; true").stdout
        assert read in shown.split(), shown
        platform.paas("image:export", str(tmp_path / f"{app}.tar"), "-a", app)
        words = ("image:push", registry.reference(f"team/{app}:v1"), "-a", app, *LOGIN)
        platform.paas(*words, input=f"{PASSWORD}\n")
        bill = platform.paas("image:sbom", "-a", app, "--json").stdout
        assert SECRET not in bill and '"debian"' in bill
    kept = [
        path
        for name in ("images", "layers", "caches", "logs", "builds")
        for path in (platform.home / name).rglob("*")
    ]
    searched = 0
    for path in [*kept, *registry.blobs, *tmp_path.glob("*.tar"), platform.log_path]:
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in contents(path), path
            searched += 1
    assert searched > 100 and any(
        path.read_bytes().split() == [read.encode()] for path in kept if path.name == "size"
    )
