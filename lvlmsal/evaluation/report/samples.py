"""Samples of a report: small pictures, prompts, and the answers of all methods side by side."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lvlmsal.adapters import open_image
from lvlmsal.errors import LvlmsalError
from lvlmsal.escaping import html_text
from lvlmsal.evaluation.config.schema import RunConfig
from lvlmsal.evaluation.results.records import Record
from lvlmsal.evaluation.results.scored import Scored, outcomes_of
from lvlmsal.registry import BENCHMARKS

DIFFERENT, ALIKE = 4, 2
"""Samples of each model and benchmark: where methods differ, and where they do not."""

SAMPLES = 60
FAILURES = 50
PICTURE_BYTES = 2_000_000
"""Most that a page shows of each, all models and benchmarks together; pictures as base64."""

_TEXT = 1500
_EDGE = 200

Answers = dict[str, dict[str, Record]]
"""Records by method, by sample."""


def samples_page(cells: Sequence[Scored], config: RunConfig, opponents: Mapping[str, str]) -> str:
    """Some samples of each model and benchmark, as HTML.

    They are spread over the samples in the order of their ids; two thirds of them are samples to
    which methods answer differently, so they are no picture of how often that happens.

    Args:
        cells: The answers; of several seeds only the first is shown.
        config: The resolved config, which says where the images are.
        opponents: What each method is compared with.
    """
    by_place: dict[tuple[str, str], list[Scored]] = {}
    for cell in cells:
        own = by_place.setdefault((cell.model, cell.benchmark), [])
        if cell.method not in [other.method for other in own]:
            own.append(cell)
    most = max(1, SAMPLES // max(1, len(by_place)))
    pictures = _Pictures(config)
    parts = []
    for (model, benchmark), own in list(by_place.items())[:SAMPLES]:
        answers: Answers = {}
        for cell in own:
            for record in cell.records:
                answers.setdefault(str(record["sample_id"]), {})[cell.method] = record
        chosen = choose_samples(answers)[:most]
        marks = {cell.method: _marks(cell) for cell in own}
        parts.append(f"<h3>{html_text(f'{model}: {benchmark}')}</h3>")
        for sample in chosen:
            parts.append(_sample(sample, answers[sample], marks, opponents, pictures))
    return "\n".join(parts)


def choose_samples(answers: Answers) -> list[str]:
    """Ids of samples to show: first some that methods answer differently, then some others.

    Example:
        >>> same, other = {"a": {"answer": "x"}}, {"a": {"answer": "x"}, "b": {"answer": "y"}}
        >>> choose_samples({"1": same, "2": other, "3": same})
        ['2', '1', '3']
    """
    ids = sorted(answers)
    differ = [s for s in ids if len({r["answer"] for r in answers[s].values()}) > 1]
    alike = [s for s in ids if s not in set(differ)]
    return [*_spread(differ, DIFFERENT), *_spread(alike, ALIKE)]


def _spread(ids: Sequence[str], count: int) -> list[str]:
    """So many of the ids, at even distances."""
    if len(ids) <= count:
        return list(ids)
    return [ids[index * len(ids) // count] for index in range(count)]


def failures_table(cells: Sequence[Scored]) -> str:
    """The samples that failed, with the reasons, as HTML; empty if there is none."""
    failed = [
        (cell, record) for cell in cells for record in cell.records if record["status"] != "ok"
    ]
    if not failed:
        return ""
    rows = [
        "<tr>"
        + "".join(
            f"<td>{html_text(str(text))}</td>"
            for text in (
                cell.model,
                cell.method,
                cell.benchmark,
                record["sample_id"],
                record["error"],
            )
        )
        + "</tr>"
        for cell, record in failed[:FAILURES]
    ]
    rest = len(failed) - FAILURES
    more = f"<p>... and {rest} more, see records.jsonl</p>" if rest > 0 else ""
    heads = "".join(
        f"<th>{head}</th>" for head in ("model", "method", "benchmark", "sample", "error")
    )
    return f"<table class='text'><tr>{heads}</tr>{''.join(rows)}</table>{more}"


def _marks(cell: Scored) -> dict[str, tuple[bool, str]]:
    """For each sample, whether the answer is good and in a word why, where the metric says so."""
    found = outcomes_of(cell.metric, cell.rows)
    if found is None:
        return {}
    figure, hits = found
    higher = cell.metric.figure_info[figure]
    marks = {}
    for record, hit in zip(cell.records, hits, strict=True):
        if higher:
            marks[str(record["sample_id"])] = (hit, "right" if hit else "wrong")
        else:
            marks[str(record["sample_id"])] = (not hit, f"{figure}: {'yes' if hit else 'no'}")
    return marks


def _sample(
    sample: str,
    records: Mapping[str, Record],
    marks: Mapping[str, Mapping[str, tuple[bool, str]]],
    opponents: Mapping[str, str],
    pictures: _Pictures,
) -> str:
    first = next(iter(records.values()))
    target = first["target"]
    shown = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
    rows = []
    for method, record in records.items():
        badges = []
        if sample in marks[method]:
            good, word = marks[method][sample]
            badges.append(f"<b class='{'good' if good else 'bad'}'>{html_text(word)}</b>")
        other = records.get(opponents.get(method, ""))
        if other is not None and other["answer"] != record["answer"]:
            badges.append("<b class='changed'>changed</b>")
        text = record["answer"] if record["status"] == "ok" else f"failed: {record['error']}"
        rows.append(
            f"<tr><td>{html_text(method)}</td><td>{html_text(_cut(str(text)))}</td>"
            f"<td>{' '.join(badges)}</td></tr>"
        )
    return (
        f"<div class='sample'><div>{pictures.of(first)}</div><div>"
        f"<p class='id'>{html_text(sample)}</p>"
        f"<p class='prompt'>{html_text(_cut(first['prompt']))}</p>"
        f"<p>target: {html_text(_cut(shown))}</p>"
        f"<table class='text'>{''.join(rows)}</table></div></div>"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + " … (cut)"


class _Pictures:
    """Finds the images of samples and makes small copies of them, as long as there is room."""

    def __init__(self, config: RunConfig) -> None:
        self._entries = {entry.label: entry for entry in config.benchmarks}
        self._paths: dict[str, dict[str, tuple[Path, ...]]] = {}
        self._made: dict[Path, str] = {}
        self._left = PICTURE_BYTES

    def of(self, record: Record) -> str:
        """Image elements of a sample; a word where an image is not there any more."""
        paths = self._files(record)
        if not record.get("images"):
            return ""
        if not paths:
            names = ", ".join(map(str, record["images"][:4]))
            return f"<p class='missing'>image not found: {html_text(names)}</p>"
        return "".join(self._picture(path) for path in paths[:4])

    def _files(self, record: Record) -> tuple[Path, ...]:
        label = record["benchmark"]
        if label not in self._entries or not record.get("images"):
            return ()
        entry = self._entries[label]
        try:
            benchmark = BENCHMARKS.build(entry.name, **entry.options)
            # images usually lie in one folder: no need to read the questions again
            flat = tuple(benchmark.image_root() / name for name in record["images"])
            if all(path.is_file() for path in flat):
                return flat
            if label not in self._paths:
                self._paths[label] = {s.id: s.images for s in benchmark.samples()}
        except (LvlmsalError, OSError):
            # a run can be scored where its data are not: the page says which image is missing
            self._paths[label] = {}
        return self._paths[label].get(str(record["sample_id"]), ())

    def _picture(self, path: Path) -> str:
        if path not in self._made:
            self._made[path] = self._encoded(path)
        return self._made[path]

    def _encoded(self, path: Path) -> str:
        name = html_text(path.name)
        try:
            image = open_image(path).convert("RGB")
        except LvlmsalError:
            return f"<p class='missing'>image not found: {name}</p>"
        image.thumbnail((_EDGE, _EDGE))
        content = io.BytesIO()
        image.save(content, "JPEG", quality=75)
        text = base64.b64encode(content.getvalue()).decode()
        if len(text) > self._left:
            return f"<p class='missing'>{name}</p>"
        self._left -= len(text)
        return f"<img alt='{name}' src='data:image/jpeg;base64,{text}'>"
