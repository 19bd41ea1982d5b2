"""Cloud Native Buildpacks in real builds: layers of their own, kept for the next build, and processes that get their variables."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from harness.builder import BuildPlatform, build_platform
from harness.cnb import below, buildpack, buildpackage, composite
from harness.registry import running
from harness.serving import serving

from paas.nouns.errors import BuildFailed
from runtime.image.ocilayout import ImageStore

MAKE = """layer() { printf "[types]\\n%s" "$2" >"$CNB_LAYERS_DIR/$1.toml"; mkdir -p "$CNB_LAYERS_DIR/$1"; }
"""
TOOL = buildpack(
    "team/tool",
    detect="printf '[[provides]]\\nname = \"tool\"\\n' >$CNB_BUILD_PLAN_PATH",
    build=MAKE
    + """
if [ -f $CNB_LAYERS_DIR/tool/bin/tool ]; then echo "tool is there"; else echo "tool is made"; fi
layer tool 'build = true
cache = true
launch = true
'
mkdir -p $CNB_LAYERS_DIR/tool/bin $CNB_LAYERS_DIR/tool/env.launch $CNB_LAYERS_DIR/tool/exec.d
printf '#!/bin/sh\\necho "tool for $WHO in $PLACE"\\n' >$CNB_LAYERS_DIR/tool/bin/tool
printf 'env' >$CNB_LAYERS_DIR/tool/env.launch/PLACE
printf '#!/bin/sh\\necho "WHO = \\\\"exec.d\\\\"" >&3\\n' >$CNB_LAYERS_DIR/tool/exec.d/who
chmod +x $CNB_LAYERS_DIR/tool/bin/tool $CNB_LAYERS_DIR/tool/exec.d/who
""",
)
APP = buildpack(
    "team/app",
    detect="[ -f app.txt ] || exit 100; printf '[[requires]]\\nname = \"tool\"\\n' >$CNB_BUILD_PLAN_PATH",
    build="""echo "the app sees: $(tool), $(cat $CNB_PLATFORM_DIR/env/GREETING), $(id -u)"
