"""A package that is compiled against a library which apps do not have when they run."""

from __future__ import annotations

import pytest
from harness.builder import BuildPlatform
from harness.serving import serving

from paas.nouns.errors import BuildFailed

SETUP = """from setuptools import Extension, setup

setup(name="native", version="1", ext_modules=[Extension("native", ["native.c"], libraries=["python3.11"])])
"""
CODE = """#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native"};
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
"""
MAIN = """import http.server, os, native

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(native.__name__.encode())

http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
FILES: dict[str, str | bytes] = {
    "requirements.txt": "./native\n", "native/setup.py": SETUP, "native/native.c": CODE, "main.py": MAIN,
}  # fmt: skip


@pytest.mark.long
def test_a_library_that_is_missing_at_run_time_refuses_the_build_and_the_remedy_works(
    platform: BuildPlatform,
) -> None:
    app = platform.app("native")
    with pytest.raises(BuildFailed, match=r"was compiled against libpython3\.11\.so\.1\.0") as caught:
        platform.build(app, FILES)
    assert caught.value.hint == "Write libpython3.11 into a file named Aptfile, commit it and push again."
    image = platform.build(app, {**FILES, "Aptfile": "libpython3.11\n"})
    with serving(platform, app, image) as get:
        assert get("/").read() == b"native"
