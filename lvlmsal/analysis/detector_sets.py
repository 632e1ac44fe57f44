"""Detectors made ready for one model: those that can judge, and those to be fitted on labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lvlmsal.attention.editor import Bindable
from lvlmsal.detection.asking import Asking
from lvlmsal.detection.base import Detector
from lvlmsal.detection.judge import Judge, make_judge
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.recording import record
from lvlmsal.detection.scaling_files import read_scalings
from lvlmsal.detection.vocabulary import JudgedWords
from lvlmsal.errors import UnsupportedError
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.registry import DETECTORS


@dataclass(frozen=True)
class ReadyDetectors:
    """Detectors that share a pass of one model.

    Attributes:
        lvlm: The model.
        judges: Those that can judge, by name.
        unfitted: Those that labels are needed for.
        lens: What inner layers are read through.
        notes: Which detectors cannot be had, and why.
    """

    lvlm: Lvlm
    judges: Mapping[str, Judge]
    unfitted: Sequence[Detector]
    lens: Lens
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        names: Iterable[str],
        lvlm: Lvlm,
        file: Path | None = None,
        words: Vocabulary | None = None,
        *,
        ask: bool = False,
    ) -> ReadyDetectors:
        """Make detectors ready.

        A file that holds a fit of a detector speaks for it, so that it can be judged on other
        images than those that it was fitted on.

        Args:
            names: Of detectors; if there are none all that ask no more.
            lvlm: The model.
            file: Of scalings; by default those that are shipped for the model.
            words: Judged words, where the scalings name none; COCO's by default.
            ask: Whether those that ask the model more are added.

        Raises:
            DataError: The file cannot be read.
            UnsupportedError: It is that of another model.
        """
        found, unfitted, notes = {}, [], []
        scaling = {} if file is None else {"scaling": str(file)}
        if file is not None:
            read_scalings(file).refuse_another(lvlm.adapter, file)
        for name in chosen_detectors(names, ask=ask):
            try:
                found[name] = make_judge({"name": name, **scaling}, lvlm.adapter)
            except UnsupportedError as error:
                if DETECTORS.get(name).supervised:
                    unfitted.append(DETECTORS.build(name))
                else:
                    notes.append(f"{name} is left out: {error}")
        own = words or Vocabulary.coco()
        held = next((judge.vocabulary for judge in found.values() if judge.fit is not None), own)
        lens = Lens(lvlm.adapter, JudgedWords(lvlm.adapter.tokenizer, held).tokens)
        return cls(lvlm, found, unfitted, lens, notes)

    def of_tokens(
        self,
        inputs: Mapping[str, Any],
        ids: Sequence[int],
        interventions: Sequence[Bindable] = (),
        asking: Asking | None = None,
    ) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
        """Scores of the judges and features of the others for each token of an answer.

        Args:
            inputs: One encoded prompt.
            ids: Of the answer.
            interventions: Under which it is judged.
            asking: The judged words and the model, for judges that ask it more.
        """
        needs = [need for judge in self.judges.values() for need in judge.needs]
        needs += [need for detector in self.unfitted for need in detector.needs]
        columns = record(
            self.lvlm.adapter,
            inputs,
            torch.tensor([list(ids)]),
            needs,
            lens=self.lens,
            interventions=interventions,
        ).of(0)
        if asking is not None:
            detectors = [judge.detector for judge in self.judges.values()]
            columns.asked.update(asking.risks(detectors, len(ids)))
        scores = {
            name: judge.scores(columns).tolist()
            for name, judge in self.judges.items()
            if not judge.detector.asks_more or judge.detector in columns.asked
        }
        return scores, {one.name: one.features(columns).tolist() for one in self.unfitted}


def chosen_detectors(names: Iterable[str] = (), *, ask: bool = False) -> list[str]:
    """Names of the detectors that are taken.

    Args:
        names: Those that were asked for; if there are none all that do not ask the model more.
        ask: Whether those that do are added, which take as long as several answers.
    """
    asking = {name: DETECTORS.get(name).asks_more for name in DETECTORS}
    found = list(names) or [name for name, asks in asking.items() if not asks]
    return list(dict.fromkeys([*found, *(name for name in asking if ask and asking[name])]))
