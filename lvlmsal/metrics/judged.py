"""The base of metrics that ask a judge model what an answer is worth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lvlmsal.metrics.base import CountMetric
from lvlmsal.metrics.prompts import JudgePrompt


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge model.

    Attributes:
        messages: Chat messages, as (role, text).
        temperature: Sampling temperature; None leaves it to the endpoint.
        max_tokens: Length limit of the reply; None leaves it to the endpoint.
        attempt: Tells repeated requests with the same words apart (0, 1, ...).
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


@dataclass(eq=False, repr=False)
class JudgedMetric(CountMetric):
    """A `CountMetric` that reads a judge's replies, which somebody else fetches and stores.

    A metric never opens a connection: `requests` says what to ask, `replies` holds what came back,
    by the key of the request, and `rows` counts. So a run is scored again without a network.

    Attributes:
        replies: Replies by `JudgeRequest.key`. Not an option: whoever scores sets it.
        prompt: The words that the judge is asked with; a subclass sets it.
        prompts: The same by name, where there are several.
    """

    judge_model: ClassVar[str] = ""
    """The model that the official script asks, such as ``gpt-4-0613``."""

    replies: Mapping[str, str] = dataclasses.field(init=False)
    prompt: JudgePrompt = dataclasses.field(init=False)
    prompts: Mapping[str, JudgePrompt] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Set up the state; a subclass with a `__post_init__` of its own calls this one first."""
        super().__post_init__()
        self.replies = {}
        self.prompt = JudgePrompt("", ())
        self.prompts = {}

    @property
    def prompt_digest(self) -> str:
        """Digest of the words of all prompts: figures compare only where it is the same."""
        words = [self.prompt.messages, *(p.messages for _, p in sorted(self.prompts.items()))]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]

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
