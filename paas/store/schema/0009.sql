-- A forge tells of pushes to a repository elsewhere; a push to the branch is fetched, built and deployed.
CREATE TABLE hook (
    id TEXT PRIMARY KEY,                        -- part of its address
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    url TEXT NOT NULL,                          -- with the login, if the repository needs one
    branch TEXT NOT NULL,
    secret TEXT NOT NULL,                       -- the forge signs with it
    wanted_at REAL,                             -- since when a push waits that no build has begun for
    heard_at REAL,                              -- the last delivery with a valid signature
    said TEXT NOT NULL DEFAULT '',              -- what became of it
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL                    -- the maker's name
) STRICT;
