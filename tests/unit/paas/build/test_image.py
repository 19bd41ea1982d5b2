"""Keys, reuse and order of layers: the builder over a real store and a spawner that only remembers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from harness.sources import export

from buildpacks.plan import Plan, Step
from paas.build import image as build
from paas.build.image import WARNED, Described, ImageJob, build_image, describe
from paas.build.output import Output
from paas.build.registry import Registry
from paas.build.source import SourceTree
from paas.build.step import MadeLayer, StepSpec
from paas.manifest.appjson import AppManifest, EnvVar
from paas.manifest.wishes import left_unset, wanted_vars
from paas.nouns.errors import BadInput, BuildFailed
from paas.nouns.model import App, Image
from paas.nouns.settings import load
from paas.release.pipeline import PushRequest
from paas.store import Store, apps
from runtime.spec import MAX_LAYERS
from runtime.stack.build import Stack

STACK = Stack("debian-12", ("sha256:" + "a" * 64,), ("sha256:" + "a" * 64, "sha256:" + "b" * 64), "", 0, ())
REGISTRY = Registry(uv="/usr/bin/uv", uv_version="0.5.0", index_url="https://i.example/simple")


@dataclass
class FakeSpawner:
    """Layers whose content is a text; blobs are really there."""

    blobs: Path
    unpacked: list[str] = field(default_factory=list)

    def layer(self, text: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()
        (self.blobs / digest).write_text(text)
        return f"sha256:{digest}"

    def unpack(self, tar: str) -> MadeLayer:
        self.unpacked.append(tar)
        return MadeLayer(self.layer(tar), 10, 1)


class FakePlatform:
    work_groups = ()

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = replace(load({"home": str(folder), "stacks": str(folder)}, {}, None), id="0a0b0c")
        self.layout = self.settings.layout()
        blobs = self.layout.images / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for digest in STACK.build:
            (blobs / digest.removeprefix("sha256:")).write_text("stack")
        self.layout.database.parent.mkdir()
        self.store = Store.open(self.layout.database)
        self.spawner: Any = FakeSpawner(blobs)
        self.jobs: list[StepSpec] = []
        self.registry = REGISTRY
        self.said: list[str] = []
        monkeypatch.setattr(build, "run_step", self.run_step)
        monkeypatch.setattr(build.registries, "load", lambda layout: self.registry)

    def poke(self) -> None: ...

    def block_base(self) -> int:
        return 1 << 20

    def run_step(self, platform: Any, app: App, number: int, job: StepSpec, output: Output) -> MadeLayer:
        self.jobs.append(job)
        return MadeLayer(self.spawner.layer(repr(job)), 100, 2)

    def app(self, name: str) -> App:
        with self.store.write() as tx:
            return apps.create(tx, name, None)

    def build(
        self, app: App, plan: Plan, files: Mapping[str, str], config: Mapping[str, str] | None = None
    ) -> Image:
        tree = SourceTree.open(self.layout.sources, export(files, self.layout.sources))
        described = Described(plan, {"web": "x"}, ("web",), AppManifest())
        self.jobs.clear()
        self.said.clear()
        job = ImageJob(self, app, 1, tree, config or {}, STACK, Output(self.said.append))
        return build_image(job, described)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    yield FakePlatform(tmp_path, monkeypatch)


FILES = {"lock": "1", "code": "1"}
DEPS = Step("deps", "Installing", "install", ("/app/x",), ("r1",), inputs=("lock",), reused="reused")
AFTER = Step(
    "after", "After", "run", ("/app",), ("r1",), source=True, config=True, after_source=True, onto=("deps",)
)
PLAN = Plan("Test", "lock", steps=(DEPS, AFTER))


def test_nothing_changed_runs_nothing(platform: FakePlatform) -> None:
    app = platform.app("one")
    first = platform.build(app, PLAN, FILES)
    assert [job.title for job in platform.jobs] == ["Installing", "After"]
    again = platform.build(app, PLAN, FILES)
    assert platform.jobs == []
    assert again.digest == first.digest
    assert "-----> reused" in platform.said
    assert any("(0 new, 0 B)" in line for line in platform.said)


def test_layers_lie_in_the_order_stack_dependencies_source_after(platform: FakePlatform) -> None:
    image = platform.build(platform.app("one"), PLAN, FILES)
    deps, after = (platform.spawner.layer(repr(job)) for job in platform.jobs)
    source = platform.spawner.layer(platform.spawner.unpacked[0])
    assert image.layers == (*STACK.run, deps, source, after)
    assert platform.jobs[0].layers == STACK.build
    assert platform.jobs[1].layers == (*STACK.build, deps, source)


def test_more_layers_than_a_container_has_are_refused_by_the_step_that_is_one_too_many(
    platform: FakePlatform,
) -> None:
    names = [f"s{number}" for number in range(MAX_LAYERS + 5)]
    steps = [
        Step(name, f"RUN {name}", name, ("/",), ("r1",), onto=tuple(names[:at]))
        for at, name in enumerate(names)
    ]
    with pytest.raises(BuildFailed, match=rf"RUN s\d+: {MAX_LAYERS + 1} layers are too many"):
        platform.build(platform.app("many"), Plan("Test", "x", steps=tuple(steps)), FILES)
    assert max(len(job.layers) for job in platform.jobs) == MAX_LAYERS


@pytest.mark.parametrize(
    ("files", "config", "ran"),
    [
        ({"lock": "2", "code": "1"}, {}, ["Installing", "After"]),
        ({"lock": "1", "code": "2"}, {}, ["After"]),
        ({"lock": "1", "code": "1"}, {"A": "1"}, ["After"]),
    ],
)
def test_each_input_reaches_exactly_the_steps_that_see_it(
    platform: FakePlatform, files: dict[str, str], config: dict[str, str], ran: list[str]
) -> None:
    app = platform.app("one")
    platform.build(app, PLAN, FILES)
    platform.build(app, PLAN, files, config)
    assert [job.title for job in platform.jobs] == ran


@pytest.mark.parametrize(
    "change",
    [
        {"script": "install more"}, {"key": ("r2",)}, {"env": {"X": "1"}}, {"outputs": ("/app/y",)}, {"config": True},
        {"inputs": ("lock", "code")}, {"source": True},
    ],
)  # fmt: skip
def test_a_changed_step_is_made_anew(platform: FakePlatform, change: dict[str, Any]) -> None:
    app = platform.app("one")
    platform.build(app, PLAN, FILES, {"A": "1"})
    platform.build(app, replace(PLAN, steps=(replace(DEPS, **change),)), FILES, {"A": "1"})
    assert [job.title for job in platform.jobs] == ["Installing"]


def test_another_registry_or_another_uv_makes_dependencies_anew(platform: FakePlatform) -> None:
    app, plan = platform.app("one"), Plan("Test", "lock", steps=(replace(DEPS, tools=("uv",)),))
    platform.build(app, plan, FILES)
    for registry in (
        replace(REGISTRY, index_url="https://j.example/"),
        replace(REGISTRY, uv_version="0.6.0"),
    ):
        platform.registry = registry
        platform.build(app, plan, FILES)
        assert [job.title for job in platform.jobs] == ["Installing"]


def test_layers_belong_to_one_app_unless_digests_alone_decide(platform: FakePlatform) -> None:
    one, two = platform.app("one"), platform.app("two")
    for shared, ran in ((False, 1), (True, 0)):
        plan = Plan("Test", "lock", steps=(replace(DEPS, shared=shared),))
        platform.build(one, plan, FILES)
        platform.build(two, plan, FILES)
        assert len(platform.jobs) == ran


def test_a_shared_layer_is_made_without_the_apps_cache(platform: FakePlatform) -> None:
    step = replace(DEPS, env={"UV_CACHE_DIR": "/cache/uv"})
    app = platform.app("one")
    platform.build(app, Plan("Test", "lock", steps=(step,)), FILES)
    assert [mount.destination for mount in platform.jobs[0].mounts if mount.type == "cache"] == ["/cache"]
    assert platform.jobs[0].env["UV_CACHE_DIR"] == "/cache/uv"
    platform.build(app, Plan("Test", "lock", steps=(replace(step, shared=True),)), FILES)
    assert [mount.destination for mount in platform.jobs[0].mounts if mount.type == "cache"] == []
    assert platform.jobs[0].env["UV_CACHE_DIR"] == "/var/tmp/cache/uv"


def test_config_vars_reach_only_the_steps_that_ask_for_them(platform: FakePlatform) -> None:
    platform.build(platform.app("one"), PLAN, FILES, {"SECRET": "s", "PATH": "/evil"})
    deps, after = platform.jobs
    assert "SECRET" not in deps.env
    assert after.env["SECRET"] == "s"
    assert after.env["PATH"] != "/evil"


def test_a_layer_that_is_gone_is_made_again(platform: FakePlatform) -> None:
    app = platform.app("one")
    image = platform.build(app, PLAN, FILES)
    (platform.layout.images / "blobs" / "sha256" / image.layers[1].removeprefix("sha256:")).unlink()
    platform.build(app, PLAN, FILES)
    assert "Installing" in [job.title for job in platform.jobs]


def test_a_step_that_stays_out_of_the_image_still_lies_below_the_next(platform: FakePlatform) -> None:
    plan = Plan("Test", "lock", steps=(replace(DEPS, in_image=False), AFTER))
    image = platform.build(platform.app("one"), plan, FILES)
    deps = platform.spawner.layer(repr(platform.jobs[0]))
    assert deps not in image.layers
    assert deps in platform.jobs[1].layers


def test_withheld_settings_are_told_once(platform: FakePlatform) -> None:
    platform.registry = replace(REGISTRY, withheld=("index https://***@x/ is not given to builds",))
    platform.build(platform.app("one"), PLAN, FILES)
    assert [line for line in platform.said if "withheld" in line or "***@x" in line] == [
        "       index https://***@x/ is not given to builds"
    ]


def test_links_in_the_place_of_fixed_files_are_refused(tmp_path: Path) -> None:
    for name in ("Procfile", "app.json"):
        tree = SourceTree.open(tmp_path, export({"requirements.txt": ""}, tmp_path, {name: "/etc/shadow"}))
        with pytest.raises(BadInput, match=f"{name} is a symbolic link"):
            describe(tree)


def test_large_fixed_files_are_refused(tmp_path: Path) -> None:
    tree = SourceTree.open(tmp_path, export({"Procfile": "web: x\n" + "#" * (1 << 17)}, tmp_path))
    with pytest.raises(BadInput, match="Procfile is larger than 64 KiB"):
        describe(tree)


def test_procfile_types_replace_default_ones(tmp_path: Path) -> None:
    files = {"package.json": '{"scripts": {"start": "x"}}', "Procfile": "web: mine\nworker: y\n"}
    described = describe(SourceTree.open(tmp_path, export(files, tmp_path)))
    assert described.processes == {"web": "mine", "worker": "y"}
    assert described.declared == ("web", "worker")


def test_types_that_look_like_a_slip_or_that_nobody_has_are_told(tmp_path: Path) -> None:
    wishes = {"formation": {"web": {"quantity": 2}}, "healthchecks": {"Web": [], "worker": []}}
    files = {"Procfile": "Web: run\n", "app.json": json.dumps(wishes), "requirements.txt": ""}
    described = describe(SourceTree.open(tmp_path, export(files, tmp_path)))
    assert list(described.warnings) == [
        "Procfile: is Web meant to be web?",
        "app.json: formation.web is ignored, the app has no process type web",
        "app.json: healthchecks.worker is ignored, the app has no process type worker",
        "No web process: the app gets no HTTP requests",
    ]


def described_with(**env: EnvVar) -> Described:
    return Described(Plan("Test", "x"), {}, (), AppManifest(env=env))


def test_app_json_sets_variables_at_the_first_release_only() -> None:
    described = described_with(A=EnvVar("1"), B=EnvVar(generator="secret"), C=EnvVar("x"))
    wanted = wanted_vars(described.manifest, {"C": "mine"}, first=True)
    assert wanted["A"] == "1"
    assert len(wanted["B"]) == 64
    assert "C" not in wanted
    assert wanted_vars(described.manifest, {}, first=False) == {}
    assert left_unset(described.manifest, {"A": "2"}) == (
        "app.json: B, C are not set, values count at the first release; now: paas config:set B=…"
    )
    assert left_unset(described.manifest, dict.fromkeys("ABC", "")) == ""


def test_a_required_variable_without_a_value_refuses_the_push() -> None:
    described = described_with(NEEDED=EnvVar(), MAYBE=EnvVar(required=False))
    for first in (True, False):
        with pytest.raises(BadInput, match="not set: NEEDED") as caught:
            wanted_vars(described.manifest, {}, first=first)
        assert caught.value.hint == "paas config:set NEEDED=…"
    assert wanted_vars(described.manifest, {"NEEDED": ""}, first=True) == {}


@pytest.mark.parametrize(
    "data",
    [
        {}, {"commit": "a" * 40}, {"commit": "a" * 40, "tree": "../x"}, {"commit": "A" * 40, "tree": "a" * 40},
        {"commit": "a" * 40, "tree": 1},
    ],
)  # fmt: skip
def test_what_is_no_push_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        PushRequest.parse(data, "me")


def test_a_push_is_parsed() -> None:
    request = PushRequest.parse({"commit": "a" * 40, "tree": "b" * 40, "wait": False}, "me")
    assert (request.commit, request.tree) == ("a" * 40, "b" * 40)
    assert (request.actor, request.canary, request.wait) == ("me", None, False)


def test_what_an_image_remembers_of_app_json_is_json() -> None:
    assert json.loads(json.dumps(AppManifest().to_json())) is not None


def test_warnings_stay_with_the_image_so_that_the_next_push_can_leave_them_out(
    platform: FakePlatform,
) -> None:
    tree = SourceTree.open(platform.layout.sources, export({"code": "1"}, platform.layout.sources))
    described = Described(
        PLAN_WITHOUT_STEPS, {"web": "x"}, ("web",), AppManifest(warnings=("one",)), ("two",)
    )
    job = ImageJob(
        cast(Any, platform), platform.app("told"), 1, tree, {}, STACK, Output(platform.said.append)
    )
    image = build_image(job, described)
    assert image.manifest[WARNED] == ["one", "two"]
    assert AppManifest.from_json(image.manifest).warnings == ()


def test_the_command_of_a_default_process_is_shown(platform: FakePlatform) -> None:
    tree = SourceTree.open(
        platform.layout.sources, export({"package.json": PACKAGE}, platform.layout.sources)
    )
    job = ImageJob(
        cast(Any, platform), platform.app("shown"), 1, tree, {}, STACK, Output(platform.said.append)
    )
    build_image(job, describe(tree))
    assert "       web runs: npm start" in platform.said


def test_an_app_that_says_nothing_is_described_first_and_refused_then(tmp_path: Path) -> None:
    files = {"requirements.txt": "", "Dockerfile": "FROM x"}
    tree = SourceTree.open(tmp_path, export(files, tmp_path))
    described = describe(tree)
    assert described.warnings == (
        "Dockerfile is not read: this is built as a Python app (paas builds:set builder=dockerfile builds it)",
    )
    with pytest.raises(BuildFailed, match="says nothing about what to run"):
        described.require_processes(tree)


PLAN_WITHOUT_STEPS = Plan("Test", "x")
PACKAGE = '{"scripts": {"start": "node a.js"}}'
