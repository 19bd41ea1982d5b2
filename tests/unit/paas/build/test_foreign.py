"""What an image's configuration means here; it was written by a stranger."""

from __future__ import annotations

from typing import Any

import pytest

from paas.build.foreign import APP_JSON, GROUP, PASSWD, Foreign, read_config
from paas.nouns.errors import BadInput, BuildFailed
from paas.nouns.startup import Startup, startup_of

FILES = {
    PASSWD: "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\nbad:x:70000:0::/:/bin/sh\nx:y\n",
    GROUP: "root:x:0:\nstaff:x:50:web\n",
}


def read(files: dict[str, str] | None = None, **settings: Any) -> Foreign:
    return read_config({"config": {"Cmd": ["run"], **settings}}, lambda: FILES if files is None else files)


def startup(**settings: Any) -> Startup:
    found = startup_of(read(**settings).manifest)
    assert found is not None
    return found


def test_entrypoint_and_command_are_one_list_of_words() -> None:
    found = read(Entrypoint=["/entry", "a b"], Cmd=["c"])
    assert startup(Entrypoint=["/entry", "a b"], Cmd=["c"]).args == ("/entry", "a b", "c")
    assert found.processes == {"web": "/entry 'a b' c"}


@pytest.mark.parametrize(
    ("user", "number", "group", "home"),
    [
        ("", 0, 0, "/root"), ("0", 0, 0, "/root"), ("root", 0, 0, "/root"), ("web", 101, 102, "/srv"),
        ("101", 101, 102, "/srv"), ("web:staff", 101, 50, "/srv"), ("7:8", 7, 8, "/"), ("7", 7, 0, "/"),
        ("0:50", 0, 50, "/root"),
    ],
)  # fmt: skip
def test_a_user_is_a_number_or_a_name_of_the_image(user: str, number: int, group: int, home: str) -> None:
    found = startup(User=user)
    assert (found.user, found.group, found.home) == (number, group, home)


@pytest.mark.parametrize("user", ["nobody", "web:nogroup", "-1", "bad", "70000", "1:70000", "x"])
def test_a_user_that_is_not_there_or_out_of_range_is_refused_by_name(user: str) -> None:
    with pytest.raises(BuildFailed, match=r"is not in its /etc/|an app has the numbers 0 to 65535"):
        read(User=user)


def test_names_are_looked_up_only_when_there_is_one() -> None:
    def no_files() -> dict[str, str]:
        raise AssertionError

    assert read_config({"config": {"Cmd": ["run"]}}, no_files).processes == {"web": "run"}


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        ({}, 5000), ({"8080/tcp": {}}, 8080), ({"443/tcp": {}, "80": {}}, 80), ({"53/udp": {}}, 5000),
        ({"0/tcp": {}, "99999/tcp": {}, "x": {}}, 5000), (None, 5000), ([80], 5000),
    ],
)  # fmt: skip
def test_the_lowest_exposed_port_is_the_port(ports: Any, port: int) -> None:
    assert startup(ExposedPorts=ports).port == port


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SIGQUIT", "QUIT"), ("int", "INT"), ("3", "QUIT"), ("28", "WINCH"), ("SIGSTOP", "TERM"),
        ("SIGRTMIN+3", "TERM"), ("99", "TERM"), ("²", "TERM"), ("9" * 5000, "TERM"), (None, "TERM"), (7, "TERM"),
    ],
)  # fmt: skip
def test_a_stop_signal_that_would_end_nothing_is_the_usual_one(text: Any, name: str) -> None:
    assert startup(StopSignal=text).stop_signal == name


@pytest.mark.parametrize(
    ("value", "folder"), [(None, "/"), ("", "/"), ("srv", "/srv"), ("/a/../b//c/", "/b/c"), ("/..", "/")]
)
def test_the_folder_is_absolute_and_normal(value: Any, folder: str) -> None:
    assert startup(WorkingDir=value).cwd == folder


