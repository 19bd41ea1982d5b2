from __future__ import annotations

import json
import re
from typing import Any

import pytest
from harness.sources import DictTree

from buildpacks.node import plan
from buildpacks.noderuntime import DEFAULT_MAJOR, RELEASES, choose_release, npm_for
from buildpacks.plan import BuildRefused, Plan, Step
from buildpacks.semver import parse_exact, satisfies

INTEGRITY = "sha512-AAAA"


def planned(package: dict[str, Any], **files: str) -> Plan:
    tree = {
        "package.json": json.dumps(package),
        **{name.replace("__", "."): text for name, text in files.items()},
    }
    return plan(DictTree({name.replace("_lock", "-lock"): text for name, text in tree.items()}))


def lock(**packages: dict[str, Any]) -> str:
    return json.dumps(
        {
            "packages": {
                "": {"dependencies": dict.fromkeys(packages, "2")},
                **{f"node_modules/{name}": entry for name, entry in packages.items()},
            }
        }
    )


def step(result: Plan, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


def names(result: Plan) -> list[str]:
    return [step.name for step in result.steps]


START = {"start": "node a.js"}
MS = {"ms": {"version": "2.0.0", "integrity": INTEGRITY}}


def test_a_plain_app_gets_node_and_its_production_packages() -> None:
    result = planned({"scripts": START, "dependencies": {"ms": "2"}}, package_lock__json=lock(**MS))
    assert names(result) == ["node", "dependencies"]
    installed = step(result, "dependencies")
    assert "attempt npm ci --omit=dev || status" in installed.script
    assert installed.inputs == ("package.json", "package-lock.json")
    assert installed.onto == ("node",)
    assert installed.shared
    assert result.default_processes == {"web": "npm start"}
    assert result.env["NODE_ENV"] == "production"


def test_node_itself_is_one_layer_for_all_apps_and_knows_nothing_of_the_app() -> None:
    one = planned({"scripts": START, "name": "a"})
    two = planned({"scripts": START, "name": "b"})
    assert step(one, "node") == step(two, "node")
    assert step(one, "node").shared
    assert not step(one, "node").inputs


def test_build_script_sees_development_packages_which_stay_out_of_the_image() -> None:
    package = {
        "scripts": {**START, "build": "tsc"},
        "dependencies": {"ms": "2"},
        "devDependencies": {"typescript": "5"},
    }
    result = planned(package, package_lock__json=lock(**MS))
    assert names(result) == ["node", "dependencies", "all-dependencies", "build"]
    assert not step(result, "all-dependencies").in_image
    build = step(result, "build")
    assert build.onto == ("node", "all-dependencies")
    assert build.after_source and build.config and build.source
    assert "\nnpm run build\n" in build.script


def test_heroku_postbuild_takes_the_place_of_build() -> None:
    result = planned({"scripts": {**START, "build": "a", "heroku-postbuild": "b"}})
    assert "npm run heroku-postbuild" in step(result, "build").script
    assert "npm run build" not in step(result, "build").script


def test_install_scripts_of_the_app_wait_for_its_source() -> None:
    result = planned(
        {"scripts": {**START, "postinstall": "node x.js"}, "dependencies": {"ms": "2"}},
        package_lock__json=lock(**MS),
    )
    assert step(result, "dependencies").script.startswith("python3 - package.json <<")
    assert not step(result, "dependencies").source
    assert "npm run postinstall" in step(result, "build").script


def test_packages_that_compile_get_headers_and_are_not_shared() -> None:
    compiling = lock(bcrypt={"integrity": INTEGRITY, "hasInstallScript": True})
    result = planned({"scripts": START, "dependencies": {"bcrypt": "5"}}, package_lock__json=compiling)
    assert names(result) == ["node", "node-headers", "dependencies"]
    assert not step(result, "node-headers").in_image
    assert not step(result, "dependencies").shared


@pytest.mark.parametrize(
    ("package", "files"),
    [
        ({"dependencies": {"ms": "2"}}, {}),
        ({"dependencies": {"ms": "2"}}, {"package_lock__json": lock(ms={"version": "2.0.0"})}),
        ({"dependencies": {"ms": "3"}}, {"package_lock__json": lock(**MS)}),
        ({"dependencies": {"ms": "file:./ms"}}, {"package_lock__json": lock(**MS), "ms/package.json": "{}"}),
        ({"workspaces": ["a"]}, {"package_lock__json": lock(**MS)}),
        ({"dependencies": {"ms": "2"}}, {"package_lock__json": lock(**MS), "__npmrc": "//r/:_authToken=${T}"}),
    ],
)  # fmt: skip
def test_layer_is_shared_only_when_digests_alone_decide_it(
    package: dict[str, Any], files: dict[str, str]
) -> None:
    result = planned({"scripts": START, **package}, **files)
    assert not step(result, "dependencies").shared


@pytest.mark.parametrize("spec", ["file:../ms", "file:./missing", "link:missing"])
def test_a_folder_that_is_not_in_the_repository_is_refused(spec: str) -> None:
    with pytest.raises(BuildRefused, match=f"ms is at {spec}, which is not in the repository"):
        planned({"scripts": START, "dependencies": {"ms": spec}})


def test_committed_packages_are_a_warning() -> None:
    tree = DictTree({"package.json": json.dumps({"scripts": START}), "node_modules/ms/index.js": ""})
    assert any("git rm -r --cached node_modules" in text for text in plan(tree).warnings)


def test_missing_lock_is_a_warning() -> None:
    assert any(
        "package-lock.json" in text
        for text in planned({"dependencies": {"a": "1"}, "scripts": START}).warnings
    )
    assert planned({"scripts": START}).warnings == ()


@pytest.mark.parametrize(
    ("package", "files", "said"),
    [
        ({}, {"bun__lock": ""}, "bun.lock is for bun"),
        ({"scripts": []}, {}, "scripts is not an object of texts"),
        ({"dependencies": {"a": 1}}, {}, "dependencies is not an object of texts"),
        ({"engines": {"node": "99"}}, {}, "asks for Node 99; there are"),
        ({"engines": {"node": "soon"}}, {}, '"soon" is not a version of Node'),
    ],
)
def test_what_cannot_be_built_is_refused_clearly(
    package: dict[str, Any], files: dict[str, str], said: str
) -> None:
    with pytest.raises(BuildRefused) as caught:
        planned(package, **files)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,}', "package.json line 1, column 9"),
        ("[]", "is not a JSON object"),
        ("[" * 99999, "is not JSON"),
    ],
)
def test_broken_package_json_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BuildRefused) as caught:
        plan(DictTree({"package.json": text}))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        (None, "24."), ("20.x", "20."), (">=18", "24."), ("^22.1", "22."), ("18 || 20", "20."), ("20.11.1", "20.11.1"),
        ("v20.11.1", "20.11.1"), ("*", "24."), ("<=22", "22."), ("~20.20.0", "20.20."), (" >=20 <23 ", "22."), ("", "24."),
    ],
)  # fmt: skip
def test_engines_choose_the_release(asked: str | None, version: str) -> None:
    engines = None if asked is None else {"node": asked}
    chosen, note, warning = choose_release(DictTree({}), engines)
    assert not warning
    assert chosen.startswith(version)
    assert chosen in note


