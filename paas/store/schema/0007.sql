-- What differs from the defaults of paas/nouns/buildsettings.py: {"root": "services/api", "procfile": "deploy/Procfile"}
ALTER TABLE app ADD COLUMN build_settings TEXT NOT NULL DEFAULT '{}';
