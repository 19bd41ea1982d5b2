-- Times are unix seconds (REAL); JSON columns hold what their comment says. Desired and observed never share a table.

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE ssh_key (
    fingerprint TEXT PRIMARY KEY,               -- SHA256:…
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    public_key TEXT NOT NULL,                   -- "ssh-ed25519 AAAA…"
    comment TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,                  -- sha256 of the token, hex
    name TEXT NOT NULL,
    created_at REAL NOT NULL,
    last_used_at REAL
) STRICT;

CREATE TABLE app (
    id TEXT PRIMARY KEY,                        -- 'a' and ten hex digits; never used again
    name TEXT NOT NULL UNIQUE,
    owner_id INTEGER REFERENCES user (id) ON DELETE SET NULL,
    range_index INTEGER NOT NULL UNIQUE,        -- which id range of the home's block
    deploy_branch TEXT NOT NULL DEFAULT 'main',
    stack TEXT NOT NULL DEFAULT 'debian-12',
    release_number INTEGER,                     -- the serving release; set only when a deployment succeeds
    config_number INTEGER NOT NULL DEFAULT 0,   -- the desired configuration
    restart_token INTEGER NOT NULL DEFAULT 0,   -- ps:restart raises it
    destroying INTEGER NOT NULL DEFAULT 0,      -- the loop removes everything, then the row
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE config (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    vars TEXT NOT NULL,                         -- {"NAME": "value"}
    created_at REAL NOT NULL,
    PRIMARY KEY (app_id, number)
) STRICT;

CREATE TABLE build (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    commit_sha TEXT NOT NULL,
    tree TEXT NOT NULL,
    actor TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled')),
    cause TEXT NOT NULL DEFAULT '',
    image_digest TEXT,
    holder TEXT NOT NULL,                       -- boot id, pid and start ticks of the process that builds
    started_at REAL NOT NULL,
    finished_at REAL,
    PRIMARY KEY (app_id, number)
) STRICT;

CREATE TABLE image (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,                       -- of the OCI manifest
    layers TEXT NOT NULL,                       -- ["sha256:…"], lowest first, stack included
    env TEXT NOT NULL,                          -- {"PATH": …}: what the buildpack sets
    processes TEXT NOT NULL,                    -- {"web": "gunicorn app:app"}
    manifest TEXT NOT NULL,                     -- app.json as read (healthchecks, formation …)
    stack TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (app_id, digest)
) STRICT;

-- A dependency layer that was made once: key -> digest. Shared between apps only where the key says so.
CREATE TABLE layer_key (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    used_at REAL NOT NULL
) STRICT;

CREATE TABLE release (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    image_digest TEXT,                          -- null: config set before the first push
    config_number INTEGER NOT NULL,
    limits TEXT NOT NULL,                       -- {"web": {"memory_bytes": …}}: as they stood
    description TEXT NOT NULL,
    commit_sha TEXT,
    actor TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'cancelled')),
    cause TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    PRIMARY KEY (app_id, number),
    FOREIGN KEY (app_id, image_digest) REFERENCES image (app_id, digest)
) STRICT;

CREATE TABLE formation (
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    limits TEXT NOT NULL DEFAULT '{}',          -- {"memory_bytes": …, "cpu_millis": …, "pids": …}: what differs
    stopped INTEGER NOT NULL DEFAULT 0,         -- ps:stop: the quantity is kept, nothing runs
    PRIMARY KEY (app_id, type)
) STRICT;

CREATE TABLE deployment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    release_number INTEGER NOT NULL,
    from_release INTEGER,
    push INTEGER NOT NULL DEFAULT 0,            -- runs the release command
    state TEXT NOT NULL,                        -- see paas/lifecycle.py
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    error TEXT,                                 -- PaasError.to_json()
    created_at REAL NOT NULL,
    step_at REAL NOT NULL,                      -- when the state was entered
    finished_at REAL
) STRICT;

CREATE UNIQUE INDEX one_unfinished_deployment ON deployment (app_id) WHERE finished_at IS NULL;

CREATE TABLE deployment_line (
    deployment_id INTEGER NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (deployment_id, seq)
) STRICT;

CREATE TABLE instance (
    id INTEGER PRIMARY KEY AUTOINCREMENT,       -- shown as i91
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('process', 'release', 'run', 'cron', 'build')),
    type TEXT NOT NULL,                         -- web, worker; run; release; build
    number INTEGER NOT NULL,                    -- web.1
    release_number INTEGER,
    deployment_id INTEGER,
    restart_token INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,                        -- see paas/lifecycle.py
    detail TEXT NOT NULL DEFAULT '{}',          -- run: {"argv": […], "actor": …}; build: {"build": N}
    address TEXT,
    port INTEGER,
    created_at REAL NOT NULL,
    state_at REAL NOT NULL,
    healthy_at REAL,
    ended_at REAL,
    cause TEXT NOT NULL DEFAULT '',             -- why it ended: data, not a state
    exit TEXT                                   -- the runtime's exit record
) STRICT;

CREATE INDEX live_instances ON instance (app_id) WHERE ended_at IS NULL;
CREATE INDEX instances_of_slot ON instance (app_id, type, number, id);

CREATE TABLE domain (
    name TEXT PRIMARY KEY,                      -- lower case; `*.example.com` allowed
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    app_id TEXT,
    actor TEXT NOT NULL,
    verb TEXT NOT NULL,                         -- app.create, config.set, release.succeeded …
    detail TEXT NOT NULL DEFAULT '{}'
) STRICT;
