"""Java: Maven, a Gradle wrapper, or a jar that is there already; the stack's JRE runs the one executable jar. Pure."""

from __future__ import annotations

import re

from buildpacks.failurehint import FailureHint as Hint
from buildpacks.plan import BuildRefused, Plan, Step, Tree, read_text
from buildpacks.surroundings import NETWORK

POM, GRADLE = "pom.xml", ("build.gradle", "build.gradle.kts")
LOOKS_FOR = (POM, *GRADLE)
VERSION = 17
_STACKS = {21: "debian-13", 25: "debian-13"}
"""Which stack has a newer Java, as openjdk-N; the first stack's is its default."""
_RECIPE = "java-1"
_WANTED = re.compile(r"^[ \t]*java\.runtime\.version[ \t]*[=:][ \t]*(?:1\.)?([0-9]{1,3})", re.MULTILINE)
_JAR = re.compile(r"[A-Za-z0-9._-]+\.jar")

_START = """cat >/app/.paas/java <<'START'
#!/bin/sh
# Runs the executable jar that the build found; JAVA_OPTS are more options of the virtual machine.
exec java -XX:MaxRAMPercentage=70 -Dserver.port="${PORT:-5000}" $JAVA_OPTS -jar "$(cat /app/.paas/jar)"
START
chmod 755 /app/.paas/java
"""
_FIND = """mkdir -p /app/.paas
python3 - <<'FIND'
import glob, os, sys, zipfile
found = []
for path in sorted({path for where in ("*.jar", "target/*.jar", "*/target/*.jar", "build/libs/*.jar", "*/build/libs/*.jar") for path in glob.glob(where)}):
    if path.endswith(("-sources.jar", "-javadoc.jar", "-plain.jar", "-tests.jar")) or os.path.basename(path).startswith("original-"):
        continue
    try:
        with zipfile.ZipFile(path) as jar, jar.open("META-INF/MANIFEST.MF") as manifest:
            if b"\\nMain-Class:" in b"\\n" + manifest.read(1 << 20):
                found.append(path)
    except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError):
        pass
if len(found) != 1:
    sys.exit(f"executable jars: {', '.join(found) or 'none'}; one is needed")
print(f"{found[0]} is what runs")
with open("/app/.paas/jar", "w") as file:
    file.write(os.path.abspath(found[0]))
FIND
"""
_TOOLS = {
    "Maven": "if [ -f mvnw ]; then sh mvnw -B -ntp -DskipTests package; else mvn -B -ntp -DskipTests package; fi\n",
    "Gradle": "sh gradlew --no-daemon --console=plain build -x test\n",
    "jar": "",
}
_ENV = {
    "MAVEN_OPTS": "-Dmaven.repo.local=/cache/maven",
    "MAVEN_USER_HOME": "/cache/maven-wrapper",
    "GRADLE_USER_HOME": "/cache/gradle",
}
_HINTS = (
    Hint(
        r"executable jars: none; one is needed",
        "the build made no executable jar",
        "Have it write Main-Class into the manifest (spring-boot-maven-plugin, maven-jar-plugin, Gradle's application or Spring Boot plugin)"
        ', or write a Procfile: "web: java -cp target/classes MAIN".',
    ),
    Hint(
        r"executable jars: (?P<names>.+); one is needed",
        "there are several executable jars: {names}",
        'Say in a Procfile which one runs: "web: java -Dserver.port=$PORT -jar FILE".',
    ),
    Hint(
        r"(?:release version|invalid target release:|invalid source release:) (?P<version>\d+)",
        "the code is for Java {version}, a newer one than the build has",
        "Write java.runtime.version={version} into a file named system.properties, and commit it.",
    ),
    Hint(r"Could not (?:find|resolve) (?:artifact )?(?P<name>[\w.:-]+)", "{name} is not in the repositories", "Check its name and version."),
    Hint(r"Unknown host (?P<host>[\w.-]+)|UnknownHostException: (?P<name>[\w.-]+)", "the host {host}{name} was not found",
         "The server itself must reach it: paas doctor"),
    Hint(r"^\[ERROR\] (?P<line>/app/\S+\.java:\[\d+,\d+\] .+)$", "{line}", "Correct the program: mvn package says the same."),
    Hint(r"^(?P<line>(?:/app/)?\S+\.java:\d+: error: .+)$", "{line}", "Correct the program: ./gradlew build says the same."),
    *NETWORK,
)  # fmt: skip


def detect(tree: Tree) -> str | None:
    found = next((path for path in LOOKS_FOR if tree.exists(path)), None)
    if found or tree.exists("package.json"):
        return found
    return min(filter(_JAR.fullmatch, tree.names()), default=None)


def plan(tree: Tree) -> Plan:
    """Raises BuildRefused for a Java that the stack has not, and for Gradle without its wrapper."""
    detected = detect(tree) or POM
    tool = "Maven" if tree.exists(POM) else "Gradle" if detected in GRADLE else "jar"
    if tool == "Gradle" and not (tree.exists("gradlew") and tree.exists("gradle/wrapper/gradle-wrapper.jar")):
        raise BuildRefused(
            "Gradle's wrapper is not in the repository, which says what version of Gradle builds the app.",
            "Run gradle wrapper, and commit gradlew and gradle/wrapper (with its jar).",
        )
    version, warnings = _version(tree)
    java = "default" if version == VERSION else f"openjdk-{version}"
    said = tree.exists("Procfile")  # and so, which program runs
    return Plan(
        language="Java",
        detected=detected,
        notes=(f"Java {version}",),
        warnings=warnings,
        stack=_STACKS.get(version, ""),
        steps=() if said and tool == "jar" else (_step(tool, said),),
        env={"LANG": "C.UTF-8"},
        default_processes={} if said else {"web": ".paas/java"},
        packages=(f"{java}-jre-headless",),
        build_packages={"Maven": (f"{java}-jdk-headless", "maven"), "Gradle": (f"{java}-jdk-headless",)}.get(
            tool, ()
        ),
    )


def _step(tool: str, said: bool) -> Step:
    """Build with the tool; unless the Procfile says what to run, find the jar that can be run, too."""
    return Step(
        name="jar",
        title=f"Building with {tool}" if tool != "jar" else "Finding the executable jar",
        script=_TOOLS[tool] + ("" if said else _FIND + _START),
        outputs=("/app",),
        key=(_RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env=_ENV,
        failure_hints=_HINTS,
    )


def _version(tree: Tree) -> tuple[int, tuple[str, ...]]:
    """The Java release that builds and runs the app. Warns if system.properties names another. Raises BuildRefused."""
    text = read_text(tree, "system.properties", 65536) if tree.exists("system.properties") else ""
    wanted = int(found[1]) if (found := _WANTED.search(text)) else VERSION
    taken = next((version for version in (VERSION, *_STACKS) if version >= wanted), None)
    if taken is None:
        raise BuildRefused(
            f"system.properties asks for Java {wanted}; there are {', '.join(map(str, (VERSION, *_STACKS)))}.",
            f"Compile for Java {max(_STACKS)}, and write java.runtime.version={max(_STACKS)} there.",
        )
    return taken, () if taken == wanted else (
        f"system.properties asks for Java {wanted}; it runs on {taken}",
    )
