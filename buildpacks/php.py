"""PHP: php-fpm behind nginx in one instance, both Debian's; Composer installs what composer.json asks for. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from buildpacks import unserved
from buildpacks.failurehint import FailureHint as Hint
from buildpacks.phpserver import server_step
from buildpacks.plan import BuildRefused, Plan, Step, Tree, read_text
from buildpacks.semver import Version, satisfies
from buildpacks.surroundings import NETWORK

COMPOSER, LOCK = "composer.json", "composer.lock"
_FRONT = ("public/index.php", "web/index.php", "index.php")
LOOKS_FOR = (COMPOSER, *_FRONT)
_RECIPE = "php-1"
_STACKS: dict[Version, str] = {(8, 2, 99): "", (8, 4, 99): "debian-13"}
"""The PHP of the first stack, and of one that an app gets when its composer.json excludes that."""
_ROOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

_PACKAGES = (
    "php-fpm", "php-cli", "php-curl", "php-mbstring", "php-mysql", "php-pgsql", "php-sqlite3", "php-xml", "php-zip",
    "systemd-standalone-tmpfiles",  # one of the two that php-fpm depends on; the other is all of systemd
)  # fmt: skip
_EXTENSIONS = frozenset({
    "amqp", "apcu", "bcmath", "bz2", "ds", "enchant", "gd", "gearman", "gmp", "gnupg", "igbinary", "imagick", "imap", "intl", "ldap",
    "mailparse", "memcached", "mongodb", "msgpack", "oauth", "odbc", "pspell", "redis", "rrd", "smbclient", "snmp", "soap", "ssh2", "tidy",
    "uuid", "xdebug", "xmlrpc", "yaml", "zmq",
})  # fmt: skip
"""Extensions with a package of their own."""

_ENV = {
    "COMPOSER_HOME": "/var/tmp/composer",
    "COMPOSER_CACHE_DIR": "/cache/composer",
    "COMPOSER_MIRROR_PATH_REPOS": "1",
    "COLUMNS": "500",  # it breaks the sentences that hints look for
}
_INSTALL = "composer install --no-dev --no-interaction --no-progress"
_FINISH = f"""{_INSTALL} --optimize-autoloader
mkdir -p vendor/bin
for name in apache2 nginx; do ln -sf /app/.paas/php vendor/bin/heroku-php-$name; done
"""
_HINTS = (
    Hint(
        r"requires? (?P<name>ext-\S*) (?P<what>[^\n]*?) ?-> it is missing from your system",
        "a package requires {name} {what}, which is not there",
        "Name the extension in require of composer.json; if it is there, Debian has no package of it.",
    ),
    Hint(
        r"requires php (?P<want>[^\n]+?) (?:but|->) your php version \((?P<have>[\d.]+)",
        "PHP {want} is asked for; the stack has {have}",
        "Allow the stack's PHP in require of composer.json.",
    ),
    Hint(
        r"Root composer\.json requires (?P<name>[\w./-]+)[^\n]*could not be found",
        "there is no package {name} in the repositories of composer.json",
        "Check its name.",
    ),
    Hint(
        r"lock file is not up to date|is not present in the lock file",
        "composer.lock does not fit composer.json",
        "Run composer update, and commit composer.lock.",
    ),
    Hint(
        r"Script (?P<name>.+) returned with error code",
        "the script {name} of composer.json failed",
        "Its own words are above.",
    ),
    *NETWORK,
)


def detect(tree: Tree) -> str | None:
    return next((path for path in LOOKS_FOR if tree.exists(path)), None)


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused when composer.json or its lock is no object."""
    composer = _json(tree, COMPOSER)
    root = _root(tree, composer)
    with_composer = tree.exists(COMPOSER)
    steps = [server_step(), *(_composer_steps(tree, composer) if with_composer else ())]
    unlocked = bool(composer.get("require")) and not tree.exists(LOCK)
    return Plan(
        language="PHP",
        detected=detect(tree) or COMPOSER,
        notes=(
            f"Serving {'the repository' if root == '.' else root + '/'} with the stack's PHP behind nginx",
            *unserved.left_out(tree, root),
        ),
        warnings=(
            *(("There is no composer.lock: another build may get other versions",) if unlocked else ()),
            *unserved.not_applied(tree),
        ),
        steps=tuple(steps),
        env={"LANG": "C.UTF-8"},
        stack=_stack(composer),
        path=("/app/.paas/bin", "/app/vendor/bin"),
        default_processes={"web": f".paas/php {root}"},
        packages=(*_PACKAGES, *(f"php-{name}" for name in sorted(_EXTENSIONS & _required(tree, composer)))),
        build_packages=("composer", "unzip") if with_composer else (),
    )


