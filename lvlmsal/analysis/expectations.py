"""Errors of expecting: wrong mentions of what the habits of a scene world suggest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lvlmsal.benchmarks.base import Benchmark, Sample
from lvlmsal.pocket.files.folder import NOTE
from lvlmsal.pocket.worlds import read_world


@dataclass(frozen=True)
class Expectations:
    """What habits suggest for the images of a scene world.

    Attributes:
        suggested: The classes that they suggest, by the id of a sample.
        chance: Share of the absent classes that they suggest, by the same: what one who guesses
            would have of them among wrong mentions.
    """

    suggested: dict[str, frozenset[str]]
    chance: dict[str, float]

    @classmethod
    def of(cls, benchmark: Benchmark) -> Expectations | None:
        """Those of a benchmark about the images of a scene world; None for any other.

        Raises:
            DataError: The world is of another version.
        """
        root = Path(benchmark.root)
        if not (root / NOTE).is_file():
            return None
        world, scene_of = read_world(root)
        suggested, chance = {}, {}
        for sample in benchmark.samples():
            scene = scene_of(int(sample.group))
            suggested[sample.id] = world.suggested(scene)
            absent = scene.absent
            chance[sample.id] = sum(name in suggested[sample.id] for name in absent) / len(absent)
        return cls(suggested, chance)

    def note(self) -> str:
        """What the split of wrong mentions has to be compared with."""
        share = sum(self.chance.values()) / len(self.chance)
        return f"habits suggest {share:.0%} of the classes that are absent, mean over images"

    def suggests(self, sample: Sample, name: str) -> bool:
        """Whether they suggest an object on the image of a sample."""
        return name in self.suggested[sample.id]
