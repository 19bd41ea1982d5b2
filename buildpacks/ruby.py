"""Ruby: Debian's, Bundler for the gems, puma or rackup for the web; Rails is recognised. Pure."""

from __future__ import annotations

import re

from buildpacks import static
from buildpacks.aptnames import HEADERS
from buildpacks.aptpackages import PUT_IT
from buildpacks.failurehint import FailureHint as Hint
from buildpacks.plan import Plan, Step, Tree, read_text
from buildpacks.rubyversion import choose_ruby
from buildpacks.surroundings import NETWORK

GEMFILE, LOCK, RACK = "Gemfile", "Gemfile.lock", "config.ru"
LOOKS_FOR = (GEMFILE, RACK)
_RECIPE = "ruby-1"
_GEM = re.compile(r"^ {4}([A-Za-z0-9_.-]+) \(", re.MULTILINE)
_NAMED = re.compile(r"""^[ \t]*gem[ \t(]+["']([A-Za-z0-9_.-]+)["']""", re.MULTILINE)
_LOCAL = re.compile(r"""^[ \t]*gemspec\b|\bpath:|:path[ \t]*=>|eval_gemfile|require_relative""", re.MULTILINE)

_RUN = {
    "mysql2": "libmariadb3",
    "ruby-vips": "libvips42",
    "rmagick": "imagemagick",
    "charlock_holmes": "icu-devtools",
    "ethon": "libcurl4",
}
_BUILD = {"mysql2": "default-libmysqlclient-dev", "sqlite3": "libsqlite3-dev", "rmagick": "libmagickwand-dev", "charlock_holmes": "libicu-dev",
          "nokogiri": "libxml2-dev", "curb": "libcurl4-openssl-dev"}  # fmt: skip
"""What gems need from Debian at run (by names that releases keep) and at build; that of pg is in the stack."""

_GEMS = """export BUNDLE_USER_HOME=/cache/bundle BUNDLE_JOBS=4 BUNDLE_RETRY=2 BUNDLE_APP_CONFIG=/app/.bundle
bundle config set --local without development:test
if BUNDLE_PATH__SYSTEM=true bundle check >/dev/null 2>&1; then
  echo "All gems are there as Debian packages"
  bundle config set --local path.system true
else
  bundle config set --local path vendor/bundle
  [ ! -f Gemfile.lock ] || bundle config set --local frozen true
  bundle install
  rm -rf vendor/bundle/ruby/*/cache
fi
"""
_ASSETS = "SECRET_KEY_BASE=${SECRET_KEY_BASE:-only-for-the-build} SECRET_KEY_BASE_DUMMY=1 bundle exec rake assets:precompile\n"
_HINTS = (
    Hint(
        r"Your Ruby version is (?P<have>(?P<minor>\d+\.\d+)[\w.]*), but your Gemfile specified (?P<want>[^\n]+)",
        "the Gemfile wants Ruby {want}; the stack has {have}",
        'Write ruby "~> {minor}.0" in the Gemfile, run bundle install and commit both files.',
    ),
    Hint(
        r"Your bundle only supports platforms",
        "Gemfile.lock was made on another system, for that one only",
        "Run bundle lock --add-platform x86_64-linux, and commit Gemfile.lock.",
    ),
    Hint(
        r"Could not find gem '(?P<name>[^']+)' in",
        "there is no gem {name} at the sources of the Gemfile",
        "Check its name and version in the Gemfile.",
    ),
    Hint(
        r"(?:gemfile|lockfile) (?:.* )?frozen|frozen mode|deployment mode",
        "Gemfile.lock does not fit the Gemfile",
        "Run bundle install, and commit Gemfile.lock.",
    ),
    Hint(
        r"fatal error: (?P<name>\S+\.h(?:pp)?): No such file",
        "a gem needs {name} (Debian package {package}), which the stack does not have",
        PUT_IT,
        HEADERS,
    ),
    Hint(
        r"An error occurred while installing (?P<name>\S+) \((?P<version>[^)]+)\)",
        "the gem {name} {version} could not be installed",
        "Its own words are above; a library that it wants may be a Debian package: write it into a file named Aptfile.",
    ),
    *NETWORK,
)


