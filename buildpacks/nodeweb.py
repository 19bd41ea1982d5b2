"""What serves a Node app when no Procfile says so: its start script, a server file, or what its build made. Pure.

What a build makes is not known before it ran, so the last step of such a build looks: a framework's server, else a
folder with an index.html, else the push is refused. It leaves the command at `/app/.paas/web`.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildpacks import static
from buildpacks.failurehint import FailureHint
from buildpacks.plan import Step, Tree

RECIPE = "node-web-1"
BUILT = ".paas/web"
"""The command that the look at a build leaves."""
SITE_FOLDERS = (
    ".output/public", "dist", "build", "out", "dist/client", "build/client", "dist/spa", "_site", "www", "public",
    ".vitepress/dist", "docs/.vitepress/dist", ".vuepress/dist", "docs/.vuepress/dist", "storybook-static",
)  # fmt: skip
"""Where builders put a site, after the folders that the app's own files name."""
_SERVER_FILES = (
    "index.js", "app.js", "server.mjs", "index.mjs", "app.mjs", "server.cjs", "index.cjs", "app.cjs", "server.ts", "index.ts",
    "src/index.ts", "src/server.ts", "src/server.js", "src/index.js", "src/app.js", "server/index.js",
)  # fmt: skip
_BUILT_SERVERS = (
    "server.js", "dist/server.js", "dist/main.js", "dist/index.js", "dist/src/main.js", "build/server.js", "build/index.js",
    "server/index.js", "dist/server/index.js",
)  # fmt: skip
DEVELOPMENT = re.compile(
    r"(?:\S*cross-env\s+)?(?:[A-Z_]+=\S*\s+)*(?:npx\s+|bunx\s+|yarn\s+|pnpm\s+(?:exec\s+)?)?"
    r"(?:react-scripts\s+start|craco\s+start|vue-cli-service\s+serve|ng\s+serve|ng\s+s\b|vite(?:\s*$|\s*&|\s+-|\s+(?:dev|serve|preview)\b)"
    r"|astro\s+(?:dev|start|preview)|next\s+dev|nuxi?t?\s+(?:dev|preview)|gatsby\s+(?:develop|serve)|parcel\s+(?!build)"
    r"|webpack\s+serve|webpack-dev-server|docusaurus\s+(?:start|serve)|vitepress\s+(?:dev|serve|preview)|vuepress\s+dev"
    r"|ember\s+s(?:erve)?\b|eleventy\s+--serve|gridsome\s+develop|rsbuild\s+(?:dev|preview)|nest\s+start)"
)
"""Development servers, which are not installed at run time and are not meant to serve strangers."""
_PRODUCTION = ("start:prod", "start:production", "serve:prod")
"""Names of the script that serves where `start` is for development."""
_LISTENS = re.compile(r"\.listen\s*\(|\bserve\s*\(|\bcreateServer\s*\(")

_LOOK = r"""run() {
  mkdir -p .paas; printf '#!/bin/bash\nexec %s\n' "$1" >.paas/web; chmod 755 .paas/web
  echo "web runs: $1"; exit 0
}
serve() {
  fallback=/index.html
  [ ! -f "$1/200.html" ] || fallback=/200.html
  [ ! -f "$1/404.html" ] || fallback='=404'
  run ".paas/serve $fallback $(printf %q "$1")"
}
brings() { [ -e "node_modules/.bin/$1" ]; }
[ ! -f .output/server/index.mjs ] || run '@RUN@ .output/server/index.mjs'
[ ! -f dist/server/entry.mjs ] || run 'env HOST=${HOST:-0.0.0.0} @RUN@ dist/server/entry.mjs'
[ ! -f build/handler.js ] || [ ! -f build/index.js ] || run '@RUN@ build/index.js'
if [ -f .next/BUILD_ID ]; then
  [ ! -f out/index.html ] || serve out
  ! brings next || run '@VIA@next start --port ${PORT:-3000}'
fi
if [ -f build/server/index.js ]; then
  ! brings react-router-serve || run '@VIA@react-router-serve build/server/index.js'
  ! brings remix-serve || run '@VIA@remix-serve build/server/index.js'
fi
for file in dist/*/server/server.mjs; do [ ! -f "$file" ] || run "@RUN@ $(printf %q "$file")"; done
for file in @SERVERS@; do
  case $file in */*) [ ! -f "${file%/*}/index.html" ] || continue ;; esac
  [ ! -f "$file" ] || ! grep -Eq '\.listen *\(|createServer *\(|serve *\(' "$file" || run "@RUN@ $(printf %q "$file")"
done
for folder in @FOLDERS@ dist/*/browser dist/*; do [ ! -f "$folder/index.html" ] || serve "$folder"; done
for file in @MAIN@; do [ ! -f "$file" ] || run "@RUN@ $(printf %q "$file")"; done
missing=
for tool in next react-router-serve remix-serve; do
  case $tool in next) made=.next/BUILD_ID ;; *) made=build/server/index.js ;; esac
  [ ! -f "$made" ] || missing="$missing $tool"
done
[ -z "$missing" ] || { echo "The build made a server that is run by one of:$missing"; exit 1; }
echo "The build made no server that is known, and no index.html in: @SEEN@"
echo "Folders now: $(find . -mindepth 1 -maxdepth 1 -type d ! -name node_modules ! -name .node ! -name .paas -printf '%P\n' | sort | tr '\n' ' ')"
exit 1
"""
FAILURE_HINTS = (
    FailureHint(
        "^The build made a server that is run by one of: (?P<tools>.+)",
        "what serves the build is not among the dependencies ({tools})",
        "Move it from devDependencies to dependencies, or add a start script to package.json.",
    ),
    FailureHint(
        ("^The build made no server that is known", "^Folders now: (?P<folders>.*)"),
        "the build made no server that is known and no site with an index.html (folders: {folders})",
        'Write what to run: "start": "node FILE" in the scripts of package.json, or "web: node FILE" in a Procfile.',
    ),
)


