from __future__ import annotations

from hypothesis import settings

settings.load_profile("ci")  # the same examples each time, without a deadline; tests/fuzz explores
