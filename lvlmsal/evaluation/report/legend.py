"""What is said under the tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lvlmsal.evaluation.report.entries import any_significant, columns_of, shown_cells
from lvlmsal.evaluation.results.schema import Entry, Results

SIGNIFICANT = " Bold: significant (95 % CI excludes 0)."


def legend(results: Results) -> str:
    """What the tables of a run mean, in a few sentences.

    Args:
        results: The content of ``results.json``.
    """
    entries: list[Entry] = list(shown_cells(results))
    text = "In brackets: 95 % intervals. "
    if results["baseline"]:
        text += f"Δ: paired difference to {results['baseline']!r}."
    else:
        text += (
            "Δ: paired difference to the method's control, which decodes alike without mitigation."
        )
    if any_significant(entries):
        text += SIGNIFICANT
    if any(entry.get("decoder_differs") for entry in entries):
        text += " Other decoder: the difference is also that of the decoders."
    if any("seeds" in entry for entry in entries):
        text += " ±: standard deviation over seeds, around their mean."
    text += " Intervals resample images."
    if any_dependent(entries):
        text += " *: several answers are about one image, which McNemar's test does not allow for."
    if any(
        entry["figures"][column.figure]["value"] is None
        for entry in entries
        for column in columns_of(entry["metric"], [entry])
    ):
        text += " Undefined: nothing to divide by, or a total of which a part is missing."
    text += _rules(entries)
    text += readers_text((entry["method"], entry) for entry in entries)
    judges = {
        (cell["judge"]["judge"], cell["judge"]["prompt"])
        for cell in results["cells"]
        if "judge" in cell
    }
    return text + "".join(
        f" Judged by {judge or 'nobody yet'}, prompt {prompt}."
        for judge, prompt in sorted(judges, key=str)
    )


def _rules(entries: list[Entry]) -> str:
    """By which rules answers were read, and which variants of metrics were counted."""
    text = ""
    parsers = dict.fromkeys((e["metric_options"].get("parser"), e["metric"]) for e in entries)
    rules = [f"{rule} ({metric})" for rule, metric in parsers if rule]
    if len({rule for rule, _ in parsers if rule}) == 1:
        rules = [str(rule) for rule, _ in parsers if rule][:1]
    if rules:
        text += f" Yes and no were read by the rule: {', '.join(rules)}."
    further = {each["label"]: each for entry in entries for each in entry.get("metrics", ())}
    for label, each in further.items():
        if label != each["metric"]:
            options = ", ".join(f"{key} {value}" for key, value in each["metric_options"].items())
            text += f" {label}: the metric {each['metric']}{f' with {options}' if options else ''}."
    counted = [*entries, *further.values()]
    variants = sorted({(e["metric"], e["variant"]) for e in counted if e["variant"]})
    return text + "".join(f" Variant of {metric}: {variant}." for metric, variant in variants)


def any_dependent(found: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a p-value is starred because several answers are about one image."""
    return any(each.get("mcnemar") and not each["mcnemar"]["independent"] for each in found)


def readers_text(entries: Iterable[tuple[str, Entry]]) -> str:
    """From which row those read saliency that choose tokens by it; empty where none does.

    Args:
        entries: What a table calls them, and their entries in ``results.json``.

    >>> readers_text([("a", {"saliency_row": "candidate"}), ("b", {})])
    " Saliency is read from the candidate row by 'a'."
    """
    readers: dict[str, dict[str, None]] = {}
    for title, entry in entries:
        if row := entry.get("saliency_row"):
            readers.setdefault(row, {})[repr(title)] = None
    return "".join(
        f" Saliency is read from the {row} row by {', '.join(titles)}."
        for row, titles in readers.items()
    )
