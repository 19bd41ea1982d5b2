"""The findings about a machine: each has a state and, unless all is well, something to do."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from harness.platform import free_port

from paas.host import doctor
from paas.nouns.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    flags = {name: f"127.0.0.1:{free_port()}" for name in ("http", "ssh", "api")} | {"https": "off"}
    return load({"home": str(tmp_path), "stacks": str(tmp_path / "stacks"), **flags}, {})


def test_this_machine_is_examined_whole(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    found = doctor.examine(settings)
    names = {check.name for check in found}
    assert {
        "kernel",
        "seccomp",
        "overlayfs",
        "cgroups",
        "ip_forward",
        "http",
        "ssh",
        "api",
        "disk",
        "git",
        "sqlite",
        "stacks",
    } <= names
    assert {check.state for check in found} <= {doctor.OK, doctor.WARNING, doctor.FAILURE}
    status = doctor.main(settings, as_json=True)
    assert [check["name"] for check in json.loads(capsys.readouterr().out)] == [check.name for check in found]
    assert status == any(check.state == doctor.FAILURE for check in found)


def test_a_port_in_use_is_a_failure_that_names_the_flag(settings: Settings) -> None:
    with socket.create_server((settings.ssh.host, settings.ssh.port)):
        states = {check.name: (check.state, check.advice) for check in doctor._ports(settings)}
    assert states["ssh"] == (doctor.FAILURE, "Choose another with --ssh.")
    assert states["http"] == states["api"] == (doctor.OK, "")


def test_a_missing_tool_comes_with_its_package(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TOOLS", {"no-such-tool": ("tool-package", doctor.WARNING, "does things")})
    (check,) = doctor._tools(settings)
    assert (check.state, check.detail, check.advice) == (
        doctor.WARNING,
        "missing; it does things",
        "apt-get install tool-package",
    )


def test_a_server_that_has_ended_does_not_count_as_running(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layout = type("Layout", (), {"run": tmp_path})()
    monkeypatch.setattr(Settings, "layout", lambda self: layout)
    status = tmp_path / "status.json"
    assert doctor.running_settings(settings) is None
    known = Settings.from_json({**settings.to_json(), "id": "a1b2c3"})
    for pid, expected in ((os.getpid(), known), (2**22 + 1, None)):
        status.write_text(json.dumps({"pid": pid, "settings": known.to_json()}))
        assert doctor.running_settings(settings) == expected


def test_a_disk_scheduler_without_weights_is_told_with_the_file_to_change(tmp_path: Path) -> None:
    for check in doctor._disk_weights(tmp_path):  # none on a machine whose folder for tests is in memory
        file = check.advice.rpartition(" > ")[2]
        assert check.state == doctor.OK or "bfq" in Path(file).read_text().split()
        assert check.state == doctor.OK or "[bfq]" not in Path(file).read_text()
