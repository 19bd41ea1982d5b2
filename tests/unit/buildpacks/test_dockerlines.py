"""Dockerfiles that cannot be read as they are: what is refused names its line."""

from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.dockerlines import read_lines
from buildpacks.plan import BuildRefused


def refused(text: str) -> str:
    with pytest.raises(BuildRefused) as error:
        read_lines(DictTree({"Dockerfile": text}))
    return error.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RUN x\n", "Dockerfile line 1: RUN stands before the first FROM."),
        ("", "Dockerfile has 0 FROM; 1 to 30 are allowed."),
        ("FROM x\n\nFETCH y\n", "Dockerfile line 3 cannot be read: unknown instruction: FETCH."),
        ("FROM x\nONBUILD RUN y\n", "Dockerfile line 2: ONBUILD is not supported"),
        ("FROM x\nCOPY --parents a b\n", "Dockerfile line 2: COPY --parents is not supported."),
        ("FROM x\nRUN --security=insecure y\n", "Dockerfile line 2: RUN --security is not supported."),
        ("FROM x\nRUN --network=host y\n", "Dockerfile line 2: RUN --network is not supported"),
        ("FROM x\nRUN <<EOF\nnever ended\n", "cannot be read: unterminated heredoc"),
        ("FROM x\nRUN " + "y" * 20000, "Dockerfile line 2 is longer than 16 KiB."),
        ("FROM x\n" * 31, "Dockerfile has 31 FROM; 1 to 30 are allowed."),
        ("FROM x\n" + "RUN y\n" * 300, "Dockerfile has more than 300 instructions."),
        ("FROM x\nCOPY " + "[" * 9000 + "\n", "Dockerfile cannot be read: maximum recursion"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, said: str) -> None:
    assert said in refused(text)


def test_stages_and_words_are_found_whatever_their_form() -> None:
    text = "# escape=`\nARG V=1\nFROM a`\n AS b\nRUN --mount=type=tmpfs,target=/x one\nFROM c\nENV A=1 B=2\nENV C d e\n"
    lines = read_lines(DictTree({"Dockerfile": text}))
    assert [one.words for one in lines.before] == [("V=1",)]
    assert [[one.name for one in stage] for stage in lines.stages] == [
        ["FROM", "RUN"],
        ["FROM", "ENV", "ENV"],
    ]
    run = lines.stages[0][1]
    assert (run.line, run.flag("mount"), run.flag("none")) == (5, "type=tmpfs,target=/x", "")
    assert lines.stages[1][2].words == ("C", "d e")


def test_variables_are_put_in_and_cannot_grow_without_end() -> None:
    lines = read_lines(DictTree({"Dockerfile": "FROM x\nENV A=b\n"}))
    one = lines.stages[0][1]
    env = {"A": "x y", "EMPTY": ""}
    assert lines.expanded("$A-${B:-z}-'$A'-${EMPTY:+no}", env, one) == "x y-z-$A-"
    assert lines.expanded('say "$A"', env, one, quotes=False) == 'say "x y"'
    for word, big in (
        ("${A#*b}", {"A": "b"}),
        ("$A" * 100, {"A": "x" * 60000}),
        ("$A$A", {"A": "x" * 60000}),
    ):
        with pytest.raises(BuildRefused, match=r"^Dockerfile line 2: "):
            lines.expanded(word, big, one)
