"""Descriptions of scenes, of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from lvlmsal.benchmarks.chair.benchmark import Chair
from lvlmsal.benchmarks.sample import Sample
from lvlmsal.errors import DataError
from lvlmsal.metrics.base import CountMetric
from lvlmsal.pocket.files.folder import NOTE, note_problem
from lvlmsal.pocket.worlds import WORLDS
from lvlmsal.readers.rows import read_json_object
from lvlmsal.registry import BENCHMARKS, METRICS


@BENCHMARKS.register("statements")
@dataclass(eq=False, kw_only=True)
class Statements(Chair):
    """CHAIR on the images of a scene world, and which introductions are wrong.

    Expected layout: that of a scene world, as ``lvlmsal.pocket`` writes it::

        root/world.json     root/annotations/{instances,captions}.json     root/images

    What is asked and how objects are found is that of the benchmark ``chair``, with the same
    options. The colors of the objects are drawn again from the seed that ``world.json`` notes.
    """

    summary: ClassVar[str] = "Descriptions of a scene world: CHAIR, and wrong introductions."
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    examples: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("", {"objects": ["star"], "colors": {"star": "red"}}),
        ("", {"objects": ["car", "person"], "colors": {"car": "red"}}),
    )

    def read(self, problems: list[str]) -> list[Sample]:
        """One sample per annotated image, with the colors of its objects."""
        path = Path(self.root) / NOTE
        note = read_json_object(path, "the note of a scene world")
        if problem := note_problem(note):
            raise DataError(problem, path=path)
        world = WORLDS.get(note["kind"])
        if world is None or note.get("version") != world.version:
            raise DataError(
                f"is of the world {note['kind']!r}, version {note.get('version')!r}; expected "
                f"{', '.join(f'{name} {known.version}' for name, known in WORLDS.items())}",
                path=path,
            )
        samples = []
        for sample in super().read(problems):
            index = int(sample.id) - 1
            scene = world.scene_number(index, seed=note["seed"], shifted=note["shifted"])
            colors = {thing.name: thing.color for thing in scene.things if thing.color}
            target = {"objects": sample.target, "colors": dict(sorted(colors.items()))}
            samples.append(replace(sample, target=target))
        return samples

    def metric(self) -> CountMetric:
        """CHAIR's figures and those of statements, with the vocabulary of the options."""
        path = self.vocabulary_file()
        name = str(path or "coco")
        return METRICS.build("statements", vocabulary=name, singulariser=self._rule())
