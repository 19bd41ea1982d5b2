"""The phases of Cloud Native Buildpacks: detect, restore, build and export, as programs of the standard library alone.

They run inside a build, as the app's user (`__main__`), and before each process of what was built (`launch`); the platform
itself only hands their files over. Begin with `__main__`, then `detection`, `building` and `launch`. The contract is the
Buildpack Interface (github.com/buildpacks/spec, buildpack.md) in its versions 0.8 to 0.12.
"""
