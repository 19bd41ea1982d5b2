"""What the machine is short of: the kernel's pressure figures (PSI) against the operator's limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from paas.nouns.settings import Settings

FOLDER = Path("/proc/pressure")
_SOME = re.compile(r"^some avg10=(\d+\.\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Pressure:
    """In `percent` of the last ten seconds something waited for this `resource`, which is more than the `limit`."""

    resource: str
    percent: float
    limit: int

    def __str__(self) -> str:
        return f"{self.resource} pressure is {self.percent:.0f} %, the limit {self.limit} %"


def pressure(settings: Settings, folder: Path = FOLDER) -> Pressure | None:
    """The first of memory, io and cpu that is above its limit; None on a kernel without the figures."""
    limits = {
        "memory": settings.builds_memory_pressure,
        "io": settings.builds_io_pressure,
        "cpu": settings.builds_cpu_pressure,
    }
    for resource, limit in limits.items():
        try:
            found = _SOME.search((folder / resource).read_text())
        except OSError:
            continue
        if found is not None and float(found[1]) > limit:
            return Pressure(resource, float(found[1]), limit)
    return None
