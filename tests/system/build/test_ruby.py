"""Ruby apps: gems by Bundler, served by puma or rackup."""

from __future__ import annotations

import pytest
from harness.builder import BuildPlatform
from harness.serving import serving

from paas.nouns.errors import BuildFailed

pytestmark = pytest.mark.long

SINATRA = {
    "Gemfile": 'source "https://rubygems.org"\ngem "sinatra"\ngem "puma"\n',
    "Aptfile": "ruby-sinatra\npuma\n",
    "config.ru": "require 'sinatra/base'\nclass App < Sinatra::Base\n  get('/hello/:name') { \"hello #{params[:name]} #{ENV['RACK_ENV']}\" }\nend\nrun App\n",
}
RACK = {
    "Aptfile": SINATRA["Aptfile"],
    "config.ru": "run ->(env) { [200, {'content-type' => 'text/plain'}, ['rack ', RUBY_VERSION.split('.').first]] }\n",
}


def test_gems_that_debian_packages_bring_serve_an_app(platform: BuildPlatform) -> None:
    app = platform.app("sinatra")
    image = platform.build(app, SINATRA)
    assert any("All gems are there as Debian packages" in line for line in platform.lines)
    with serving(platform, app, image) as get:
        assert get("/hello/ruby").read() == b"hello ruby production"
    with serving(platform, app, platform.build(app, RACK)) as get:
        assert get("/").read() == b"rack 3"
    with pytest.raises(BuildFailed) as failed:
        platform.build(app, {**SINATRA, "Gemfile": 'ruby "2.7.0"\n' + SINATRA["Gemfile"]})
    assert failed.value.message == "The Gemfile asks for Ruby 2.7.0; there are 3.1, 3.3."


def test_a_site_of_jekyll_is_built_and_served_as_files(platform: BuildPlatform) -> None:
    files: dict[str, str | bytes] = {
        "Gemfile": 'source "https://rubygems.org"\ngem "jekyll"\n',
        "Aptfile": "jekyll\n",
        "_config.yml": "title: My site\n",
        "index.html": "---\nlayout: none\n---\n{{ site.title }} by {{ jekyll.environment }}\n",
    }
    app = platform.app("jekyll")
    with serving(platform, app, platform.build(app, files)) as get:
        assert get("/").read() == b"My site by production\n"
        assert get("/Gemfile").status == 404
