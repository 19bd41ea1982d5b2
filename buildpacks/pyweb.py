"""The web command of a Python app without a Procfile, found by parsing its code. Pure: nothing is imported or run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from buildpacks import pyprograms
from buildpacks.plan import Tree
from buildpacks.pysyntax import MAKERS, assigned, dotted, imported, kind_made, roots, statements

MOST_BYTES, MOST_BYTES_OF_ALL = 256 << 10, 768 << 10
"""How much code is parsed: of one file, and of all."""
MOST_LOOKUPS = 100
"""How many names are looked for in other files."""
_STEMS = (
    "app",
    "main",
    "wsgi",
    "asgi",
    "server",
    "application",
    "run",
    "api",
    "web",
    "index",
    *pyprograms.STEMS,
)
_FRAMEWORKS = {
    maker.split(".")[0]: kind for maker, kind in MAKERS.items() if not maker.startswith(("django.", "dash."))
}
_OBJECTS = ("app", "application", "api", "server")
_PATHS = ("src", "backend", "api")
"""Folders that programs are started in: modules are found there, unless the folder is a package itself."""
_NO_PROGRAMS = ("setup", "conftest", "manage", "noxfile", "tasks", "fabfile")
_FACTORIES = ("create_app", "make_app", "build_app", "get_app", "create_application", "init_app", "init")
_SERVERS = {
    "wsgi": {"gunicorn": "gunicorn {}", "waitress": "waitress-serve --listen=0.0.0.0:$PORT {}"},
    "asgi": {
        "uvicorn": "uvicorn {} --host 0.0.0.0 --port $PORT",
        "hypercorn": "hypercorn {} --bind 0.0.0.0:$PORT",
        "daphne": "daphne -b 0.0.0.0 -p $PORT {}",
    },
    "sanic": {"sanic": "sanic {} --host=0.0.0.0 --port=$PORT"},
    "aiohttp": {"gunicorn": "gunicorn {} --worker-class aiohttp.GunicornWebWorker"},
    "dash": {"waitress": "waitress-serve --listen=0.0.0.0:$PORT {}.server"},
}
"""For each kind of app the servers that can run it, and how. The first one is added when none is there."""
_BRINGS = {"python-fasthtml": "uvicorn", "quart": "hypercorn"}
_FACTORY_FLAG = {"uvicorn": " --factory", "sanic": " --factory", "waitress": " --call"}


@dataclass(frozen=True)
class WebCommand:
    """How to serve `target` (`module:object`). `server` is the distribution to add; empty when it is there."""

    command: str
    target: str
    server: str = ""
    path: str = ""
    """A folder of the repository that modules are found in besides its root."""


@dataclass(frozen=True)
class _Found:
    kind: str
    name: str
    factory: bool = False
    coroutine: bool = False


def web_command(tree: Tree, names: frozenset[str]) -> WebCommand | None:
    """The command for what the code has; `names` are the normalised names of the dependencies."""
    reader = _Reader(tree, names)
    if tree.exists("manage.py"):
        django = _django(tree, reader)
        if django:
            return _served(
                django, _Found("asgi" if django.split(":")[0].endswith(".asgi") else "wsgi", ""), names
            )
    paths = _candidates(tree)
    others = [path for path in _scripts(tree) if path not in paths]
    for path in (*paths, *_only(path for path in others if reader.app_in(path))):
        found = reader.app_in(path)
        if found:
            top = path.partition("/")[0]
            inside = top in _PATHS and not tree.exists(f"{top}/__init__.py")
            module = _module(path.removeprefix(f"{top}/") if inside else path)
            return _served(f"{module}:{found.name}", found, names, f"/app/{top}" if inside else "")
    for path in (*paths, *_only(path for path in others if reader.serves_itself(path))):
        if command := reader.serves_itself(path):
            return WebCommand(command, path)
    for path in (*paths, *_only(path for path in others if reader.listens_on_port(path))):
        if "/" not in path and reader.listens_on_port(path):
            return WebCommand(f"python {path}", path)
    notebooks = _only(sorted(name for name in tree.names() if re.fullmatch(r"[\w-]+\.ipynb", name)))
    if notebooks and "voila" in names:
        return WebCommand(f"voila --no-browser --Voila.ip=0.0.0.0 --port=$PORT {notebooks[0]}", notebooks[0])
    return None


def doubt(tree: Tree, web: WebCommand | None) -> tuple[str, ...]:
    """A warning when the Procfile has gunicorn serve an ASGI app as if it were WSGI: each request would get 500."""
    if web is None or not web.command.startswith(tuple(_SERVERS["asgi"])) or not tree.exists("Procfile"):
        return ()
    line = re.search(rb"^web:[^\n]*\bgunicorn\b[^\n]*", tree.read("Procfile", MOST_BYTES), re.MULTILINE)
    if (
        line is None
        or re.search(rb"[ \t](?:-k|-c|--worker-class|--config)\b", line[0])
        or tree.exists("gunicorn.conf.py")
    ):
        return ()
    return (
        f"Procfile: gunicorn serves {web.target} only with a worker class, because it is ASGI; write web: {web.command}",
    )


def procfile_line(tree: Tree) -> str:
    """What to write when no web command was found: the program that is there, as its Procfile line."""
    scripts = _scripts(tree)
    stems = [f"{stem}.py" for stem in (*_STEMS, "bot", "serve", "worker")]
    likely = next((name for name in stems if name in scripts), next(iter(scripts), ""))
    command = likely and (_Reader(tree, frozenset()).serves_itself(likely) or f"python {likely}")
    return command and f"web: {command}"


def _scripts(tree: Tree) -> list[str]:
    """The programs at the root, tests and settings of tools left out."""
    names = sorted(name for name in tree.names() if re.fullmatch(r"[A-Za-z0-9_-]+\.py", name))
    return [name for name in names if not name.startswith("test") and name[:-3] not in _NO_PROGRAMS]


def _only(paths: Iterable[str]) -> list[str]:
    """One path if there is only this one: between programs of any name there is no telling."""
    some = list(islice(paths, 2))
    return some if len(some) == 1 else []


def _served(target: str, found: _Found, names: frozenset[str], path: str = "") -> WebCommand:
    servers = _SERVERS[found.kind]
    there = names | {_BRINGS[name] for name in names & set(_BRINGS)}
    server = next((name for name in servers if name in there), next(iter(servers)))
    flag = ""
    if found.factory and server in _FACTORY_FLAG:
        flag = _FACTORY_FLAG[server]
    elif found.factory and not found.coroutine:
        target += "()"
    word = f"'{target}'" if "(" in target else target
    command = servers[server].format(f"--call {word}" if flag == " --call" else word)
    command += "" if flag == " --call" else flag
    return WebCommand(command, target, "" if server in there else server, path)


def _candidates(tree: Tree) -> list[str]:
    """Files that may hold the app: of the root first, then of `app/`, `src/`, and of each package."""
    names = set()
    for name in tree.names():
        parts = name.split("/")
        if (
            len(parts) <= 3
            and name.endswith(".py")
            and all(re.fullmatch(r"\w+", part) for part in (*parts[:-1], parts[-1][:-3]))
        ):
            names.add(name)
    packages = sorted(
        name.rpartition("/")[0]
        for name in names
        if name.endswith("/__init__.py") and (name.count("/") == 1 or name.startswith("src/"))
    )
    skipped = {"tests", "test", "docs", "examples", "migrations"}
    folders = ["", "app/", "src/", "src/app/", "backend/", "backend/app/", "api/"]
    folders += [f"{name}/" for name in packages if name.rpartition("/")[2] not in skipped]
    wanted = [f"{folder}{stem}.py" for folder in dict.fromkeys(folders) for stem in (*_STEMS, "__init__")]
    return [name for name in wanted if name in names]


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _django(tree: Tree, reader: _Reader) -> str:
    """The target of a Django project: what its settings name, else the wsgi module beside them."""
    named = re.search(
        r"DJANGO_SETTINGS_MODULE['\"]\]?\s*[,=]\s*['\"]([\w.]+)['\"]", reader.source("manage.py")
    )
    if named is None:
        return ""
    base = named[1].replace(".", "/")
    folder = base.rpartition("/")[0]
    for path in (
        f"{base}.py",
        f"{base}/__init__.py",
        f"{folder}/base.py",
        f"{folder}/settings.py",
        f"{base}/base.py",
    ):
        for setting in ("WSGI_APPLICATION", "ASGI_APPLICATION"):
            value = re.search(
                rf"^{setting}\s*=\s*['\"]([\w.]+)\.(\w+)['\"]", reader.source(path), re.MULTILINE
            )
            if value and any(
                tree.exists(value[1].replace(".", "/") + end) for end in (".py", "/__init__.py")
            ):
                return f"{value[1]}:{value[2]}"
    top = named[1].split(".")[0]
    return (
        f"{top}.asgi:application"
        if tree.exists(f"{top}/asgi.py") and not tree.exists(f"{top}/wsgi.py")
        else f"{top}.wsgi"
    )


class _Reader:
    """Parses files of the tree, few and small ones, and each one once."""

    def __init__(self, tree: Tree, names: frozenset[str]) -> None:
        self.tree, self.left = tree, MOST_BYTES_OF_ALL
        kinds = {_FRAMEWORKS[name] for name in names if name in _FRAMEWORKS}
        kinds |= {"asgi"} if "python-fasthtml" in names else set()
        self.usual = kinds.pop() if len(kinds) == 1 else ""
        self.parsed: dict[str, ast.Module | None] = {}
        self.shallow: dict[str, _Found | None] = {}
        self.lookups = MOST_LOOKUPS

    def source(self, path: str) -> str:
        """Source code for a guess: unreadable text is no guess, and no error."""
        try:
            return self.tree.read(path, MOST_BYTES).decode("utf-8-sig", "replace")
        except (FileNotFoundError, ValueError):
            return ""

    def parse(self, path: str) -> ast.Module | None:
        if path not in self.parsed:
            self.parsed[path] = None
            text = self.source(path)
            self.left -= len(text)
            if text and self.left >= 0:
                with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                    self.parsed[path] = ast.parse(text)
        return self.parsed[path]

    def listens_on_port(self, path: str) -> bool:
        module = self.parse(path)
        return module is not None and any(
            isinstance(node, ast.Constant) and node.value == "PORT" for node in ast.walk(module)
        )

    def serves_itself(self, path: str) -> str:
        """How the program at `path` is started, when its framework brings the server."""
        module = self.parse(path)
        return "" if module is None else pyprograms.command_for(path, roots(imported(module)))

    def app_in(self, path: str, deep: bool = True) -> _Found | None:
        """The app object of a file, else its factory. `deep`: names it imports are looked up in their files."""
        module = self.parse(path)
        if module is None:
            return None
        imports = imported(module)
        usual = "asgi" if path.endswith("asgi.py") else "wsgi" if path.endswith("wsgi.py") else self.usual
        objects: list[_Found] = []
        factories: list[_Found] = []
        for node in statements(module.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                (factories if node.name in _FACTORIES else objects).extend(_function(node, imports, usual))
                continue
            for name, value in assigned(node):
                kind = self._kind(value, imports, path, deep)
                if kind or (usual and name in _OBJECTS[:2] and isinstance(value, ast.Call)):
                    objects.append(_Found(kind or usual, name))
            if (
                deep
                and isinstance(node, ast.ImportFrom)
                and path.rpartition("/")[2] in ("wsgi.py", "asgi.py", "run.py")
            ):
                for alias in node.names:
                    local = alias.asname or alias.name
                    made = self._elsewhere(imports.get(local, ""), path)
                    if made and local in _OBJECTS:
                        objects.append(_Found(made, local))
        objects.sort(key=lambda found: (found.kind == "dash", found.name not in _OBJECTS))
        return next(iter([*objects, *factories]), None)

    def _kind(self, value: ast.expr, imports: dict[str, str], path: str, deep: bool) -> str:
        """What sort of app an expression makes; empty when that cannot be told."""
        if isinstance(value, ast.Attribute) and value.attr == "server" and "dash" in roots(imports):
            return "wsgi"
        if not isinstance(value, ast.Call):
            return ""
        full = dotted(value.func, imports)
        return kind_made(full) or (self._elsewhere(full, path) if deep else "")

    def _elsewhere(self, full: str, path: str) -> str:
        """The kind of a name that another file of the repository defines, or this one."""
        module, _, name = full.rpartition(".")
        base = module.replace(".", "/")
        places = (
            [f"{base}.py", f"{base}/__init__.py", f"src/{base}.py", f"src/{base}/__init__.py"]
            if module
            else [path]
        )
        self.lookups -= 1
        for place in places if self.lookups >= 0 else ():
            if place not in self.shallow:
                self.shallow[place] = self.app_in(place, deep=False) if self.tree.exists(place) else None
            found = self.shallow[place]
            if found and (found.name == name or name in _FACTORIES):
                return found.kind
        return ""


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, imports: dict[str, str], usual: str
) -> Iterator[_Found]:
    """A function that is an app by its signature (PEP 3333, the ASGI specification), or one that makes an app."""
    count = len(node.args.posonlyargs) + len(node.args.args)
    coroutine = isinstance(node, ast.AsyncFunctionDef)
    if node.name in _OBJECTS and (count, coroutine) in ((2, False), (3, True)):
        yield _Found("asgi" if coroutine else "wsgi", node.name)
    elif node.name in _FACTORIES and count == len(node.args.defaults):
        calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
        made = (kind for call in calls if (kind := kind_made(dotted(call.func, imports))) not in ("", "dash"))
        kind = next(made, usual if node.name != "init" else "")  # `init` may begin anything
        if kind and (not coroutine or kind == "aiohttp"):
            yield _Found(kind, node.name, factory=True, coroutine=coroutine)
