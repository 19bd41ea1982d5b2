"""The phases of Cloud Native Buildpacks, run over buildpacks in bash: which group is chosen, what layers become, what is said."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from harness.cnb import buildpack, buildpackage, composite, write

from buildpacks import classic
from buildpacks.lifecycle import profile, tomltext
from buildpacks.lifecycle.__main__ import RELEASE, main
from buildpacks.lifecycle.building import Surroundings

LAYER = 'printf "[types]\\n%s" "$2" >"$CNB_LAYERS_DIR/$1.toml"; mkdir -p "$CNB_LAYERS_DIR/$1"'
MAKE = f"layer() {{ {LAYER}; }}\n"


class Place:
    """A machine to build on: folders of a test, and a build that runs `main` in this process."""

    def __init__(self, root: Path) -> None:
        self.root, self.app, self.layers = root, root / "app", root / "layers"
        for folder in ("app", "work", "platform/env", "packs"):
            (root / folder).mkdir(parents=True)
        self.user: dict[str, str] = {}

    def pack(self, folder: str, files: dict[str, str]) -> None:
        write(self.root / "packs" / folder, files)

    def build(self, *folders: str) -> int:
        subprocess.run(["rm", "-rf", self.layers], check=True)
        env = {name: os.environ[name] for name in ("PATH",)} | {
            "HOME": str(self.root), "CNB_STACK_ID": "debian-12", "CNB_TARGET_OS": "linux", "CNB_TARGET_ARCH": "amd64",
            "CNB_TARGET_DISTRO_NAME": "debian", "CNB_TARGET_DISTRO_VERSION": "12",
        }  # fmt: skip
        for name, text in self.user.items():
            (self.root / "platform/env" / name).write_text(text)
        place = Surroundings(
            self.app, self.layers, self.root / "cache/kept", self.root / "work", self.root / "platform", env, self.user
        )  # fmt: skip
        words = [word for folder in folders for word in (folder, str(self.root / "packs" / folder))]
        return main(words, place)

    @property
    def processes(self) -> str:
        return classic.procfile_of((self.app / RELEASE).read_text())

    def launch(self, process: str = "web") -> tuple[int, dict[str, str], str]:
        """Status, environment and other output of a process of this type that starts with the script."""
        script = f". {self.app}/.profile.d/000_buildpacks.sh; env -0 >&7"
        env = {"PATH": os.environ["PATH"], "OLD": "old", "OLD3": "old", "PAAS_PROCESS": f"{process}.1"}
        with open(self.root / "env", "w+") as out:
            command = ["bash", "-c", f"exec 7>&{out.fileno()}; {script}"]
            done = subprocess.run(
                command, env=env, cwd=self.app, pass_fds=(out.fileno(),), capture_output=True, text=True, check=False
            )  # fmt: skip
        pairs = (line.partition("=") for line in (self.root / "env").read_text().split("\0"))
        return done.returncode, {name: text for name, _, text in pairs}, done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


PROVIDER = buildpack(
    "team/tool",
    detect='[ "$CNB_PLATFORM_DIR" = "$1" ]; echo \'[[provides]]\nname = "tool"\' >"$CNB_BUILD_PLAN_PATH"',
    build=MAKE
    + 'grep -q "version = \\"3\\"" "$CNB_BP_PLAN_PATH"; [ "$3" = "$CNB_BP_PLAN_PATH" ]\n'
    + "layer tool 'build = true\nlaunch = true\n'; mkdir -p \"$1/tool/bin\"\n"
    + "printf '#!/bin/sh\\necho tool' >$1/tool/bin/the-tool; chmod +x $1/tool/bin/the-tool",
)
USER = buildpack(
    "team/user",
    detect='printf \'[[requires]]\nname = "tool"\n[requires.metadata]\nversion = "3"\n\' >"$2"',
    build='[ "$(the-tool)" = tool ] && [ -d "$CNB_BUILDPACK_DIR/bin" ]\n'
    'printf \'[[processes]]\ntype = "web"\ncommand = ["the-tool"]\nargs = ["--port", "1"]\n\' >$CNB_LAYERS_DIR/launch.toml',
)


def test_one_provides_what_the_next_requires(place: Place) -> None:
    place.pack("tool", PROVIDER)
    place.pack("user", USER)
    assert place.build("tool", "user") == 0
    assert place.processes == "web: the-tool --port 1\n"
    assert sorted(path.name for path in place.layers.iterdir()) == ["team_tool"]
    assert place.launch()[1]["PATH"].startswith(f"{place.layers}/team_tool/tool/bin:/")


def test_in_the_wrong_order_nothing_fits(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.pack("tool", PROVIDER)
    place.pack("user", USER)
    assert place.build("user", "tool") == 1
    said = "no group of the buildpacks fits: the buildpack team/user 1.0.0 requires what none before it provides: tool"
    assert capsys.readouterr().out.splitlines()[-1] == said


def plan(*lines: str) -> str:
    """A `bin/detect` with this build plan: `+name` provides, `-name` requires, `|` begins an alternative."""
    toml, prefix = "", ""
    for word in " ".join(lines).split():
        if word == "|":
            toml, prefix = f"{toml}[[or]]\n", "or."
        else:
            toml += f'[[{prefix}{"provides" if word[0] == "+" else "requires"}]]\nname = "{word[1:]}"\n'
    return f"cat >$2 <<'PLAN'\n{toml}PLAN"


SAYS = 'echo "runs $(basename "$CNB_BUILDPACK_DIR")"'


@pytest.mark.parametrize(
    ("detects", "groups", "runs"),
    [
        ({"a": "", "b": ""}, "a+b", "a b"),
        ({"a": "exit 100", "b": ""}, "a+b b", "b"),
        ({"a": "exit 100", "b": ""}, "a?+b", "b"),
        ({"a": "exit 100"}, "a? ", None),
        ({"a": plan("+x"), "b": ""}, "a?+b", "b"),
        ({"a": plan("+x | +y"), "b": plan("-y")}, "a+b", "a b"),
        ({"a": plan("+x"), "b": plan("-x | -y")}, "a+b", "a b"),
        ({"a": plan("-x"), "b": plan("+x")}, "a+b", None),
        ({"a": plan("+x -x")}, "a", "a"),
        ({"a": plan("+x"), "b": plan("-x -z"), "c": ""}, "a?+b?+c", "c"),
        ({"a": "exit 3", "b": ""}, "a b", "b"),
    ],
)
def test_the_first_group_that_fits_builds(
    place: Place, capfd: pytest.CaptureFixture[str], detects: dict[str, str], groups: str, runs: str | None
) -> None:
    for id, detect in detects.items():
        place.pack(id, buildpack(id, detect=detect, build=SAYS))
    place.pack("all", composite("all", groups, dependencies=tuple(f"../{id}" for id in detects)))
    status = place.build("all")
    ran = [line.split()[1] for line in capfd.readouterr().out.splitlines() if line.startswith("runs ")]
    assert (status, ran) == ((0, runs.split()) if runs else (1, []))


def test_a_composite_stands_for_each_of_its_groups_among_others(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    for id, detect in {"a": "exit 100", "b": plan("+x"), "c": plan("-x"), "d": ""}.items():
        place.pack(id, buildpack(id, detect=detect, build=SAYS))
    place.pack("inner", composite("inner", "a b", dependencies=("../a", "../b")))
    place.pack("outer", composite("outer", "inner+c d", dependencies=("../inner", "../c", "../d")))
    assert place.build("outer") == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("runs")] == [
        "runs b",
        "runs c",
    ]


def test_a_buildpack_that_contains_itself_ends(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.pack("a", composite("a", "a"))
    assert place.build("a") == 1
    assert "contains itself" in capsys.readouterr().out


COUNTS = (
    MAKE
    + """
