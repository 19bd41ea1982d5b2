"""The scripts of a Dockerfile's steps: bash over any root file system, by the programs that one layer brings. Pure.

Whatever an instruction needs of the image (names of users, links on the way to a folder, archives) is looked at inside
the build's container, by programs that have no more rights than it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from buildpacks.plan import TOOLS, WORK, Step

NAME = "tools"
PICKED = TOOLS + "/picked"
_PROGRAMS = (
    "bash", "cat", "chmod", "chown", "cp", "dirname", "env", "ln", "mkdir", "rm", "setpriv", "tar",
)  # fmt: skip
_BRING = f"""mkdir -p {TOOLS}/bin {TOOLS}/lib
for name in {" ".join(_PROGRAMS)}; do
  program=$(command -v "$name")
  cp -L "$program" {TOOLS}/bin/
  ldd "$program" | while read -r first arrow path _; do
    if [ "$arrow" = "=>" ]; then cp -Lu "$path" {TOOLS}/lib/
    elif [ "${{first#/}}" != "$first" ]; then cp -Lu "$first" {TOOLS}/ld; fi
  done
done
chmod -R a+rX {TOOLS}
"""

_APT = """if [ -f /run/apt/apt.conf ] && [ -z "${APT_CONFIG:-}" ]; then
  export APT_CONFIG=$HOME/apt.conf
  echo 'APT::Keep-Downloaded-Packages "false";' >"$APT_CONFIG"
  while read -r line; do
    case $line in Dir::Etc::sourceparts*) ;; *) echo "$line" ;; esac
  done </run/apt/apt.conf >>"$APT_CONFIG"
fi
"""
START = f"""t() {{ {TOOLS}/ld --library-path {TOOLS}/lib {TOOLS}/bin/"$@"; }}
set -o pipefail
umask 022
image_home=$HOME
export HOME={TOOLS}/home
t mkdir -p "$HOME/.config/uv" {WORK}
printf '%s' "${{PAAS_NPMRC:-}}" >"$HOME/.npmrc"
printf '%s' "${{PAAS_UV_TOML:-}}" >"$HOME/.config/uv/uv.toml"
export NPM_CONFIG_USERCONFIG=$HOME/.npmrc UV_CONFIG_FILE=$HOME/.config/uv/uv.toml
unset PAAS_NPMRC PAAS_UV_TOML TMPDIR
{_APT}t tar -C {WORK} --no-same-owner -xf -
exec </dev/null
"""
"""What every bare step begins with: its files are unpacked, the registries' settings lie where no layer takes them. apt gets
the machine's sources in place of the file sources.list."""
SHELL = (TOOLS + "/ld", "--library-path", TOOLS + "/lib", TOOLS + "/bin/bash")

_FUNCTIONS = r"""account() {  # USER, GROUP or nothing, what its number is without one; sets uid, gid, home, known
  uid=$1 gid=$2 home=/ known=
  if [ "$1" = 0 ] || [ "$1" = root ]; then uid=0 home=/root; fi
  if [ -f /etc/passwd ]; then
    while IFS=: read -r name _ number group _ folder _ || [ -n "$name" ]; do
      if [ "$name" = "$1" ] || [ "$number" = "$1" ]; then
        uid=$number home=${folder:-/} known=1 gid=${gid:-$group}
        break
      fi
    done </etc/passwd
  fi
  if [ -z "$gid" ]; then if [ "$3" = same ]; then gid=$uid; else gid=0; fi; fi
  if [ -f /etc/group ]; then
    while IFS=: read -r name _ number _ || [ -n "$name" ]; do
      if [ "$name" = "$gid" ]; then gid=$number; break; fi
    done </etc/group
  fi
  case $uid in ''|*[!0-9]*) echo "there is no user $1 in the image's /etc/passwd" >&2; exit 1;; esac
  case $gid in ''|*[!0-9]*) echo "there is no group $gid in the image's /etc/group" >&2; exit 1;; esac
}
put() {  # a file, or a folder's content, to a place
  local from=$1 to=$2 fresh=
  case $to in */) : ;; *) if [ ! -d "$from" ]; then t mkdir -p "$(t dirname "$to")"; fi ;; esac
  if [ -d "$from" ] || [ "${to%/}" != "$to" ]; then
    if [ ! -d "$to" ]; then t mkdir -p "$to"; fresh=1; fi
  fi
  if [ -d "$from" ]; then
    t tar -C "$from" --one-file-system --exclude=./.paas -cf - . |
      t tar -C "$to" -xpf - --same-owner --no-overwrite-dir --keep-directory-symlink
  elif [ -d "$to" ]; then t cp -aH --remove-destination "$from" "${to%/}/"
  else t cp -aH --remove-destination "$from" "$to"; fi
  if [ -n "$fresh" ] && [ -n "${owner:-}" ]; then t chown "$owner" "$to"; fi
}
put_picked() {  # what was picked of another stage, to a place
  local one
  shopt -s nullglob dotglob
  for one in "$1"/*/folder; do put "$one" "$2"; done
  for one in "$1"/*/files/*; do put "$one" "$2"; done
}
"""


