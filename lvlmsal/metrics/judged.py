"""The base of metrics that ask a judge model what an answer is worth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.judge_prompts import JudgePrompt
from lvlmsal.metrics.judge_replies import Judgment, get_reply_rule

TALLIES = ("n", "unjudged", "failed", "given_up", "neither", "unclear")
"""Figures of judged metrics that count answers, and do so whatever could be read."""

HEARD = ("heard", "asked")
"""The last counts of a judged metric: replies that could be read, and replies that are needed."""


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge model.

    Attributes:
        messages: Chat messages, as (role, text).
        temperature: Sampling temperature; None leaves it to the endpoint.
        max_tokens: Length limit of the reply; None leaves it to the endpoint.
        attempt: Distinguishes repeated requests with the same words (0, 1, ...).
    """

    messages: tuple[tuple[str, str], ...]
    temperature: float | None = 0.0
    max_tokens: int | None = None
    attempt: int = 0

    @property
    def key(self) -> str:
        """Digest of everything above: under it, a reply is stored and found again."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(eq=False)
class JudgedMetric(CountMetric):
    """A `CountMetric` that reads a judge's replies, which somebody else fetches and stores.

    A metric whose counts end in `HEARD` gives no score where no reply could be read; see
    `with_heard` and `unless_unheard`. A metric without these counts decides by itself.

    A metric never opens a connection: `requests` says what to ask, `replies` holds what came back,
    by the key of the request, and `rows` counts. So a run is scored again without a network.

    Attributes:
        replies: Replies by `JudgeRequest.key`. Not an option: whoever scores sets it.
        prompt: The words that the judge is asked with; a subclass sets it.
        prompts: The same by name, where there are several.
    """

    judge_model: ClassVar[str] = ""
    """The model that the official script asks, such as ``gpt-4-0613``."""

    replies: Mapping[str, str] = field(init=False, repr=False, default_factory=dict)
    prompt: JudgePrompt = field(init=False, repr=False, default=JudgePrompt("", ()))
    prompts: Mapping[str, JudgePrompt] = field(init=False, repr=False, default_factory=dict)

    @property
    def prompt_digest(self) -> str:
        """Digest of the words of all prompts: figures compare only where it is the same."""
        words = [self.prompt.messages, *(p.messages for _, p in sorted(self.prompts.items()))]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]

    @property
    def counts_heard(self) -> bool:
        """Whether the counts end in `HEARD`."""
        return self.count_names[-2:] == HEARD

    @staticmethod
    def with_heard(rows: Tensor, heard: Sequence[float], asked: Sequence[float]) -> Tensor:
        """Rows with the two counts of `HEARD` after them.

        Args:
            rows: Shape (samples, counts).
            heard: How many replies about each sample could be read.
            asked: How many are needed.
        """
        return torch.cat([rows, rows.new_tensor([heard, asked]).reshape(2, -1).T], -1)

    def heard_of(self, rows: Tensor) -> tuple[int, int] | None:
        """How many replies could be read and how many are needed; None if that is not counted."""
        if not self.counts_heard:
            return None
        heard, asked = rows.sum(0)[-2:].tolist()
        return int(heard), int(asked)

    def unread(self, rows: Tensor) -> list[str]:
        """One sentence where a reply is needed that is not there or cannot be read."""
        found = self.heard_of(rows)
        if found is None or found[0] == found[1]:
            return []
        rest = "" if found[0] else ", so there is no score"
        return [f"{found[0]} of {found[1]} replies of the judge could be read{rest}"]

    def unless_unheard(self, figures: dict[str, Tensor], counts: Tensor) -> dict[str, Tensor]:
        """Figures, undefined where replies are needed and none could be read.

        What an official script puts in place of a reply that it cannot read (-1, 0, no) is no
        judgment, and a score of nothing else says nothing of the answers.

        Args:
            figures: The figures, numbers of answers (`TALLIES`) among them.
            counts: Summed counts that end in `HEARD`.
        """
        heard, asked = counts[..., -2], counts[..., -1]
        unheard = (heard == 0) & (asked > 0)
        return {
            name: value if name in TALLIES else torch.where(unheard, math.nan, value)
            for name, value in figures.items()
        }

    @abstractmethod
    def requests(self, answer: str, target: Any) -> list[JudgeRequest]:
        """What has to be asked next about one answer, given the replies that are there.

        Called until it returns nothing: a metric that asks again after an unusable reply returns
        the next attempt once the earlier one is in `replies`.

        Args:
            answer: What the model said.
            target: What the metric needs to know of the sample.

        Returns:
            Requests that are not in `replies` yet; none when all that is needed is there.
        """

    def set_requests(self, answers: Sequence[str], targets: Sequence[Any]) -> list[JudgeRequest]:
        """What has to be asked next about many answers, see `requests`.

        A metric whose requests take several samples, such as two answers that are compared with
        each other, overrides this.
        """
        return [
            request
            for answer, target in zip(answers, targets, strict=True)
            for request in self.requests(answer, target)
        ]

    @abstractmethod
    def rows(self, answers: Sequence[str], targets: Sequence[Any]) -> Tensor:
        """As `CountMetric.rows`; an answer without a usable reply is counted as unjudged."""


@dataclass(eq=False)
class ScoreMetric(JudgedMetric):
    """A `JudgedMetric` that asks at most `attempts` times and takes the first usable reply.

    The rule has no part in what is asked, so the replies of a run can be read under every rule.

    Args:
        rule: How replies are read, see `lvlmsal.metrics.judge_replies`.
        attempts: How often the judge is asked about one answer. The official scripts ask without
            end.
    """

    rule: str = "official"
    attempts: int = 5

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UnknownName: No rule has that name.
            ValueError: Nothing would be asked.
        """
        get_reply_rule(self.rule)
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")

    def pending(
        self, messages: Sequence[tuple[str, str]], with_verdict: bool
    ) -> list[JudgeRequest]:
        """The attempt that is to be made next; none once a reply can be used or all are made."""
        for attempt in range(self.attempts):
            request = self._attempt(messages, attempt)
            if request.key not in self.replies:
                return [request]
            if get_reply_rule(self.rule).read(self.replies[request.key], with_verdict) is not None:
                return []
        return []

    def judgment(self, messages: Sequence[tuple[str, str]], with_verdict: bool) -> Judgment | None:
        """`heard`, or what the rule puts in its place; None where the answer stays unjudged."""
        found = self.heard(messages, with_verdict)
        if found is None and self._attempt(messages, 0).key in self.replies:
            return get_reply_rule(self.rule).last
        return found

    def heard(self, messages: Sequence[tuple[str, str]], with_verdict: bool) -> Judgment | None:
        """What the first usable reply says; None where there is none."""
        rule = get_reply_rule(self.rule)
        for attempt in range(self.attempts):
            reply = self.replies.get(self._attempt(messages, attempt).key)
            if reply is None:
                break
            if (found := rule.read(reply, with_verdict)) is not None:
                return found
        return None

    def _attempt(self, messages: Sequence[tuple[str, str]], attempt: int) -> JudgeRequest:
        # the official scripts set no temperature, so that asking again can help
        return JudgeRequest(tuple(messages), temperature=None, attempt=attempt)
