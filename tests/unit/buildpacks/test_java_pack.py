from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks.detect import choose
from buildpacks.failurehint import named_cause
from buildpacks.plan import BuildRefused, Plan

WRAPPER = {"gradlew": "", "gradle/wrapper/gradle-wrapper.jar": ""}


def plan(files: dict[str, str]) -> Plan:
    found = choose(DictTree(files))
    assert found.language == "Java"
    return found


def test_only_the_build_gets_a_compiler() -> None:
    found = plan({"pom.xml": ""})
    assert found.packages == ("default-jre-headless",) and "maven" in found.build_packages
    assert [step.name for step in found.steps] == ["packages", "build-packages", "jar"]
    assert [step.in_image for step in found.steps] == [True, False, True]
    assert plan({"build.gradle.kts": "", **WRAPPER}).build_packages == ("default-jdk-headless",)


def test_a_jar_that_is_there_only_needs_to_run() -> None:
    found = plan({"app.jar": "", "README.md": ""})
    assert found.build_packages == () and found.default_processes == {"web": ".paas/java"}
    assert (
        choose(DictTree({"tool.jar": "", "package.json": '{"scripts": {"start": "x"}}'})).language == "Node"
    )


def test_a_procfile_says_what_runs_so_nothing_is_looked_for() -> None:
    found = plan({"app.jar": "", "Procfile": "web: java -jar app.jar"})
    assert found.default_processes == {} and [step.name for step in found.steps] == ["packages"]
    (build,) = [step for step in plan({"pom.xml": "", "Procfile": "web: x"}).steps if step.name == "jar"]
    assert "mvn" in build.script and "Main-Class" not in build.script


def test_gradle_without_its_wrapper_is_refused_with_the_command() -> None:
    with pytest.raises(BuildRefused) as refused:
        plan({"build.gradle": ""})
    assert "gradle wrapper" in refused.value.hint


def test_a_newer_java_is_refused_and_an_older_one_told() -> None:
    with pytest.raises(BuildRefused, match="asks for Java 26; there are 17, 21, 25"):
        plan({"pom.xml": "", "system.properties": "java.runtime.version=26\n"})
    with pytest.raises(BuildRefused, match="asks for Java 999;"):
        plan({"pom.xml": "", "system.properties": f"java.runtime.version={'9' * 5000}\n"})
    newer = plan({"pom.xml": "", "system.properties": "java.runtime.version=21\n"})
    assert (newer.stack, newer.packages, newer.warnings) == ("debian-13", ("openjdk-21-jre-headless",), ())
    assert "openjdk-21-jdk-headless" in newer.build_packages
    assert plan({"pom.xml": ""}).stack == ""
    assert plan({"pom.xml": "", "system.properties": "java.runtime.version=1.8"}).warnings != ()
    assert plan({"pom.xml": "", "system.properties": "java.runtime.version = 17"}).warnings == ()


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("[ERROR] Fatal error compiling: error: release version 21 not supported", "the code is for Java 21, a newer one than the build has"),
        ("[ERROR] /app/src/Main.java:[6,9] cannot find symbol", "/app/src/Main.java:[6,9] cannot find symbol"),
        ("/app/src/Main.java:6: error: cannot find symbol", "/app/src/Main.java:6: error: cannot find symbol"),
        ("executable jars: a.jar, b.jar; one is needed", "there are several executable jars: a.jar, b.jar"),
        ("[ERROR] Could not find artifact x:no-such:jar:1 in central", "x:no-such:jar:1 is not in the repositories"),
        ("java.net.UnknownHostException: repo.maven.apache.org", "the host repo.maven.apache.org was not found"),
    ],
)  # fmt: skip
def test_what_the_tools_say_is_put_into_words(line: str, cause: str) -> None:
    found = named_cause(plan({"pom.xml": ""}).steps[-1].failure_hints, [line])
    assert found is not None and found[0] == cause