def detect(tree: Tree) -> str | None:
    return next((path for path in LOOKS_FOR if tree.exists(path)), None)


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused when a file is not text, and for a Ruby that no stack has."""
    gems = _gems(tree)
    rails = "railties" in gems or tree.exists("config/application.rb")
    web = _web(tree, gems, rails=rails)
    chosen = choose_ruby(tree)
    unlocked = tree.exists(GEMFILE) and not tree.exists(LOCK)
    no_lock = ("There is no Gemfile.lock: another build may get other versions",) if unlocked else ()
    return Plan(
        language="Ruby",
        detected=detect(tree) or GEMFILE,
        notes=(f"{chosen.note}{'; Rails' if rails else '; Jekyll' if _is_jekyll(tree, gems) else ''}",),
        warnings=(*chosen.warnings, *no_lock),
        stack=chosen.stack,
        steps=_steps(tree, gems, rails=rails),
        env={
            "LANG": "C.UTF-8", "RACK_ENV": "production", "BUNDLE_APP_CONFIG": "/app/.bundle", "MALLOC_ARENA_MAX": "2",
            **({"RAILS_ENV": "production", "RAILS_LOG_TO_STDOUT": "1", "RAILS_SERVE_STATIC_FILES": "1"} if rails else {}),
        },
        default_processes={"web": web} if web else {},
        packages=("ruby", "bundler", *sorted(_RUN[name] for name in gems if name in _RUN), *(() if tree.exists(GEMFILE) else ("puma",))),
        build_packages=("ruby-dev", "libyaml-dev", *sorted(_BUILD[name] for name in gems if name in _BUILD)),
    )  # fmt: skip


def _steps(tree: Tree, gems: set[str], *, rails: bool) -> tuple[Step, ...]:
    if not tree.exists(GEMFILE):
        return ()
    local = bool(_LOCAL.search(read_text(tree, GEMFILE)))
    inputs = [path for path in (GEMFILE, LOCK, ".ruby-version", ".tool-versions") if tree.exists(path)]
    inputs += sorted(path for path in tree.names() if path.startswith("vendor/cache/"))
    install = Step(
        name="gems",
        title="Installing gems with Bundler",
        script=_GEMS,
        outputs=(
            "/app/.bundle",
            "/app/vendor/bundle",
            *(() if tree.exists(LOCK) else ("/app/Gemfile.lock",)),
        ),
        key=(_RECIPE,),
        inputs=() if local else tuple(inputs),
        source=local,
        after_source=local,
        failure_hints=_HINTS,
        reused="Restoring cache: gems unchanged, layer reused",
    )
    if _is_jekyll(tree, gems):
        return install, static.serve_step(), _site()
    if not rails or not gems & {"sprockets", "sprockets-rails", "propshaft"}:
        return (install,)
    assets = Step(
        name="assets",
        title="Precompiling assets",
        script=_ASSETS,
        outputs=("/app/public",),
        key=(_RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={"RAILS_ENV": "production", "RACK_ENV": "production", "BUNDLE_APP_CONFIG": "/app/.bundle"},
        onto=("gems",),
        failure_hints=_HINTS,
    )
    return install, assets


def _is_jekyll(tree: Tree, gems: set[str]) -> bool:
    """Whether the Gemfile is that of a site, which is built once and needs no Ruby to be served."""
    return bool(gems & {"jekyll", "github-pages"}) and tree.exists("_config.yml") and not tree.exists(RACK)


def _site() -> Step:
    return Step(
        name="site",
        title="Running jekyll build",
        script="bundle exec jekyll build --destination _site\n",
        outputs=("/app",),
        key=(_RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={"JEKYLL_ENV": "production", "BUNDLE_APP_CONFIG": "/app/.bundle", "LANG": "C.UTF-8"},
        onto=("gems",),
        failure_hints=_HINTS,
        serves="web",
    )


def _gems(tree: Tree) -> set[str]:
    """The names in the lock, else those that the Gemfile names."""
    if tree.exists(LOCK):
        return set(_GEM.findall(read_text(tree, LOCK)))
    return set(_NAMED.findall(read_text(tree, GEMFILE))) if tree.exists(GEMFILE) else {"puma"}


def _web(tree: Tree, gems: set[str], *, rails: bool) -> str:
    run = "bundle exec " if tree.exists(GEMFILE) else ""
    if _is_jekyll(tree, gems):
        return static.serve_command("_site", pushstate=False)
    if "puma" in gems and tree.exists(RACK):
        own = "" if tree.exists("config/puma.rb") else " -b tcp://0.0.0.0:$PORT"
        return f"{run}puma{own or ' -C config/puma.rb'}"
    if rails:
        return f"{run}rails server -b 0.0.0.0 -p $PORT"
    if tree.exists(RACK):
        return f"{run}rackup -o 0.0.0.0 -p $PORT {RACK}"
    program = next((path for path in ("app.rb", "main.rb", "server.rb", "web.rb") if tree.exists(path)), None)
    return f"{run}ruby {program} -o 0.0.0.0 -p $PORT" if program and "sinatra" in gems else ""
