"""What to say about the files of a push: why no buildpack takes it, what it could run, what is there and not read. Pure.

Advice names only files that are there, and commands that work when they are pasted.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence

from buildpacks.compose import COMPOSE_FILES, explained
from buildpacks.plan import BuildRefused, Tree, quoted
from buildpacks.pybare import imported, unreadable
from buildpacks.pyweb import procfile_line
from buildpacks.toml import toml_of

_MOST_COMPARED = 1000
_MOST_READ = 64 * 1024
_MOST_FOLDERS = 5
_NO_APPS = (
    "node_modules",
    "vendor",
    "test",
    "tests",
    "docker",
    "deploy",
    "build",
    "dist",
    "target",
    "example",
    "examples",
    "scripts",
)
"""Folders in which no app of its own is looked for."""
_LANGUAGES = {
    "Cargo.toml": "Rust", "go.mod": "Go", "composer.json": "PHP", "index.php": "PHP", "Gemfile": "Ruby", "config.ru": "Ruby",
    "pom.xml": "Java", "build.gradle": "Java", "build.gradle.kts": "Java", "mix.exs": "Elixir", "deno.json": "Deno",
    "project.clj": "Clojure", "build.sbt": "Scala", "Package.swift": "Swift", "gleam.toml": "Gleam", "shard.yml": "Crystal",
    "stack.yaml": "Haskell", "dub.json": "D", "CMakeLists.txt": "C or C++", "global.json": ".NET",
}  # fmt: skip
_ENDINGS = {".csproj": ".NET", ".fsproj": ".NET", ".vbproj": ".NET", ".sln": ".NET", ".cabal": "Haskell"}
_HUGO = ("hugo.toml", "hugo.yaml", "hugo.json", "hugo.yml")
_LISTENS = ', if that program listens on 0.0.0.0 and on the port int(os.environ["PORT"])'
_INTERPRETED = (
    (".psgi", "Plack", "libplack-perl", "plackup --port $PORT {}"),
    (("plumber.R", "app.R", "server.R"), "R", "r-base-core", "Rscript {}"),
    (".lua", "Lua", "lua5.4", "lua5.4 {}"),
)
"""Programs by the ends of their names: what runs them, its Debian packages, and a command."""
_MISSPELT = ("procfile", "PROCFILE", "ProcFile", "Procfile.txt", "procfile.txt")
_ELSEWHERE = {
    "render.yaml": "Render", "fly.toml": "Fly.io", "vercel.json": "Vercel", "netlify.toml": "Netlify", "railway.json": "Railway",
    "railway.toml": "Railway", "heroku.yml": "Heroku's containers", "app.yaml": "Google App Engine", "now.json": "Vercel",
    ".platform.app.yaml": "Platform.sh", "nixpacks.toml": "Nixpacks", "captain-definition": "CapRover",
}  # fmt: skip
"""Files that other platforms read, none of which decides anything here."""


def unmatched(tree: Tree, by_pack: Sequence[Sequence[str]]) -> BuildRefused:
    """The refusal of a tree that no buildpack takes: what was seen, what was looked for (of each buildpack the first file),
    what to do."""
    looked = [path for paths in by_pack for path in paths]
    top = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in tree.names()})
    seen = ", ".join(quoted(name) for name in top[:12]) + (
        f" and {len(top) - 12} more" if len(top) > 12 else ""
    )
    folders = _apps_below(tree, looked)
    if folders:
        return BuildRefused(f"No buildpack matched at the root: saw {seen}.", _choose_folder(folders))
    return BuildRefused(
        f"No buildpack matched: saw {seen}; looked for {', '.join(paths[0] for paths in by_pack)} and their kind.",
        _way_in(tree, top, looked),
    )


def _language(top: Sequence[str], looked: Sequence[str]) -> str:
    """The language of a file at the root that no buildpack builds; empty if there is none."""
    named = (
        _LANGUAGES.get(name) or _ENDINGS.get("." + name.rpartition(".")[2])
        for name in top
        if name not in looked
    )
    return next(filter(None, named), "")


def _apps_below(tree: Tree, looked: Sequence[str]) -> list[tuple[str, str]]:
    """The folders, at most two deep, in which a buildpack would match, and the file that tells;
    the shallowest first, sites last."""
    found: dict[str, str] = {}
    for name in tree.names():
        folder, _, base = name.rpartition("/")
        if not folder or folder.count("/") > 1 or base not in looked:
            continue
        known = looked.index(found[folder]) if folder in found else len(looked)
        odd = any(part in _NO_APPS or part.startswith(".") for part in folder.split("/"))
        if not odd and looked.index(base) < known and (folder in found or len(found) < _MOST_COMPARED):
            found[folder] = base
    return sorted(found.items(), key=lambda item: (item[1] == "index.html", item[0].count("/"), item[0]))


def _choose_folder(folders: Sequence[tuple[str, str]]) -> str:
    (folder, file), *others = folders
    command = f"paas builds:set root={shlex.quote(quoted(folder, 200))}"
    if others:
        named = ", ".join(f"{quoted(name)}/ ({base})" for name, base in folders[:_MOST_FOLDERS])
        more = f" and {len(folders) - _MOST_FOLDERS} more" if len(folders) > _MOST_FOLDERS else ""
        return f"Each folder can be an app of its own: {named}{more}. For this app choose one, like {command}, and push again."
    site = f', or write "root: {quoted(folder)}" into a Staticfile' if file == "index.html" else ""
    return f"{quoted(folder)}/ has {file}: {command}{site}; then push again."


def _way_in(tree: Tree, top: Sequence[str], looked: Sequence[str]) -> str:
    for name in [name for name in top if not name.endswith("/")][:_MOST_COMPARED]:
        near = difflib.get_close_matches(name.lower(), [path.lower() for path in looked], 1, 0.85)
        if near:
            right = next(path for path in looked if path.lower() == near[0])
            return f"Is {quoted(name)} meant to be {right}?"
    if set(top) & set(_HUGO):
        return "A site of Hugo is not built here: run hugo, and commit the folder public/ that it makes, which is served then."
    if language := _language(top, looked):
        return (
            f"{language} is not built here. Commit a program that was built for Linux, and a Procfile that"
            ' names it: "web: ./PROGRAM". It must listen on 0.0.0.0:$PORT.'
        )
    scripts = [name for name in top if name.endswith(".py")]
    if scripts and (modules := imported(tree)):
        named = ", ".join(quoted(name, 30) for name in modules[:_MOST_FOLDERS])
        return f"For a Python app add a requirements.txt that names the packages of what it imports: {named}."
    if scripts:
        return f"For a Python app add a requirements.txt; an empty one will do if {quoted(scripts[0])} needs no packages."
    if "cgi-bin/" in top:
        return (
            'CGI programs need a server: write lighttpd into a file named Aptfile, "web: lighttpd -D -f lighttpd.conf" into a Procfile,'
            ' and into lighttpd.conf, one a line: server.port = env.PORT, server.document-root = "/app", server.modules = ("mod_cgi"),'
            ' cgi.assign = (".pl" => "/usr/bin/perl").'
        )
    for ends, interpreter, package, command in _INTERPRETED:
        found = next((name for name in tree.names() if name.endswith(ends)), None)
        if found is not None:
            command = command.format(quoted(found))
            return f'{interpreter} comes as a Debian package: write {package} into a file named Aptfile, and "web: {command}" into a Procfile.'
    if "Makefile" in top:
        return 'Makefile is run when a Procfile names a program that it builds: "web: ./PROGRAM", which must listen on 0.0.0.0:$PORT.'
    return (
        'Add one of these files. A Procfile alone will do for a program that is in the repository: "web: ./PROGRAM",'
        " which must be executable and listen on 0.0.0.0:$PORT."
    )


def nothing_to_run(tree: Tree, language: str) -> str:
    """What to write when neither a Procfile nor the code says what the app runs."""
    say = "Add a Procfile with the command that listens on $PORT, and commit it"
    if tree.exists("Procfile.dev"):
        return f"{say}. Procfile.dev is there, but only Procfile is read."
    if language == "Dockerfile":
        return 'End the Dockerfile with the command that the app runs: CMD ["PROGRAM", "ARGUMENT"].'
    if language == "Python":
        line = procfile_line(tree)
        if line and (why := unreadable(tree, line.removeprefix("web: python "))):
            return f'{why} Correct it there, or write "{line}" into a file named Procfile, and commit it.'
        if line:
            program = _LISTENS if line.startswith("web: python ") else ""
            return f'Write "{line}" into a file named Procfile{program}, and commit it.'
        return (
            f'{say}: "web: gunicorn MODULE:APP" for WSGI (Flask, Django), "web: uvicorn MODULE:APP --host 0.0.0.0'
            ' --port $PORT" for ASGI (FastAPI, Starlette).'
        )
    if language == "Node":
        found = next((name for name in ("index.js", "app.js", "main.js") if tree.exists(name)), "FILE.js")
        return f'Add a start script to package.json, for example "start": "node {found}", or a Procfile: "web: node {found}".'
    return f'{say}: "web: COMMAND".'


def not_read(tree: Tree, language: str) -> tuple[str, ...]:
    """Warnings about files from which a reader could expect something, and which decide nothing here."""
    found = []
    if tree.exists("Dockerfile") and language != "Dockerfile":
        found.append(
            f"Dockerfile is not read: this is built as a {language} app (paas builds:set builder=dockerfile builds it)"
        )
    if language in ("PHP", "Ruby", "Java") and tree.exists("package.json"):
        found.append(
            f"package.json is not read: this is built as a {language} app; commit what its build script makes"
        )
    if language != "Static" and tree.exists("Staticfile"):
        found.append(f"Staticfile is not read: this is built as a {language} app")
    if not tree.exists("Procfile"):
        found += [
            f"{name} is not read: rename it, git mv {name} Procfile"
            for name in _MISSPELT
            if tree.exists(name)
        ]
    if tree.exists("Procfile.dev") and not tree.exists("Procfile"):
        found.append("Procfile.dev is not read: the platform reads Procfile")
    for name, platform in _ELSEWHERE.items():
        if tree.exists(name):
            found.append(f"{name} is for {platform} and is not read" + _commands_of(tree, name))
    for name in COMPOSE_FILES:
        if tree.exists(name):
            found += explained(name, _text(tree, name))
            break
    return tuple(found)


def _commands_of(tree: Tree, name: str) -> str:
    """The commands that another platform's file names, as lines for a Procfile; empty when there is one already."""
    if tree.exists("Procfile"):
        return ""
    text = _text(tree, name)
    if name == "render.yaml":
        starts = [
            match[1].strip(" \"'") for match in re.finditer(r"(?m)^[ \t-]*startCommand:[ \t]*(.+)$", text)
        ]
        return f'; its start command as a Procfile: "web: {quoted(starts[0])}"' if len(starts) == 1 else ""
    if name == "fly.toml":
        try:
            processes = toml_of(text).get("processes")
        except ValueError:
            return ""
        named = processes.items() if isinstance(processes, dict) else ()
        lines = [
            f'"{"web" if kind == "app" else quoted(kind)}: {quoted(str(command))}"' for kind, command in named
        ]
        return f"; its processes as lines of a Procfile: {', '.join(lines[:5])}" if lines else ""
    return ""


def _text(tree: Tree, name: str) -> str:
    try:
        return tree.read(name, _MOST_READ).decode("utf-8", "replace")
    except (FileNotFoundError, ValueError):
        return ""
