"""What detectors have said of the answers of a run, kept answer by answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from lvlmsal import __version__
from lvlmsal.analysis.detector_mentions import DetectedMention
from lvlmsal.analysis.detector_sets import ReadyDetectors
from lvlmsal.errors import DataError
from lvlmsal.readers.rows import read_json_rows
from lvlmsal.registry import options_of

PASSES: Final = "passes.jsonl"
"""What the file is called in the folder of a comparison."""


class PassStore:
    """Mentions with scores and features by the key of the answer, a line each.

    A line counts where the detectors are the same ones: their names, options and fits, and the
    version of this library. So a comparison that was stopped goes on, and one under other detectors
    begins again.

    Args:
        path: Of the file; made with the first line.

    Raises:
        DataError: A line is damaged, other than a last one that is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, str], list[DetectedMention]] = {}
        if path.is_file():
            _drop_cut_line(path)
            for row in read_json_rows(path) if path.stat().st_size else []:
                self._known[row.text("key"), row.text("detectors")] = _read(row.data, path)

    def of(self, key: str, detectors: str) -> list[DetectedMention] | None:
        """The mentions of an answer under some detectors; None where that has to be found out."""
        return self._known.get((key, detectors))

    def add(self, key: str, detectors: str, mentions: Sequence[DetectedMention]) -> None:
        """Keep the mentions of an answer."""
        line = {"key": key, "detectors": detectors, "mentions": [asdict(m) for m in mentions]}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._known[key, detectors] = list(mentions)

    def latest(self) -> list[DetectedMention]:
        """The mentions of all answers, each under the detectors that it was judged by last.

        Raises:
            DataError: Some were judged by others than the rest, or there are none.
        """
        last = {key: mentions for (key, _), mentions in self._known.items()}
        found = [mention for mentions in last.values() for mention in mentions]
        # of answers that are no descriptions some detectors have nothing to say
        sets = {(m.model, m.benchmark, frozenset(m.scores), frozenset(m.features)) for m in found}
        if not found or len(sets) > len({(m.model, m.benchmark) for m in found}):
            raise DataError(
                "holds no answers, or some that were judged by other detectors than the rest: give "
                "the command lvlmsal detect compare once more",
                path=self.path,
            )
        return found


def mark_of(ready: ReadyDetectors) -> str:
    """What tells these detectors from those of another comparison.

    Args:
        ready: Of one model; records of a run are bound to its weights already.
    """
    held: dict[str, Any] = {
        name: [options_of(judge.detector), judge.fit and judge.fit.to_dict()]
        for name, judge in ready.judges.items()
    }
    needed = {one.name: options_of(one) for one in ready.unfitted}
    content = [__version__, held, needed, ready.lens.tokens]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _drop_cut_line(path: Path) -> None:
    """Drop a last line without an end, which a process that was killed has left."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def _read(data: dict[str, Any], path: Path) -> list[DetectedMention]:
    try:
        return [DetectedMention(**entry) for entry in data["mentions"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"a line is not whole: {error!r}", path=path) from error
