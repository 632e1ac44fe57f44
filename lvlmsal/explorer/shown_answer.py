"""One answer as the page's data: texts and numbers as JSON, maps as packed bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lvlmsal.explorer.packing import pack
from lvlmsal.saliency.options import SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport

Array = npt.NDArray[np.float32]

GROUPS = ("system", "image", "prompt", "output")


@dataclass(frozen=True)
class ShownAnswer:
    """One answer of the page.

    Attributes:
        report: what its tokens rest on.
        label: what it is called where answers to one question stand side by side.
        sample: which question it answers: answers of the same sample stand side by side. By default
            those that share the question and the images.
        title: what the sample is called in the list.
        hallucinated: for each token whether it belongs to the name of an object that is not in the
            image; ``None`` where it belongs to no object's name.
        records: how each token was chosen, as :meth:`TokenRecord.to_dict` has it.
        own: which saliency the decoder computed while it chose them, that of the records.
        detection: risks of its words, as :meth:`lvlmsal.detection.Detection.to_dict` has them; by
            default those that a guided decoder recorded.

    Raises:
        ValueError: labels or records are not as many as tokens.
    """

    report: SaliencyReport
    label: str = "answer"
    sample: str | None = None
    title: str | None = None
    hallucinated: Sequence[bool | None] | None = None
    records: Sequence[dict[str, Any]] | None = None
    own: SaliencyOptions | None = None
    detection: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("hallucinated", "records"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.report.tokens):
                raise ValueError(
                    f"{name} holds {len(given)} entries for an answer of "
                    f"{len(self.report.tokens)} tokens"
                )

    @property
    def key(self) -> str:
        """What answers of the same sample share."""
        return content_key(self.report) if self.sample is None else self.sample


@dataclass(frozen=True)
class Detail:
    """How much of the maps is kept.

    Attributes:
        layers: the maps of every layer rather than their mean.
        fusions: every fusion rather than that of the report's options.
        pool: side of the squares of patches that are averaged.
        words: how many words of a row are kept, the largest ones; all by default.
    """

    layers: bool
    fusions: bool
    pool: int = 1
    words: int | None = None


def content_key(report: SaliencyReport) -> str:
    """A digest of the question and the images."""
    digest = hashlib.sha256(report.prompt.encode())
    for image in report.images:
        digest.update(repr(image.size).encode() + image.convert("RGB").tobytes())
    return digest.hexdigest()


def encode_answer(shown: ShownAnswer, detail: Detail) -> dict[str, Any]:
    """Everything about one answer that the page shows, images aside.

    Args:
        shown: the answer, of T tokens in L layers over n positions, P of them patches.
        detail: how much of the maps is kept. S of every layer and of every context group is kept
            in any case.

    Returns:
        JSON values. ``packed`` holds for each measure (``attention`` and names of fusions)
        ``text/`` (T, L or 1, n - P), ``image/`` (T, L or 1, P), ``layers/`` (T, L) and ``groups/``
        (T, L or 1, 4).
    """
    report = shown.report
    own = report.options.fusion
    fusions = [own, *(name for name in report.maps if detail.fusions and name != own)]
    values: dict[str, tuple[Array, Array]] = {
        "attention": (_array(report.attention), _array(report.per_layer(of="attention")))
    }
    # the raw attention has no name among the fusions: theirs is normalized
    for fusion in fusions:
        by_layer = _array(report.per_layer(fusion))
        values[f"saliency/{fusion}"] = (_array(report.maps[fusion]), by_layer)
    groups = _groups(report)
    texts = np.flatnonzero(groups != GROUPS.index("image"))
    arrays: dict[str, Array] = {}
    for name, (rows, by_layer) in values.items():
        keep = detail.layers and name in ("attention", f"saliency/{own}")
        shared = rows if keep else rows.mean(1, keepdims=True)
        arrays[f"text/{name}"] = _largest(shared[:, :, texts], detail.words)
        arrays[f"image/{name}"] = _patches(report, shared, detail.pool)
        arrays[f"layers/{name}"] = np.nan_to_num(by_layer)
        arrays[f"groups/{name}"] = _group_sums(report, shared, groups)
    counts = [int((groups[: report.spans.output_start] == at).sum()) for at in range(3)]
    return {
        "label": shown.label,
        "text": report.text,
        "tokens": report.tokens,
        "fusion": own,
        "fusions": fusions,
        "options": _options(report),
        "own": None if shown.own is None else in_words(shown.own),
        "layers": report.layers,
        "saliency": {
            # the mean over layers of what is shown for each; null where there is no context
            name: [_rounded(value) for value in by_layer.mean(1).tolist()]
            for name, (_, by_layer) in values.items()
        },
        "logProbability": [_rounded(value) for value in report.log_probabilities],
        "entropy": [_rounded(value) for value in report.entropies],
        "hallucinated": None if shown.hallucinated is None else list(shown.hallucinated),
        "records": None if shown.records is None else [_record(one) for one in shown.records],
        "detection": _detection(shown),
        "positions": [report.position_texts[at] for at in texts],
        "groups": [GROUPS[groups[at]] for at in texts],
        "groupSizes": counts,
        "imageSizes": [[math.ceil(side / detail.pool) for side in grid] for grid in report.grids],
        "grids": [list(grid) for grid in report.grids],
        "packed": pack(arrays),
    }


def _array(values: Any) -> Array:
    found: Array = values.detach().float().cpu().numpy()
    return found


def _groups(report: SaliencyReport) -> npt.NDArray[np.int64]:
    """Index into GROUPS of each position; text between images counts as prompt."""
    groups = np.full(report.spans.length, GROUPS.index("prompt"))
    for name, start, end in report.spans.segments():
        if name in GROUPS:
            groups[start:end] = GROUPS.index(name)
    return groups


def _group_sums(report: SaliencyReport, rows: Array, groups: npt.NDArray[np.int64]) -> Array:
    """Sums over the positions before each token, (T, L or 1, 4)."""
    own = np.arange(len(report.tokens))[:, None, None] + report.spans.output_start
    before = np.where(np.arange(report.spans.length) < own, rows, 0)
    sums = [before[:, :, groups == at].sum(-1) for at in range(len(GROUPS))]
    return np.stack(sums, -1)


def _largest(rows: Array, count: int | None) -> Array:
    """The rows with all but their largest values set to zero."""
    if count is None or count >= rows.shape[-1]:
        return rows
    least = np.partition(rows, -count, -1)[:, :, -count, None]
    return np.where(rows >= least, rows, np.float32(0))


def _patches(report: SaliencyReport, rows: Array, pool: int) -> Array:
    """Values on the patch grids of all images one after the other, (T, L or 1, P)."""
    maps = [rows[:, :, :0]]
    for image, (height, width) in enumerate(report.grids):
        grid = report.over_image(torch.from_numpy(rows), image).numpy()
        for axis, size in ((2, height), (3, width)):
            edges = np.arange(0, size, pool)
            counts = np.diff([*edges, size])
            shape = [-1 if at == axis else 1 for at in range(4)]
            sums = np.add.reduceat(grid, edges, axis)
            grid = (sums / counts.reshape(shape)).astype(np.float32)
        maps.append(grid.reshape(*rows.shape[:2], -1))
    return np.concatenate(maps, -1)


def in_words(options: SaliencyOptions) -> str:
    """Which saliency, for a reader; layers aside.

    >>> in_words(SaliencyOptions(heads="sum_then_abs")).split(", ")[:4]
    ['predicting row', "token's loss", 'product fusion', 'sum_then_abs of heads']
    """
    loss = {"token": "token's loss", "sum": "summed loss"}[options.loss]
    return (
        f"{options.row} row, {loss}, {options.fusion} fusion, {options.heads} of heads, "
        f"{options.norm} norm, context {options.context}"
    )


def _options(report: SaliencyReport) -> str:
    """Which saliency of which layers, for a reader."""
    first, *rest = report.layers
    count = len(report.layers)
    layers = f"{count} layers from {first} to {rest[-1]}" if rest else f"layer {first}"
    return f"{in_words(report.options)}, {layers}"


def _record(record: dict[str, Any]) -> dict[str, Any]:
    """How one token was chosen, without what the report says already.

    ``by`` names what the decoder went by. S is the decoder's own: it may be of another row than the
    report's.
    """
    by = next((name for name in ("risk", "score", "doubt") if name in record), "saliency")
    return {
        "by": by,
        "value": _rounded(record.get(by)),
        "threshold": _rounded(record.get("threshold")),
        "probability": _rounded(record.get("probability")),
        "tries": record.get("tries", 1),
        "fallback": record.get("fallback", False),
        "replaced": record.get("replaced"),
        "takenBack": [
            {
                "text": one.get("text") or one["phrase"],
                "word": one.get("word"),
                "value": _rounded(one.get(by)),
            }
            for one in record.get("taken_back", ())
        ],
        "rejected": [
            {
                "text": one.get("text") or f"token {one['id']}",
                "value": _rounded(one.get(by)),
                "probability": _rounded(one.get("probability")),
            }
            for one in record.get("rejected", ())
        ],
    }


def _detection(shown: ShownAnswer) -> dict[str, Any] | None:
    """Risks of words: of the detector that was asked, or of the one that guided the decoder."""
    if shown.detection is not None:
        found = shown.detection
        return {
            "detector": found["detector"]["name"],
            "kind": "chance" if found["calibrated"] else "share" if found["scaled"] else "number",
            "threshold": _rounded(found["threshold"]),
            "words": [
                {
                    "tokens": list(word["tokens"]),
                    "risk": _rounded(word["risk"]),
                    "reasons": {name: _rounded(one) for name, one in word["reasons"].items()},
                }
                for word in found["words"]
                if word["risk"] is not None
            ],
        }
    judged = [
        (at, one) for at, one in enumerate(shown.records or ()) if one.get("risk") is not None
    ]
    if not judged:
        return None
    return {
        "detector": None,
        "kind": "decoder",
        "threshold": _rounded(judged[0][1].get("threshold")),
        "words": [
            {"tokens": [at, at + 1], "risk": _rounded(one["risk"]), "reasons": {}}
            for at, one in judged
        ],
    }


def _rounded(value: float | None) -> float | None:
    """Four significant digits; null for what is undefined."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
