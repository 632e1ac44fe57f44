"""Judging against a server that fails in every way: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from lvlmsal.errors import ConfigError, DataError, LvlmsalError, UnsupportedError
from lvlmsal.judges import Budget, Endpoint, ReplyStore, client, judge
from lvlmsal.judges.judging import Part
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest
from tests.unit.judges.server import Act, serving

pytestmark = pytest.mark.slow

KEY = "sk-secret-of-the-test"


@dataclass(eq=False)
class Graded(JudgedMetric):
    """Asks for a number, and twice more where the reply is none."""

    summary: ClassVar[str] = "a number"
    count_names: ClassVar[tuple[str, ...]] = ("n", "sum")
    figure_info: ClassVar[dict[str, bool | None]] = {"mean": True}

    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        for attempt in range(3):
            request = JudgeRequest((("user", f"{target}? {answer}"),), 0.0, 3, attempt)
            if request.key not in self.replies:
                return [request]
            if self.replies[request.key].isdigit():
                break
        return []

    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        rows = []
        for answer, target in zip(answers, targets, strict=True):
            found = [
                self.replies.get(JudgeRequest((("user", f"{target}? {answer}"),), 0.0, 3, k).key)
                for k in range(3)
            ]
            numbers = [float(text) for text in found if text is not None and text.isdigit()]
            rows.append([float(bool(numbers)), sum(numbers[:1])])
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)

    def figures(self, counts: Tensor) -> dict[str, Tensor]:
        return {"mean": counts[..., 1] / counts[..., 0]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("JUDGE_KEY", KEY)


def at(url: str, **options: Any) -> Endpoint:
    given = {"model": "m", "api_key_env": "JUDGE_KEY", "timeout": 5.0, "retries": 3, **options}
    return Endpoint(base_url=url, **given)


def items(n: int) -> list[Part]:
    return [(Graded(), [f"answer {i}" for i in range(n)], ["?"] * n)]


def mean(some: list[Part]) -> float:
    ((metric, answers, targets),) = some
    return float(metric.score(answers, targets)["mean"])


def said(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def test_replies_are_fetched_stored_and_replayed_without_the_server(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with serving(lambda body, number: Act(said(body)[-1])) as server:
        endpoint = at(server.url)
        some = items(10)
        done = judge(some, endpoint, ReplyStore(path), Budget(price_in=10.0, price_out=30.0))
        assert (done.added, done.missing, done.stopped) == (10, 0, "")
        assert done.usage.prompt_tokens == 1000
        assert done.cost == pytest.approx((1000 * 10 + 100 * 30) / 1e6)
        assert mean(some) == 4.5
        assert set(server.keys) == {f"Bearer {KEY}"}
        assert server.requests[0] == {
            "model": "m",
            "messages": [{"role": "user", "content": said(server.requests[0])}],
            "temperature": 0.0,
            "max_tokens": 3,
        }
    again = items(10)
    done = judge(again, endpoint, ReplyStore(path))
    assert (done.added, done.missing, done.usage.calls) == (0, 0, 10)
    assert mean(again) == 4.5
    text = path.read_text()
    assert KEY not in text
    line = json.loads(text.splitlines()[0])
    assert line["model"] == "m"
    assert line["answered_by"] == "m-dated"
    assert line["attempt"] == 1
    assert line["request"]["messages"][0][1].startswith("?? answer")


def test_equal_questions_are_asked_once_and_other_judges_ask_again(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "judge.jsonl")
    same: list[Part] = [(Graded(), ["a", "a"], ["q", "q"]), (Graded(), ["a"], ["q"])]
    with serving(lambda body, number: Act("7")) as server:
        judge(same, at(server.url), store)
        assert len(server.requests) == 1
        judge(same, at(server.url + "/"), store)
        assert len(server.requests) == 1
        judge(same, at(server.url, model="other"), store)
        judge(same, at(server.url, options={"seed": 1}), store)
        assert len(server.requests) == 3
        assert len(ReplyStore(store.path).judges) == 3


FAULTS = [
    Act(status=500),
    Act(status=503),
    Act(status=429, headers={"Retry-After": "0.05"}),
    Act(status=408),
    Act(stall=1.0),
    Act(drip=0.05),
    Act(hang_up=True),
    Act(body=b"<html>Bad gateway</html>", content_type="text/html"),
    Act(body=b'{"choices": [', content_type="application/json"),
    Act(body=b'{"choices": []}'),
    Act(body=b'{"object": "nonsense"}'),
    Act(body=b'{"choices": {"a": 1}}'),
    Act(body=b'{"choices": [1]}'),
    Act(body=b'{"choices": [{"message": "7"}]}'),
    Act(body=b'{"choices": [{"message": {"content": ["7"]}}]}'),
    Act(body=b"[1, 2]"),
    Act(body=b"null"),
    Act(body=b"\xff\xfe{}"),
    Act(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    Act(body=b'{"cut": "of', declared=5000),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda act: f"{act.status}-{act.body}-{act.stall}")
def test_a_fault_that_passes_is_tried_again(tmp_path: Path, fault: Act) -> None:
    store = ReplyStore(tmp_path / "judge.jsonl")
    with serving(lambda body, number: fault if number < 2 else Act("3")) as server:
        some = items(1)
        done = judge(some, at(server.url, timeout=0.5), store)
        assert len(server.requests) == 3
    assert (done.added, done.usage.calls, mean(some)) == (1, 3, 3.0)


@pytest.mark.parametrize("fault", [Act(status=500), Act(hang_up=True), Act(body=b"{}")])
def test_a_fault_that_stays_ends_after_n_tries_and_keeps_what_came(
    tmp_path: Path, fault: Act
) -> None:
    path = tmp_path / "judge.jsonl"

    def behavior(body: dict[str, Any], number: int) -> Act:
        return fault if "answer 2" in said(body) else Act("5")

    with serving(behavior) as server:
        endpoint = at(server.url, concurrency=1)
        with pytest.raises(LvlmsalError, match=r"no reply after 4 tries.*\n2 replies .* are kept"):
            judge(items(4), endpoint, ReplyStore(path))
        assert len(server.requests) == 2 + 4
    with serving(lambda body, number: Act("5")) as server:
        # the address is another one, so move the replies to it, as a moved server would need
        path.write_text(path.read_text().replace(endpoint.base_url, server.url))
        assert judge(items(4), at(server.url), ReplyStore(path)).added == 2
        assert sorted(map(said, server.requests)) == ["?? answer 2", "?? answer 3"]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (Act(status=401), "status 401"),
        (Act(status=404), "status 404"),
        (Act(status=429, code="insufficient_quota"), "status 429"),
    ],
)
def test_what_cannot_pass_stops_at_once(tmp_path: Path, act: Act, words: str) -> None:
    with (
        serving(lambda body, number: act) as server,
        pytest.raises(LvlmsalError, match=words),
    ):
        judge(items(20), at(server.url, concurrency=2), ReplyStore(tmp_path / "judge.jsonl"))
    assert len(server.requests) <= 2


def test_a_server_that_repeats_the_key_does_not_get_it_printed(tmp_path: Path) -> None:
    body = json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}).encode()
    with (
        serving(lambda b, number: Act(status=401, body=body)) as server,
        pytest.raises(LvlmsalError) as caught,
    ):
        judge(items(1), at(server.url), ReplyStore(tmp_path / "judge.jsonl"))
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)


def huge(size: int = 50_000_000) -> bytes:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "5" * size}}]}
    return json.dumps(body).encode()


TOO_LONG = [
    lambda: Act(text="5" * 2000),
    lambda: Act(body=huge(2000), status=500),
    lambda: Act(body=gzip.compress(huge(), 1), headers={"Content-Encoding": "gzip"}),
    lambda: Act(body=b"x", headers={"Content-Encoding": "br"}),
]


@pytest.mark.parametrize("make", TOO_LONG, ids=["plain", "error", "packed", "unknown"])
def test_a_reply_beyond_the_limit_is_a_failed_one(tmp_path: Path, make: Callable[[], Act]) -> None:
    fault = make()
    tracemalloc.start()
    try:
        with serving(lambda body, number: fault if number == 0 else Act("5")) as server:
            done = judge(
                items(3),
                at(server.url, concurrency=1, max_reply_bytes=1500),
                ReplyStore(tmp_path / "judge.jsonl"),
            )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (done.added, done.refused) == (2, 1)
    assert "the reply is not read: it is" in done.reason
    assert most < 20_000_000


def test_a_redirect_is_told_and_not_followed(tmp_path: Path) -> None:
    with (
        serving(lambda body, number: Act("5")) as other,
        serving(
            lambda body, number: Act(
                status=308, headers={"Location": f"{other.url}/chat/completions"}
            )
        ) as server,
        pytest.raises(LvlmsalError, match=r"redirected to http.*set judge.base_url"),
    ):
        judge(items(1), at(server.url), ReplyStore(tmp_path / "judge.jsonl"))
    assert other.requests == []


def test_settings_of_the_environment_are_sent_and_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    endpoint = {"options": {"user": "me-myself"}, "shown": {"options": {"user": "${oc.env:ME}"}}}
    with serving(lambda body, number: Act("5")) as server:
        judge(items(1), at(server.url, **endpoint), ReplyStore(path))
        assert server.requests[0]["user"] == "me-myself"
        assert "me-myself" not in path.read_text()
        again = judge(items(1), at(server.url, **endpoint), ReplyStore(path))
        assert (again.added, again.missing) == (0, 0)


def test_refused_requests_are_left_out_and_many_of_them_stop(tmp_path: Path) -> None:
    def filtered(body: dict[str, Any], number: int) -> Act:
        return Act(status=400) if "answer 3" in said(body) else Act("5")

    with serving(filtered) as server:
        some = items(8)
        done = judge(some, at(server.url), ReplyStore(tmp_path / "judge.jsonl"))
        assert (done.added, done.missing, done.refused) == (7, 1, 1)
        assert "status 400" in done.reason
        assert len(server.requests) == 8
        ((metric, answers, targets),) = some
        assert len(metric.set_requests(answers, targets)) == 1
    with serving(lambda body, number: Act(status=400)) as server:
        with pytest.raises(LvlmsalError, match="refused 6 requests"):
            judge(items(50), at(server.url, concurrency=1), ReplyStore(tmp_path / "other.jsonl"))
        assert len(server.requests) == 6


def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    waits: list[float] = []

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", no_sleep)
        patch.setattr(client, "FIRST_WAIT", 1.0)
        acts = [Act(status=429, headers={"Retry-After": "30"}), Act(status=500), Act(status=500)]
        with serving(lambda body, number: acts[number] if number < 3 else Act("1")) as server:
            judge(items(1), at(server.url), ReplyStore(tmp_path / "judge.jsonl"))
    assert waits[0] == 30
    assert 1.5 <= waits[1] <= 2.5
    assert 3.0 <= waits[2] <= 5.0


def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path) -> None:
    with serving(lambda body, number: Act("1", stall=0.03)) as server:
        judge(items(24), at(server.url, concurrency=3), ReplyStore(tmp_path / "judge.jsonl"))
        assert len(server.requests) == 24
    assert server.most == 3


def test_unusable_replies_are_followed_up_as_the_metric_says(tmp_path: Path) -> None:
    asked: dict[str, int] = {}

    def behavior(body: dict[str, Any], number: int) -> Act:
        asked[said(body)] = asked.get(said(body), 0) + 1
        texts = {"?? answer 0": ["4"], "?? answer 1": ["hm", None, "6"], "?? answer 2": ["a"] * 3}
        return Act(texts[said(body)][asked[said(body)] - 1])

    with serving(behavior) as server:
        some = items(3)
        done = judge(some, at(server.url), ReplyStore(tmp_path / "judge.jsonl"))
    assert asked == {"?? answer 0": 1, "?? answer 1": 3, "?? answer 2": 3}
    assert (done.added, done.missing, mean(some)) == (7, 0, 5.0)


def test_the_budget_of_calls_holds_over_sessions_and_counts_tries(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with serving(lambda body, number: Act(status=500) if number == 0 else Act("1")) as server:
        endpoint = at(server.url, concurrency=1)
        done = judge(items(9), endpoint, ReplyStore(path), Budget(max_calls=4))
        assert (done.added, done.missing, len(server.requests)) == (3, 6, 4)
        assert "max_calls is 4" in done.stopped
        done = judge(items(9), endpoint, ReplyStore(path), Budget(max_calls=4))
        assert (done.added, len(server.requests)) == (0, 4)
        done = judge(items(9), endpoint, ReplyStore(path), Budget(max_calls=100))
        assert (done.added, done.missing, done.stopped) == (6, 0, "")


def test_the_budget_of_money_stops_with_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    # a reply takes 100 tokens in and 10 out: 0.001 + 0.0002
    budget = Budget(price_in=10.0, price_out=20.0, max_cost=0.005)
    with serving(lambda body, number: Act("1")) as server:
        done = judge(items(20), at(server.url, concurrency=1), ReplyStore(path), budget)
        assert (done.added, done.missing) == (5, 15)
        assert done.cost == pytest.approx(0.006)
        assert "max_cost is 0.005" in done.stopped
        assert len(path.read_text().splitlines()) == 5
    with serving(lambda body, number: Act("1", usage=False)) as server:
        done = judge(items(20), at(server.url, concurrency=1), ReplyStore(path), budget)
        assert (done.added, done.missing) == (1, 19)
        assert "use max_calls" in done.stopped


PROGRAM = """
import sys
from pathlib import Path
from lvlmsal.judges import ReplyStore, judge
from tests.unit.judges.test_judging import at, items
judge(items(6), at(sys.argv[1], concurrency=1, timeout=60.0), ReplyStore(Path(sys.argv[2])))
"""


def test_after_a_kill_no_reply_is_paid_for_twice(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    with serving(lambda body, number: Act("2", stall=60.0 if number == 3 else 0.0)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, server.url, str(path)],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONPATH": "."},
        )
        while len(server.requests) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with path.open("ab") as file:  # as if the kill had come while a line was being written
            file.write(b'{"key": "cut o')
        paid = list(map(said, server.answered))
        assert len(paid) == 3
        some = items(6)
        done = judge(some, at(server.url), ReplyStore(path))
        assert (done.added, mean(some)) == (3, 2.0)
        paid = list(map(said, server.answered))
    assert len(paid) == len(set(paid)) == 6
    assert len(ReplyStore(path).replies(at(server.url).judge)) == 6
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_damaged_store_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    path.write_text('{"key": "a"}\n{"key": "b"}\n')
    with pytest.raises(DataError, match=r"judge.jsonl:1: is no reply of a judge"):
        ReplyStore(path)
    path.write_text("garbage\n\n")
    with pytest.raises(DataError, match=":1:"):
        ReplyStore(path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"base_url": "api.example.com"}, "base_url: expected an address"),
        ({"base_url": "https://user:hunter2@host/v1"}, "base_url: must hold neither"),
        ({"base_url": "https://host/v1?api-key=hunter2"}, "base_url: must hold neither"),
        ({"api_key_env": "sk-hunter2"}, "api_key_env: expected the name"),
        ({"concurrency": 0}, "concurrency"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0.0}, "timeout"),
        ({"model": " "}, "model"),
        ({"options": {"messages": []}}, "options: messages"),
    ],
)
def test_wrong_settings_are_refused_without_showing_secrets(
    tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    endpoint = Endpoint(**{"model": "m", "api_key_env": "JUDGE_KEY", **wrong})
    with pytest.raises(ConfigError, match=words) as caught:
        judge(items(1), endpoint, ReplyStore(tmp_path / "judge.jsonl"))
    assert "hunter2" not in str(caught.value)


def test_wrong_budgets_are_refused(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "judge.jsonl")
    for budget, words in [(Budget(max_cost=1.0), "price_in"), (Budget(max_calls=-1), "negative")]:
        with pytest.raises(ConfigError, match=words):
            judge(items(1), at("http://localhost:1/v1"), store, budget)


def test_a_missing_key_or_package_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReplyStore(tmp_path / "judge.jsonl")
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ConfigError, match="JUDGE_KEY is not set: export it"):
        judge(items(1), at("http://localhost:1/v1"), store)
    with serving(lambda body, number: Act("1")) as server:
        judge(items(1), at(server.url, api_key_env=""), store)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lvlmsal\[judge\]'"):
        judge(items(2), at("http://localhost:1/v1"), store)


def test_options_stand_above_what_the_metric_asks_for(tmp_path: Path) -> None:
    options = {"max_tokens": None, "max_completion_tokens": 50, "temperature": None, "seed": 3}
    with serving(lambda body, number: Act("1")) as server:
        judge(items(1), at(server.url, options=options), ReplyStore(tmp_path / "judge.jsonl"))
        (body,) = server.requests
    assert {k: v for k, v in body.items() if k != "messages"} == {
        "model": "m",
        "max_completion_tokens": 50,
        "seed": 3,
    }


def test_texts_that_cannot_be_sent_and_odd_replies_pass(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    some: list[Part] = [(Graded(), ["half \ud800 pair\u2028é"], ["?"])]
    odd = "\u2028 \x85 é 🙂\n"
    with serving(lambda body, number: Act(odd)) as server:
        endpoint = at(server.url)
        judge(some, endpoint, ReplyStore(path))
        assert said(server.requests[0]) == "?? half ? pair\u2028é"
    assert set(ReplyStore(path).replies(endpoint.judge).values()) == {odd}
    assert math.isnan(mean(some))


def test_it_runs_where_an_event_loop_is_running(tmp_path: Path) -> None:
    with serving(lambda body, number: Act("1")) as server:

        async def notebook() -> int:
            return judge(items(2), at(server.url), ReplyStore(tmp_path / "judge.jsonl")).added

        assert asyncio.run(notebook()) == 2
