"""Descriptions of scenes, of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.benchmarks.sample import Sample
from lvlmsal.metrics.base import CountMetric
from lvlmsal.pocket.worlds import read_world
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("statements")
@dataclass(eq=False, kw_only=True)
class Statements(Chair):
    """CHAIR on the images of a scene world, and which introductions are wrong.

    Expected layout: that of a scene world, as ``lvlmsal.pocket`` writes it::

        root/world.json     root/annotations/{instances,captions}.json     root/images

    What is asked and how objects are found is that of the benchmark ``chair``, with the same
    options. Scenes are drawn again from the seed that ``world.json`` notes, for the colors of their
    objects and for what they suggest.
    """

    summary: ClassVar[str] = "Descriptions of a scene world: CHAIR, and wrong introductions."
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("", {"objects": ["star"], "colors": {"star": "red"}, "suggested": ["moon"], "absent": 15}),
        ("", {"objects": ["car"], "colors": {"car": "red"}, "suggested": ["bus"], "absent": 66}),
    )

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per annotated image, with colors, and what the scene suggests."""
        world, scene_of = read_world(Path(self.root))
        samples = []
        for sample in super().read(problems):
            scene = scene_of(int(sample.id))
            colors = {thing.name: thing.color for thing in scene.things if thing.color}
            target = {
                "objects": sample.target,
                "colors": dict(sorted(colors.items())),
                "suggested": sorted(world.suggested(scene).intersection(scene.absent)),
                "absent": len(scene.absent),
            }
            samples.append(replace(sample, target=target))
        return samples

    def metric(self) -> CountMetric:
        """CHAIR's figures and those of statements, with the vocabulary of the options."""
        path = self.vocabulary_file()
        name = str(path or "coco")
        return METRICS.build("statements", vocabulary=name, singularizer=self._rule())
