"""What makes a release live: the pipeline of a push, deployments, canaries, scripts that run after. Transactions and waiting; the
loop in `converge` does the moving. Imports `build`, `converge`'s diagnosis, `store` and below.

Begin with `pipeline` (a push from the source to the answer; `push_output` has its lines), then `change` (the operations) and `release` (the next release),
`deployment` (open and follow), `formation` and `canary` (follow instances); `capacity` admits memory, `one_off` starts a command in a container of a release, `postdeploy` runs the scripts of
app.json so, `resume` picks up a push whose answer broke off.
"""
