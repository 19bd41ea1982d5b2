"""Static sites: served by nginx as the app's own user, configured at boot for $PORT. Pure.

File times are fixed in layers, so nginx's own validators would lie about changed files; the commit (or the
release) is every file's ETag instead.
"""

from __future__ import annotations

import re

from buildpacks import unserved
from buildpacks.mediatypes import NGINX_HTTP
from buildpacks.plan import BuildRefused, Plan, Step, Tree, quoted, read_text

RECIPE = "static-4"
LOOKS_FOR = ("Staticfile", "index.html", "public/index.html")
_TRUE = ("true", "yes", "on", "enabled", "1")
_ROOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

_SERVE = r"""#!/bin/bash
# Serves a folder over HTTP on $PORT: serve FALLBACK FOLDER [FOLDER…]; the first folder that has an index.html counts.
set -eu
fallback=$1; shift
for folder in "$@"; do [ ! -f "/app/$folder/index.html" ] || break; done
[ -d "/app/$folder" ] || { echo "There is no folder $folder to serve." >&2; exit 1; }
root=$(realpath "/app/$folder")
tag=${SOURCE_VERSION:-${PAAS_RELEASE:-}}; tag=${tag//[^A-Za-z0-9.-]/}
validators=
[ -z "$tag" ] || validators="add_header ETag 'W/\"$tag\"'; if (\$http_if_none_match = 'W/\"$tag\"') { return 304; }"
( : >>/dev/stdout ) 2>/dev/null || exec > >(exec cat)
not_found=
[ ! -f "$root/404.html" ] || not_found='error_page 404 /404.html;'
@UNSERVED@
work=$(mktemp -d /tmp/nginx.XXXXXX)
cat >"$work/nginx.conf" <<CONF
worker_processes ${WEB_CONCURRENCY:-1};
pid $work/pid;
daemon off;
error_log stderr warn;
events { worker_connections 1024; }
http {
@HTTP@
  sendfile on; tcp_nopush on; keepalive_timeout 90s; server_tokens off;
  gzip on; gzip_vary on; gzip_proxied any; gzip_min_length 1024;
  etag off; if_modified_since off; absolute_redirect off;
  server {
    listen 0.0.0.0:${PORT:-5000};
    root "$root";
    index index.html index.htm;
    add_header Last-Modified "";
    $validators
    location / { try_files \$uri \$uri.html \$uri/ $fallback; }
    location ~ /\.(?!well-known/) { return 404; }
    $unserved
    $not_found
  }
}
CONF
exec nginx -e stderr -c "$work/nginx.conf"
""".replace("@HTTP@\n", NGINX_HTTP).replace("@UNSERVED@\n", unserved.NGINX)


def detect(tree: Tree) -> str | None:
    return next((path for path in LOOKS_FOR if tree.exists(path)), None)


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused when the Staticfile names a root that is not there."""
    detected = detect(tree) or "index.html"
    options, warnings = _staticfile(tree)
    root = options.get("root") or ("." if tree.exists("index.html") else "public")
    root = root.strip("/").removeprefix("./") or "."
    if root != "." and not _ROOT.fullmatch(root):
        raise BuildRefused(f'Staticfile: root "{root[:60]}" is not a folder of the repository.')
    if root != "." and not any(name.startswith(root + "/") for name in tree.names()):
        raise BuildRefused(
            f"Staticfile: the root {root} is not in the repository.", "Name the folder to serve."
        )
    pushstate = any(options.get(key, "").lower() in _TRUE for key in ("pushstate", "index_fallback"))
    return Plan(
        language="Static",
        detected=detected,
        notes=(
            f"Serving {'the repository' if root == '.' else root + '/'} with nginx",
            *unserved.left_out(tree, root),
        ),
        warnings=(*warnings, *unserved.not_applied(tree)),
        steps=(serve_step(),),
        default_processes={"web": serve_command(root, pushstate=pushstate)},
    )


def site_folder(tree: Tree) -> str | None:
    """The folder of the source that has an index.html to serve, as a Staticfile or the usual places say."""
    folders = [folder for folder in (staticfile_root(tree), ".", "public") if folder]
    return next(
        (folder for folder in folders if tree.exists(f"{folder}/index.html".removeprefix("./"))), None
    )


def staticfile_root(tree: Tree) -> str:
    """The root that a Staticfile names, as far as it is a folder; else empty."""
    root = _staticfile(tree)[0].get("root", "").strip("/").removeprefix("./")
    return root if _ROOT.fullmatch(root) else ""


def serve_step() -> Step:
    """The start script at /app/.paas/serve: the same for every site, so all apps share the layer."""
    return Step(
        name="static-server",
        title="Adding the static file server",
        script=f"mkdir -p /app/.paas\ncat >/app/.paas/serve <<'SERVE'\n{_SERVE}SERVE\nchmod 755 /app/.paas/serve\n",
        outputs=("/app/.paas",),
        key=(RECIPE,),
        shared=True,
    )


def serve_command(*folders: str, pushstate: bool) -> str:
    """The web process: the first of `folders` that exists is served."""
    return f".paas/serve {'/index.html' if pushstate else '=404'} {' '.join(folders)}"


def _staticfile(tree: Tree) -> tuple[dict[str, str], tuple[str, ...]]:
    if not tree.exists("Staticfile"):
        return {}, ()
    options: dict[str, str] = {}
    warnings = []
    for number, line in enumerate(read_text(tree, "Staticfile", 65536).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise BuildRefused(f"Staticfile line {number} has no colon.", 'A line reads "root: public".')
        if key.strip() in ("root", "pushstate", "index_fallback"):
            options[key.strip()] = value.strip().strip("\"'")
        else:
            warnings.append(f"Staticfile line {number}: {quoted(key, 40)} is not a known key and is ignored")
    return options, tuple(warnings)