@pytest.mark.parametrize(
    ("asked", "version"),
    [("4.x", "18."), ("4.2.x", "18."), ("12.x", "18."), ("12.22.1", "18."), ("<=16", "18."), ("8 || 10", "18."), ("19.x", "20."),
     ("21", "22."), ("22.99.x", "24.")],
)  # fmt: skip
def test_a_release_that_is_not_offered_runs_on_the_next_newer_one_with_a_warning(
    asked: str, version: str
) -> None:
    chosen, _, warning = choose_release(DictTree({}), {"node": asked})
    assert chosen.startswith(version)
    assert warning == (
        f"engines.node in package.json asks for Node {asked}, which is not offered: Node {chosen} runs the app, the "
        "nearest that is newer"
    )


@pytest.mark.parametrize("asked", ["99", "soon"])
def test_the_remedy_for_a_refused_release_works(asked: str) -> None:
    with pytest.raises(BuildRefused) as caught:
        choose_release(DictTree({}), {"node": asked})
    remedy = re.search('"(.*)"', caught.value.hint)
    assert remedy is not None
    assert choose_release(DictTree({}), {"node": remedy[1]})[2] == ""


@pytest.mark.parametrize(
    ("version", "npm"),
    [
        ("18.0.0", "9."),
        ("18.17.0", "10."),
        ("20.4.0", "9."),
        ("20.5.0", "10."),
        ("22.11.0", "10."),
        ("24.0.0", "11."),
        ("26.10.0", "11."),
    ],
)
def test_each_release_gets_an_npm_that_runs_on_it(version: str, npm: str) -> None:
    assert npm_for(version)[0].startswith(npm)


