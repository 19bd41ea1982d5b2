-- Where the source came from: an archive's name, or URL#REF of a repository elsewhere; empty for a push.
ALTER TABLE build ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE release ADD COLUMN origin TEXT NOT NULL DEFAULT '';
