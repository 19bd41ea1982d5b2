"""Dockerfiles built by the platform's own steps: what each instruction leaves in the image, and what is built again."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import urllib.request
from pathlib import Path

import pytest
from harness.builder import BuildPlatform

from paas.build import registry
from paas.nouns.errors import BuildFailed
from paas.nouns.model import Image

pytestmark = pytest.mark.long

STAGES = {
    "Dockerfile": """ARG STACK=debian-12
FROM $STACK AS made
WORKDIR /src
COPY *.txt sub/ /src/in/
RUN cat in/one.txt in/deep/two.txt >both && mkdir out && mv both out/ && ln -s both out/link

FROM debian-12 AS unneeded
RUN false

FROM debian-12
ENV GREETING="hello there" PLACE=/srv/data
ARG WHO=world
RUN useradd --uid 1234 --create-home bob && echo $GREETING $WHO >/etc/greeting
WORKDIR $PLACE
COPY --from=made --chown=bob:bob /src/out ./got/
COPY --chmod=750 <<EOF /bin/say
#!/bin/sh
echo $GREETING
EOF
USER bob
RUN id -un >/home/bob/me && touch /tmp/kept
EXPOSE 8080
ENTRYPOINT ["/bin/say"]
CMD ["x", "y z"]
""",
    "one.txt": "one\n",
    "sub/deep/two.txt": "two\n",
    "other.txt": "other\n",
    ".dockerignore": "*.txt\n!one.txt\n",
}
MOUNTS = {
    "Dockerfile": """FROM debian-12
RUN mkdir /srv/made && rm -r /usr/share/doc
RUN --mount=type=secret,id=TOKEN,required=true --mount=type=secret,id=KEY,env=WORD \\
    --mount=type=cache,target=/var/cache/mine --mount=type=bind,source=sub,target=/mnt/sub <<EOF
