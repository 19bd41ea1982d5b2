"""What should run of an app: of which releases, which process types, how many of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paas.nouns.model import CANARY, App, Canary, FormationEntry, Image, Release
from paas.runs.specs import RELEASE_TYPE, WEB

Slot = tuple[str, int]


@dataclass(frozen=True)
class Desired:
    """An app and the rows that say what should run of it: `release` and `image` serve, `canary_*` are the canary's."""

    app: App
    release: Release | None = None
    image: Image | None = None
    formation: Mapping[str, FormationEntry] = field(default_factory=dict)
    canary: Canary | None = None
    canary_release: Release | None = None
    canary_image: Image | None = None

    def places(self, image: Image | None) -> list[Slot]:
        """The slots that this image has in the formation, of stopped process types too; `web` first."""
        slots = [
            (type, number)
            for type, entry in self.formation.items()
            if image is not None and type in image.processes and type != RELEASE_TYPE
            for number in range(1, entry.quantity + 1)
        ]
        return sorted(slots, key=lambda slot: (slot[0] != WEB, slot))

    def wanted(self, image: Image | None) -> list[Slot]:
        """The slots that should run of this image, `web` first."""
        return [slot for slot in self.places(image) if not self.formation[slot[0]].stopped]

    def canary_places(self) -> list[Slot]:
        """The slots of the canary, whether they should run now or not."""
        if self.canary is None or self.canary_image is None or WEB not in self.canary_image.processes:
            return []
        return [(CANARY, number) for number in range(1, self.canary.quantity + 1)]

    def wanted_canary(self) -> list[Slot]:
        """The slots that should run for the canary: none while web is stopped or scaled to 0."""
        return self.canary_places() if self.web_count else []

    @property
    def web_count(self) -> int:
        """How many web instances people ask for; 0 while web is stopped."""
        web = self.formation.get(WEB)
        return 0 if web is None or web.stopped else web.quantity
