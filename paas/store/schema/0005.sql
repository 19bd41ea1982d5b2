-- Names that apps had until they were renamed: whoever uses one is told the new name.
CREATE TABLE former_name (
    name TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    until REAL NOT NULL                                      -- seconds since 1970
) STRICT;
