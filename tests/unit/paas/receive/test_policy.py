"""Which updates a push may make."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BadInput
from paas.receive.policy import Options, RefUpdate, check, check_options

ONE, ZERO = "1" * 40, "0" * 40


def update(ref: str, new: str = ONE) -> RefUpdate:
    return RefUpdate(ZERO, new, ref)


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/master"])
def test_the_deploy_branch(ref: str) -> None:
    assert check([update(ref)], app="a", branches=("main", "master")).ref == ref


@pytest.mark.parametrize(
    ("commands", "cause", "advice"),
    [
        ([update("refs/heads/main"), update("refs/heads/x")], "several refs", "git push paas HEAD:main"),
        ([update("refs/heads/main", ZERO)], "delete", "paas apps:destroy -a hello"),
        ([update("refs/tags/v1.0")], "tag", "git push paas v1.0^{commit}:refs/heads/main"),
        ([update("refs/tags/$(id)")], "tag", "git push paas TAG^{commit}:refs/heads/main"),
        ([update("refs/heads/feature/x")], "wrong branch", "git push paas feature/x:main"),
        ([update("refs/heads/a;id")], "wrong branch", "git push paas HEAD:main"),
        ([update("refs/heads/Main")], "wrong branch", "git push paas Main:main"),
        ([update("HEAD")], "wrong branch", "git push paas HEAD:main"),
        ([update("main")], "wrong branch", "git push paas HEAD:main"),
        ([update("refs/heads/")], "wrong branch", "git push paas HEAD:main"),
    ],
)
def test_refused_with_the_command_to_use(commands: list[RefUpdate], cause: str, advice: str) -> None:
    with pytest.raises(BadInput) as refusal:
        check(commands, app="hello", branches=("main", "master"))
    assert refusal.value.cause == cause
    assert advice in refusal.value.hint


def test_shallow_is_told_only_when_the_rest_is_right() -> None:
    with pytest.raises(BadInput) as refusal:
        check([update("refs/heads/main")], app="a", branches=("main",), shallow=True)
    assert refusal.value.cause == "shallow"
    with pytest.raises(BadInput) as refusal:
        check([update("refs/heads/x")], app="a", branches=("main",), shallow=True)
    assert refusal.value.cause == "wrong branch"


def test_push_options() -> None:
    assert check_options([]) == Options(wait=True, canary=None)
    assert check_options(["canary=20%"]) == check_options(["canary=20"])
    assert check_options(["nowait", "nowait"]) == Options(wait=False)
    assert check_options(["canary"]) == Options(canary=10)
    assert check_options(["canary=0", "canary=100"]) == Options(canary=100)


@pytest.mark.parametrize("option", ["no-wait", "canary=", "canary=101", "canary=-1", "canary=٣", "canary=%"])
def test_what_is_no_push_option(option: str) -> None:
    with pytest.raises(BadInput):
        check_options(["nowait", option])
