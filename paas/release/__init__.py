"""What makes a release live: the pipeline of a push, deployments, canaries, scripts that run after. Transactions and waiting; the
loop in `converge` does the moving. Imports `build`, `converge`'s diagnosis, `store` and below.

Begin with `pipeline`, then `release`, `deployment` and `canary`; `capacity` admits memory, `resume` picks up a push whose answer broke off,
`postdeploy` runs the scripts of app.json.
"""
