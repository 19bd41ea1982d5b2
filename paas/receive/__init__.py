"""`git push` and `git fetch`: what arrives is checked in confined children, exported to a source, deployed by the API, and only
then the ref moves. Imports `cli`'s client, `build`'s source, `keys` and `nouns`.

Begin with `push`, then `receive` (the protocol), `policy`, `children` and `export`; `repository` and `locks` keep the disk in order,
`housekeeping` is done now and then.
"""
