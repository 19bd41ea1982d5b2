"""The package managers of Node apps: which one installs, at which version, and its commands. Pure.

The lock file decides, unless `packageManager` in package.json names one that has its lock there. Each manager comes
at its exact version from the npm registry, in a layer of its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from buildpacks.failurehint import FailureHint
from buildpacks.noderuntime import package_step
from buildpacks.plan import BuildRefused, Step, Tree, quoted

LOCKS = {
    "npm-shrinkwrap.json": "npm", "package-lock.json": "npm", "yarn.lock": "yarn", "pnpm-lock.yaml": "pnpm",
    "bun.lock": "bun", "bun.lockb": "bun",
}  # fmt: skip
KNOWN = {
    "yarn@1.22.22": "sha512-prL3kGtyG7o9Z9Sv8IPfBNrWTDmXB4Qbes8A9rEzt6wkJV8mUvoirjU0Mp3GGAU06Y0XQyA3/2/RQFVuK7MTfg==",
    "yarn@2.4.3": "sha512-HQ8VJL8v1Tlq+VVzcohmYw7dHtZ6VUB4/b2oHRGQc6Xv00AQjVk4C6cyqu4iHRI4esfgIi8S9doOm1d3Z3MlPA==",
    "yarn@3.1.1": "sha512-7R8UUelyaGkpiSEgDgeK4A8jEUNmKw+un4UCY0xQoFXBJgVWS6lyWWN57FSs+3ybHZuNrEzaEa9+Bb5hiktGug==",
    "yarn@3.8.7": "sha512-YMoAlLR9f+kxXjK72ggBIidi3ulQQrQpMSxzrLUt0OUk9Xdst2v26LBSYFlzOm+7KRNWgYIJpFjA8uRnCgB5xQ==",
    "yarn@4.18.1": "sha512-EH+A4TxAtBWXKE0DGQxW9Bo9crXHLJ73mfxjTQJuv8XonNWWTpei8BQ5JjczHJNU9GROTycwMFn8iOvRIZXUcA==",
    "pnpm@7.33.7": "sha512-ev4kEGQrOcaY30baTOXHIxpczjYGmNafjPj0IlfUCz5D8jEFOwe43oSf1P+/SnH/V7g1E3d3o1I4jz09p0cgDg==",
    "pnpm@8.15.9": "sha512-SZQ0ydj90aJ5Tr9FUrOyXApjOrzuW7Fee13pDzL0e1E6ypjNXP0AHDHw20VLw4BO3M1XhQHkyik6aBYWa72fgQ==",
    "pnpm@9.15.9": "sha512-aARhQYk8ZvrQHAeSMRKOmvuJ74fiaR1p5NQO7iKJiClf1GghgbrlW1hBjDolO95lpQXsfF+UA+zlzDzTfc8lMQ==",
    "pnpm@10.34.9": "sha512-9JtajqD97bRLs8DB1ldQkqU8KVDZW3rRXfEfF5dId6LeOgHAfpNOmyjOcW5RwJqUlixzBtCb4uHksYqMh2L9Mg==",
}
_YARN_OF_FORMAT = ((8, "4.18.1"), (6, "3.8.7"), (5, "3.1.1"), (0, "2.4.3"))
"""What is taken when only the lock's format says which version wrote it."""
_NAMED = re.compile(r"(npm|yarn|pnpm|bun)@(\d+\.\d+\.\d+[\w.-]*)(?:\+(sha\d+)\.([0-9a-f]+))?")
_TRY = """attempt() {{ "$@" 2>&1 | tee /var/tmp/install.log; return "${{PIPESTATUS[0]}}"; }}
status=0; attempt {frozen} || status=$?
if [ $status != 0 ]; then
  grep -Eq '{stale}' /var/tmp/install.log || exit $status
  {loose}
  echo '{lock} does not fit package.json'
fi
"""


@dataclass(frozen=True)
class Manager:
    """`frozen` installs what the lock says or fails with words that `stale` matches, `loose` without it; `production`
    is the option that leaves development packages out, `everything` the one that does not."""

    name: str
    version: str
    lock: str | None
    frozen: str
    loose: str
    production: str
    everything: str = ""
    stale: str = ""
    prepare: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def script(self, *, dev: bool) -> str:
        """The lines of bash that install."""
        option = self.everything if dev else self.production
        frozen, loose = (f"{command} {option}".rstrip() for command in (self.frozen, self.loose))
        if self.lock is None:
            return f"{self.prepare}{loose}\n"
        return self.prepare + _TRY.format(frozen=frozen, stale=self.stale, loose=loose, lock=self.lock)

    @property
    def notices(self) -> tuple[FailureHint, ...]:
        lock = re.escape(self.lock or "")
        return (
            FailureHint(
                f"^{lock} does not fit package\\.json$",
                f"{self.lock} does not fit package.json: {self.name} chose versions itself, they may be others next time",
                f"Run {self.name} install, and commit {self.lock}.",
            ),
        )


