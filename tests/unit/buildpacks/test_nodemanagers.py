"""Which package manager installs, at which version, with which commands; and workspaces, which do not wait for code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.sources import DictTree

from buildpacks.failurehint import named_cause
from buildpacks.node import plan
from buildpacks.plan import BuildRefused, Plan, Step

V1 = "# yarn lockfile v1\n"
BERRY = "__metadata:\n  version: 8\n"


def planned(files: dict[str, str], **package: Any) -> Plan:
    data = {"scripts": {"start": "node a"}, "dependencies": {"ms": "2"}, **package}
    return plan(DictTree({"package.json": json.dumps(data), **files}))


def installed(result: Plan) -> Step:
    return next(step for step in result.steps if step.name == "dependencies")


@pytest.mark.parametrize(
    ("files", "named", "fetched", "command"),
    [
        ({"package-lock.json": "{}"}, None, None, "attempt npm ci --omit=dev"),
        ({"npm-shrinkwrap.json": "{}"}, None, None, "attempt npm ci --omit=dev"),
        ({}, None, None, "npm install --no-package-lock --omit=dev"),
        ({"package-lock.json": "{}"}, "npm@11.2.0", "npm 11.2.0", "attempt npm ci"),
        ({"package-lock.json": "{}"}, "npm@10.9.9", "npm 10.9.9", "attempt npm ci"),
        ({"yarn.lock": V1}, None, "yarn 1.22.22", "--frozen-lockfile --production=true"),
        ({"yarn.lock": V1}, "yarn@1.22.10+sha512.00ff", "yarn 1.22.10", "--frozen-lockfile"),
        ({"yarn.lock": BERRY}, None, "yarn 4.18.1", "attempt yarn install --immutable && yarn workspaces focus --all --production"),
        ({"yarn.lock": "__metadata:\n  version: 6\n"}, None, "yarn 3.8.7", "attempt yarn install --immutable || status"),
        ({"yarn.lock": "__metadata:\n  version: 4\n"}, None, "yarn 2.4.3", "attempt yarn install --immutable || status"),
        ({"yarn.lock": "__metadata:\n  version: 4\n"}, "yarn@2.4.2", "yarn 2.4.3", "attempt yarn install --immutable || status"),
        ({"yarn.lock": "__metadata:\n  version: 5\n"}, None, "yarn 3.1.1", "export YARN_CA_FILE_PATH"),
        ({"yarn.lock": BERRY, ".yarn/releases/yarn-4.1.1.cjs": ""}, None, "yarn 4.1.1", "--immutable"),
        ({"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, None, "pnpm 10.34.9", "attempt pnpm install --frozen-lockfile --prod"),
        ({"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, None, "pnpm 8.15.9", "attempt pnpm install"),
        ({"pnpm-lock.yaml": "lockfileVersion: 5.4\n"}, None, "pnpm 7.33.7", "attempt pnpm install"),
        ({"pnpm-lock.yaml": ""}, "pnpm@9.12.3", "pnpm 9.12.3", "attempt pnpm install"),
        ({}, "pnpm@9.12.3", "pnpm 9.12.3", "pnpm install --no-frozen-lockfile --prod"),
    ],
)  # fmt: skip
def test_the_lock_and_package_manager_choose(
    files: dict[str, str], named: str | None, fetched: str | None, command: str
) -> None:
    result = planned(files, **({"packageManager": named} if named else {}))
    titles = [step.title for step in result.steps if step.name in ("npm", "yarn", "pnpm")]
    assert titles == ([f"Fetching {fetched}"] if fetched else [])
    assert command in installed(result).script
    assert set(files) <= {*installed(result).inputs, ".yarn/releases/yarn-4.1.1.cjs"}


@pytest.mark.parametrize(
    ("files", "named", "manager", "said"),
    [
        (("package-lock.json", "yarn.lock"), None, "npm", "package-lock.json and yarn.lock are both there: npm installs"),
        (("package-lock.json", "yarn.lock"), "yarn@1.22.22", "yarn", "yarn.lock and package-lock.json are both there: yarn"),
        (("package-lock.json",), "yarn@1.22.22", "npm", "names yarn as its packageManager, but the lock is package-lock.json"),
        (("package-lock.json",), "cargo@1", "npm", 'packageManager cargo@1 is not known'),
        (("yarn.lock",), "yarn@stable", "yarn", ""),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_told(
    files: tuple[str, ...], named: str | None, manager: str, said: str
) -> None:
    result = planned(dict.fromkeys(files, "{}"), **({"packageManager": named} if named else {}))
    assert f"Installing dependencies with {manager} " in installed(result).title + " "
    assert [text for text in result.warnings if said in text] == list(result.warnings)
    assert bool(result.warnings) == bool(said)


def test_a_lock_that_does_not_fit_is_told_loudly() -> None:
    step = installed(planned({"yarn.lock": V1}))
    told = named_cause(step.notices, ["x", "yarn.lock does not fit package.json"])
    assert told is not None
    assert told[1] == "Run yarn install, and commit yarn.lock."
    assert named_cause(step.notices, ["all is well"]) is None


def test_a_workspace_is_installed_from_its_package_files() -> None:
    files = {
        "package-lock.json": "{}",
        "apps/web/package.json": json.dumps(
            {"devDependencies": {"vite": "5"}, "scripts": {"prepare": "make it"}}
        ),
        "apps/web/index.js": "",
        "apps/web/node_modules/x/package.json": "{}",
        "apps/broken/package.json": "{",
    }
    result = planned(
        files, workspaces=["apps/*"], scripts={"start": "node a", "build": "b", "postinstall": "c"}
    )
    step = installed(result)
    assert not step.source
    assert {"apps/web/package.json", "apps/broken/package.json"} <= set(step.inputs)
    assert "apps/web/node_modules/x/package.json" not in step.inputs
    assert "python3 - apps/web/package.json package.json <<" in step.script
    assert [step.name for step in result.steps][-2:] == ["all-dependencies", "build"]
    build = result.steps[-1].script
    assert (
        build.index("(cd apps/web && npm run prepare)")
        < build.index("npm run postinstall")
        < build.index("npm run build")
    )


@pytest.mark.parametrize(
    ("files", "package"),
    [
        ({"a/package.json": "{}"}, {"dependencies": {"a": "file:./a"}}),
        ({"a/package.json": '{"bin": {"a": "b.js"}}'}, {"workspaces": ["a"]}),
        ({"pnpm-lock.yaml": "", "patches/ms.patch": ""}, {}),
        ({"yarn.lock": BERRY, ".yarn/plugins/x.cjs": ""}, {}),
        ({f"p{number}/package.json": "{}" for number in range(301)}, {"workspaces": ["*"]}),
    ],
)
def test_what_needs_more_than_package_files_is_installed_over_the_source(
    files: dict[str, str], package: dict[str, Any]
) -> None:
    assert installed(planned(files, **package)).source


def test_caches_of_builders_are_kept_but_never_in_the_image() -> None:
    result = planned(
        {},
        scripts={"start": "a", "build": "b"},
        cacheDirectories=["my cache", "../up", "node_modules", "tmp/x", 3],
    )
    script = next(step.script for step in result.steps if step.name == "build")
    first, last = script.partition("npm run build")[0], script.rpartition("npm run build")[2]
    for part in (first, last):
        assert "node_modules/.cache node_modules/.vite node_modules/.astro .next/cache" in part
        assert " tmp/x 3;" in part
        assert "up" not in part.replace("/cache/build", "")
    assert 'rm -rf "$folder"' in last


@pytest.mark.parametrize("named", ["bun@1.0.0"])
def test_a_manager_without_node_is_refused(named: str) -> None:
    with pytest.raises(BuildRefused):
        planned({}, packageManager=named)


def test_a_newer_yarn_keeps_the_format_of_the_lock() -> None:
    def told(text: str) -> str | None:
        return installed(planned({"yarn.lock": text})).env.get("YARN_LOCKFILE_VERSION_OVERRIDE")

    assert (told(BERRY), told(BERRY.replace("8", "10"))) == ("8", "10")
    assert (told(BERRY.replace("8", "6")), told(V1)) == (None, None)
