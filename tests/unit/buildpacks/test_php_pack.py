from __future__ import annotations

import json

import pytest
from harness.sources import DictTree

from buildpacks import php
from buildpacks.detect import choose
from buildpacks.failurehint import named_cause
from buildpacks.plan import BuildRefused, Plan

LOCK = {"packages": [{"name": "a/b", "require": {"ext-redis": "*", "ext-pdo": "*"}}]}


def plan(files: dict[str, str]) -> Plan:
    return php.plan(DictTree(files))


def test_a_page_needs_no_composer() -> None:
    found = choose(DictTree({"index.php": "<?php"}))
    assert (found.language, found.default_processes) == ("PHP", {"web": ".paas/php ."})
    assert [step.name for step in found.steps] == ["packages", "php-server"]


def test_extensions_of_the_app_and_its_lock_become_packages() -> None:
    files = {
        "composer.json": json.dumps({"require": {"ext-intl": "*", "ext-json": "*", "ext-evil;id": "*"}}),
        "composer.lock": json.dumps(LOCK),
    }
    found = plan(files)
    assert {"php-intl", "php-redis"} <= set(found.packages) and found.packages.count("php-pgsql") == 1
    assert not any("json" in name or "evil" in name or "pdo" in name for name in found.packages)
    assert found.build_packages == ("composer", "unzip") and found.warnings == ()


def test_code_alone_installs_nothing_again_unless_packages_are_folders() -> None:
    steps = {
        step.name: step
        for step in plan({"composer.json": '{"require": {"a/b": "1"}}', "src/a.php": ""}).steps
    }
    assert steps["composer"].inputs == ("composer.json",) and not steps["composer"].source
    assert steps["composer-app"].source and steps["composer-app"].onto == ("composer",)
    local = plan({"composer.json": '{"repositories": {"x": {"type": "path", "url": "lib"}}}'})
    assert [step.name for step in local.steps] == ["php-server", "composer-app"]


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"public/index.php": "", "index.php": ""}, "public"),
        ({"web/index.php": ""}, "web"),
        ({"composer.json": '{"extra": {"public-dir": "html/"}}'}, "html"),
        ({"composer.json": '{"extra": {"public-dir": "$(id)"}}'}, "."),
        ({"composer.json": '{"extra": {"public-dir": "../etc"}}'}, "."),
    ],
)
def test_the_document_root_is_the_frameworks(files: dict[str, str], root: str) -> None:
    assert plan(files).default_processes == {"web": f".paas/php {root}"}


@pytest.mark.parametrize(
    ("wanted", "stack"),
    [
        ("^8.1", ""), (">=8.1,<8.3", ""), ("^8.3|^8.4", "debian-13"), ("^8.4", "debian-13"), ("8.4.*", "debian-13"), ("~8.2.0 || ~8.3.0", ""),
        (">=7.4", ""), ("^9.0", ""), ("what", ""),
    ],
)  # fmt: skip
def test_the_stack_is_one_whose_php_is_allowed(wanted: str, stack: str) -> None:
    assert plan({"composer.json": json.dumps({"require": {"php": wanted}})}).stack == stack


@pytest.mark.parametrize("text", ["[1]", "{", "3", "[" * 100_000])
def test_a_composer_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BuildRefused) as refused:
        plan({"composer.json": text})
    assert "composer.json" in refused.value.message


def test_a_missing_lock_is_told_and_a_package_json_beside_it() -> None:
    assert "composer.lock" in plan({"composer.json": '{"require": {"a/b": "1"}}'}).warnings[0]
    assert choose(DictTree({"composer.json": "{}", "package.json": "{}"})).language == "PHP"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("    - Root composer.json requires php >=8.4 but your php version (8.2.36) does not satisfy that requirement.", "PHP >=8.4 is asked for; the stack has 8.2.36"),
        ("    - Root composer.json requires ext-foo * -> it is missing from your system. Install", "a package requires ext-foo *, which is not there"),
        ("    - Root composer.json requires no/such, it could not be found in any version", "there is no package no/such in the repositories of composer.json"),
        ("Script @php artisan package:discover handling the x event returned with error code 1", "the script @php artisan package:discover handling the x event of composer.json failed"),
    ],
)  # fmt: skip
def test_what_composer_says_is_put_into_words(line: str, cause: str | None) -> None:
    (step,) = [step for step in plan({"composer.json": "{}"}).steps if step.name == "composer-app"]
    found = named_cause(step.failure_hints, [line])
    assert (found[0] if found else None) == cause
