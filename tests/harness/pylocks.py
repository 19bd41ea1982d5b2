"""Small locks as Poetry, Pipenv and PDM write them, with the digests of itsdangerous 2.2.0."""

from __future__ import annotations

from pathlib import Path

WHEEL = "sha256:c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef"
ARCHIVE = "sha256:e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173"
NONE = "sha256:" + "0" * 64
_FILES = f"""files = [
    {{file = "itsdangerous-2.2.0-py3-none-any.whl", hash = "{WHEEL}"}},
    {{file = "itsdangerous-2.2.0.tar.gz", hash = "{ARCHIVE}"}},
]
"""
_DEV = f"""
[[package]]
name = "iniconfig"
version = "2.3.1"
groups = ["dev"]
files = [{{file = "iniconfig-2.3.1.tar.gz", hash = "{NONE}"}}]
"""
POETRY = f"""[[package]]
name = "itsdangerous"
version = "2.2.0"
optional = false
python-versions = ">=3.8"
groups = ["main"]
markers = "sys_platform == \\"linux\\""
{_FILES}{_DEV}
[metadata]
lock-version = "2.1"
python-versions = "^3.11"
"""
POETRY_PROJECT = """[tool.poetry]
name = "shop"
package-mode = false
[tool.poetry.dependencies]
python = "^3.11"
itsdangerous = "^2.0"
[tool.poetry.group.dev.dependencies]
iniconfig = "*"
"""
PDM = (Path(__file__).parents[1] / "data" / "pdm.lock").read_text()
"""As pdm 2.26.9 wrote it for `PDM_PROJECT`."""
PDM_PROJECT = """[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = ["itsdangerous", "python-dotenv[cli]", "colorama; sys_platform == 'win32'"]

[dependency-groups]
dev = ["iniconfig"]

[tool.pdm]
distribution = false
"""
PIPFILE = """[[source]]
url = "https://pypi.org/simple"
verify_ssl = true
name = "pypi"

[packages]
itsdangerous = "*"
gunicorn = "*"

[dev-packages]
iniconfig = "*"
"""
PIPFILE_LOCK = """{
    "_meta": {
        "hash": {
            "sha256": "7c6ee2672952f266b0361c980617f53f74de3a7249ffe175aa6964a044bfeb90"
        },
        "pipfile-spec": 6,
        "requires": {},
        "sources": [
            {
                "name": "pypi",
                "url": "https://pypi.org/simple",
                "verify_ssl": true
            }
        ]
    },
    "default": {
        "gunicorn": {
            "hashes": [
                "sha256:378b26b9a38adcf4592f28828233c1716acc55e833ea06bf48719782efaa0d10",
                "sha256:b1514965361c8b7e8107a80aa2a92636878df1ccfac6dd204a676426e04d9e3e"
            ],
            "index": "pypi",
            "markers": "python_version >= '3.10'",
            "version": "==27.0.1"
        },
        "itsdangerous": {
            "hashes": [
                "sha256:c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef",
                "sha256:e0050c0b7da1eea53ffaf149c0cfbb5c6e2e2b69c4bef22c81fa6eb73e5f6173"
            ],
            "index": "pypi",
            "markers": "python_version >= '3.8'",
            "version": "==2.2.0"
        }
    },
    "develop": {
        "iniconfig": {
            "hashes": [
                "sha256:67f4b9c50da0dedf52af349e7749a80a9057a5031199791b906c3bb3ae878960",
                "sha256:9121e2c1fdb355232495be3194c8dfe87ccc2d5dee45947b78e68f499790d7a7"
            ],
            "index": "pypi",
            "markers": "python_version >= '3.10'",
            "version": "==2.3.1"
        }
    }
}
"""
"""As pipenv wrote it."""
