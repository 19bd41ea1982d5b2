from __future__ import annotations

import subprocess

import pytest
from harness.sources import DictTree

from buildpacks import mediatypes
from buildpacks.plan import BuildRefused
from buildpacks.static import plan, serve_step


@pytest.mark.parametrize(
    ("files", "web"),
    [
        ({"index.html": ""}, ".paas/serve =404 ."),
        ({"public/index.html": ""}, ".paas/serve =404 public"),
        ({"index.html": "", "public/index.html": ""}, ".paas/serve =404 ."),
        ({"Staticfile": "root: dist/site\n", "dist/site/a.html": ""}, ".paas/serve =404 dist/site"),
        (
            {"Staticfile": "# x\n\nroot: ./public/\npushstate: enabled\n", "public/a": ""},
            ".paas/serve /index.html public",
        ),
        ({"Staticfile": "index_fallback: true\n", "index.html": ""}, ".paas/serve /index.html ."),
    ],
)
def test_the_root_and_the_fallback_are_chosen(files: dict[str, str], web: str) -> None:
    assert plan(DictTree(files)).default_processes == {"web": web}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root: nowhere", "the root nowhere is not in the repository"),
        ("root: ../up", "is not a folder of the repository"),
        ("root: a; touch x", "is not a folder of the repository"),
        ("root: $(x)", "is not a folder of the repository"),
        ("root", "Staticfile line 1 has no colon"),
    ],
)
def test_bad_staticfile_is_refused(text: str, said: str) -> None:
    with pytest.raises(BuildRefused, match=said.replace("(", r"\(")):
        plan(DictTree({"Staticfile": text, "index.html": ""}))


def test_unknown_key_is_a_warning() -> None:
    assert "directory" in plan(DictTree({"Staticfile": "directory: visible", "index.html": ""})).warnings[0]


def test_the_server_is_the_same_layer_for_every_site() -> None:
    one, two = plan(DictTree({"index.html": "a"})), plan(DictTree({"public/index.html": "b"}))
    assert one.steps == two.steps == (serve_step(),)
    assert one.steps[0].shared


def test_media_types_are_those_of_iana_each_end_has_one_and_text_is_utf_8() -> None:
    ends = [(end, kind) for kind, names in mediatypes.TYPES.items() for end in names.split()]
    known = dict(ends)
    assert len(known) == len(ends)
    expected = {
        "js": "text/javascript", "mjs": "text/javascript", "map": "application/json", "wasm": "application/wasm",
        "webmanifest": "application/manifest+json", "ttf": "font/ttf", "otf": "font/otf", "woff2": "font/woff2",
        "csv": "text/csv", "md": "text/markdown", "ics": "text/calendar", "vtt": "text/vtt", "jxl": "image/jxl",
        "ico": "image/vnd.microsoft.icon", "geojson": "application/geo+json", "yaml": "application/yaml",
        "gz": "application/gzip", "m4a": "audio/mp4", "flac": "audio/flac", "glb": "model/gltf-binary",
    }  # fmt: skip
    assert {end: known[end] for end in expected} == expected
    said = mediatypes.NGINX_HTTP
    assert {"text/javascript", "text/markdown", "text/csv"} <= set(mediatypes.TEXT)
    assert said in serve_step().script and "mime.types" not in serve_step().script


def test_the_scripts_are_valid_shell() -> None:
    script = serve_step().script
    serve = script.split("<<'SERVE'\n")[1].split("SERVE\n")[0]
    for text in (script, serve):
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