def exact_version(data: Mapping[str, object], manager: str) -> str:
    """The version of this manager that `packageManager` of package.json names; empty if it names none."""
    match = _NAMED.fullmatch(str(data.get("packageManager") or ""))
    return match[2] if match and match[1] == manager else ""


def choose_manager(
    tree: Tree, data: Mapping[str, object], *, engine_differs: bool
) -> tuple[Manager, tuple[str, ...]]:
    """The manager and what to warn of. Raises BuildRefused for one that does not run on Node. `engine_differs`: Node is another than package.json asks for."""
    found = [lock for lock in LOCKS if tree.exists(lock)]
    asked = str(data.get("packageManager") or "")
    match = _NAMED.fullmatch(asked)
    named = match[1] if match else asked.partition("@")[0]
    present = list(dict.fromkeys(LOCKS[lock] for lock in found))
    warnings = []
    if asked and (match is None and named not in LOCKS.values()):
        warnings.append(f"package.json: packageManager {quoted(asked, 40)} is not known and is ignored")
    name = (
        named if named in LOCKS.values() and (named in present or not present) else next(iter(present), "npm")
    )
    lock = next((lock for lock in found if LOCKS[lock] == name), None)
    if named in LOCKS.values() and named != name:
        warnings.append(
            f"package.json names {named} as its packageManager, but the lock is {lock}: {name} installs"
        )
    if len(present) > 1:
        others = ", ".join(other for other in found if LOCKS[other] != name)
        warnings.append(
            f"{lock} and {others} are both there: {name} installs from {lock}; git rm the other one"
        )
    version, integrity = "", ""
    if match and match[1] == name:
        version = match[2]
        integrity = (
            f"{match[3]}-{base64.b64encode(bytes.fromhex(match[4])).decode()}"
            if match[3] and len(match[4]) % 2 == 0
            else ""
        )
    if name not in _MAKE:
        raise BuildRefused(
            f"{lock or 'package.json'} is for {name}; npm, yarn and pnpm install here.",
            "Run npm install --package-lock-only and commit package-lock.json.",
        )
    return _MAKE[name](tree, lock, version, integrity, engine_differs), tuple(warnings)


def _npm(tree: Tree, lock: str | None, version: str, integrity: str, engine_differs: bool) -> Manager:
    steps = (package_step("npm", version, integrity, title=f"npm {version}"),) if version else ()
    return Manager(
        name="npm",
        version=version or "as it comes with Node",
        lock=lock,
        frozen="npm ci",
        loose="npm install --no-save" if lock else "npm install --no-package-lock",
        production="--omit=dev",
        stale="code EUSAGE",
        env={"npm_config_engine_strict": "false"} if engine_differs else {},
        steps=steps,
    )


def _yarn(tree: Tree, lock: str | None, version: str, integrity: str, engine_differs: bool) -> Manager:
    version = version or _yarn_version(tree, lock)
    if not version.startswith(("0.", "1.")):
        return _berry(tree, lock, version)
    engines = " --ignore-engines" if engine_differs else ""
    common = f"yarn install --non-interactive --no-progress{engines}"
    registry = (
        'if [ -n "${npm_config_registry:-}" ]; then export YARN_REGISTRY=$npm_config_registry; [ ! -f yarn.lock ] || '
        'sed -i -E "s#https://registry\\.(yarnpkg\\.com|npmjs\\.org)/#${npm_config_registry%/}/#" yarn.lock; fi\n'
    )
    return Manager(
        name="yarn",
        version=version,
        lock=lock,
        frozen=f"{common} --frozen-lockfile",
        loose=f"{common} --pure-lockfile",
        production="--production=true",
        everything="--production=false",
        stale="lockfile needs to be updated",
        prepare=registry,
        env={"YARN_CACHE_FOLDER": "/cache/yarn"},
        steps=(
            package_step(
                "yarn", version, integrity or KNOWN.get(f"yarn@{version}", ""), title=f"yarn {version}"
            ),
        ),
    )