def test_version_files_count_after_engines() -> None:
    tree = DictTree({".nvmrc": "v20\n", ".node-version": "18"})
    assert choose_release(tree, {"node": "22"})[0].startswith("22.")
    assert choose_release(tree, None)[0].startswith("20.")
    assert choose_release(DictTree({".nvmrc": "lts/*\n"}), None)[0].startswith(f"{DEFAULT_MAJOR}.")


def test_every_known_release_is_pinned_by_its_digest() -> None:
    assert all(integrity.startswith("sha512-") and len(integrity) == 95 for integrity in RELEASES.values())


@pytest.mark.parametrize(
    ("range_text", "inside", "outside"),
    [
        ("^1.2.3", "1.9.0", "2.0.0"), ("^0.2.3", "0.2.9", "0.3.0"), ("^0.0.3", "0.0.3", "0.0.4"), ("~1.2", "1.2.9", "1.3.0"),
        ("~1", "1.9.9", "2.0.0"), ("1.2.x", "1.2.7", "1.3.0"), (">1", "2.0.0", "1.5.0"), (">1.2", "1.3.0", "1.2.9"),
        ("<=1.2", "1.2.9", "1.3.0"), ("<1.2", "1.1.9", "1.2.0"), ("1 - 2", "2.9.9", "3.0.0"), (">= 1.2", "1.2.0", "1.1.0"),
        ("=1.2.3", "1.2.3", "1.2.4"), ("^0", "0.9.0", "1.0.0"), ("1.2.3 || ^3", "3.1.0", "1.2.4"), ("^0.x", "0.7.0", "1.0.0"),
    ],
)  # fmt: skip
def test_ranges_mean_what_npm_means(range_text: str, inside: str, outside: str) -> None:
    within, beyond = parse_exact(inside), parse_exact(outside)
    assert within is not None and beyond is not None
    assert satisfies(within, range_text)
    assert not satisfies(beyond, range_text)


@pytest.mark.parametrize("text", ["soon", "1.2.3.4.5", "^", "1 || soon", "$(x)"])
def test_nonsense_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        satisfies((1, 2, 3), text)


def test_builders_report_to_nobody_and_sveltekit_makes_a_server() -> None:
    scripts = {"build": "vite build"}
    plain = step(planned({"scripts": scripts}), "build").env
    assert plain["NEXT_TELEMETRY_DISABLED"] == "1" and "GCP_BUILDPACKS" not in plain
    kit = {"scripts": scripts, "devDependencies": {"@sveltejs/adapter-auto": "^7.0.0"}}
    assert step(planned(kit), "build").env["GCP_BUILDPACKS"] == "1"


def test_the_command_line_of_fastify_listens_to_the_router() -> None:
    assert "FASTIFY_ADDRESS" not in planned({}).env
    assert planned({"dependencies": {"fastify-cli": "^8.0.2"}}).env["FASTIFY_ADDRESS"] == "0.0.0.0"
    assert planned({"dependencies": {"@angular/ssr": "^22.2.0"}}).env["NG_ALLOWED_HOSTS"] == "*"


@pytest.mark.parametrize(
    ("package", "kept"),
    [
        ({"scripts": {"start": "tsx src/index.ts"}, "devDependencies": {"tsx": "4"}}, True),
        ({"scripts": {"start": "NODE_ENV=x npx tsx a.ts", "build": "tsc"}, "devDependencies": {"tsx": "4"}}, True),
        ({"scripts": {"start": "tsx a.ts"}, "devDependencies": {"tsx": "4"}, "dependencies": {"tsx": "4"}}, False),
        ({"scripts": {"start": "node a.js"}, "devDependencies": {"tsx": "4"}}, False),
        ({"scripts": {"start": "vite", "build": "vite build"}, "devDependencies": {"vite": "6"}}, False),
    ],
)  # fmt: skip
def test_what_the_start_script_runs_stays_in_the_image(package: dict[str, Any], kept: bool) -> None:
    made = planned(package)
    assert ("--omit=dev" not in step(made, "dependencies").script) == kept
    assert (
        any("development dependency: all of these are in the image" in told for told in made.warnings) == kept
    )
    assert kept is False or "all-dependencies" not in names(made)