for name in cached told; do
  echo "$name: $(cat $1/$name.toml 2>/dev/null | tr '\\n' ' ')/ $(cat $1/$name/content 2>/dev/null || true)"
done
if [ ! -e $1/told.toml ]; then layer told 'launch = true\n[metadata]\nmade = 1\n'; echo old >$1/told/content
else printf '[types]\nlaunch = true\n[metadata]\nmade = 2\n' >$1/told.toml; fi
layer cached 'cache = true\n[metadata]\nkey = "k \\"1\\""\nlist = [1, {a = 2.5}]\n'; echo more >>$1/cached/content
mkdir $1/nothing
echo "store: $(cat $1/store.toml 2>/dev/null || true)"; printf '[metadata]\nn = 1\n' >$1/store.toml
"""
)


def test_layers_come_back_at_the_next_build(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.pack("a", buildpack("a", build=COUNTS))
    assert place.build("a") == 0
    assert "cached: / \ntold: / \nstore: \n" in capfd.readouterr().out
    assert (place.layers / "a/told/content").read_text() == "old\n"
    for made in (1, 2):
        assert place.build("a") == 0
        said = capfd.readouterr().out
        assert 'cached: [metadata] key = "k \\"1\\"" list = [1, {a = 2.5}] / more' in said
        assert f"told: [metadata] made = {made} / \n" in said
        assert "store: [metadata]\nn = 1" in said
        assert (place.layers / "a/told/content").read_text() == "old\n"
    assert (place.root / "cache/kept/a/cached/content").read_text() == "more\n" * 3
    assert sorted(path.name for path in (place.layers / "a").iterdir()) == ["told"]


def test_a_failed_build_leaves_what_was_kept(place: Place) -> None:
    place.pack("a", buildpack("a", build=COUNTS))
    assert place.build("a") == 0
    place.pack("a", buildpack("a", build=f"{COUNTS}\nexit 4"))
    assert place.build("a") == 1
    assert (place.root / "cache/kept/a/cached/content").read_text() == "more\n"


ENVIRONMENT = (
    MAKE
    + """