def _berry(tree: Tree, lock: str | None, version: str) -> Manager:
    """Yarn 2 and later, with node_modules. Only from 4 on it can leave development packages out by itself, and leaves the
    format of the lock as it is, if told to."""
    focus = "yarn workspaces focus --all --production"
    prepare = (
        'if [ -n "${npm_config_registry:-}" ]; then export YARN_NPM_REGISTRY_SERVER=${npm_config_registry%/}; '
        "case $npm_config_registry in http:*) host=${npm_config_registry#*//}; host=${host%%[:/]*}; "
        "export YARN_UNSAFE_HTTP_WHITELIST=$host ;; esac; fi\n"
        'if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then export YARN_HTTPS_CA_FILE_PATH=$NODE_EXTRA_CA_CERTS; fi\n'
    )
    package = "@yarnpkg/cli-dist"
    if version.startswith("2."):
        package, version = "yarn", "2.4.3"  # the one of its major that the registry surely has, and where
    written = _yarn_format(tree, lock)
    if version.startswith(("2.", "3.")):
        prepare = prepare.replace("YARN_HTTPS_CA_FILE_PATH", "YARN_CA_FILE_PATH")
        focus = ""
    return Manager(
        name="yarn",
        version=version,
        lock=lock,
        frozen="yarn install --immutable",
        loose="yarn install --no-immutable",
        production=f"&& {focus}" if focus else "",
        stale="YN0028",
        prepare=prepare,
        env={
            "YARN_CACHE_FOLDER": "/cache/yarn-berry",
            "YARN_ENABLE_GLOBAL_CACHE": "false",
            "YARN_ENABLE_TELEMETRY": "false",
            "YARN_ENABLE_PROGRESS_BARS": "false",
            "YARN_NODE_LINKER": "node-modules",
            "YARN_IGNORE_PATH": "1",
            **({"YARN_LOCKFILE_VERSION_OVERRIDE": str(written)} if written >= 8 else {}),
        },
        steps=(package_step(package, version, KNOWN.get(f"yarn@{version}", ""), title=f"yarn {version}"),),
    )


def _yarn_version(tree: Tree, lock: str | None) -> str:
    """The yarn release in `.yarn/releases`, else the version that writes this lock format."""
    for path in (path for path in tree.names() if path.startswith(".yarn/releases/")):
        match = re.fullmatch(r"\.yarn/releases/yarn-(\d+\.\d+\.\d+)\.c?js", path)
        if match:
            return match[1]
    written = _yarn_format(tree, lock)
    if written:
        return next(version for least, version in _YARN_OF_FORMAT if written >= least)
    empty = lock is None or not _head(tree, lock).strip()
    return "4.18.1" if empty and tree.exists(".yarnrc.yml") else "1.22.22"


def _yarn_format(tree: Tree, lock: str | None) -> int:
    """The format that the lock of yarn 2 or later says it has; 0 if it says none."""
    match = re.search(
        r"^__metadata:\n\s+version: (\d{1,4})\n", _head(tree, lock) if lock else "", re.MULTILINE
    )
    return int(match[1]) if match else 0


def _pnpm(tree: Tree, lock: str | None, version: str, integrity: str, engine_differs: bool) -> Manager:
    if not version:
        match = re.search(r"^lockfileVersion: '?(\d+)", _head(tree, lock) if lock else "", re.MULTILINE)
        formats = {"5": "7.33.7", "6": "8.15.9"}
        version = formats.get(match[1], "10.34.9") if match else "10.34.9"
    settings = {
        "store_dir": "/cache/pnpm",
        "package_import_method": "copy",
        "manage_package_manager_versions": "false",
        "package_manager_strict": "false",
        "verify_deps_before_run": "false",
        "update_notifier": "false",
        "reporter": "append-only",
    }
    native = int(version.partition(".")[0]) >= 12
    package, commands = ("@pnpm/exe.linux-x64", '{"pnpm": "pnpm"}') if native else ("pnpm", "{}")
    known = "" if native else KNOWN.get(f"pnpm@{version}", integrity)
    return Manager(
        name="pnpm",
        version=version,
        lock=lock,
        frozen="pnpm install --frozen-lockfile",
        loose="pnpm install --no-frozen-lockfile",
        production="--prod",
        stale="ERR_PNPM_(OUTDATED_LOCKFILE|LOCKFILE_|FROZEN_LOCKFILE)",
        env={
            f"{prefix}_config_{name}": value for name, value in settings.items() for prefix in ("npm", "pnpm")
        },
        steps=(package_step(package, version, known, title=f"pnpm {version}", commands=commands),),
    )


def _head(tree: Tree, path: str) -> str:
    try:
        return tree.read(path, 64 << 20)[:65536].decode("utf-8", "replace")
    except (FileNotFoundError, ValueError):
        return ""


_MAKE = {"npm": _npm, "yarn": _yarn, "pnpm": _pnpm}
