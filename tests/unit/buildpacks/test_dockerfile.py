"""A Dockerfile as steps: what each stands on, what it is given, and what the image says at the end."""

from __future__ import annotations

import subprocess

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.dockerbase import Base, Docker, stack_of
from buildpacks.dockerfile import plan
from buildpacks.plan import BuildRefused, Plan, Step

KNOWN = Docker(images={"x": Base(), "y": Base()})


def planned(text: str, docker: Docker = KNOWN, **files: str) -> Plan:
    return plan(DictTree({"Dockerfile": text, **files}), docker)


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
        ("FROM x\nCOPY --from=later f /\nFROM y AS later\nCOPY --from=0 /f /\n", "Dockerfile line 2: later is no earlier stage."),
        ("FROM x AS a b\n", "Dockerfile line 1: FROM takes an image"),
        ("FROM --platform=linux/s390x x\nRUN y\n", "Dockerfile line 1: this machine is no linux/s390x."),
        ("FROM $NONE\nRUN y\n", "Dockerfile line 1: $NONE is empty"),
        ("FROM x\nEXPOSE http\n", "Dockerfile line 2: http is no port."),
        ("FROM x\nENV 1A=2\n", "Dockerfile line 2: 1A cannot be the name of a variable."),
        ("FROM x\nADD git@github.com:a/b.git /\n", "Dockerfile line 2: ADD of git@github.com:a/b.git is not supported."),
        ("FROM x\nADD --checksum=md5:1 https://h/f /\n", "Dockerfile line 2: --checksum=md5:1 is no digest."),
        ("FROM x\nADD --checksum=md5:1 f /\n", "Dockerfile line 2: --checksum is for what is fetched"),
        ("FROM x\nCOPY --from=3 f /\n", "Dockerfile line 2: there is no earlier stage 3."),
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


IMAGE = Base.read(
    {
        "config": {
            "Env": ["PATH=/opt/bin:/bin", "LANG=C.UTF-8", "not a name=1", 7],
            "WorkingDir": "/srv",
            "User": "app",
            "Entrypoint": ["/start"],
            "Cmd": ["serve", "it"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {"a": "b", "paas.language": "Python", "c": 1},
            "OnBuild": ["COPY . /srv/", "RUN make"],
        }
    }
)


def test_an_image_hands_down_what_it_says_of_itself() -> None:
    known = Docker(images={"team/base:v1": IMAGE})
    assert planned("FROM team/base:v1\n", f="").wants == (("team/base:v1", "Dockerfile line 1"),)
    found = planned("FROM team/base:v1\nRUN echo $LANG\nCMD other\n", known, f="")
    assert not found.wants and found.base == "from team/base:v1"
    assert found.config == {
        "Env": ["PATH=/opt/bin:/bin", "LANG=C.UTF-8"],
        "Entrypoint": ["/start"],
        "Cmd": ["/bin/sh", "-c", "other"],
        "WorkingDir": "/srv",
        "User": "app",
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"a": "b"},
    }
    made = [step for step in found.steps if step.name != "tools"]
    assert [step.title for step in made] == [
        "COPY . /srv/ (Dockerfile line 1)",
        "RUN make (Dockerfile line 1)",
        "RUN echo $LANG (Dockerfile line 2)",
    ]
    assert all(step.env["PATH"] == "/opt/bin:/bin" and step.base == "from team/base:v1" for step in made)
    assert "setpriv" in made[1].script and "cd /srv" in made[1].script
    assert found.notes == ("team/base:v1 brings 2 ONBUILD instructions, which come first",)


