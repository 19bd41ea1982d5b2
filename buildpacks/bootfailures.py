"""What apps print when they cannot begin, and what to do about it: a package that is not there at run time, a wrong name in
the command, a config var that is not set. The narrow hints stand first. Pure."""

from __future__ import annotations

from buildpacks.failurehint import FailureHint as Hint

_LISTED = (
    "Add it to the dependencies (requirements.txt, pyproject.toml or the lock) and push, or commit {name}.py, if it is your"
    " own; a group for development is not installed."
)
_PACKAGE = "Add it to dependencies in package.json (not devDependencies, which the image leaves out), commit the lock file, and push."
_OBJECT = (
    "Name MODULE:OBJECT as they are in the code in the Procfile's web line, such as web: gunicorn app:app"
)
_SERVICE = "An app's own container runs no {what}: name the server's address by a config var, paas config:set {variable}=URL"
_CODE = "Correct it there; what runs on the machine where it was written may be another version."
_VAR = "paas config:set {name}=VALUE"


def _local(port: str, what: str, variable: str) -> Hint:
    """A connection to a service on the container's own address, where none is."""
    told = _SERVICE.format(what=what, variable=variable)
    return Hint(
        rf"(?:ECONNREFUSED (?:127\.0\.0\.1|::1):{port}\b|(?:127\.0\.0\.1|localhost|::1)\S*,? port {port} failed: Connection refused"
        rf"|connecting to (?:127\.0\.0\.1|localhost):{port}\.)",
        f"the app looks for {what} on 127.0.0.1:{port}",
        told,
    )


_PYTHON = (
    Hint(
        (
            r'^  File "/app/(?!\.venv/)(?P<file>[^"]+)", line (?P<line>\d+)',
            r"^ModuleNotFoundError: No module named '(?P<name>[^'.]+)",
        ),
        "line {line} of {file} imports {name}, which is not installed",
        _LISTED,
    ),
    Hint(
        ("in import_app$|in import_from_string$", r"^ModuleNotFoundError: No module named '(?P<name>[^']+)'"),
        "the command names the module {name}, which is not there",
        _OBJECT,
    ),
    Hint(
        r"^Failed to find (?:attribute|application object) '(?P<name>[^']+)' in '(?P<module>[^']+)'",
        "the module {module} has no object {name}",
        _OBJECT,
    ),
    Hint(
        'Error loading ASGI app. Could not import module "(?P<name>[^"]+)"',
        "the command names the module {name}, which is not there",
        _OBJECT,
    ),
    Hint(
        'Error loading ASGI app. Attribute "(?P<name>[^"]+)" not found in module "(?P<module>[^"]+)"',
        "the module {module} has no object {name}",
        _OBJECT,
    ),
    Hint(
        'Error loading ASGI app. Import string "(?P<name>[^"]+)" must be',
        "the command names {name}, but not the object in it",
        _OBJECT,
    ),
    Hint(
        r"__call__\(\) missing 1 required positional argument: 'send'",
        "the command serves an ASGI app (FastAPI, Starlette) as WSGI",
        "In the Procfile: web: uvicorn MODULE:APP --host 0.0.0.0 --port $PORT, with uvicorn among the dependencies.",
    ),
    Hint(
        r"__call__\(\) missing 1 required positional argument: 'start_response'",
        "the command serves a WSGI app (Flask, Django) as ASGI",
        "In the Procfile: web: gunicorn MODULE:APP, with gunicorn among the dependencies.",
    ),
    Hint(
        r"no such table: (?P<name>[\w.]+)|relation \"(?P<other>[\w.]+)\" does not exist",
        "the database has no table {name}{other}",
        "Create it before each release; for Django a line of the Procfile: release: python manage.py migrate",
    ),
    Hint(
        r"^(?:KeyError: '|\S*ImproperlyConfigured: Set the |\S*UndefinedValueError: )(?P<name>[A-Z][A-Z0-9_]+)\b",
        "the config var {name} is not set",
        _VAR,
    ),
    Hint(
        (
            r'^  File "/app/(?!\.venv/)(?P<file>[^"]+)", line (?P<line>\d+)$',
            r"^(?:SyntaxError|IndentationError): (?P<why>.+)",
        ),
        "Python cannot read line {line} of {file}: {why}",
        _CODE,
    ),
)
_NODE = (
    Hint(
        r"Cannot find (?:module|package) '/app/(?P<path>[^']+)'",
        "the file {path} is not in the image",
        "Commit it, or correct the command in the Procfile or package.json; upper and lower case count here.",
    ),
    Hint(
        (r"Cannot find module '(?P<path>\.[^']*)'", "^- /app/(?P<file>.+)$"),
        "the file {file} wants {path}, which is not in the image",
        "Commit it; upper and lower case count here.",
    ),
    Hint(
        r"Cannot find package '(?P<name>[^']+)' imported from /app/(?P<file>\S+)",
        "the file {file} imports {name}, which is not installed",
        _PACKAGE,
    ),
    Hint(
        (r"Cannot find module '(?P<name>[^'./][^']*)'", "^- /app/(?P<file>.+)$"),
        "the file {file} wants {name}, which is not installed",
        _PACKAGE,
    ),
    Hint(
        "^ReferenceError: require is not defined in ES module scope",
        "a file uses require, but is an ES module",
        'Use import, name the file .cjs, or leave "type": "module" out of package.json.',
    ),
    Hint(
        ("^SyntaxError: ", "does not provide an export named '(?P<name>[^']+)'"),
        "a package has no export {name}",
        "The version that is installed may be another one: commit the lock file, and npm ci.",
    ),
    Hint(
        (r"^/app/(?P<file>[^:]+):(?P<line>\d+)$", "^SyntaxError: (?P<why>.+)"),
        "Node cannot read line {line} of {file}: {why}",
        _CODE,
    ),
    Hint(
        'Missing script: "(?P<name>[^"]+)"',
        "package.json has no script {name}",
        "Add it to scripts, or name the command itself in the Procfile: web: node FILE.js",
    ),
    Hint(
        r"EADDRINUSE: address already in use \S*:(?P<port>\d+)",
        "the app listens on port {port} twice",
        "Listen once, on the port in $PORT.",
    ),
)
_SERVICES = (
    _local("5432", "PostgreSQL", "DATABASE_URL"),
    _local("3306", "MySQL", "DATABASE_URL"),
    _local("6379", "Redis", "REDIS_URL"),
    _local("27017", "MongoDB", "MONGODB_URI"),
)
BOOT_HINTS = (*_PYTHON, *_NODE, *_SERVICES)
