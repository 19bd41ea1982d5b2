from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks import ruby
from buildpacks.detect import choose
from buildpacks.failurehint import named_cause
from buildpacks.plan import BuildRefused, Plan

LOCK = "GEM\n  remote: https://rubygems.org/\n  specs:\n    mysql2 (0.5.6)\n    puma (6.4.2)\n      nio4r (~> 2.0)\n"
RAILS = LOCK + "    railties (7.1.0)\n    sprockets-rails (3.4.2)\n"


def plan(files: dict[str, str]) -> Plan:
    return ruby.plan(DictTree(files))


@pytest.mark.parametrize(
    ("files", "web"),
    [
        ({"config.ru": ""}, "puma -b tcp://0.0.0.0:$PORT"),
        ({"Gemfile": "gem 'rack'", "config.ru": ""}, "bundle exec rackup -o 0.0.0.0 -p $PORT config.ru"),
        ({"Gemfile": "gem 'puma'", "config.ru": ""}, "bundle exec puma -b tcp://0.0.0.0:$PORT"),
        ({"Gemfile": "", "Gemfile.lock": LOCK, "config.ru": "", "config/puma.rb": ""}, "bundle exec puma -C config/puma.rb"),
        ({"Gemfile": "", "config/application.rb": ""}, "bundle exec rails server -b 0.0.0.0 -p $PORT"),
        ({"Gemfile": 'gem "sinatra"', "app.rb": ""}, "bundle exec ruby app.rb -o 0.0.0.0 -p $PORT"),
        ({"Gemfile": 'gem "rake"', "app.rb": ""}, ""),
        ({"Gemfile": 'gem "jekyll", "~> 4.3"', "_config.yml": ""}, ".paas/serve =404 _site"),
    ],
)  # fmt: skip
def test_the_web_command_is_that_of_the_server_or_framework(files: dict[str, str], web: str) -> None:
    assert choose(DictTree(files)).default_processes.get("web", "") == web


def test_libraries_of_gems_come_with_the_app_and_their_headers_stay_out_of_it() -> None:
    found = plan({"Gemfile": "", "Gemfile.lock": LOCK})
    assert "libmariadb3" in found.packages and "default-libmysqlclient-dev" in found.build_packages
    assert not any(name.endswith("-dev") for name in found.packages)


def test_gems_are_installed_without_the_source_unless_they_are_folders_of_it() -> None:
    (gems,) = plan(
        {"Gemfile": "", "Gemfile.lock": LOCK, "vendor/cache/puma-6.4.2.gem": "", "app.rb": ""}
    ).steps
    assert gems.inputs == ("Gemfile", "Gemfile.lock", "vendor/cache/puma-6.4.2.gem") and not gems.source
    assert "/app/Gemfile.lock" not in gems.outputs
    (gems,) = plan({"Gemfile": 'gem "own", path: "lib/own"'}).steps
    assert gems.source and gems.after_source and "/app/Gemfile.lock" in gems.outputs


def test_rails_gets_its_assets_and_its_environment() -> None:
    found = plan({"Gemfile": "", "Gemfile.lock": RAILS, "config.ru": ""})
    assert [step.name for step in found.steps] == ["gems", "assets"] and found.steps[1].config
    assert found.env["RAILS_ENV"] == "production" and found.warnings == ()


@pytest.mark.parametrize(
    ("files", "note", "stack", "warned"),
    [
        ({"Gemfile": ""}, "The stack's Ruby", "", False),
        ({"Gemfile": 'ruby "3.1.6"'}, "Using Ruby 3.1 (from Gemfile)", "", False),
        ({"Gemfile": "ruby '~> 3.3' # new"}, "Using Ruby 3.3 (from Gemfile), which stack debian-13 has", "debian-13", False),
        ({"Gemfile": "ruby '>= 3.2', '< 4'"}, "Using Ruby 3.3 (from Gemfile), which stack debian-13 has", "debian-13", False),
        ({"Gemfile": 'ruby "~> 2.7", ">= 2"'}, None, "", False),
        ({"Gemfile": 'ruby "3.4.1"'}, None, "", False),
        ({"Gemfile": 'ruby file: ".ruby-version"', ".ruby-version": "ruby-3.3.6\n"},
         "Using Ruby 3.3 (from Gemfile), which stack debian-13 has", "debian-13", False),
        ({"Gemfile": "", ".ruby-version": "ruby-3.3.6\n"}, "Using Ruby 3.3 (from .ruby-version), which stack debian-13 has", "debian-13", False),
        ({"Gemfile": "", ".ruby-version": "3.4.1"}, "Using Ruby 3.3 (from .ruby-version), which stack debian-13 has", "debian-13", True),
        ({"Gemfile": "", ".ruby-version": "2.7.8"}, "Using Ruby 3.1 (from .ruby-version)", "", True),
        ({"Gemfile": "", ".tool-versions": "nodejs 20\nruby 3.2.1\n"}, "Using Ruby 3.3 (from .tool-versions), which stack debian-13 has",
         "debian-13", True),
        ({"Gemfile": "", ".ruby-version": "jruby-9"}, "The stack's Ruby", "", False),
    ],
)  # fmt: skip
def test_the_gemfile_chooses_the_ruby_and_other_files_prefer_one(
    files: dict[str, str], note: str | None, stack: str, warned: bool
) -> None:
    if note is None:
        with pytest.raises(
            BuildRefused, match=r"The Gemfile asks for Ruby .*; there are 3\.1, 3\.3\."
        ) as refused:
            plan(files)
        assert 'Write ruby "~> 3.3.0" there' in refused.value.hint
        assert plan({"Gemfile": 'ruby "~> 3.3.0"'}).stack == "debian-13"
        return
    found = plan({**files, "Gemfile.lock": ""})
    assert (found.notes[0], found.stack, bool(found.warnings)) == (note, stack, warned)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("Your Ruby version is 3.1.2, but your Gemfile specified 3.3.0", "the Gemfile wants Ruby 3.3.0; the stack has 3.1.2"),
        ('Your bundle only supports platforms ["arm64-darwin-23"] but your local platform', "Gemfile.lock was made on another system, for that one only"),
        ("Could not find gem 'no-such' in rubygems repository https://rubygems.org/ or installed locally.", "there is no gem no-such at the sources of the Gemfile"),
        ("mysql_api.c:1:10: fatal error: mysql.h: No such file or directory", "a gem needs mysql.h (Debian package default-libmysqlclient-dev), which the stack does not have"),
        ("An error occurred while installing pg (1.5.6), and Bundler cannot continue.", "the gem pg 1.5.6 could not be installed"),
    ],
)  # fmt: skip
def test_what_bundler_says_is_put_into_words(line: str, cause: str) -> None:
    (step,) = plan({"Gemfile": ""}).steps
    found = named_cause(step.failure_hints, [line])
    assert found is not None and found[0] == cause
