"""Settings of builds on the command line, against the api."""

from __future__ import annotations

from harness.cli import Shell


def test_settings_are_set_shown_and_taken_back(paas: Shell, app: str) -> None:
    told = paas("builds:set", "root=services/api/", "procfile=deploy/Procfile")
    assert told.err == f"Setting root, procfile for builds of {app}... done, the next build takes it\n"
    assert told.out == (
        "builder:    auto (default)\ndockerfile: Dockerfile (default)\nprocfile:   deploy/Procfile\nroot:       services/api\n"
        "target:     the last (default)\n"
    )
    paas("builds:set", "procfile=")
    shown = (
        "builder:    auto (default)\ndockerfile: Dockerfile (default)\nprocfile:   Procfile (default)\n"
        "root:       services/api\ntarget:     the last (default)\n"
    )
    assert paas("builds:get").out == f"=== {app} Builds\n{shown}"


def test_what_is_no_setting_is_named(paas: Shell, app: str) -> None:
    assert "bulder=x sets nothing." in paas("builds:set", "bulder=x").err
    assert "'../x' is not a path in the repository." in paas("builds:set", "root=../x").err
    assert "'cobol' is not a builder; there are auto, go, " in paas("builds:set", "builder=cobol").err
