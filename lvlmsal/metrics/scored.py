"""The base of metrics whose judge gives a score from 0 to 5, asked again where it gives none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest
from lvlmsal.metrics.replies import Judgement, get_reply_rule


@dataclass(eq=False, repr=False)
class ScoreMetric(JudgedMetric):
    """A `JudgedMetric` that asks at most `attempts` times and takes the first usable reply.

    The rule has no part in what is asked, so the replies of a run can be read under every rule.

    Args:
        rule: How replies are read, see `lvlmsal.metrics.replies`.
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
        super().__post_init__()
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

    def judgement(
        self, messages: Sequence[tuple[str, str]], with_verdict: bool
    ) -> Judgement | None:
        """`heard`, or what the rule puts in its place; None where the answer stays unjudged."""
        found = self.heard(messages, with_verdict)
        if found is None and self._attempt(messages, 0).key in self.replies:
            return get_reply_rule(self.rule).last
        return found

    def heard(self, messages: Sequence[tuple[str, str]], with_verdict: bool) -> Judgement | None:
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
