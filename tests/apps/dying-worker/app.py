raise RuntimeError("the settings are missing")
