"""The data of an answer: what it says is what the report says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lvlmsal.decoders.halc.records import HalcRecord
from lvlmsal.decoders.reverse.records import ReverseRecord
from lvlmsal.explorer.shown_answer import Detail, ShownAnswer, content_key, encode_answer
from lvlmsal.saliency.options import FUSIONS, SaliencyOptions
from tests.unit.explorer.reports import make_report
from tests.unit.explorer.unpacking import bound, unpack

ALL = Detail(layers=True, fusions=True)
LEAST = Detail(layers=False, fusions=False)

CASES: dict[str, dict[str, Any]] = {
    "one image": {},
    "two images": {"grids": ((2, 3), (4, 1))},
    "no image": {"grids": ()},
    "one layer": {"layers": (5,)},
    "answer only": {"options": SaliencyOptions(context="output", fusion="max")},
}


def assert_close(found: np.ndarray, wanted: Any) -> None:
    exact = np.asarray(wanted, dtype=np.float64)
    assert found.shape == exact.shape
    assert (np.abs(found - exact) <= bound(exact)).all()


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_maps_are_those_of_the_report(options: dict[str, Any]) -> None:
    report = make_report(**options)
    own = report.options.fusion
    arrays = unpack(encode_answer(ShownAnswer(report), ALL)["packed"])
    patches = [p for start, end in report.spans.images for p in range(start, end)]
    texts = [p for p in range(report.spans.length) if p not in patches]
    for name in FUSIONS:
        rows = report.maps[name] if name == own else report.maps[name].mean(1, keepdim=True)
        assert_close(arrays[f"text/saliency/{name}"], rows[:, :, texts])
        assert_close(arrays[f"image/saliency/{name}"], rows[:, :, patches])
    assert_close(arrays["text/attention"], report.attention[:, :, texts])
    assert_close(arrays["image/attention"], report.attention[:, :, patches])


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_numbers_are_those_of_the_report(options: dict[str, Any]) -> None:
    report = make_report(**options)
    data = encode_answer(ShownAnswer(report), ALL)
    arrays = unpack(data["packed"])
    for name in FUSIONS:
        for found, wanted in zip(
            data["saliency"][f"saliency/{name}"], report.token_saliency(name), strict=True
        ):
            assert found is wanted is None or found == pytest.approx(wanted, rel=1e-3)
        assert_close(arrays[f"layers/saliency/{name}"], report.per_layer(name).nan_to_num())
    if report.options.context == "output":
        assert data["saliency"]["attention"][0] is None  # the first token has no context yet
    assert_close(arrays["layers/attention"], report.per_layer(of="attention").nan_to_num())
    assert data["logProbability"] == pytest.approx(report.log_probabilities, rel=1e-3)
    assert data["entropy"] == pytest.approx(report.entropies, rel=1e-3)
    assert data["fusions"][0] == report.options.fusion
    assert sorted(data["fusions"]) == sorted(FUSIONS)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_groups_are_those_of_the_report(options: dict[str, Any]) -> None:
    report = make_report(**options)
    data = encode_answer(ShownAnswer(report), LEAST)
    arrays = unpack(data["packed"])
    for name, of in (("attention", "attention"), (f"saliency/{report.options.fusion}", "saliency")):
        assert list(data["saliency"]) == ["attention", f"saliency/{report.options.fusion}"]
        sums = report.groups(of=of, reduce="sum")  # type: ignore[arg-type]
        wanted = np.stack([np.nan_to_num(sums[g].numpy()) for g in sums], -1)[:, None]
        assert_close(arrays[f"groups/{name}"], wanted)
    texts = data["positions"]
    assert texts[-len(report.tokens) :] == report.tokens
    assert "<image>" not in texts
    named = dict(zip(texts, data["groups"], strict=True))
    assert all(named[token] == "output" for token in report.tokens)
    assert data["groups"].count("system") == data["groupSizes"][0]
    patches = sum(rows * columns for rows, columns in report.grids)
    assert data["groupSizes"][1] == patches
    assert data["groupSizes"][0] + data["groupSizes"][2] + patches == report.spans.output_start


def test_less_detail_means_means() -> None:
    report = make_report()
    arrays = unpack(encode_answer(ShownAnswer(report), LEAST)["packed"])
    start, end = report.spans.images[0]
    mean = report.rows.mean(1, keepdim=True)
    assert_close(arrays["image/saliency/product"], mean[:, :, start:end])
    assert arrays["layers/saliency/product"].shape == (4, 2)
    assert not any("max" in name for name in arrays)


def test_the_largest_words_are_kept() -> None:
    report = make_report([f" t{n}" for n in range(9)])
    few = unpack(encode_answer(ShownAnswer(report), replace(LEAST, words=3))["packed"])
    start, end = report.spans.images[0]
    mean = report.attention.mean(1)
    for token, row in enumerate(torch.cat([mean[:, :start], mean[:, end:]], 1)):
        kept = few["text/attention"][token, 0]
        assert set(kept.nonzero()[0]) == set(row.topk(3).indices.tolist())
        assert kept.max() == pytest.approx(float(row.max()), rel=0.01)
    assert_close(few["layers/attention"], report.per_layer(of="attention"))


def test_patches_are_averaged_in_squares() -> None:
    report = make_report(tokens=["A"], grids=((3, 5),), layers=(0,))
    start, end = report.spans.images[0]
    report.rows[0, 0, start:end] = torch.arange(15) / 100
    data = encode_answer(ShownAnswer(report), replace(LEAST, pool=2))
    assert data["imageSizes"] == [[2, 3]]
    assert data["grids"] == [[3, 5]]
    # 0 1 | 2 3 | 4      rows of the grid, and of the squares that are averaged
    # 5 6 | 7 8 | 9
    # ----+-----+--
    # 10 11 | 12 13 | 14
    wanted = [[[0.03, 0.05, 0.065, 0.105, 0.125, 0.14]]]
    assert_close(unpack(data["packed"])["image/saliency/product"], wanted)


def test_records_are_carried_with_what_is_known() -> None:
    records = [
        {"id": 4, "text": "A", "saliency": 0.5, "threshold": None, "tries": 1, "rejected": []},
        {
            "probability": 0.5,
            "threshold": 0.123456,
            "tries": 3,
            "fallback": True,
            "rejected": [
                {"id": 7, "text": " blue", "saliency": 0.1, "probability": 0.25},
                {"id": 9, "saliency": float("nan")},
            ],
        },
    ]
    shown = ShownAnswer(make_report(tokens=["A", " red"]), records=records)
    first, second = encode_answer(shown, LEAST)["records"]
    nothing = {
        "by": "saliency",
        "value": 0.5,
        "probability": None,
        "threshold": None,
        "tries": 1,
        "fallback": False,
        "replaced": None,
        "takenBack": [],
        "rejected": [],
    }
    assert first == nothing
    assert second["value"] is None
    assert (second["probability"], second["threshold"]) == (0.5, 0.1235)
    assert second["fallback"] is True
    assert second["rejected"] == [
        {"text": " blue", "value": 0.1, "probability": 0.25},
        {"text": "token 9", "value": None, "probability": None},
    ]


def test_guided_records_have_risks_and_what_was_taken_back() -> None:
    lost = {"text": "There is a cat", "word": "cat", "risk": 0.987654}
    rejected = [{"id": 7, "text": " dog", "risk": 0.95, "probability": 0.25}]
    records = [
        {"id": 4, "risk": None, "taken_back": [lost]},
        {"id": 5, "risk": 0.5, "threshold": 0.92, "rejected": rejected, "taken_back": []},
    ]
    shown = ShownAnswer(make_report(tokens=["A", " cow"]), records=records)
    first, second = encode_answer(shown, LEAST)["records"]
    told = {"text": "There is a cat", "word": "cat", "value": 0.9877}
    assert (first["by"], first["value"], first["takenBack"]) == ("risk", None, [told])
    assert (second["value"], second["threshold"], second["takenBack"]) == (0.5, 0.92, [])
    assert second["rejected"] == [{"text": " dog", "value": 0.95, "probability": 0.25}]


def test_records_of_halc_and_reverse_tell_what_these_went_by() -> None:
    others = [{"id": 7, "text": " cat", "score": 0.25}]
    chosen = HalcRecord(4, " cow", rejected=others, score=0.5, replaced=" cat").to_dict()
    marks = [{"phrase": "a cat", "doubt": 0.01}, {"phrase": "format error", "doubt": None}]
    marked = ReverseRecord(5, " cow", doubt=0.001, taken_back=marks).to_dict()
    for record, by, value in ((chosen, "score", 0.5), (marked, "doubt", 0.001)):
        (told,) = encode_answer(ShownAnswer(make_report(tokens=["A"]), records=[record]), LEAST)[
            "records"
        ]
        assert (told["by"], told["value"]) == (by, value)
        if by == "score":
            assert told["replaced"] == " cat"
            assert told["rejected"] == [{"text": " cat", "value": 0.25, "probability": None}]
        else:
            assert [(one["text"], one["value"]) for one in told["takenBack"]] == [
                ("a cat", 0.01),
                ("format error", None),
            ]


def test_what_the_decoder_read_is_told_apart_from_what_the_page_shows() -> None:
    own = SaliencyOptions(row="candidate", fusion="max")
    data = encode_answer(ShownAnswer(make_report(), own=own), LEAST)
    assert data["options"].startswith("predicting row")
    assert data["own"].startswith("candidate row")
    assert "max fusion" in data["own"]
    assert encode_answer(ShownAnswer(make_report()), LEAST)["own"] is None


@pytest.mark.parametrize("name", ["hallucinated", "records"])
def test_one_entry_for_each_token(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} holds 1 entries for an answer of 4 tokens"):
        ShownAnswer(make_report(), **{name: [None]})  # type: ignore[arg-type]


def test_answers_to_the_same_question_about_the_same_image_share_a_key() -> None:
    report = make_report()
    assert content_key(report) == content_key(make_report(tokens=["B"], seed=1))
    assert content_key(report) != content_key(make_report(prompt="Why?"))
    assert content_key(report) != content_key(make_report(grids=((3, 4), (3, 4))))
    assert ShownAnswer(report, sample="x").key == "x"
    assert ShownAnswer(report).key == content_key(report)
