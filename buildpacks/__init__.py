"""Buildpacks: from a source tree to a plan of layers, described and never executed. Pure; imports nothing of the platform.

Begin with `plan` (what a buildpack answers), then `detect` (`choose` picks one), then a language: `python`, `node`, `static`. Beside a language
lie its parts: `pyversion` (which Python), `pydependencies` and `pysteps`, `requirements`, `noderuntime` and `semver`; `pyfailures` and `nodefailures` explain failed builds.
`libraries` looks at what was compiled.
"""
