"""Layers and images on disk, made from hostile trees and archives by confined children. Imports `kernel` and `home`.

Begin with `layerstore` and `ocilayout`, then `make`, which runs `snapshot` and `unpack` in a confined child; both write through `layerwriter`
(tree and tar at once) and `newblob`. `tarreader` and `tarwriter` know the format, `names` the allowed paths, `removal` deletes.

`portable` takes images out: into an archive, or by `registry` (a client, whose words are `distribution` and whose connections `reach`) into a registry.
"""