cp app.txt built.txt
printf '[[processes]]\\ntype = "web"\\ncommand = ["python3", "serve.py"]
[[labels]]\\nkey = "org.example.team"\\nvalue = "ours: us"\\n' >$CNB_LAYERS_DIR/launch.toml
""",
)


SERVE = """import http.server, os, subprocess
class Home(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = subprocess.check_output("tool") + open("built.txt", "rb").read()
        self.send_response(200); self.send_header("Content-Length", str(len(said))); self.end_headers(); self.wfile.write(said)
http.server.HTTPServer(("", int(os.environ["PORT"])), Home).serve_forever()
"""


def app_json(*urls: str) -> str:
    return json.dumps({"buildpacks": [{"url": url} for url in urls]})


def test_layers_are_reused_and_only_the_app_changes(platform: BuildPlatform) -> None:
    files = {
        "app.txt": "one",
        "serve.py": SERVE,
        "app.json": app_json("./packs/tool", "packs/app"),
        **below("packs/tool", TOOL),
        **below("packs/app", APP),
    }
    app = platform.app("native")
    image = platform.build(app, files, config={"GREETING": "hello"})
    assert image.processes == {"web": "python3 serve.py"}
    assert [line.strip() for line in platform.lines if "tool" in line and "Running" not in line] == [
        "team/tool 1.0.0", "tool is made", "the app sees: tool for  in , hello, 1000",
    ]  # fmt: skip
    *_, layers, built = image.layers
    stored = platform.layout.layers / layers.removeprefix("sha256:") / "layers"
    assert sorted(path.name for path in stored.iterdir()) == ["config", "team_tool"]
    assert [path.name for path in (stored / "team_tool").iterdir()] == ["tool"]
    store = ImageStore(platform.layout.images, platform.layout.stacks)
    assert store.read(image.digest).config["config"]["Labels"]["org.example.team"] == "ours: us"
    with serving(platform, app, image) as get:
        assert get("/").read() == b"tool for exec.d in env\none"
    changed = platform.build(app, {**files, "app.txt": "two"}, config={"GREETING": "hello"})
    assert "       tool is there" in platform.lines and "(2 new, " in platform.lines[-1]
    assert changed.layers[-2] == layers and changed.layers[-1] != built
    with serving(platform, app, changed) as get:
        assert get("/").read() == b"tool for exec.d in env\ntwo"
    again = platform.build(app, {**files, "app.txt": "two"}, config={"GREETING": "hello"})
    assert again.digest == changed.digest
    assert "-----> Buildpacks: nothing changed, their layers are reused" in platform.lines


def test_an_archive_of_a_buildpackage_in_the_repository(platform: BuildPlatform) -> None:
    packs = {"team/all": composite("team/all", "team/tool+team/app"), "team/tool": TOOL, "team/app": APP}
    files: dict[str, str | bytes] = {
        "app.txt": "x", ".buildpacks": "packs/all.cnb\n", "packs/all.cnb": buildpackage("team/all", packs)
    }  # fmt: skip
    image = platform.build(platform.app("packaged"), files, config={"GREETING": "hi"})
    assert list(image.processes) == ["web"]


def test_a_composite_finds_its_parts_in_the_folders_beside_it(platform: BuildPlatform) -> None:
    both = composite("team/all", "team/tool+team/app", dependencies=("../tool", "../app"))
    files = {
        "app.txt": "x", ".buildpacks": "packs/all\n", **below("packs/all", both), **below("packs/tool", TOOL), **below("packs/app", APP)
    }  # fmt: skip
    image = platform.build(platform.app("composed"), files, config={"GREETING": "hi"})
    assert list(image.processes) == ["web"]


@pytest.mark.long
def test_a_buildpackage_of_a_registry_builds_and_its_layers_are_pulled_once(tmp_path: Path) -> None:
    packs = {"team/all": composite("team/all", "team/tool+team/app"), "team/tool": TOOL, "team/app": APP}
    archive = tmp_path / "all.cnb"
    archive.write_bytes(buildpackage("team/all", packs))
    with running() as registry, build_platform(private_registries=["127.0.0.0/8"]) as platform:
        command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}"]
        subprocess.run([*command, f"docker://{registry.host}/team/all:1"], check=True)
        app, name = platform.app("pulled"), registry.reference("team/all:1")
        files = {"app.txt": "one", "serve.py": SERVE, "app.json": app_json(f"docker://{name}")}
        image = platform.build(app, files, config={"GREETING": "hello"})
        pulled = [line for line in platform.lines if line.startswith("       sha256:")]
        assert len(pulled) == 1 and "       team/tool 1.0.0" in platform.lines
        assert not [one for one in image.layers if (platform.layout.layers / one[7:] / "cnb").exists()]
        with serving(platform, app, image) as get:
            assert get("/").read() == b"tool for exec.d in env\none"
        platform.build(app, {**files, "app.txt": "two"}, config={"GREETING": "hello"})
        assert not [line for line in platform.lines if line.startswith("       sha256:")]
        assert "       tool is there" in platform.lines
        with pytest.raises(BuildFailed) as failed:
            platform.build(app, {**files, "app.json": app_json(f"docker://{name}-not-there")})
        assert failed.value.message.startswith(f"app.json: the image {name}-not-there cannot be had")
        assert failed.value.hint == "Check the name and the tag."


INLINE = """[_]
schema-version = "0.2"
[[io.buildpacks.group]]
id = "team/inline"
[io.buildpacks.group.script]
api = "0.10"
inline = '''
echo "inline: $COLOUR"
printf '[[processes]]\\ntype = "worker"\\ncommand = ["true"]\\n' >$CNB_LAYERS_DIR/launch.toml
'''
[[io.buildpacks.group]]
id = "heroku/procfile"
[[io.buildpacks.build.env]]
name = "COLOUR"
value = "it's blue"
"""


def test_a_script_in_project_toml_is_a_buildpack(platform: BuildPlatform) -> None:
    image = platform.build(platform.app("inline"), {"project.toml": INLINE})
    assert image.processes == {"worker": "true"}
    assert "       inline: it's blue" in platform.lines


CLASSIC = {"packs/classic/bin/compile": "#!/bin/sh\n"}


@pytest.mark.parametrize(
    ("name", "files", "message", "hint"),
    [
        ("old", below("packs/one", buildpack("x", api="0.7")), "the buildpack x speaks the Buildpack API 0.7; 0.8 to 0.12", "Take a release"),
        ("refuses", below("packs/one", buildpack("x", detect="exit 100")), "bin/detect refused of x 1.0.0", "Add the files"),
        ("fails", below("packs/one", buildpack("x", build="exit 9")), "bin/build of the buildpack x 1.0.0 ended with status 9", "The lines above"),
        ("killed", below("packs/one", buildpack("x", detect="kill -9 $$")), "bin/detect of the buildpack x 1.0.0 was killed by signal 9", "The lines above"),
        ("unrunnable", below("packs/one", {**buildpack("x"), "bin/build": "#!/no/such\n"}), "bin/build of the buildpack x 1.0.0 cannot be run", "program in its first line"),
        ("unplanned", below("packs/one", buildpack("x", detect="echo [[x >$2")), "plan.toml of the buildpack x 1.0.0 is not TOML", "Correct"),
        ("unpacked", {".buildpacks": "one.cnb\n", "one.cnb": "junk"}, "the buildpack one.cnb cannot be unpacked", "It must be a tar"),
        ("lonely", below("packs/one", TOOL), "team/tool 1.0.0 provides what none requires: tool", "Add a buildpack that does so for tool"),
        ("composite", below("packs/one", composite("x", "y")), "wants the buildpack y 1.0.0, which is missing", "package.toml"),
        ("broken", below("packs/one", {"buildpack.toml": "api ="}), "buildpack.toml of the buildpack packs/one is not TOML", "Correct"),
        ("mute", below("packs/one", buildpack("x")), "says nothing about what to run", "Procfile"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told(
    platform: BuildPlatform, name: str, files: Mapping[str, str], message: str, hint: str
) -> None:
    with pytest.raises(BuildFailed) as failed:
        platform.build(platform.app(f"cnb-{name}"), {"a": "", ".buildpacks": "packs/one\n", **files})
    assert message in failed.value.message and hint in failed.value.hint, platform.lines


def test_two_kinds_are_not_mixed(platform: BuildPlatform) -> None:
    files = {**CLASSIC, **below("packs/tool", TOOL), ".buildpacks": "packs/classic\npacks/tool\n"}
    with pytest.raises(BuildFailed) as failed:
        platform.build(platform.app("mixed"), files)
    assert "the buildpack packs/tool is of another kind than those before it" in failed.value.message
