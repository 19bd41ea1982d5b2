"""`git push` and `git fetch`: the objects are checked in confined children, the commit is exported to a source, the API deploys
it, and only then the ref moves. Imports `cli`'s client, `build`'s source, `keys` and `nouns`.

Begin with `push`: its `deploy` is the whole order of a push. It extends `dulwich_protocol` (what the client sends and is
answered) and calls, in this order, `policy` (may this ref move?), `push_queue` (the app's lock, by `locks` and `heads`),
`quarantine` (the pack, by `children` that run `git`, `listing` and `export`; `verdicts` names their failures) and `follower`
(the deployment, by `api`). `repository` and `sources` are the disk, `wire` and `progress` the client, `context` what all
share. Apart from that: `upload` is a fetch, `housekeeping` runs now and then.
"""