def tools_step() -> Step:
    """The programs of bare steps, taken from the stack."""
    return Step(
        name=NAME,
        title="Preparing the tools of Dockerfile builds",
        script=_BRING,
        outputs=(TOOLS,),
        key=("dockerfile-tools-1",),
        root=True,
        shared=True,
        in_image=False,
    )


def run_script(
    words: Sequence[str], folder: str, user: str, *, own_home: bool, before: Sequence[str] = ()
) -> str:
    """Run a command in a folder as a user (`NAME:GROUP`, empty for root). HOME is the user's, but for an `own_home`."""
    name, _, group = user.partition(":")
    home = '"$image_home"' if own_home else '"$home"'
    lines = [
        _FUNCTIONS + f"t mkdir -p {shlex.quote(folder)}",
        f"account {shlex.quote(name or '0')} {shlex.quote(group)} 0",
        *before,
        f"cd {shlex.quote(folder)}",
        f"export HOME={home}",
    ]
    if name in ("", "0", "root") and not group:
        lines.append(f"exec {shlex.join(words)}")
    else:
        lines.append('groups=--clear-groups; if [ -n "$known" ]; then groups=--init-groups; fi')
        setpriv = f"{shlex.join(SHELL[:-1])} {TOOLS}/bin/setpriv"
        lines.append(f'exec {setpriv} --reuid "$uid" --regid "$gid" "$groups" {shlex.join(words)}')
    return "\n".join(lines) + "\n"


def copy_script(puts: Sequence[tuple[str, str]], to: str, owner: str, mode: str) -> str:
    """Put things, each given as the function that does it and its path, to a place; `owner` is `USER:GROUP`, `mode` chmod's."""
    lines = [_FUNCTIONS]
    for function, path in puts:
        place = shlex.quote(path)
        if owner:
            name, _, group = owner.partition(":")
            lines.append(f"account {shlex.quote(name)} {shlex.quote(group)} same; owner=$uid:$gid")
            lines.append(f't chown -hR "$owner" {place}')
        if mode:
            lines.append(f"t chmod -R {shlex.quote(mode)} {place}")
        lines.append(f"{function} {place} {shlex.quote(to)}")
    return "\n".join(lines) + "\n"


def pick_script(patterns: Sequence[str], place: str) -> str:
    """Copy what lies at these paths (with a shell's stars) to `place`/NUMBER: a folder's content to `folder`, files to `files`."""
    lines = ["shopt -s nullglob"]
    for number, pattern in enumerate(patterns):
        into, said = f"{place}/{number}", shlex.quote(f"there is no {pattern} in that stage")
        lines += [
            f"set -- {_globbed(pattern)}",
            f'if [ $# = 0 ] || [ ! -e "$1" ]; then echo {said} >&2; exit 1; fi',
            'for one; do if [ -d "$one" ]; then',
            f"  t mkdir -p {into}/folder",
            '  t tar -C "$one" --one-file-system --exclude=./.paas -cf - . |',
            f"    t tar -C {into}/folder -xpf - --same-owner",
            f'else t mkdir -p {into}/files; t cp -aH "$one" {into}/files/; fi; done',
        ]
    return "\n".join(lines) + "\n"


def _globbed(pattern: str) -> str:
    """A word of bash in which only `*`, `?` and brackets mean something."""
    return "".join(
        piece if piece in "*?[]^-" and piece else shlex.quote(piece)
        for piece in re.split(r"([*?\[\]^-])", pattern)
        if piece
    )