layer l 'launch = true\nbuild = true\n'; cd $1/l
mkdir -p bin lib include pkgconfig env env.build env.launch/web env.launch/worker exec.d/worker
printf x >env/PLAIN; printf o >env/OLD.override; printf d >env/OLD2.default; printf n >env/PLAIN2.default
printf a >env.launch/LIST.append; printf b >env.launch/web/LIST.append; printf , >env.launch/web/LIST.delim
printf p >env.launch/OLD3.prepend; printf - >env.launch/OLD3.delim
printf build >env.build/ONLY; printf w >env.launch/worker/ROLE; printf "it's\n" >env.launch/QUOTED
printf '#!/bin/sh\necho log; printf "FROM_EXEC = \\\\"%%s\\\\"" "$PLAIN" >&3' >exec.d/run
printf '#!/bin/sh\necho "W = \\\\"$FROM_EXEC\\\\"" >&3' >exec.d/worker/run
chmod +x exec.d/run exec.d/worker/run
"""
)


def test_layers_change_the_environment_of_builds_and_processes(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    place.app.mkdir(exist_ok=True)
    place.pack("a", buildpack("a", build=ENVIRONMENT))
    place.pack("b", buildpack("b", build="env"))
    place.user = {"MINE": "m", "PATH": "/mine"}
    assert place.build("a", "b") == 0
    layer = place.layers / "a/l"
    built = dict(line.partition("=")[::2] for line in capfd.readouterr().out.splitlines())
    assert built["ONLY"] == "build" and built["CPATH"] == f"{layer}/include" and built["MINE"] == "m"
    assert built["PKG_CONFIG_PATH"] == f"{layer}/pkgconfig" and built["LIBRARY_PATH"] == f"{layer}/lib"
    assert built["PATH"].startswith(f"/mine:{layer}/bin:") and "LIST" not in built
    status, web, said = place.launch()
    assert (status, said) == (0, "log\n")
    assert (web["LIST"], web["OLD"], web["OLD3"], web["QUOTED"]) == ("a,b", "o", "p-old", "it's\n")
    assert (web["PLAIN"], web["OLD2"], web["PLAIN2"], web["FROM_EXEC"]) == ("x", "d", "n", "x")
    assert web["LD_LIBRARY_PATH"] == f"{layer}/lib" and web["PATH"].startswith(f"{layer}/bin:/")
    assert not {"ONLY", "CPATH", "ROLE", "W"} & set(web)
    worker = place.launch("worker")[1]
    assert (worker["ROLE"], worker["W"], worker["LIST"]) == ("w", "x", "a")
    assert place.launch("run")[0] == 0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\nexit 3", "exec.d/p ended with status 3"),
        ("#!/bin/sh\necho x >&3", "exec.d/p wrote no TOML to descriptor 3"),
        ("#!/bin/sh\necho 'x = 1' >&3", "exec.d/p wrote to descriptor 3 what is no variable: 'x'"),
        ('#!/bin/sh\necho \'"a b" = "1"\' >&3', "exec.d/p wrote to descriptor 3 what is no variable: 'a b'"),
        ("#!/nowhere", "exec.d/p ended with status 12"),
    ],
)
def test_a_program_of_exec_d_that_fails_keeps_the_process_from_starting(
    place: Place, program: str, said: str
) -> None:
    layer = place.layers / "a/l"
    write(layer, {"exec.d/p": program})
    (layer / "exec.d/p").chmod(0o755)
    profile.write([profile.Launched([str(layer)], False)], place.layers, place.app)
    status, env, out = place.launch()
    assert status == 1 and said in out and "PATH" not in env and "Traceback" not in out


def test_profile_d_is_sourced_where_the_api_still_has_it(place: Place) -> None:
    files = "mkdir -p $1/l/profile.d/web; echo 'export A=a' >$1/l/profile.d/a.sh; echo 'export B=$A' >$1/l/profile.d/web/b.sh"
    for api, known in (("0.8", ("a", "a")), ("0.9", (None, None))):
        place.pack(api, buildpack("a", api=api, build=f"{MAKE}layer l 'launch = true'; {files}"))
        assert place.build(api) == 0
        web, worker = place.launch("web")[1], place.launch("worker")[1]
        assert (web.get("A"), web.get("B")) == known and "B" not in worker


def test_a_clean_environment_has_no_config_vars(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.pack("a", {**buildpack("a", build='env; cat "$2/env/MINE"'), "buildpack.toml": 'api = "0.12"\n[buildpack]\nid = "a"\nversion = "1"\nclear-env = true\n'})  # fmt: skip
    place.user = {"MINE": "mine"}
    assert place.build("a") == 0
    said = capfd.readouterr().out
    assert "MINE=" not in said and said.endswith("mine")
    assert "CNB_TARGET_DISTRO_NAME=debian" in said and "CNB_STACK_ID=debian-12" in said


def test_what_is_unmet_goes_to_the_next_that_provides_it(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    show = 'echo "plan $(basename $CNB_BUILDPACK_DIR): $(tr -d "\\n" <$3)"'
    place.pack(
        "a",
        buildpack(
            "a", detect=plan("+x +y"), build=f"{show}\nprintf '[[unmet]]\nname = \"y\"\n' >$1/build.toml"
        ),
    )
    place.pack("b", buildpack("b", detect=plan("+x +y"), build=show))
    place.pack("c", buildpack("c", detect=plan("-x -y"), build=show))
    assert place.build("a", "b", "c") == 0
    plans = [line for line in capfd.readouterr().out.splitlines() if line.startswith("plan")]
    assert plans == [
        'plan a: [[entries]]name = "x"[[entries]]name = "y"', 'plan b: [[entries]]name = "y"', "plan c: "
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("api", "process", "line"),
    [
        ("0.9", 'command = ["a b", "c"]\nargs = ["$X"]', "exec 'a b' c '$X'"),
        ("0.10", 'command = ["run"]', "run"),
        ("0.12", 'command = ["sh", "-c", "a\\nb\'"]', r"exec sh -c $'a\x0ab\''"),
        ("0.10", 'command = ["run"]\nworking-dir = "sub dir"', "cd 'sub dir' && exec run"),
        ("0.12", 'command = ["run"]\nexec-env = ["test", "production"]', "run"),
        ("0.8", 'command = "a | b"', "a | b"),
        ("0.8", 'command = "a"\nargs = ["$X y"]', 'a "$X y"'),
        ("0.8", 'command = "a"\nargs = ["$X"]\ndirect = true', "exec a '$X'"),
    ],
)
def test_a_process_becomes_a_line(place: Place, api: str, process: str, line: str) -> None:
    toml = f'[[processes]]\ntype = "web.main"\ndefault = true\n{process}\n'
    place.pack("a", buildpack("a", api=api, build=f"cat >$1/launch.toml <<'EOF'\n{toml}EOF"))
    assert place.build("a") == 0
    assert place.processes == f"web-main: {line}\nweb: {line}\n"


def test_what_is_for_other_environments_is_left_out(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    toml = '[[processes]]\ntype = "check"\ncommand = ["x"]\nexec-env = ["test"]\n'
    place.pack("a", buildpack("a", api="0.12", build=f"cat >$1/launch.toml <<'EOF'\n{toml}EOF\n{SAYS}"))
    place.pack("b", buildpack("b", build=SAYS))
    files = composite("all", "b+a", api="0.12", dependencies=("../a", "../b"))
    toml = files["buildpack.toml"].replace('id = "b"\n', 'id = "b"\nexec-env = ["test"]\n')
    place.pack("all", {**files, "buildpack.toml": toml})
    assert place.build("all") == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("runs")] == ["runs a"]
    assert place.processes == ""


TARGET = '[[targets]]\nos = "linux"\n[[targets.distros]]\nname = "ubuntu"\nversion = "24.04"\n'


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (buildpack("a", api="0.7"), "the buildpack a speaks the Buildpack API 0.7"),
        (buildpack("a", api="1.0"), "the buildpack a speaks the Buildpack API 1.0"),
        ({"buildpack.toml": 'api = 0.10\n[buildpack]\nid = "a"\n'}, "the buildpack a speaks the Buildpack API no text (0.1)"),
        ({"buildpack.toml": '[buildpack]\nid = "a"\n'}, "the buildpack a speaks the Buildpack API none"),
        ({"buildpack.toml": 'api = "0.10"\n[buildpack]\nid = "../x"\n'}, "buildpack.toml of the buildpack a names no id"),
        ({"buildpack.toml": "api ="}, "buildpack.toml of the buildpack a is not TOML"),
        (buildpack("a", detect="echo why; exit 3"), "why\nbin/detect of the buildpack a 1.0.0 ended with status 3"),
        (buildpack("a", detect="exit 100"), "no group of the buildpacks fits: bin/detect refused of a 1.0.0"),
        (buildpack("a", more=TARGET), "a 1.0.0 is made for other systems than linux amd64 debian 12"),
        (buildpack("a", build="exit 7"), "bin/build of the buildpack a 1.0.0 ended with status 7"),
        (buildpack("a", build="echo [types >$1/x.toml"), "x.toml of the buildpack a 1.0.0 is not TOML"),
        (buildpack("a", build="printf '[types]\nlaunch = true' >$1/x.toml"), "the layer x of the buildpack a 1.0.0 has no contents"),
        (buildpack("a", build="echo '[[processes]]\ntype=\"web\"' >$1/launch.toml"), "the process web of the buildpack a 1.0.0 has no command"),
        (buildpack("a", build="echo '[[processes]]\ntype=\"web\"\ncommand=\"x\"' >$1/launch.toml"), "the process web of the buildpack a 1.0.0 has a command as API 0.10 does not write it"),
        (buildpack("a", build="echo '[[processes]]\ntype=\"a b\"\ncommand=[\"x\"]' >$1/launch.toml"), "the process 'a b' of the buildpack a 1.0.0 is called as none may be"),
        (buildpack("a", build="touch $PWD/.profile.d"), "the buildpacks left what cannot be handled:"),
        (buildpack("a", detect="echo why not; exit 100"), "why not\nno group of the buildpacks fits"),
        (composite("a", "b"), "the buildpack the app > a wants the buildpack b 1.0.0, which is missing"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(
    place: Place, capfd: pytest.CaptureFixture[str], files: dict[str, str], said: str
) -> None:
    place.pack("a", files)
    assert place.build("a") == 1
    out = capfd.readouterr()
    assert said in out.out and "Traceback" not in out.out + out.err


def test_a_buildpackage_is_unpacked_and_is_the_one_that_its_label_names(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    packs = {
        "team/all": composite("team/all", "team/one"),
        "team/one": buildpack("team/one", build="echo one"),
    }
    folder = place.root / "packs/package"
    folder.mkdir()
    subprocess.run(["tar", "-xC", folder], input=buildpackage("team/all", packs), check=True)
    assert place.build("package") == 0
    assert capfd.readouterr().out.splitlines() == ["team/one 1.0.0", "one"]
    (folder / "index.json").write_text("{}")
    assert place.build("package") == 1
    assert "the buildpack package is no OCI image with buildpacks" in capfd.readouterr().out


@pytest.mark.parametrize(
    "value",
    ["a\"b\\c\n\x7f\x00ü\U0001f600", 7, -1.5, True, [1, [2]], {"a b": {"c": ["d"]}},
     tomllib.loads("d = 2020-01-02T03:04:05Z")["d"], tomllib.loads("d = 1e300")["d"], tomllib.loads("d = inf")["d"]],
)  # fmt: skip
def test_toml_is_read_back_as_it_was(value: object) -> None:
    assert tomllib.loads(tomltext.table("t", {"k": value})) == {"t": {"k": value}}
    assert tomllib.loads(tomltext.array("t", [{"k": value}, {}])) == {"t": [{"k": value}, {}]}