wc -c </run/secrets/TOKEN >/srv/made/size
echo ${#WORD} >>/srv/made/size
date +%N >>/var/cache/mine/times
wc -l </var/cache/mine/times >/srv/made/times
cat /mnt/sub/file >/srv/made/file
EOF
ADD site.tgz /srv/site/
USER 4321:77
RUN ["/bin/sh", "-c", "id -u; id -g; ! touch /etc/mine 2>/dev/null"]
CMD ["true"]
""",
    "sub/file": "bound\n",
}


def in_layers(platform: BuildPlatform, image: Image, path: str) -> Path:
    """The file as its topmost layer has it."""
    for digest in reversed(image.layers):
        for folder in (platform.layout.layers, Path(platform.settings.stacks) / "layers"):
            found = folder / digest.removeprefix("sha256:") / path
            if os.path.lexists(found):
                return found
    raise FileNotFoundError(path)


def started(platform: BuildPlatform) -> list[str]:
    """The instructions that ran, by their first word."""
    return [
        line.split()[1]
        for line in platform.lines
        if line.startswith(("-----> RUN", "-----> COPY", "-----> ADD")) and "reused" not in line
    ]


def test_a_dockerfile_becomes_layers_and_only_what_changed_is_made_again(platform: BuildPlatform) -> None:
    app = platform.app("stages")
    image = platform.build(app, {**STAGES})
    assert in_layers(platform, image, "srv/data/got/both").read_text() == "one\ntwo\n"
    assert os.readlink(in_layers(platform, image, "srv/data/got/link")) == "both"
    assert in_layers(platform, image, "srv/data/got/both").stat().st_uid == 1234
    assert in_layers(platform, image, "etc/greeting").read_text() == "hello there world\n"
    assert in_layers(platform, image, "home/bob/me").read_text() == "bob\n"
    assert in_layers(platform, image, "home/bob").stat().st_uid == 1234
    assert in_layers(platform, image, "tmp/kept").stat().st_uid == 1234
    say = in_layers(platform, image, "usr/bin/say")  # /bin is a link, which stays one
    assert (say.read_text(), stat.S_IMODE(say.stat().st_mode)) == ("#!/bin/sh\necho hello there\n", 0o750)
    for hidden in (".paas", "src", "etc/resolv.conf.new"):
        with pytest.raises(FileNotFoundError):
            in_layers(platform, image, hidden)
    assert image.startup is not None
    assert image.startup.args == ("/bin/say", "x", "y z")
    assert (image.startup.user, image.startup.port, image.startup.cwd) == (1234, 8080, "/srv/data")

    assert platform.build(app, {**STAGES}).digest == image.digest
    assert started(platform) == []
    assert platform.build(app, {**STAGES, "other.txt": "left out\n"}).digest == image.digest
    changed = platform.build(app, {**STAGES, "one.txt": "ONE\n"})
    assert started(platform) == ["COPY", "RUN", "COPY", "COPY", "COPY", "RUN"]
    assert in_layers(platform, changed, "srv/data/got/both").read_text() == "ONE\ntwo\n"


def test_what_is_mounted_is_seen_and_not_kept(platform: BuildPlatform) -> None:
    app = platform.app("mounts")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo("deep/index.html")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"site"))
    files = {**MOUNTS, "site.tgz": archive.getvalue()}
    with pytest.raises(BuildFailed, match=r"RUN .*Dockerfile line 3.* exited with status 1"):
        platform.build(app, files)
    assert any("paas config:set TOKEN=" in line for line in platform.lines)
    secrets = {"TOKEN": "s3cret-value", "KEY": "an0ther"}
    image = platform.build(app, files, config=secrets)
    assert in_layers(platform, image, "srv/made/size").read_text() == "12\n7\n"
    assert in_layers(platform, image, "srv/made/file").read_text() == "bound\n"
    assert in_layers(platform, image, "srv/site/deep/index.html").read_text() == "site"
    assert in_layers(platform, image, "usr/share/doc").is_char_device()
    for path in ("run/secrets/TOKEN", "mnt/sub/file", "var/cache/mine/times"):
        with pytest.raises(FileNotFoundError):
            in_layers(platform, image, path)
    for digest in image.layers[1:]:
        blob = platform.layout.images / "blobs" / "sha256" / digest.removeprefix("sha256:")
        assert not any(value.encode() in blob.read_bytes() for value in secrets.values())
    assert [line.strip() for line in platform.lines if line.strip() in ("4321", "77")] == ["4321", "77"]
    assert image.startup is not None
    assert (image.startup.user, image.startup.group) == (4321, 77)

    assert platform.build(app, files, config={**secrets, "TOKEN": "renewed"}).digest == image.digest
    again = {**files, "sub/file": "changed\n"}
    changed = platform.build(app, again, config=secrets)
    assert in_layers(platform, changed, "srv/made/times").read_text().strip() == "2"


def test_a_scratch_image_has_what_was_copied_and_nothing_else(platform: BuildPlatform) -> None:
    files = {
        "Dockerfile": 'FROM scratch\nCOPY hello.sh /bin/hello\nUSER 5\nCMD ["/bin/hello"]\n',
        "hello.sh": "x",
    }
    image = platform.build(platform.app("scratch"), files)
    assert stat.S_IMODE(in_layers(platform, image, "bin/hello").stat().st_mode) == 0o755
    assert len(image.layers) == 1
    (layer,) = image.layers
    found = sorted(os.listdir(platform.layout.layers / layer.removeprefix("sha256:")))
    assert found == ["bin", "etc", "tmp"]


def test_apt_uses_the_machines_sources_until_the_dockerfile_writes_others(platform: BuildPlatform) -> None:
    text = """FROM debian:12-slim
RUN apt-config dump | grep -E '^Dir::Etc::source' && apt-get -qq update && apt-get -qq install --reinstall ca-certificates
RUN sed -i 's/main/main contrib/' /etc/apt/sources.list && apt-config dump | grep -E '^Dir::Etc::source'
CMD ["true"]
"""
    image = platform.build(platform.app("sources"), {"Dockerfile": text})
    told = [
        line.strip() for line in platform.lines if "Dir::Etc::source" in line and "Dockerfile" not in line
    ]
    assert told == [
        'Dir::Etc::sourcelist "/run/apt/sources.list";',
        'Dir::Etc::sourceparts "sources.list.d";',
        'Dir::Etc::sourcelist "sources.list";',
        'Dir::Etc::sourceparts "sources.list.d";',
    ]
    for hidden in ("run/apt/apt.conf", ".paas/ca-certificates.crt"):
        with pytest.raises(FileNotFoundError):
            in_layers(platform, image, hidden)
    assert not list(in_layers(platform, image, "var/cache/apt/archives").glob("*.deb"))


def test_an_address_is_fetched_and_compared(platform: BuildPlatform) -> None:
    sources = registry.load(platform.layout).apt.get("debian-12", [])
    mirror = sources[0].split()[-3].rstrip("/") if sources else "http://deb.debian.org/debian"
    with urllib.request.urlopen(f"{mirror}/dists/bookworm/Release", timeout=60) as answer:
        digest = hashlib.sha256(answer.read()).hexdigest()
    text = f"ADD --checksum=sha256:{digest} {mirror}/dists/bookworm/Release /srv/"
    files = {"Dockerfile": f'FROM scratch\n{text}\nCMD ["/x"]\n'}
    app = platform.app("fetched")
    found = in_layers(platform, platform.build(app, {**files}), "srv/Release")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == digest
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    files["Dockerfile"] = files["Dockerfile"].replace(digest, "0" * 64)
    with pytest.raises(BuildFailed, match=r"ADD --checksum.*Dockerfile line 2.* exited with status 1"):
        platform.build(app, {**files})
    said = f"what was fetched is not sha256:{'0' * 64}, but sha256:{digest}"
    assert any(said in line for line in platform.lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM debian-12\nRUN echo before && exit 3\n", "RUN echo before && exit 3 (Dockerfile line 2) exited with status 3"),
        ("FROM debian-12\nCOPY --chown=nobodyknows x /x\n", "COPY --chown=nobodyknows x /x (Dockerfile line 2) exited"),
        ("FROM debian-99\nRUN true\n", "FROM debian-99: no such stack"),
    ],
)  # fmt: skip
def test_what_fails_is_named_with_its_line(platform: BuildPlatform, text: str, said: str) -> None:
    files = {"Dockerfile": text + 'CMD ["true"]\n', "x": "x"}
    with pytest.raises(BuildFailed) as failed:
        platform.build(platform.app(f"fail-{abs(hash(text)) % 10**8}"), files)
    assert said in failed.value.message
