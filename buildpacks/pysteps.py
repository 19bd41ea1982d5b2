"""The steps of a Python app: its Python, its virtual environment, static files, hooks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from buildpacks import static
from buildpacks.failurehint import FailureHint
from buildpacks.plan import Step
from buildpacks.pyfailures import DJANGO_HINTS, DJANGO_NOTICES, failure_hints
from buildpacks.pyversion import Chosen, Python
from buildpacks.pyweb import WebCommand

RECIPE = "python-2"
PRE_COMPILE, POST_COMPILE = "bin/pre_compile", "bin/post_compile"
_DOWNLOADS = ".paas-python.json"

BUILD_ENV = {
    "VIRTUAL_ENV": "/app/.venv",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",
    "UV_NO_PROGRESS": "1",
    "UV_CACHE_DIR": "/cache/uv",
    "SOURCE_DATE_EPOCH": "315532800",
    "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    "PYTHONUNBUFFERED": "1",
}
RUN_ENV = {
    "VIRTUAL_ENV": "/app/.venv",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": "/app",
    "LANG": "C.UTF-8",
    "FORWARDED_ALLOW_IPS": "*",
}
MKDOCS_SERVED = static.serve_command("site", pushstate=False)
VENV = "uv venv --quiet /app/.venv\n"
INSTALL = "uv pip install --python /app/.venv --compile-bytecode"


def install_step(script: str, inputs: Iterable[str], **more: Any) -> Step:
    return venv_step(
        "dependencies",
        "Installing dependencies with uv",
        VENV + script,
        inputs=tuple(inputs),
        reused="Restoring cache: dependencies unchanged, layer reused",
        **more,
    )


def venv_step(name: str, title: str, script: str, **more: Any) -> Step:
    """A step that installs with uv into the app's virtual environment."""
    return Step(
        name=name,
        title=title,
        script=script,
        outputs=("/app/.venv",),
        key=(RECIPE,),
        env=dict(BUILD_ENV),
        tools=("uv",),
        **more,
    )


def with_python(steps: Iterable[Step], chosen: Chosen) -> tuple[Step, ...]:
    """The steps, each with this Python: uv takes it for the virtual environment, and a fetched one lies below all."""
    python = chosen.python
    hints = failure_hints(python.minor, chosen.remedies)
    made = []
    for step in steps:
        if "uv" in step.tools:
            step = replace(step, env={**step.env, "UV_PYTHON": python.interpreter}, failure_hints=hints)
        made.append(replace(step, onto=("python", *step.onto)) if python.download else step)
    return (_fetch_step(python, chosen.remedies), *made) if python.download else tuple(made)


def _fetch_step(python: Python, remedies: tuple[str, ...]) -> Step:
    """CPython below /app/.python, as uv fetches and checks it: one layer for all apps. Its own tests are left out, and its
    library is compiled, because nobody can write the byte code beside it later."""
    download = python.download
    assert download is not None
    home = f"/app/.python/{download.key}"
    listed = f" --python-downloads-json-url file:///app/{_DOWNLOADS}" if download.entry else ""
    script = f"""uv python install {download.key} --install-dir /app/.python --no-bin{listed}
find /app/.python -mindepth 1 -maxdepth 1 ! -name {download.key} -exec rm -r {{}} +
rm -rf {home}/lib/python{python.minor}/test
{python.interpreter} -m compileall -q -j 0 --invalidation-mode unchecked-hash {home}/lib/python{python.minor} || true
{python.interpreter} -c "import ssl, sqlite3, zlib"
"""
    write = (
        f"Write {remedies[0]} into .python-version: stacks bring {', '.join(remedies)}." if remedies else ""
    )
    advice = f"{write} Or have the operator name a mirror: builds.python_install_mirror in paas.yml.".lstrip()
    what = f"Python {python.full} cannot be fetched"
    return Step(
        name="python",
        title=f"Fetching Python {python.full}",
        script=script,
        outputs=("/app/.python",),
        key=(RECIPE, download.key),
        written=((_DOWNLOADS, f'{{"{download.key}": {download.entry}}}'),) if download.entry else (),
        env={"UV_HTTP_RETRIES": "1", "UV_NO_PROGRESS": "1", "SOURCE_DATE_EPOCH": "315532800"},
        tools=("uv",),
        shared=True,
        failure_hints=(
            FailureHint(r"Hash mismatch", f"{what}: it is not what its digest says", advice),
            FailureHint(
                (r"Failed to (?:download|install)", r"https?://(?:[^@/\s'`]*@)?(?P<host>[^/\s'`)]+)"),
                f"{what} from {{host}}",
                advice,
            ),
            FailureHint(r"Failed to (?:download|install)|failed to", what, advice),
        ),
        reused=f"Restoring cache: Python {python.full}, layer reused",
    )


