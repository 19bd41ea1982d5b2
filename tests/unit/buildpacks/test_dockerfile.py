"""A Dockerfile as steps: what each stands on, what it is given, and what the image says at the end."""

from __future__ import annotations

import subprocess

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.dockerfile import plan
from buildpacks.plan import BuildRefused, Plan, Step


def planned(text: str, **files: str) -> Plan:
    return plan(DictTree({"Dockerfile": text, **files}))


def steps(text: str, **files: str) -> list[Step]:
    return [step for step in planned(text, **files).steps if step.name != "tools"]


def refused(text: str, **files: str) -> str:
    with pytest.raises(BuildRefused) as error:
        planned(text, **files)
    return error.value.message


def test_each_step_stands_on_those_before_it() -> None:
    first, second, third = steps("FROM debian-12\nRUN a\nENV X=1\nCOPY f /f\nRUN b\n", f="")
    assert (first.onto, second.onto, third.onto) == (
        ("tools",),
        (first.name, "tools"),
        (first.name, second.name, "tools"),
    )
    assert {step.base for step in (first, second, third)} == {"from debian-12"}
    assert all(step.bare and step.root and step.outputs == ("/",) for step in (first, second, third))
    assert second.inputs == ("f",)
    assert "X" not in first.env and second.env["X"] == "1"
    assert second.title == "COPY f /f (Dockerfile line 4)"


def test_only_the_stages_that_the_last_one_needs_are_built() -> None:
    text = (
        "FROM debian-12 AS base\nRUN one\nFROM base AS unused\nRUN two\nFROM scratch AS made\nCOPY f /f\n"
        "FROM base\nCOPY --from=made /f* /g/\nCOPY --from=0 /x /x\n"
    )
    found = planned(text, f="")
    titles = [step.title.partition(" (")[0] for step in found.steps if step.in_image]
    assert titles == ["RUN one", "COPY --from=made /f* /g/", "COPY --from=0 /x /x"]
    assert not any("two" in step.script for step in found.steps)
    assert found.base == "from debian-12"
    assert not found.source


def test_the_image_says_what_its_instructions_said() -> None:
    found = planned(
        "ARG N=7\nFROM scratch\nARG N\nENV A=$N PATH=/x:$PATH\nWORKDIR /srv\nWORKDIR app\nUSER me:us\nEXPOSE 80 53/udp\n"
        'LABEL a="b c"\nSTOPSIGNAL INT\nVOLUME /data\nHEALTHCHECK CMD curl x\nENTRYPOINT ["/run", "it"]\nCMD go $A\n'
    )
    assert found.config == {
        "Env": ["PATH=/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=7"],
        "Entrypoint": ["/run", "it"],
        "Cmd": ["/bin/sh", "-c", "go $A"],
        "WorkingDir": "/srv/app",
        "User": "me:us",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Labels": {"a": "b c"},
        "StopSignal": "INT",
        "Volumes": {"/data": {}},
    }
    assert found.default_processes == {"web": "/run it /bin/sh -c 'go $A'"}
    assert [warning.split()[0] for warning in found.warnings] == ["VOLUME", "HEALTHCHECK"]
    (made,) = [step for step in found.steps if step.in_image]
    assert "mkdir -p /srv/app" in made.script


def test_a_run_takes_every_form() -> None:
    text = (
        'FROM x\nRUN ["a", "b c"]\nSHELL ["/bin/bash", "-lc"]\nRUN d\nRUN <<E\ne $F\nE\nRUN <<E\n#!/usr/bin/env python3\nE\n'
        "RUN cat <<E >/f\ng\nE\n"
    )
    ends = [step.script.strip().splitlines()[-3:] for step in steps(text)]
    assert ends[0][-1] == "exec a 'b c'"
    assert ends[1][-1] == "exec /bin/bash -lc d"
    assert "\n".join(ends[2]).endswith("exec /bin/bash -lc 'e $F\n'")
    assert ends[3][-1] == "exec /.paas/work/run"
    assert steps(text)[3].written == (("run", "#!/usr/bin/env python3\n"),)
    assert "\n".join(ends[4]).endswith("'cat <<E >/f\ng\nE'")


def test_every_script_is_one_that_bash_reads() -> None:
    text = (
        "FROM x AS a\nRUN --mount=type=secret,id=S,required --mount=type=cache,target=/c --mount=target=/b,source=f it's\n"
        "USER o'hara\nRUN x\nFROM x\nCOPY --from=a --chown=o'hara --chmod=u+x /a[0-9]*b? '/c d/' /e/\nADD https://h/f?q /g\n"
    )
    for step in planned(text.replace("it's", "true").replace("o'hara", "ohara"), f="").steps:
        done = subprocess.run(["bash", "-n"], input=step.script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_a_secret_is_in_no_key_and_a_cache_in_no_layer() -> None:
    (step,) = steps("FROM x\nRUN --mount=type=secret,id=S --mount=type=cache,id=c,target=/c x\n")
    assert (step.secrets, step.caches) == (("S",), (("c", "/c"),))
    assert set(step.without) == {"/run/secrets/S", "/c"}
    assert not step.config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM x\nCOPY missing /\n", "Dockerfile line 2: missing is not in the repository"),
        ("FROM x\nCOPY f f /g\n", "Dockerfile line 2: several files go to a folder: write /g/"),
        ("FROM x\nCOPY f\n", "Dockerfile line 2: COPY needs a source and a destination."),
        ("FROM x\nCOPY --chmod=x;y f /\n", "Dockerfile line 2: --chmod=x;y is no mode."),
        ("FROM x\nCOPY --from=later f /\nFROM y AS later\nCOPY --from=0 /f /\n", "Dockerfile line 2: there is no earlier stage later."),
        ("FROM x AS a b\n", "Dockerfile line 1: FROM takes an image"),
        ("FROM --platform=linux/s390x x\nRUN y\n", "Dockerfile line 1: this machine is no linux/s390x."),
        ("FROM $NONE\nRUN y\n", "Dockerfile line 1: $NONE is empty"),
        ("FROM x\nEXPOSE http\n", "Dockerfile line 2: http is no port."),
        ("FROM x\nENV 1A=2\n", "Dockerfile line 2: 1A cannot be the name of a variable."),
        ("FROM x\nADD git@github.com:a/b.git /\n", "Dockerfile line 2: ADD of git@github.com:a/b.git is not supported."),
        ("FROM x\nRUN\n", "Dockerfile line 2: RUN says nothing."),
        ("FROM x\nSHELL bash\n", "Dockerfile line 2: SHELL takes a list."),
    ],
)  # fmt: skip
def test_what_is_refused_names_its_line(text: str, said: str) -> None:
    assert refused(text, f="").startswith(said)


def test_a_dockerfile_builds_what_nothing_else_matches() -> None:
    text = 'FROM debian-12\nCMD ["x"]\n'
    assert choose(DictTree({"Dockerfile": text})).language == "Dockerfile"
    assert choose(DictTree({"Dockerfile": text, "Procfile": "web: x"})).language == "Dockerfile"
    assert choose(DictTree({"Dockerfile": text, "requirements.txt": ""})).language == "Python"
    files = {"Dockerfile": text, "requirements.txt": "", "Aptfile": "ffmpeg"}
    assert choose(DictTree(files), {}, ["dockerfile"]).steps == ()
