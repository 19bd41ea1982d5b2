"""PHP apps, built with Composer and served."""

from __future__ import annotations

import json

import pytest
from harness.builder import BuildPlatform
from harness.serving import serving

pytestmark = pytest.mark.long

COMPOSER = {
    "require": {"php": ">=8.1", "ext-intl": "*", "acme/greeter": "*"},
    "repositories": [{"type": "path", "url": "packages/greeter"}, {"packagist.org": False}],
    "autoload": {"psr-4": {"App\\": "src/"}},
    "scripts": {"post-autoload-dump": "echo made by a script >made.txt"},
}
FILES = {
    "composer.json": json.dumps(COMPOSER),
    "packages/greeter/composer.json": '{"name": "acme/greeter", "version": "1.0.0", "autoload": {"files": ["greet.php"]}}',
    "packages/greeter/greet.php": "<?php function greet($name) { return \"hello $name\"; }\n",
    "src/Page.php": "<?php\nnamespace App;\nclass Page { static function show() { return greet(strtoupper('php')); } }\n",
    "public/index.php": (
        "<?php require __DIR__ . '/../vendor/autoload.php';\n"
        "error_log('seen ' . $_SERVER['REQUEST_URI']);\n"
        "echo App\\Page::show(), ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['HTTPS'] ?? 'plain', ' ',\n"
        "  extension_loaded('intl') ? 'intl' : '', ' ', getenv('PORT'), ' ', trim(file_get_contents(__DIR__ . '/../made.txt'));\n"
    ),
    "public/site.css": "body { color: red }\n",
    "public/.env": "SECRET=1\n",
}  # fmt: skip


def test_an_app_of_composer_is_served_by_nginx_and_php_fpm(platform: BuildPlatform) -> None:
    app = platform.app("php")
    image = platform.build(app, FILES)
    with serving(platform, app, image) as get:
        assert get("/").read() == b"hello PHP / plain intl 5000 made by a script"
        answer = get("/deep/page?x=1", {"X-Forwarded-Proto": "https"})
        assert answer.read().startswith(b"hello PHP /deep/page?x=1 on ")
        style = get("/site.css")
        assert (style.status, style.headers["Content-Type"]) == (
            200,
            "text/css; charset=utf-8",
        ) and b"red" in style.read()
        assert get("/.env").status == 404
    for digest in image.layers:
        assert not (platform.layout.layers / digest.removeprefix("sha256:") / "usr/bin/composer").exists()


def test_a_page_alone_is_served_and_herokus_command_works(platform: BuildPlatform) -> None:
    app = platform.app("php-page")
    files = {
        "index.php": "<?php echo 'page ', PHP_MAJOR_VERSION;",
        "Procfile": "web: heroku-php-apache2 ./\n",
        "composer.json": '{"require": {"ext-intl": "*"}}',
        "config.ini": "password=1",
        "vendor/a/config.php": "<?php echo 'inside';",
        "data/.htaccess": "Deny from all",
        "data/a.txt": "open",
    }
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"page 8"
        for hidden in (
            "/composer.json",
            "/config.ini",
            "/Procfile",
            "/vendor/a/config.php",
            "/data/.htaccess",
        ):
            assert get(hidden).status == 404, hidden
        assert get("/data/a.txt").read() == b"open"
