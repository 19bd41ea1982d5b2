from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.plan import BuildRefused
from buildpacks.pyrequires import Required, required_python, satisfies


@pytest.mark.parametrize(
    ("specifier", "fits"),
    [
        (">=3.9", True), (">=3.11", True), ("<4,>=3.8", True), ("~=3.9", True), ("~=3.11.0", True), ("==3.11.*", True),
        ("==3.11.2", True), ("!=3.11.1", True), ("<=3.11.2", True), (">3.10", True), ("*", True), (">= 3.9, < 4", True),
        (">=3.12", False), ("<3.11", False), ("==3.10.*", False), ("!=3.11.*", False), ("~=3.10.0", False),
        (">3.11.2", False), ("==3.11", False), ("^3.8", True), ("^3.12", False), ("~3.11", True), ("~3.10", False),
        ("~3", True), ("3.11", True), ("3.11.*", True), ("^2.7 || ^3.8", True), ("^2.7 | ~3.9", False), (">=3.9 <3.12", True),
    ],
)  # fmt: skip
def test_a_range_is_compared_as_pip_and_poetry_do(specifier: str, fits: bool) -> None:
    assert satisfies((3, 11, 2), Required(specifier, "")) == fits


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.12"\n'}, ">=3.12"),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.12"\n'}, "^3.12"),
        ({"pyproject.toml": "[tool.uv.workspace]\n", "uv.lock": 'requires-python = ">=3.12"\n'}, ">=3.12"),
        ({"Pipfile": '[requires]\npython_version = "3.12"\n'}, "==3.12.*"),
        ({"Pipfile": '[requires]\npython_full_version = "3.12.4"\n'}, "==3.12.*"),
        ({"setup.cfg": "[options]\npython_requires = >=3.12\n"}, ">=3.12"),
        ({"pyproject.toml": "[tool.ruff]\n", "setup.cfg": "[options]\npython_requires = >=3.12\n"}, ">=3.12"),
    ],
)
def test_each_tool_has_its_own_word_for_it(files: dict[str, str | bytes], text: str) -> None:
    found = required_python(DictTree(files))
    assert found is not None
    assert (found.text, found.strict) == (text, True)


def test_what_is_no_range_is_refused_unless_another_file_decides() -> None:
    files: dict[str, str | bytes] = {"pyproject.toml": '[project]\nrequires-python = "the newest"\n'}
    with pytest.raises(BuildRefused, match="not a version specifier"):
        required_python(DictTree(files))
    assert required_python(DictTree({**files, "requirements.txt": ""})) is None
    assert required_python(DictTree({"setup.cfg": "no section\n", "pyproject.toml": "[broken\n"})) is None