def over_pre_compile(steps: Iterable[Step]) -> list[Step]:
    """The app's hook before everything else: what is installed may depend on what it does to the source."""
    first = _hook_step(PRE_COMPILE, "pre_compile", ())
    return [
        first,
        *(
            replace(step, source=True, after_source=True, shared=False, onto=(first.name, *step.onto))
            for step in steps
        ),
    ]


def post_compile_step(onto: tuple[str, ...]) -> Step:
    """The app's own hook, over everything that was installed and collected."""
    return _hook_step(POST_COMPILE, "post_compile", onto)


def mkdocs_steps() -> tuple[Step, ...]:
    """The pages of a MkDocs site, and the server of sites for them."""
    pages = _over_source("mkdocs", "mkdocs build --clean --site-dir /app/site\n", ("dependencies",))
    return (
        replace(pages, title="Making the pages with mkdocs build", serves="web"),
        replace(static.serve_step(), serves="web"),
    )


def _hook_step(path: str, name: str, onto: tuple[str, ...]) -> Step:
    step = _over_source(name, f"if [ -x {path} ]; then {path}; else bash -e {path}; fi\n", onto)
    return replace(
        step, title=f"Running {path}", reused=f"{path}: sources and config unchanged, layer reused"
    )


def _over_source(name: str, script: str, onto: tuple[str, ...]) -> Step:
    """A step that runs the app's own code over its source, with the config vars."""
    return Step(
        name=name,
        title="",
        script=script,
        outputs=("/app",),
        key=(RECIPE,),
        source=True,
        config=True,
        after_source=True,
        env={**RUN_ENV, "PYTHONDONTWRITEBYTECODE": "1"},
        onto=onto,
    )


def collectstatic_step(onto: tuple[str, ...]) -> Step:
    """Django's static files, over the source, with the config vars. A project as Django starts it has no place for them."""
    script = """if [ -n "${DISABLE_COLLECTSTATIC:-}" ] && [ "$DISABLE_COLLECTSTATIC" != 0 ]; then
  echo "DISABLE_COLLECTSTATIC is set: nothing collected"; exit 0
fi
if probe=$(python manage.py help collectstatic 2>&1); then
  status=0; python manage.py collectstatic --noinput --traceback >/var/tmp/collect.log 2>&1 || status=$?
  if [ $status != 0 ] && grep -q 'without having set the STATIC_ROOT' /var/tmp/collect.log; then
    echo "STATIC_ROOT is not set: nothing collected"; exit 0
  fi
  cat /var/tmp/collect.log; exit $status
elif [[ $probe == *"Unknown command"* ]]; then
  echo "django.contrib.staticfiles is not installed: nothing to collect"
else
  printf '%s\\n' "$probe"; exit 1
fi
"""
    return replace(
        _over_source("collectstatic", script, onto),
        title="Collecting static files: python manage.py collectstatic --noinput",
        failure_hints=DJANGO_HINTS,
        notices=DJANGO_NOTICES,
        reused="Static files: sources and config unchanged, layer reused",
    )


def server_steps(web: WebCommand) -> tuple[Step, ...]:
    """The server that the app does not name, in a layer of its own."""
    if not web.server:
        return ()
    step = venv_step(
        "server",
        f"Adding {web.server}, which the dependencies do not name, to serve {web.target}",
        f"{INSTALL} {web.server}\n",
        onto=("dependencies",),
        serves="web",
        brings=web.server,
        reused=f"Restoring cache: {web.server}, which the dependencies do not name, serves {web.target}",
    )
    return (step,)