@dataclass(frozen=True)
class Web:
    """The default web command, if there is one, and what it needs and says."""

    processes: dict[str, str]
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()


def choose_web(
    tree: Tree, scripts: Mapping[str, str], main: str, onto: tuple[str, ...], *, run: str, scripts_run: str
) -> Web:
    """`onto` are the steps of the image that the build's result is looked at on; `run` starts a file (`node`), `scripts_run`
    a script (`npm run`)."""
    start = scripts.get("start", "").strip()
    builds = "build" in scripts or "heroku-postbuild" in scripts
    why = _not_for_serving(tree, start) if builds else ""
    npm = scripts_run == "npm run"
    if start and not why:
        return Web({"web": "npm start" if npm else f"{scripts_run} start"})
    production = next((name for name in _PRODUCTION if why and name in scripts), "")
    if production:
        return Web(
            {"web": f"{scripts_run} {production}"}, notes=(f"{why.partition(':')[0]}: {production} serves",)
        )
    if not start and tree.exists("server.js"):
        return Web({"web": "npm start" if npm else f"{run} server.js"})
    if builds:
        via = "" if run == "node" else f"{run} --{run} run "
        return Web({"web": BUILT}, look_steps(tree, main, onto, run=run, via=via), (why,) if why else ())
    found = _file(tree, main)
    if found and listens(tree, found):
        return Web({"web": f"{run} {shlex.quote(found)}"})
    site = static.site_folder(tree)
    if site is not None:
        return Web({"web": static.serve_command(site, pushstate=False)}, (static.serve_step(),))
    found = found or next((path for path in _SERVER_FILES if tree.exists(path)), "")
    return Web({"web": f"{run} {shlex.quote(found)}"} if found else {})


def _not_for_serving(tree: Tree, start: str) -> str:
    """Why the start script is not what serves strangers; empty when it may."""
    if DEVELOPMENT.match(start):
        tool = " ".join(start.split()[:3])
        return f"npm start is a server for development ({tool[:60]}): what the build makes is served"
    if re.match(r"(?:npx\s+)?next\s+start\b", start) and _config_says(
        tree, "next", r"output:\s*['\"](export)['\"]"
    ):
        return "next start does not serve an export: what the build makes is served"
    return ""


def look_steps(tree: Tree, main: str, onto: tuple[str, ...], *, run: str, via: str) -> tuple[Step, ...]:
    """A server of files, and the look at what the build made, which writes BUILT. `run` starts a file, `via` a package's program."""
    server = replace(static.serve_step(), serves="web")
    return server, _look(tree, main, (*onto, server.name), run, via)


def _look(tree: Tree, main: str, onto: tuple[str, ...], run: str, via: str) -> Step:
    named = [static.staticfile_root(tree), _config_says(tree, "vite", r"outDir:\s*['\"]([\w./-]+)['\"]")]
    own = [posixpath.normpath(folder) for folder in named if folder]
    folders = [folder for folder in own if not folder.startswith(("/", ".."))] + list(SITE_FOLDERS)
    shown = ", ".join(folder for folder in dict.fromkeys(folders) if "/" not in folder)
    path = posixpath.normpath(main) if main else ""
    mains = [path, f"{path}.js", f"{path}/index.js"] if path and not path.startswith(("/", "..")) else []
    words = {
        "@RUN@": run,
        "@VIA@": via,
        "@SERVERS@": " ".join(map(shlex.quote, [*mains, *_BUILT_SERVERS])),
        "@FOLDERS@": " ".join(map(shlex.quote, dict.fromkeys(folders))),
        "@MAIN@": " ".join(map(shlex.quote, mains)),
        "@SEEN@": shown,
    }
    script = re.sub(r"@[A-Z]+@", lambda match: words[match[0]], _LOOK)
    return Step(
        name="web",
        title="Looking for what the build made",
        script=script,
        outputs=("/app/.paas",),
        key=(RECIPE,),
        source=True,
        after_source=True,
        failure_hints=FAILURE_HINTS,
        onto=onto,
        serves="web",
    )


def _config_says(tree: Tree, tool: str, expression: str) -> str:
    """What a tool's configuration says, as far as it is a constant; a wrong guess is found after the build."""
    for ending in ("js", "mjs", "ts", "mts", "cjs"):
        match = re.search(expression, _source(tree, f"{tool}.config.{ending}"))
        if match:
            return match[1]
    return ""


def _file(tree: Tree, main: str) -> str:
    path = posixpath.normpath(main) if main else ""
    return next((name for name in (path, f"{path}.js", f"{path}/index.js") if path and tree.exists(name)), "")


def listens(tree: Tree, path: str) -> bool:
    """Whether a file of the source looks like a server."""
    return bool(_LISTENS.search(_source(tree, path)))


def _source(tree: Tree, path: str) -> str:
    """Source code for a guess: unreadable text is no guess, and no error."""
    try:
        return tree.read(path).decode("utf-8", "replace")
    except (FileNotFoundError, ValueError):
        return ""
