"""Stacks: the base layers every app runs and builds on. Imports `image`. `python -m runtime.stack` makes and lists them.

Begin with `build`, then `debian`.
"""
