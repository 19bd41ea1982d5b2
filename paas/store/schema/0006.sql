-- The configuration of an app is that of its serving release.
ALTER TABLE app DROP COLUMN config_number;
