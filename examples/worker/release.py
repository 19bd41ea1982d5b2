"""The release phase: runs once per release, before any process starts; a failure keeps the old release."""

import os

print(f"preparing {os.environ['PAAS_RELEASE']}", flush=True)
