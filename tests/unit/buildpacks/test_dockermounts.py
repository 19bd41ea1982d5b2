from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.dockerlines import read_lines
from buildpacks.dockermounts import Mounted, read_mount
from buildpacks.plan import BuildRefused

ONE = read_lines(DictTree({"Dockerfile": "FROM x\nRUN y\n"})).stages[0][1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("type=cache,target=pip", Mounted("cache", "/app/pip", id="/app/pip", source=".")),
        ("type=cache,id=p,dst=/x,sharing=locked", Mounted("cache", "/x", id="p", source=".")),
        ("type=secret,id=A", Mounted("secret", "/run/secrets/A", id="A", source=".")),
        ("type=secret,id=A,env=B,required", Mounted("secret", "", id="A", source=".", variable="B", required=True)),
        ("src=a,target=.,from=made", Mounted("bind", "/app", id="/app", source="a", source_stage="made")),
    ],
)  # fmt: skip
def test_a_mount_is_read(text: str, found: Mounted) -> None:
    assert read_mount(text, ONE, "/app") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=ssh", "RUN --mount=type=ssh is not supported; there are bind, cache, secret, tmpfs."),
        ("type=cache", "RUN --mount=type=cache needs a target."),
        ("type=cache,target=/x,size=1", "RUN --mount=type=cache does not know size."),
        ("type=secret,id=../x", "a secret's id is the name of a config var, ../x is none."),
        ("type=secret,id=A,env=B;C", "a secret's id is the name of a config var"),
        ("type=secret,id=A,mode=1;x", "RUN --mount: mode=1;x is no number."),
        ("type=bind,target=/", "RUN --mount cannot cover the root."),
    ],
)
def test_a_mount_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(BuildRefused) as error:
        read_mount(text, ONE, "/app")
    assert error.value.message.startswith(f"Dockerfile line 2: {said}")
