"""The container runtime: layers, images, containers, networks. Standard library only; knows nothing of apps. `python -m runtime` runs it alone.

Begin with `spec` (an Order and a Box), then `container`, then `spawner`.
"""
