"""A package that is compiled against a library which apps do not have when they run."""

from __future__ import annotations

import gzip
import io
import tarfile

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
ADDON: dict[str, str | bytes] = {
    "package.json": '{"dependencies": {"native": "file:native"}}',
    "native/package.json": '{"name": "native", "version": "1.0.0", "main": "build/Release/native.node", "gypfile": true}',
    "native/binding.gyp": '{"targets": [{"target_name": "native", "sources": ["native.c"], "libraries": ["-lpython3.11"]}]}',
    "native/native.c": """#include <node_api.h>
extern const char *Py_GetVersion(void);
static napi_value init(napi_env env, napi_value exports) {
  napi_value name; napi_create_string_utf8(env, Py_GetVersion() ? "native" : "", NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, exports, "name", name); return exports; }
NAPI_MODULE(NODE_GYP_MODULE_NAME, init)
""",
    "index.js": 'require("http").createServer((q, s) => s.end(require("native").name)).listen(process.env.PORT, "0.0.0.0");\n',
}


def gem() -> bytes:
    """A package of RubyGems whose extension links to libpython: a tar of metadata and data."""
    spec = """--- !ruby/object:Gem::Specification
name: native
version: !ruby/object:Gem::Version
  version: 1.0.0
platform: ruby
specification_version: 4
require_paths: [lib]
extensions: [ext/extconf.rb]
files: [ext/extconf.rb, ext/native.c]
summary: native
authors: [me]
required_ruby_version: !ruby/object:Gem::Requirement
  requirements: [[">=", !ruby/object:Gem::Version {version: '0'}]]
"""
    code = """#include <ruby.h>
extern const char *Py_GetVersion(void);
static VALUE name(VALUE self) { return rb_str_new_cstr(Py_GetVersion() ? "native" : ""); }
void Init_native(void) { rb_define_global_function("native_name", name, 0); }
"""
    make = "require 'mkmf'\n$libs << ' -lpython3.11'\ncreate_makefile('native')\n"
    data = _tar({"ext/extconf.rb": make.encode(), "ext/native.c": code.encode()})
    return _tar({"metadata.gz": gzip.compress(spec.encode()), "data.tar.gz": gzip.compress(data)})


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


RACK: dict[str, str | bytes] = {
    "Gemfile": 'source "https://rubygems.org"\ngem "native"\n',
    "Gemfile.lock": "GEM\n  remote: https://rubygems.org/\n  specs:\n    native (1.0.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  native\n",
    "vendor/cache/native-1.0.0.gem": gem(),
    "Procfile": "web: bundle exec ruby app.rb\n",
    "app.rb": """require 'native'
require 'socket'
server = TCPServer.new('0.0.0.0', ENV['PORT'].to_i)
loop do
  client = server.accept
  client.gets
  client.print "HTTP/1.0 200 OK\\r\\n\\r\\n#{native_name}"
  client.close
end
""",
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "files"), [("python", FILES), ("node", ADDON), ("ruby", RACK)], ids=["python", "node", "ruby"]
)
def test_a_library_that_is_missing_at_run_time_refuses_the_build_and_the_remedy_works(
    platform: BuildPlatform, name: str, files: dict[str, str | bytes]
) -> None:
    app = platform.app(f"native-{name}")
    with pytest.raises(BuildFailed, match=r"was compiled against libpython3\.11\.so\.1\.0") as caught:
        platform.build(app, files)
    assert (
        caught.value.hint == 'Add a line "libpython3.11" to a file named Aptfile, commit it and push again.'
    )
    if name == "ruby":
        return  # half a minute more for another set of packages
    image = platform.build(app, {**files, "Aptfile": "libpython3.11\n"})
    with serving(platform, app, image) as get:
        assert get("/").read() == b"native"
