"""Judging one answer: the pass, the words, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.editor import Bindable
from lvlmsal.detection.asking import Asking, Respondent, refuse_asking
from lvlmsal.detection.judge import Judge
from lvlmsal.detection.recording import record
from lvlmsal.detection.result import Detection, JudgedWord, usual_threshold
from lvlmsal.detection.words import Aggregate, aggregated, judged_spans
from lvlmsal.metrics.text.vocabulary import Vocabulary
from lvlmsal.registry import options_of


def detect_answer(
    adapter: ModelAdapter,
    inputs: Mapping[str, Any],
    ids: Sequence[int],
    judge: Judge,
    *,
    own: bool,
    vocabulary: Vocabulary | None = None,
    aggregate: Aggregate = "first",
    prompt: str = "",
    interventions: Sequence[Bindable] = (),
    images: Sequence[Image.Image] = (),
    respondent: Respondent | None = None,
) -> Detection:
    """Judge the words of one answer.

    Args:
        adapter: of the model.
        inputs: one encoded prompt (a batch of one).
        ids: token ids of the answer.
        judge: the detector.
        own: whether the model gave this answer itself.
        vocabulary: of judged words; by default that of the judge.
        aggregate: how the risk of a word follows from those of its tokens.
        prompt: the question, for views.
        interventions: under which the answer is judged.
        images: for views.
        respondent: the model with this question, for a detector that asks it more.

    Raises:
        UnsupportedError: the detector asks, and there is nobody to be asked.
    """
    text, tokens = adapter.decode(list(ids)), adapter.token_texts(list(ids))
    judged = vocabulary or judge.vocabulary
    spans = judged_spans(text, tokens, judged)
    columns = record(
        adapter,
        inputs,
        torch.tensor([list(ids)]),
        judge.needs,
        lens=judge.lens(adapter),
        interventions=interventions,
    ).of(0)
    if respondent is None:
        refuse_asking([judge.detector], "this call has no model that could be asked")
    else:
        places = [span.tokens for span in spans]
        asking = Asking(respondent, [span.name for span in spans], places, judged)
        columns.asked.update(asking.risks([judge.detector], len(ids)))
    risks, reasons = judge.risks(columns), judge.reasons(columns)
    words = [
        JudgedWord(
            span.start,
            span.end,
            text[span.start : span.end],
            span.name,
            span.tokens,
            aggregated(risks, span, aggregate),
            reasons={
                name: value
                for name, values in reasons.items()
                if (value := aggregated(values, span, _of_reasons(aggregate))) is not None
            },
        )
        for span in spans
    ]
    return Detection(
        prompt=prompt,
        text=text,
        own=own,
        token_ids=list(ids),
        tokens=tokens,
        words=words,
        detector=judge.detector.name,
        options=options_of(judge.detector),
        scaled=judge.scaling is not None,
        calibrated=judge.regression is not None,
        aggregate=aggregate,
        threshold=usual_threshold(judge),
        note=judge.note,
        thresholds={}
        if judge.regression is None
        else {
            "false_positive_rate": judge.regression.false_alarms,
            "precision": judge.regression.precisions,
        },
        images=images,
    ).flag(threshold=usual_threshold(judge))


def _of_reasons(aggregate: Aggregate) -> Aggregate:
    """Reasons are no chances, which alone can be put together by noisy-or."""
    return "max" if aggregate == "noisy-or" else aggregate