def test_images_are_wanted_for_needed_stages_only_and_by_what_copies_from_them() -> None:
    text = (
        "ARG TAG=1\nFROM unused AS u\nRUN x\nFROM tool:$TAG AS t\nFROM debian:12-slim\nCOPY --from=t /a /a\n"
        "COPY --from=u:2 /b /b\nRUN --mount=from=c/d,target=/m true\nRUN --mount=type=bind,target=/m,from=t true\n"
    )
    found = planned(text)
    assert found.wants == (
        ("tool:1", "Dockerfile line 4"), ("u:2", "Dockerfile line 7"), ("c/d", "Dockerfile line 8"),
    )  # fmt: skip
    known = Docker(images=dict.fromkeys(("tool:1", "u:2", "c/d"), Base()))
    found = planned(text, known)
    assert found.base == "from debian-12"
    assert found.notes[1:] == ("FROM debian:12-slim is the stack debian-12 here: the same Debian",)
    picked = [step.base for step in found.steps if step.name.startswith("picked")]
    assert picked == ["from tool:1", "from u:2", "from c/d", "from tool:1"]


@pytest.mark.parametrize(
    ("name", "stack"),
    [("debian-13", "debian-13"), ("debian:bookworm", "debian-12"), ("docker.io/library/debian:trixie-slim", "debian-13"),
     ("debian:11", None), ("debian", None), ("python:3.11", None), ("team/debian:12", None)],
)  # fmt: skip
def test_debians_own_images_are_the_stacks(name: str, stack: str | None) -> None:
    assert stack_of(name) == stack


def test_a_dockerfile_elsewhere_and_its_stage_are_built() -> None:
    text = "FROM x AS one\nRUN a\nFROM x AS two\nRUN b\nCOPY . /\n"
    files = {
        "deploy/web.Dockerfile": text,
        "deploy/web.Dockerfile.dockerignore": "*.md\n",
        "r.md": "",
        "f": "",
    }
    found = plan(DictTree(files), Docker("deploy/web.Dockerfile", "one", KNOWN.images))
    assert [step.title for step in found.steps[1:]] == ["RUN a (deploy/web.Dockerfile line 2)"]
    last = plan(DictTree(files), Docker("deploy/web.Dockerfile", images=KNOWN.images)).steps[-1]
    assert last.inputs == ("deploy/web.Dockerfile", "deploy/web.Dockerfile.dockerignore", "f")
    with pytest.raises(
        BuildRefused, match=r"deploy/web.Dockerfile has no stage three.* there are: one, two\."
    ):
        plan(DictTree(files), Docker("deploy/web.Dockerfile", "three"))
    with pytest.raises(BuildRefused, match=r"Dockerfile.old is not in the commit; the app is set to"):
        plan(DictTree(files), Docker("Dockerfile.old"))


def test_a_list_that_is_not_json_is_warned_of_with_the_line_to_write() -> None:
    (said,) = planned("FROM x\nCMD [python3, 'app.py']\n").warnings
    assert said.startswith("Dockerfile line 2: [python3, 'app.py'] is no JSON list")
    assert said.endswith('write CMD ["python3", "app.py"]')
    assert planned("FROM x\nCMD [ -f /x ] && run\n").warnings == ()


def test_a_misspelt_instruction_gets_its_name() -> None:
    with pytest.raises(BuildRefused) as error:
        planned("FROM x\nRUNN y\n")
    assert (error.value.message, error.value.hint) == (
        "Dockerfile line 2 cannot be read: unknown instruction: RUNN.", "Did you mean RUN?",
    )  # fmt: skip


def test_what_an_address_gives_is_compared_with_its_checksum() -> None:
    fetched = steps(f"FROM x\nADD --checksum=sha256:{'a' * 64} https://h/f.tgz /\n")[0]
    assert f'[ "$found" = {"a" * 64} ]' in fetched.script
    assert subprocess.run(["bash", "-n"], input=fetched.script, text=True).returncode == 0


def test_apt_asks_the_machines_sources_over_a_stack_until_others_are_written() -> None:
    text = (
        "FROM debian:12\nRUN apt-get update\nRUN echo x >/etc/apt/sources.list.d/x.list\n"
        "RUN sed -i s/main/contrib/ /etc/apt/sources.list\nRUN apt-get update\nFROM x\nCOPY --from=0 /a /b\nRUN apt-get update\n"
    )
    given = [step.tools for step in steps(text) if step.title.startswith("RUN")]
    assert given == [
        ("registries", "apt"),
        ("registries", "apt"),
        ("registries",),
        ("registries",),
        ("registries",),
    ]