def _composer_steps(tree: Tree, composer: Mapping[str, Any]) -> Iterator[Step]:
    """Packages first, which code does not install again, unless folders of the repository are among them; then, over the
    source, the class loader and the scripts."""
    found = composer.get("repositories")
    repositories = (
        list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []
    )
    local = any(isinstance(one, dict) and one.get("type") in ("path", "artifact") for one in repositories)
    if not local:
        yield Step(
            name="composer",
            title="Installing dependencies with Composer",
            script=f"{_INSTALL} --no-autoloader --no-scripts\n",
            outputs=("/app/vendor", *(() if tree.exists(LOCK) else (f"/app/{LOCK}",))),
            key=(_RECIPE,),
            inputs=tuple(path for path in (COMPOSER, LOCK, "auth.json") if tree.exists(path)),
            env=_ENV,
            failure_hints=_HINTS,
            reused="Restoring cache: dependencies unchanged, layer reused",
        )
    yield Step(
        name="composer-app",
        title="Making the class loader and running the scripts of composer.json",
        script=_FINISH,
        outputs=("/app",),
        key=(_RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env=_ENV,
        failure_hints=_HINTS,
        onto=() if local else ("composer",),
    )


def _json(tree: Tree, path: str) -> dict[str, Any]:
    """The object in a file; an empty one when the file is missing."""
    try:
        data = json.loads(read_text(tree, path)) if tree.exists(path) else {}
    except (ValueError, RecursionError) as error:
        raise BuildRefused(
            f"{path} is not JSON: {str(error)[:100]}.", "Check it: composer validate"
        ) from None
    if not isinstance(data, dict):
        raise BuildRefused(f"{path} is not an object.", "Check it: composer validate")
    return data


def _stack(composer: Mapping[str, Any]) -> str:
    """The first stack whose PHP satisfies `require`. Without a range, or if none fits, it is the app's: Composer reports that."""
    require = composer.get("require")
    text = require.get("php") if isinstance(require, dict) else None
    if not isinstance(text, str):
        return ""
    ranges = text.replace("||", "|").replace("|", "||").replace(",", " ").replace(".*", ".x")
    try:
        return next((stack for version, stack in _STACKS.items() if satisfies(version, ranges)), "")
    except ValueError:
        return ""


def _required(tree: Tree, composer: Mapping[str, Any]) -> set[str]:
    """The extensions that the app and its locked packages require."""
    locked = _json(tree, LOCK).get("packages")
    asking = [
        composer,
        *(one for one in (locked if isinstance(locked, list) else ()) if isinstance(one, dict)),
    ]
    wanted = [one.get("require") for one in asking]
    words = [word for one in wanted if isinstance(one, dict) for word in one]
    return {word.removeprefix("ext-").lower() for word in words if word.startswith("ext-")}


def _root(tree: Tree, composer: Mapping[str, Any]) -> str:
    """The document root: what Symfony's `extra.public-dir` names, else the folder with an index.php."""
    extra = composer.get("extra")
    named = extra.get("public-dir") if isinstance(extra, dict) else None
    if isinstance(named, str) and _ROOT.fullmatch(named.strip("/")):
        return named.strip("/")
    return next((path.rpartition("/")[0] or "." for path in _FRONT if tree.exists(path)), ".")
