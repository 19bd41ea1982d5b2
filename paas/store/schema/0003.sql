-- What people set for the requests of an app: one row a value, see paas/routing.py.
CREATE TABLE routing (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    domain TEXT NOT NULL,                       -- one of the app's, or that which stands for all of them
    name TEXT NOT NULL,
    value TEXT NOT NULL,                        -- JSON
    PRIMARY KEY (app_id, domain, name)
) STRICT;
