"""Video QA and the five scores: how replies are read, asked for again, and counted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.benchmarks.video_chatgpt.metric import ASPECTS, VideoChatGptMetric
from lvlmsal.benchmarks.video_qa.metric import VideoQaMetric
from lvlmsal.errors import ConfigError, UnknownName
from lvlmsal.metrics.judge_replies import REPLY_RULES, get_reply_rule
from lvlmsal.testing.metric import check_metric
from tests.unit.benchmarks.video_cases import GENERIC, VIDEO, pair, video_metric, with_replies

BAD = "unusable"
# reply, then what official, lmms-eval and strict make of it: verdict and score
READINGS: list[tuple[str, Any, Any, Any]] = [
    ("{'pred': 'yes', 'score': 4}", (True, 4), (True, 4), (True, 4)),
    ("{'pred': 'yes', 'score': 4.8}", (True, 4), (True, 4.8), (True, 4.8)),
    ("{'pred': 'yes', 'score': '4'}", (True, 4), (True, 4), (True, 4)),
    ("{'pred': 'yes', 'score': '4.5'}", BAD, (True, 4.5), (True, 4.5)),
    ("{'pred': 'no, yes', 'score': 1}", (True, 1), (False, 1), BAD),
    ("{'pred': 'YES', 'score': 5}", (True, 5), (False, 5), (True, 5)),
    ("{'pred': 'nothing', 'score': 0}", (False, 0), (False, 0), BAD),
    ("{'pred': 'maybe', 'score': 2}", (None, 2), (False, 2), BAD),
    ("{'pred': 'yes', 'score': 7}", (True, 7), (True, 7), BAD),
    ("{'pred': 'yes', 'score': -1}", (True, -1), (True, -1), BAD),
    ("{'pred': 'yes'}", BAD, (True, 0), BAD),
    ("{'score': 3}", BAD, (False, 3), BAD),
    ("{'pred': True, 'score': 3}", BAD, (False, 3), BAD),
    ("{'pred': 'yes', 'score': None}", BAD, BAD, BAD),
    ("{'pred': 'yes', 'score': 1e999}", BAD, BAD, BAD),
    ("Sure! {'pred': 'yes', 'score': 4}", BAD, (True, 4), (True, 4)),
    ("```python\n{'pred': 'no', 'score': 0}\n```", BAD, (False, 0), (False, 0)),
    ("{'pred': 'yes', 'score': 4, 'why': {'a': 1}}", (True, 4), BAD, (True, 4)),
    ('{"pred": "yes", "score": 4}', (True, 4), (True, 4), (True, 4)),
    ("{'pred': 'yes', 'score': 4", BAD, BAD, BAD),
    ("['yes', 4]", BAD, BAD, BAD),
    ("yes", BAD, BAD, BAD),
    ("", BAD, BAD, BAD),
    ("}{", BAD, BAD, BAD),
    ("{'pred': 'yes\x00', 'score': 1}", BAD, BAD, BAD),
    ("{[]: 1}", BAD, BAD, BAD),
    ("(" * 5000, BAD, BAD, BAD),
    ("{'\ud800': 1}", BAD, BAD, BAD),
]


@pytest.mark.parametrize("reply", [row[0] for row in READINGS], ids=range(len(READINGS)))
def test_rules(reply: str) -> None:
    (expected,) = (row[1:] for row in READINGS if row[0] == reply)
    for name, reading in zip(("official", "lmms-eval", "strict"), expected, strict=True):
        found = get_reply_rule(name).read(reply, True)
        assert (BAD if found is None else (found.verdict, found.score)) == reading, name


@given(st.text(), st.booleans())
def test_no_reply_raises(reply: str, with_verdict: bool) -> None:
    for rule in REPLY_RULES.values():
        found = rule.read("{" + reply + "}", with_verdict)
        assert found is None or math.isfinite(found.score)


def test_an_unusable_reply_is_asked_for_again_up_to_a_limit() -> None:
    metric = VideoQaMetric(attempts=3)
    answer, target = VIDEO[0]
    keys = []
    while requests := metric.requests(answer, target):
        (request,) = requests
        assert request.attempt == len(keys)
        keys.append(request.key)
        metric.replies = dict.fromkeys(keys, "hm")
    assert len(set(keys)) == 3
    assert metric.rows([answer], [target]).tolist() == [[1, 0, 0, 0, 0, 0, 1]]
    metric.replies = {keys[0]: "hm", keys[1]: "{'pred': 'no', 'score': 2}"}
    assert metric.requests(answer, target) == []
    assert metric.rows([answer], [target]).tolist() == [[1, 1, 1, 0, 2, 1, 1]]


def test_lmms_eval_counts_what_it_cannot_read_as_no_and_0_but_not_what_nobody_asked() -> None:
    metric = VideoQaMetric(rule="lmms-eval")
    (request,) = metric.requests(*VIDEO[0])
    assert metric.rows(*map(list, zip(VIDEO[0], strict=True))).tolist() == [[1, 0, 0, 0, 0, 0, 1]]
    metric.replies = {request.key: "hm"}
    assert metric.rows(*map(list, zip(VIDEO[0], strict=True))).tolist() == [[1, 1, 1, 0, 0, 0, 1]]


def test_replies_of_one_run_can_be_read_under_every_rule() -> None:
    requests = {VideoQaMetric(rule=rule).requests(*VIDEO[0])[0].key for rule in REPLY_RULES}
    assert len(requests) == 1


@pytest.mark.parametrize("rule", ["lmms-eval", "strict"])
def test_conformance_under_the_other_rules(rule: str) -> None:
    replies = ["{'pred': 'yes', 'score': 4.5}", "{'pred': 'no', 'score': 0.5}"]
    samples = VIDEO[:4]

    def reference(answers: list[str], targets: list[Any]) -> dict[str, float]:
        places = [[a for a, _ in samples].index(answer) % 2 for answer in answers]
        return {
            "accuracy": places.count(0) / len(places),
            "score": sum((4.5, 0.5)[place] for place in places) / len(places),
        }

    def build() -> Any:
        return with_replies(VideoQaMetric(rule=rule), samples, lambda place: replies[place % 2])

    check_metric(build, samples, reference, processes=1)


def test_accuracy_by_hand_and_failures() -> None:
    metric = video_metric()
    figures = metric.score([a for a, _ in VIDEO], [t for _, t in VIDEO])
    found = {name: value.item() for name, value in figures.items()}
    # yes, no, yes ("No, yes."), neither, unjudged; scores 4, 1, 3, 2
    assert found == {"accuracy": 2 / 3, "score": 2.5, "neither": 1, "unjudged": 1, "n": 5}
    rows = torch.cat([metric.rows(*map(list, zip(*VIDEO, strict=True))), metric.failed_rows([{}])])
    both = {name: value.item() for name, value in metric.figures(rows.sum(0)).items()}
    assert (both["accuracy"], both["score"]) == (2 / 4, 10 / 5)


def scores(metric: VideoChatGptMetric, samples: list[tuple[str, Any]]) -> dict[str, float]:
    rows = metric.rows([a for a, _ in samples], [t for _, t in samples])
    return {name: value.item() for name, value in metric.figures(rows.sum(0)).items()}


def test_generic_answers_enter_three_scores() -> None:
    metric = VideoChatGptMetric()
    requests = metric.requests("this", GENERIC)
    assert len({request.key for request in requests}) == 3
    metric.replies = {r.key: f"{{'score': {n}.9}}" for n, r in enumerate(requests, start=1)}
    found = scores(metric, [("this", GENERIC)])
    assert [found[aspect] for aspect in ASPECTS[:3]] == [1, 2, 3]
    assert math.isnan(found["consistency"])
    assert math.isnan(found["mean"])
    assert (found["n"], found["unjudged"]) == (3, 0)


def test_a_pair_is_judged_by_one_request_in_any_order() -> None:
    metric = VideoChatGptMetric()
    samples = [("a fall", pair("p", 2)), ("he falls", pair("p", 1))]
    (request,) = metric.set_requests([a for a, _ in samples], [t for _, t in samples])
    text = request.messages[-1][1]
    assert "First question: What happens?\nSecond question: What is going on?" in text
    assert "first: he falls\nAnswer to the second: a fall" in text
    assert [metric.requests(*sample) for sample in samples] == [[], []]
    assert scores(metric, samples)["unjudged"] == 1
    metric.replies = {request.key: "{'score': 3}"}
    assert metric.set_requests([a for a, _ in samples], [t for _, t in samples]) == []
    for ordered in (samples, samples[::-1]):
        assert scores(metric, ordered)["consistency"] == 3


def test_the_official_script_shows_the_first_question_twice() -> None:
    metric = VideoChatGptMetric(second_question="official")
    (request,) = metric.set_requests(["a", "b"], [pair("p", 1), pair("p", 2)])
    assert (
        "First question: What happens?\nSecond question: What happens?" in request.messages[-1][1]
    )
    assert "first question shown twice" in metric.variant


@pytest.mark.parametrize("failed", [[0], [1], [0, 1]])
def test_a_pair_with_a_failed_answer_counts_once_with_score_0(failed: list[int]) -> None:
    metric = VideoChatGptMetric()
    targets = [pair("p", 1), pair("p", 2)]
    kept = [place for place in (0, 1) if place not in failed]
    rows = torch.cat(
        [
            metric.rows(["x" for _ in kept], [targets[place] for place in kept]),
            metric.failed_rows([targets[place] for place in failed]),
        ]
    )
    found = metric.figures(rows.sum(0))
    assert (found["consistency"].item(), found["n"].item()) == (0, 1)


def test_prompt_folders(tmp_path: Any) -> None:
    for aspect in ASPECTS:
        places = ["question", "reference", "answer"]
        places += ["question2", "answer2"] if aspect == "consistency" else []
        text = " ".join(f"{{{place}}}" for place in places)
        (tmp_path / f"{aspect}.txt").write_text(f"{aspect}: {text}")
    metric = VideoChatGptMetric(judge_prompts=str(tmp_path))
    texts = [request.messages for request in metric.requests("x", GENERIC)]
    assert texts[1] == (("user", "detail: What? This. x"),)
    (tmp_path / "temporal.txt").unlink()
    with pytest.raises(ConfigError, match=r"temporal\.txt"):
        VideoChatGptMetric(judge_prompts=str(tmp_path))


def test_bad_options() -> None:
    with pytest.raises(UnknownName, match="oficial"):
        VideoQaMetric(rule="oficial")
    with pytest.raises(ValueError, match="at least 1"):
        VideoChatGptMetric(attempts=0)
