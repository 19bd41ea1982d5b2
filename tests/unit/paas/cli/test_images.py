"""Image commands: how a login is read, what is printed, what a broken export leaves."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from harness.cli import Platform, Shell, lines

from paas.cli import main

Captured = pytest.CaptureFixture[str]
DONE = {
    "reference": "r.example/a:v1",
    "digest": "sha256:ab",
    "release": 1,
    "layers": {"sent": 1, "there": 2, "mounted": 1},
    "sent_bytes": 2048,
}


def test_a_login_is_a_name_and_a_line_of_standard_input(
    platform: Platform, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.answers["POST /apps/hello/image/push"] = lines("sha256:ab… sent (2048 bytes)", **DONE)
    monkeypatch.setattr(sys, "stdin", io.StringIO("se cret\nrest\n"))
    assert main.main(["image:push", "r.example/a:v1", "--username", "ann", "--password-stdin"]) == 0
    (asked,) = platform.asked
    assert asked[2] == {"reference": "r.example/a:v1", "username": "ann", "password": "se cret"}
    told = capsys.readouterr()
    assert told.out == "r.example/a:v1@sha256:ab\n"
    assert "Pushing hello to r.example/a:v1... done, 1 layers sent (2.0 kB), 3 there already" in told.err
    assert "se cret" not in told.out + told.err


@pytest.mark.parametrize("words", [["--username", "ann"], ["--password-stdin"]])
def test_half_a_login_is_wrong_usage(platform: Platform, capsys: Captured, words: list[str]) -> None:
    assert main.main(["image:push", "r.example/a", *words]) == 2
    assert "go together" in capsys.readouterr().err and not platform.asked


def test_an_export_that_fails_leaves_no_file(paas: Shell, app: str, tmp_path: Path) -> None:
    told = paas("image:export", str(tmp_path / "image.tar"))
    assert told.status == 1 and "has no release that serves" in told.err
    assert list(tmp_path.iterdir()) == []
    told = paas("image:export", str(tmp_path / "missing" / "image.tar"))
    assert told.status == 1 and "cannot be written" in told.err


@pytest.mark.parametrize("deploys", [True, False])
def test_an_image_is_pulled_or_deployed(platform: Platform, capsys: Captured, deploys: bool) -> None:
    answer = {"reference": "r.example/a:v1", "digest": "sha256:there", "image": "sha256:here"}
    platform.answers["POST /apps/hello/image/pull"] = lines("-----> Pulling", **answer, release=2)
    words = ["deploy", "--image"] if deploys else ["image:pull"]
    assert main.main([*words, "r.example/a:v1"]) == 0
    (asked,) = platform.asked
    assert asked[2] == {"reference": "r.example/a:v1", "deploy": deploys}
    told = capsys.readouterr()
    if deploys:
        assert "Deploying r.example/a:v1 to hello... done, v2" in told.err
    else:
        assert told.out == "sha256:here\n"


def test_a_deploy_of_nothing_says_what_to_deploy(platform: Platform, capsys: Captured) -> None:
    assert main.main(["deploy"]) == 1
    assert "paas deploy --image" in capsys.readouterr().err and not platform.asked


def test_an_archive_is_sent_with_its_name_and_the_image_in_it(
    platform: Platform, capsys: Captured, tmp_path: Path
) -> None:
    (tmp_path / "saved.tar").write_bytes(b"tar")
    answer = lines("-----> Pulling", reference="saved.tar", digest="sha256:a", image="sha256:b", release=2)
    platform.answers["POST /apps/hello/image/archive"] = answer
    assert main.main(["deploy", "--image", f"docker-archive:{tmp_path}/saved.tar:site:v9"]) == 0, (
        platform.asked
    )
    assert platform.asked[0][2] == (b"tar", {"name": "saved.tar", "tag": "site:v9", "deploy": True})
    assert "done, v2" in capsys.readouterr().err
    assert main.main(["image:pull", f"oci-archive:{tmp_path}/none.tar"]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [
        ("docker-daemon:site:v1", "docker save site:v1 | paas deploy --image - -a hello"),
        ("containers-storage:localhost/a b", "podman save 'localhost/a b' | paas deploy --image - -a hello"),
    ],
)
def test_an_image_on_the_own_machine_is_told_how_it_comes(
    platform: Platform, capsys: Captured, reference: str, remedy: str
) -> None:
    assert main.main(["deploy", "--image", reference, "-a", "hello"]) == 1
    assert remedy in capsys.readouterr().err and not platform.asked


def test_an_archive_comes_through_standard_input(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = lines("-----> Pulling", reference="x", digest="sha256:a", image="sha256:b", release=2)
    platform.answers["POST /apps/hello/image/archive"] = answer
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tar")))
    assert main.main(["deploy", "--image", "-", "-a", "hello"]) == 0
