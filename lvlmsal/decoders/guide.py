"""A detector at work inside a decoder: which tokens it judges, and how risky they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.decoders.predicting_rows import Rows
from lvlmsal.detection.columns import Columns, union
from lvlmsal.detection.judge import Judge, make_judge
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.rows import logit_readings
from lvlmsal.detection.sampled_consistency import SampledConsistency
from lvlmsal.detection.vocabulary import JudgedWords, judged_vocabulary, words_for
from lvlmsal.errors import UnsupportedError

SHARE: Final = 0.08
"""Of a model's own mentions, those that are too risky unless a decoder is told otherwise."""

FALSE_ALARMS: Final = 0.02
"""Of the right mentions, likewise, where a detector was fitted on labels."""

UNSUPPORTED: Final = 0.7
"""Share of drawn answers that do not name a word's object, from which on it is too risky."""

_SENTENCE_END: Final = re.compile(r"[.!?\u3002\uff01\uff1f][\"')\]]*\s*$|\n")


@dataclass(frozen=True)
class Guide:
    """What judges the candidates of one model.

    Attributes:
        adapter: of the model.
        judge: the detector with its scaling.
        words: that are judged.
        threshold: risks from which a word is too risky; nothing is at 1.
    """

    adapter: ModelAdapter
    judge: Judge
    words: JudgedWords
    threshold: float

    @classmethod
    def of(
        cls,
        adapter: ModelAdapter,
        detector: str | Mapping[str, Any],
        words: str | Sequence[str] | None,
        threshold: float | None,
        share: float | None,
        *,
        samples: bool = False,
    ) -> Guide:
        """Find what is needed for a model; its words are turned into tokens once.

        Args:
            adapter: of the model.
            detector: as in ``lvlm.detect``.
            words: likewise; those of the scaling by default.
            threshold: in place of a share.
            share: of the model's own mentions that are too risky, `SHARE` by default; of a
                detector fitted on labels, of the right ones among them, `FALSE_ALARMS` by default.
                For one that draws answers a threshold of `UNSUPPORTED` is the default.
            samples: whether the decoder draws answers for a detector that asks for them.

        Raises:
            ConfigError: an unknown name or option, or words that the model cannot write.
            UnsupportedError: the detector cannot judge a candidate before it is chosen, its scaling
                is another model's, or a share is asked of a detector that has no scaling.
        """
        judge = make_judge(detector, adapter, stacklevel=3)
        draws = isinstance(judge.detector, SampledConsistency)
        if draws and not samples:
            raise UnsupportedError(
                f"detector {judge.detector.name!r} needs other answers to the question, which only "
                "the decoder 'guided' draws before its own: judge by early-lens or log-probability"
            )
        if not judge.detector.streams and not draws:
            more = "asks the model more than" if judge.detector.asks_more else "reads more than"
            raise UnsupportedError(
                f"detector {judge.detector.name!r} {more} the row that predicts a candidate, so it "
                "cannot judge one before it is chosen: guide by early-lens or log-probability "
                "(lvlmsal list detectors says which ones stream), or the decoder 'guided' by "
                "sampled-consistency"
            )
        vocabulary = judge.vocabulary if words is None else judged_vocabulary(words)
        if threshold is None:
            threshold = _threshold(judge, share)
        return cls(adapter, judge, words_for(adapter, vocabulary), threshold)

    @cached_property
    def _wanted(self) -> dict[str, list[int]]:
        return union(self.judge.needs, self.adapter.num_layers)

    @cached_property
    def _lens(self) -> Lens | None:
        return self.judge.lens(self.adapter)

    @property
    def layers(self) -> list[int]:
        """The inner layers that are read."""
        return sorted({layer for layers in self._wanted.values() for layer in layers})

    def is_risky(self, risk: float) -> bool:
        """Whether a word of that risk is to be replaced; one that cannot be judged is not."""
        return risk >= self.threshold

    def risks(self, rows: Rows, tokens: Tensor, positions: Sequence[int]) -> list[list[float]]:
        """Risks of candidates.

        Args:
            rows: that predict them, R.
            tokens: ids, shape (R, K).
            positions: in the answer, of each row.

        Returns:
            K numbers for each row; nan where the detector cannot tell.
        """
        values: dict[str, Tensor] = {}
        if self._wanted.keys() & {"log_probability", "odds", "entropy", "margin"}:
            logits = rows.logits if rows.logits.dtype == torch.float64 else rows.logits.float()
            spread = logits[:, None].expand(-1, tokens.shape[1], -1)
            values = {name: v.cpu() for name, v in logit_readings(spread, tokens).items()}
        place = torch.tensor(positions, dtype=torch.float64)
        values["position"] = place[:, None].expand(tokens.shape)
        if self._lens is not None:
            read = [
                self._lens.log_probabilities(rows.states[layer], tokens).cpu()
                for layer in self._wanted["row_lens"]
            ]
            values["row_lens"] = torch.stack(read, dim=-1)
        columns = Columns(values, self._wanted, self.adapter.num_layers)
        found: list[list[float]] = self.judge.risks(columns).tolist()
        return found

    def ends_sentence(self, token: int) -> bool:
        """Whether a sentence ends with a token."""
        if token not in self._ends:
            self._ends[token] = _SENTENCE_END.search(self._text(token)) is not None
        return self._ends[token]

    @cached_property
    def _ends(self) -> dict[int, bool]:
        return {}

    def _text(self, token: int) -> str:
        text: str = self.adapter.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return text


def _threshold(judge: Judge, share: float | None) -> float:
    """The risk from which on a word is among the share that is too risky."""
    name = judge.detector.name
    if judge.regression is not None:
        wanted, known = str(FALSE_ALARMS if share is None else share), judge.regression.false_alarms
        if wanted not in known:
            raise UnsupportedError(
                f"detector {name!r} was fitted on labels, and from which risk on a share of "
                f"{wanted} of the right words is flagged is not in its file: choose one of "
                f"{', '.join(known)}, or give a threshold on the risk itself"
            )
        return known[wanted]
    if isinstance(judge.detector, SampledConsistency):
        if share is not None:
            raise UnsupportedError(
                f"detector {name!r} is not scaled on a model's own words, so there is no "
                f"share={share} of them: give a threshold, the share of drawn answers that do not "
                "name the object"
            )
        return UNSUPPORTED
    wanted_share = SHARE if share is None else share
    if judge.scaling is None:
        raise UnsupportedError(
            f"detector {name!r} has no scaling for this model, so it is not known how risky a "
            f"share of {wanted_share} of its own words is: make one, type  lvlmsal fit, or give a "
            "threshold on the risk itself"
        )
    return 1 - wanted_share


def guide_for(
    model: nn.Module, bound: Guide | None, find: Callable[[ModelAdapter], Guide]
) -> Guide:
    """The guide of a decoder in a call of ``generate``.

    Args:
        model: that decodes.
        bound: what the decoder was bound to.
        find: makes one, where it was bound to nothing.

    Raises:
        UnsupportedError: it is bound to another model, or to nothing and there is no processor.
    """
    adapter = adapter_for(model)
    if bound is None:
        return find(adapter)
    if bound.adapter.model is not adapter.model:
        raise UnsupportedError(
            "this decoder is bound to another model: bind it to the adapter of this one"
        )
    return bound
