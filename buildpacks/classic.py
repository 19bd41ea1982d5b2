"""Heroku's classic buildpacks: programs `bin/detect`, `bin/compile` and `bin/release`, and how what they print is read. Pure.

The contract: `detect BUILD_DIR`, `compile BUILD_DIR CACHE_DIR ENV_DIR`, `release BUILD_DIR` which prints YAML; a file `export`
is sourced before the next one runs. BUILD_DIR is /app itself, so what they install finds itself again at run time.
"""

from __future__ import annotations

import re

from buildpacks.failurehint import FailureHint

_PROCESS = re.compile(r"([\"']?)([A-Za-z0-9_][A-Za-z0-9_-]*)\1\s*:\s+(\S.*)")
_ITEM = re.compile(r"-\s+(\S.*)")
HINTS = (
    FailureHint(
        r"^the buildpack (?P<name>.+) does not fit: bin/detect refused$",
        "the buildpack {name} does not fit this app: its bin/detect refused",
        "Add the files that it looks for, or take it out of the list.",
    ),
    FailureHint(
        r"^the buildpack (?P<name>.+) failed: bin/compile ended with (?P<status>\d+)$",
        "bin/compile of the buildpack {name} ended with status {status}",
        "The lines above are its own.",
    ),
)

RUN = r"""had_procfile=; [ ! -e Procfile ] || had_procfile=1
run_buildpack() {
  local name=$1 pack=$2 status=0
  chmod -f +x "$pack"/bin/* || true
  if [ -e "$pack/bin/detect" ]; then
    local found; found=$("$pack/bin/detect" /app) || { echo "the buildpack $name does not fit: bin/detect refused"; exit 1; }
    echo "$found app, by the buildpack $name"
  fi
  "$pack/bin/compile" /app "$CACHE_DIR" "$ENV_DIR" || status=$?
  [ $status = 0 ] || { echo "the buildpack $name failed: bin/compile ended with $status"; exit 1; }
  if [ -f "$pack/export" ]; then set +e; . "$pack/export"; set -e; fi
  cd /app
  rm -rf .buildpack-release
  if [ -e "$pack/bin/release" ]; then "$pack/bin/release" /app | head -c 65536 >.buildpack-release; fi
}
for ((at = 0; at < ${#packs[@]}; at += 2)); do run_buildpack "${packs[at]}" "${packs[at + 1]}"; done
if [ -z "$had_procfile" ] && [ -f Procfile ]; then
  rest=$(cat .buildpack-release 2>/dev/null || true)
  { echo default_process_types:; head -c 65536 Procfile | sed 's/^/  /'; echo; printf '%s\\n' "$rest"; } >.buildpack-release
fi
"""


def procfile_of(release: str) -> str:
    """The lines of a Procfile for `default_process_types` of what `bin/release` printed; unlike YAML at large, each command is
    one line, plain or in quotes. A line that is neither stays as it is, for the reader of the Procfile to refuse."""
    lines = []
    for line in section(release, "default_process_types"):
        match = _PROCESS.fullmatch(line)
        lines.append(f"{match[2]}: {_plain(match[3])}\n" if match else f"{line}\n")
    return "".join(lines)


def config_vars_of(release: str) -> dict[str, str]:
    """What `config_vars` of it sets, one a line; the names are not judged."""
    found = (_PROCESS.fullmatch(line) for line in section(release, "config_vars"))
    return {match[2]: _plain(match[3]) for match in found if match}


def addons_of(release: str) -> list[str]:
    """The services that `addons` of it asks for, each as `NAME:PLAN`."""
    found = (_ITEM.fullmatch(line) for line in section(release, "addons"))
    return [_plain(match[1]) for match in found if match]


def section(release: str, name: str) -> list[str]:
    """The lines below the first key of this name at the top, without the space around them; an item of a list may begin at
    the margin."""
    lines: list[str] = []
    inside = False
    for line in release.splitlines():
        if line[:1] not in ("", " ", "\t", "#") and not (inside and line.startswith("- ")):
            if inside:
                break
            inside = re.fullmatch(rf":?{name}:\s*", line) is not None
        elif inside:
            lines.append(line.strip())
    return lines


def _plain(text: str) -> str:
    """A YAML word or sentence without its quotes."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
