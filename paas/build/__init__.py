"""From a source to an image: choose a buildpack, make or reuse each layer, assemble the image.
Imports `store`, `manifest`, `runs` and `nouns`.

Begin with `image`, then `step` (one container that makes a layer; `turns` limits how many run, `output` has what they print) and `source`
(a pushed tree on disk); `stack` has a base system made, `pythons` lists the Pythons there are. `platform` names what a build needs around it. Package registries:
`package_settings` reads the machine's, `publish` writes what builds may know, `registry` turns it into a build's environment.
"""
