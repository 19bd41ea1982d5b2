"""What our own servers leave out of a repository, and what they do not apply."""

from __future__ import annotations

import re

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.unserved import PATTERN, left_out, not_applied

SETTINGS = (
    "Dockerfile", "Dockerfile.prod", "compose.yaml", "docker-compose.prod.yml", "config.ini", "Procfile", "Procfile.dev", "app.json",
    "composer.json", "composer.lock", "dump.sql", "db/schema.sql", "fly.toml", "package.json", "web.config", "id_rsa", "server.key",
    "data.sqlite3", "lib/db.inc", "wp-config.php.bak", "index.php~", "prod.env", "Aptfile", "requirements-dev.txt", "DOCKERFILE",
)  # fmt: skip
CONTENT = (
    "index.html", "robots.txt", "README.md", "data.json", "install.sh", "compose.html", "docs/Dockerfile", "src/package.json",
    "maps/tiles.db", "config.yml", "keys.html", "sql/index.html", "app.js", "vendor/bootstrap.css", "Makefile.html",
)  # fmt: skip


def test_settings_of_the_project_are_told_from_its_content() -> None:
    served = re.compile(PATTERN, re.IGNORECASE)
    assert [name for name in SETTINGS if not served.search(f"/{name}")] == []
    assert [name for name in CONTENT if served.search(f"/{name}")] == []


@pytest.mark.parametrize("language", [{"index.html": ""}, {"index.php": ""}])
def test_the_push_names_what_is_not_served(language: dict[str, str]) -> None:
    files = {**language, **{f"{number}.sql": "" for number in range(7)}, "app.json": "{}", "a/b.ini": ""}
    assert "Not served: 0.sql, 1.sql, 2.sql, 3.sql, 4.sql and 3 more" in choose(DictTree(files), {}, ()).notes


def test_a_folder_that_was_chosen_to_be_served_is_served_whole() -> None:
    tree = DictTree({"public/index.html": "", "public/dump.sql": "", "app.json": "{}"})
    assert left_out(tree, "public") == ()


LARAVEL = """<IfModule mod_rewrite.c>
    Options -MultiViews -Indexes
    RewriteEngine On
    RewriteCond %{HTTP:Authorization} .
    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule ^ index.php [L]
</IfModule>
"""


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"public/.htaccess": LARAVEL}, None),
        (
            {".htaccess": "RewriteRule ^old$ /new [R=301]\nErrorDocument 404 /no.html\nErrorDocument 500 /no.html\n"},
            "nginx serves, and does not apply .htaccess (RewriteRule, ErrorDocument)",
        ),
        (
            {"data/.htaccess": "Order deny,allow\nDeny from all\n", ".htaccess": LARAVEL},
            "nginx serves, and does not apply data/.htaccess (Order, Deny); what they close is open: move it out of the"
            " folder that is served, or: paas auth:add NAME",
        ),
        ({".htaccess": "x" * (1 << 17)}, None),
    ],
)  # fmt: skip
def test_an_htaccess_is_not_ignored_in_silence(files: dict[str, str], said: str | None) -> None:
    assert not_applied(DictTree(files)) == (() if said is None else (said,))
    assert choose(DictTree({**files, "index.php": ""}), {}, ()).warnings == (() if said is None else (said,))