@pytest.mark.parametrize(
    "settings",
    [
        {"Cmd": None}, {"Cmd": []}, {"Cmd": [""]}, {"Cmd": "run"}, {"Cmd": [1]}, {"Cmd": ["a\0b"]},
        {"Cmd": ["x"] * 2000}, {"Cmd": ["x" * (1 << 16), "y"]}, {"WorkingDir": "/proc/self"}, {"WorkingDir": "/sys"},
        {"Env": ["A=" + "x" * (300 << 10)]},
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BuildFailed):
        read(**settings)


@pytest.mark.parametrize(
    "config", [{}, {"config": None}, {"config": []}, {"config": {"Labels": [1], "Env": {}}}]
)
def test_an_image_without_settings_says_nothing_about_what_to_run(config: dict[str, Any]) -> None:
    with pytest.raises(BuildFailed, match="nothing about what to run"):
        read_config(config, dict)


def test_variables_that_no_shell_knows_are_left_out() -> None:
    assert read(Env=["A=1=2", "B=", "C", "1X=2", "npm_config.x=1", "=x"]).env == {
        "A": "1=2",
        "B": "",
        "C": "",
    }


def test_labels_add_process_types() -> None:
    labels = {
        "paas.process.worker": "tick",
        "paas.process.bad name": "x",
        "paas.process.web": "serve",
        "a": 1,
    }
    found = read(Labels=labels)
    assert found.processes == {"web": "serve", "worker": "tick"}


@pytest.mark.parametrize("ours", [False, True])
def test_labels_that_no_procfile_could_have_are_left_out_and_told(ours: bool) -> None:
    types = {"build": "x", "run": "x", "nul": "a\0b", "lines": "a\nb", "empty": " ", "a" * 40: "tick"}
    labels = {f"paas.process.{type}": command for type, command in types.items()}
    found = read(
        {}, **({**OURS, "Labels": {**labels, "paas.language": "Go"}} if ours else {"Labels": labels})
    )
    assert found.processes == {"a" * 40: "tick"} | ({} if ours else {"web": "run"})
    assert [f"paas.process.{{{','.join(list(types)[:5])}}}" in line for line in found.warnings] == [True]


@pytest.mark.parametrize(
    "labels", [{f"paas.process.w{at}": "x" for at in range(51)}, {"paas.process.web": "x" * (1 << 16)}]
)
def test_more_process_types_than_a_procfile_may_have_are_refused(labels: dict[str, str]) -> None:
    for settings in ({}, {key: OURS[key] for key in ("User", "WorkingDir")}):
        with pytest.raises(
            BuildFailed, match=r"labels paas\.process\.\* are more than 50, or longer than 64 KiB"
        ):
            read({}, **settings, Labels={**labels, "paas.language": "Go"})


def test_what_is_not_kept_or_not_run_is_said() -> None:
    said = " ".join(read(Volumes={"/data": {}}, Healthcheck={"Test": ["CMD", "true"]}).warnings)
    assert "/data" in said and "HEALTHCHECK" in said
    assert read().warnings == ()


OURS = {
    "User": "1000:1000",
    "WorkingDir": "/app",
    "Labels": {"paas.language": "Python", "paas.process.web": "serve", "paas.process.release": "migrate"},
}


def test_an_image_of_the_platform_runs_as_after_its_push() -> None:
    app_json = '{"healthchecks": {"web": [{"type": "readiness", "path": "/up"}]}}'
    found = read({APP_JSON: app_json}, Cmd=["bash", "-c", "serve"], **OURS)
    assert found.processes == {"web": "serve", "release": "migrate"}
    assert startup_of(found.manifest) is None
    assert found.manifest["healthchecks"]["web"][0]["path"] == "/up"
    assert read({}, **OURS).manifest == {}


def test_one_that_only_says_it_is_of_the_platform_is_read_as_strictly_as_a_push() -> None:
    with pytest.raises(BadInput):
        read({APP_JSON: '{"healthchecks": {"web": [{"type": "readiness", "attempts": "many"}]}}'}, **OURS)
    assert startup(**{**OURS, "User": "0"}).user == 0
