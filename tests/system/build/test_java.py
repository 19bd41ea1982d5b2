"""Java apps: built by Maven or a wrapper, run by the stack's JRE."""

from __future__ import annotations

import pytest
from harness.builder import BuildPlatform
from harness.serving import serving

from paas.nouns.errors import BuildFailed

pytestmark = pytest.mark.long

MAIN = """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Main {
  public static void main(String[] words) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv("PORT"))), 0);
    byte[] said = ("java " + Runtime.version().feature()).getBytes();
    server.createContext("/", exchange -> { exchange.sendResponseHeaders(200, said.length); exchange.getResponseBody().write(said); exchange.close(); });
    server.start();
  }
}
"""
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>shop</artifactId><version>1</version>
<properties><maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>
<project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>
<build><plugins><plugin><artifactId>maven-jar-plugin</artifactId>
<configuration><archive><manifest><mainClass>Main</mainClass></manifest></archive></configuration></plugin></plugins></build></project>
"""
SETTINGS = """<settings><mirrors><mirror><id>debian</id><mirrorOf>*</mirrorOf><url>file:///usr/share/maven-repo</url></mirror></mirrors></settings>
"""
PLUGINS = (
    "libmaven-resources-plugin-java libmaven-compiler-plugin-java libsurefire-java libmaven-jar-plugin-java\n"
)
WRAPPER = """set -e
[ "$*" = "--no-daemon --console=plain build -x test" ]
mkdir -p build/classes build/libs
javac -d build/classes src/main/java/Main.java
jar --create --file build/libs/shop-plain.jar -C build/classes .
jar --create --file build/libs/shop.jar --main-class Main -C build/classes .
"""
WRAPPED = {
    "Aptfile": PLUGINS,  # as above, so that the layer is there
    "build.gradle": "",
    "gradlew": WRAPPER,
    "gradle/wrapper/gradle-wrapper.jar": "",
    "src/main/java/Main.java": MAIN,
}


def test_maven_makes_the_jar_that_serves(platform: BuildPlatform) -> None:
    """From a repository on disk, which Debian packages fill with the plugins."""
    app = platform.app("maven")
    files = {
        "pom.xml": POM,
        "Aptfile": PLUGINS,
        ".mvn/maven.config": "-s .mvn/settings.xml\n",
        ".mvn/settings.xml": SETTINGS,
        "src/main/java/Main.java": MAIN,
    }
    image = platform.build(app, files)
    with serving(platform, app, image) as get:
        assert get("/").read() == b"java 17"
    assert not [
        digest
        for digest in image.layers
        if list((platform.layout.layers / digest.removeprefix("sha256:")).glob("usr/lib/jvm/*/bin/javac"))
    ]


def test_a_wrapper_is_run_and_the_one_executable_jar_serves(platform: BuildPlatform) -> None:
    app = platform.app("gradle")
    with serving(platform, app, platform.build(app, WRAPPED)) as get:
        assert get("/").read() == b"java 17"
    broken = MAIN.replace("HttpServer server", "Server server")
    with pytest.raises(BuildFailed) as failed:
        platform.build(app, {**WRAPPED, "src/main/java/Main.java": broken})
    assert "src/main/java/Main.java:6: error: cannot find symbol" in failed.value.message
    with pytest.raises(BuildFailed) as failed:
        platform.build(app, {**WRAPPED, "gradlew": WRAPPER.replace(" --main-class Main", "")})
    assert "the build made no executable jar" in failed.value.message
