-- A second release beside the serving one, which gets a share of its requests.
CREATE TABLE canary (
    app_id TEXT PRIMARY KEY REFERENCES app (id) ON DELETE CASCADE,
    release_number INTEGER NOT NULL,
    share INTEGER NOT NULL CHECK (share BETWEEN 0 AND 100),   -- percent of the requests
    quantity INTEGER NOT NULL CHECK (quantity > 0),           -- web instances of that release
    created_at REAL NOT NULL
) STRICT;

ALTER TABLE instance ADD COLUMN canary INTEGER NOT NULL DEFAULT 0;   -- 1: runs for the canary, named canary.1
