"""What the syntax tree of a Python module says: its imports, its assignments, and which names make an app. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

MAKERS = {
    "flask.Flask": "wsgi", "bottle.Bottle": "wsgi", "bottle.default_app": "wsgi", "falcon.App": "wsgi",
    "falcon.API": "wsgi", "django.get_wsgi_application": "wsgi", "fastapi.FastAPI": "asgi",
    "starlette.Starlette": "asgi", "litestar.Litestar": "asgi", "quart.Quart": "asgi",
    "fasthtml.FastHTML": "asgi", "fasthtml.fast_app": "asgi", "django.get_asgi_application": "asgi",
    "blacksheep.Application": "asgi", "sanic.Sanic": "sanic", "aiohttp.Application": "aiohttp", "dash.Dash": "dash",
}  # fmt: skip


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import, those inside `if`, `try` and `with` among them, in their order."""
    waiting = list(reversed(body))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            waiting += reversed([*node.body, *getattr(node, "orelse", [])])


def imported(module: ast.Module) -> dict[str, str]:
    """Local names and the full names they import; `*` lists the modules of star imports, in the order of the file."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*":
                    found.setdefault("*", node.module or "")
                else:
                    found[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}".lstrip(".")
    return found


def roots(imports: dict[str, str]) -> set[str]:
    return {full.split(".")[0] for full in imports.values()}


def dotted(node: ast.expr, imports: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    star = f"{imports['*']}.{node.id}" if "*" in imports else node.id
    return ".".join([imports.get(node.id, star), *reversed(parts)])


def kind_made(full: str) -> str:
    root, _, rest = full.partition(".")
    kind = MAKERS.get(f"{root}.{rest.rpartition('.')[2]}", "")
    return "asgi" if kind and full.startswith("falcon.asgi.") else kind


def assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else target
            if isinstance(first, ast.Name):
                yield first.id, node.value
