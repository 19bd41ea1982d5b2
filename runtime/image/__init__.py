"""Layers and images on disk, made from hostile trees and archives by confined children. Imports `kernel` and `home`.

Begin with `layerstore` and `ocilayout`, then `make`, which starts `snapshot` and `unpack`; `tarreader`, `tarwriter` and `layerwriter` do the bytes.
"""
