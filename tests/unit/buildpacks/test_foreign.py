"""Which list of foreign buildpacks counts, what of them is in the plan, and what `project.toml` says of them."""

from __future__ import annotations

import subprocess

import pytest
from harness.sources import DictTree

from buildpacks import cnb, projecttoml
from buildpacks.detect import choose
from buildpacks.dockerbase import Base, Docker
from buildpacks.plan import BuildRefused

PACKS = {"native/buildpack.toml": "x", "old/bin/compile": "x", "all.cnb": "x", "requirements.txt": ""}
REFERENCE = "registry.example/team/pack:1"


def test_only_a_list_of_classic_folders_needs_no_folder_of_layers() -> None:
    (step,) = choose(DictTree(PACKS), {}, ["old"]).steps
    assert (step.apart, step.written) == ((), ())
    for name in ("native", "all.cnb", "https://x.example/y"):
        folder, step = choose(DictTree(PACKS), {}, ["old", name]).steps
        assert (folder.name, folder.root, folder.in_image) == (cnb.FOLDER_STEP, True, False)
        assert step.apart == ("/layers",) and not step.root and cnb.FOLDER_STEP in step.onto
        assert ".paas-lifecycle/buildpacks/lifecycle/__main__.py" in dict(step.written)
        subprocess.run(["bash", "-n", "-c", step.script], check=True)


def test_an_image_is_asked_for_first_and_its_label_is_a_variable() -> None:
    wanted = [f"docker://{REFERENCE}"]
    first = choose(DictTree(PACKS), {}, wanted)
    assert (first.wants, first.steps) == (((REFERENCE, "app.json"),), ())
    labels = {"io.buildpacks.buildpackage.metadata": '{"id": "a"}'}
    docker = Docker(images={REFERENCE: Base(more={"Labels": labels})})
    step = choose(DictTree(PACKS), {}, wanted, docker=docker).steps[-1]
    assert (step.images, step.env) == ((REFERENCE,), {"PAAS_BUILDPACKAGE_1": '{"id": "a"}'})
    assert f"take {REFERENCE} image:1" in step.script
    assert cnb.label(Base(more={"Labels": {"io.buildpacks.buildpackage.metadata": "x" * 100_000}})) == ""


def project(*groups: str, more: str = "") -> dict[str, str]:
    text = "".join(f"[[io.buildpacks.group]]\n{group}\n" for group in groups)
    return {**PACKS, "project.toml": f'[_]\nschema-version = "0.2"\n{text}{more}'}


@pytest.mark.parametrize(
    ("groups", "language"),
    [
        (['id = "heroku/python"'], "Python"),
        (['id = "heroku/python"', 'id = "heroku/procfile"'], "Python"),
        (['id = "heroku/python"', 'id = "heroku/nodejs"'], "Python"),
        (['uri = "native"'], "Buildpack"),
        (['id = "x/y"\nscript = { api = "0.10", inline = "true" }'], "Buildpack"),
        ([], "Python"),
    ],
)
def test_what_project_toml_asks_for(groups: list[str], language: str) -> None:
    assert choose(DictTree(project(*groups))).language == language


def test_the_old_form_counts_and_a_list_of_its_own_goes_first() -> None:
    old = {
        **PACKS,
        "project.toml": '[[build.buildpacks]]\nuri = "native"\n[[build.env]]\nname = "A"\nvalue = "b c"\n',
    }
    assert choose(DictTree(old)).detected == "project.toml"
    assert "'b c' >\"$ENV_DIR/A\"" in choose(DictTree(old)).steps[-1].script
    assert choose(DictTree({**old, ".buildpacks": "old\n"})).detected == ".buildpacks"


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (['id = "team/unknown"'], "team/unknown"),
        (['uri = "urn:cnb:registry:x/y"'], "urn:cnb:registry:x/y"),
        (['id = "team/unknown"', 'uri = "native"'], "2 buildpacks"),
        (
            ['id = "a b"\nscript = { api = "0.10", inline = "x" }'],
            "the script of buildpack 1 is not complete",
        ),
        (['id = "a"\nscript = { api = "10", inline = "x" }'], "the script of buildpack 1 is not complete"),
        (['id = "a"\nscript = { api = "0.10" }'], "the script of buildpack 1 is not complete"),
        (["id ="], "project.toml is not TOML"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(groups: list[str], message: str) -> None:
    with pytest.raises(BuildRefused) as refused:
        choose(DictTree(project(*groups)))
    assert message in refused.value.message


def test_a_script_is_a_word_to_the_shell() -> None:
    text = "a'b $(id) \\n\"\n"
    tree = DictTree(
        project(f"id = \"x\"\nscript = {{ api = \"0.10\", inline = '''\n{text}''', shell = \"/bin/bash\" }}")
    )
    commands = projecttoml.script(tree, "project.toml#1", "/tmp/nowhere-of-a-test")
    shown = commands.replace(">/tmp/nowhere-of-a-test/", "# ").replace("mkdir -p", "#")
    said = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True).stdout
    assert said.endswith(f"#!/bin/bash\n{text}") and '[buildpack]\nid = "x"' in said
