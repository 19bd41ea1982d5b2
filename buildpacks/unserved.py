"""What our own servers of sites and PHP leave out of a repository that is itself the document root, and what they do not
apply: its settings are there to build and run it. One list, which nginx and the push read alike. Pure."""

from __future__ import annotations

import re

from buildpacks.plan import Tree, quoted

_NAMES = (
    r"Dockerfile[\w.-]*", r"Containerfile", r"(?:docker-)?compose[\w.-]*\.ya?ml", r"Procfile[\w.-]*", "Aptfile", "Staticfile", "Makefile",
    "Vagrantfile", "Jenkinsfile", r"app\.json", r"(?:fly|netlify|project|railway|nixpacks|pyproject)\.toml", r"(?:render|app|heroku)\.ya?ml",
    r"(?:package|package-lock|composer|auth|now|vercel)\.json", r"(?:yarn|composer|poetry|uv|Gemfile|Pipfile)\.lock", "Gemfile", "Pipfile",
    r"pnpm-lock\.yaml", r"requirements[\w.-]*\.txt", r"web\.config", r"phpunit\.xml[\w.]*", "artisan", r"id_(?:rsa|ed25519|ecdsa)",
    r"[^/]*\.(?:sqlite3?|db)",
)  # fmt: skip
"""At the top of the repository."""
_ENDS = ("sql", "ini", "inc", "bak", "orig", "swp", "key", "pem", "env", "htpasswd", r"php\d?~")
"""In each folder of it. Names that begin with a dot are left out of every site."""
PATTERN = rf"^/(?:(?:{'|'.join(_NAMES)})|(?:[^/]+/)*[^/]*\.(?:{'|'.join(_ENDS)}))$"
NGINX = f"""unserved=
[ "$root" != /app ] || unserved='location ~* "{PATTERN}" {{ return 404; }}'
"""
"""Lines of a start script that knows `root`; `$unserved` belongs before any other location with an expression."""

_MOST, _MOST_BYTES = 5, 1 << 16
_DIRECTIVE = re.compile(r"^[ \t]*([A-Z][A-Za-z_]+)\b([^\n]*)", re.MULTILINE)
_HARMLESS = ("RewriteEngine", "RewriteBase", "RewriteCond", "Options", "DirectoryIndex")
_TO_INDEX = re.compile(r"\bindex\.(?:php|html)\b|[ \t]-[ \t]+\[")
"""A rule that leads to the front page, as unknown paths of PHP do anyway, or that only sets something for those."""
_PROTECTS = re.compile(r"\b(?:Deny|Require|Auth\w+|Order|Allow)\b")


def left_out(tree: Tree, root: str) -> tuple[str, ...]:
    """A note that names files of the repository which are not served; none when the site is a folder of it."""
    if root != ".":
        return ()
    pattern = re.compile(PATTERN, re.IGNORECASE)
    found = sorted(name for name in tree.names() if "/" not in name and pattern.search(f"/{name}"))
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return (f"Not served: {', '.join(map(quoted, found[:_MOST]))}{more}",) if found else ()


def not_applied(tree: Tree) -> tuple[str, ...]:
    """A warning about what the `.htaccess` files of a site would do under Apache, as far as it is more than to lead to the
    front page."""
    paths = sorted(name for name in tree.names() if name.rpartition("/")[2] == ".htaccess")[:_MOST]
    lines = [f"{quoted(path)} ({', '.join(found)})" for path in paths if (found := _directives(tree, path))]
    if not lines:
        return ()
    told = f"nginx serves, and does not apply {'; '.join(lines)}"
    remedy = "; what they close is open: move it out of the folder that is served, or: paas auth:add NAME"
    return (told + remedy if _PROTECTS.search(told) else told,)


def _directives(tree: Tree, path: str) -> list[str]:
    """The directives of one file, each once."""
    try:
        text = tree.read(path, _MOST_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, ValueError):
        return []
    rules = _DIRECTIVE.findall(text)
    names = [name for name, rest in rules if name != "RewriteRule" or not _TO_INDEX.search(rest)]
    return [quoted(name, 30) for name in dict.fromkeys(names) if name not in _HARMLESS][:_MOST]
