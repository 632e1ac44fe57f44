"""Fetching what judged metrics still need: round by round, within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lvlmsal.errors import ConfigError, LvlmsalError
from lvlmsal.judges.budget import Budget
from lvlmsal.judges.client import JudgeClient, JudgeFailed, RequestRefused
from lvlmsal.judges.endpoint import Endpoint
from lvlmsal.judges.store import ReplyStore, Usage
from lvlmsal.metrics.judged import JudgedMetric, JudgeRequest

ENOUGH_REFUSALS = 5
"""So many refused requests, and more than replies, mean that all of them will be refused."""

Part = tuple[JudgedMetric, Sequence[str], Sequence[Any]]
"""A metric, answers and their targets."""


@dataclass(frozen=True)
class Judging:
    """How a judging went.

    Attributes:
        added: Replies that were fetched now.
        missing: Requests that are still without a reply.
        refused: Those among them that the endpoint will not answer.
        reason: Why one of them was refused.
        stopped: Why the judging stopped before the end; empty where it did not.
        usage: What all replies of this judge in the store have taken.
        cost: Their price; None without prices.
    """

    added: int
    missing: int
    refused: int
    reason: str
    stopped: str
    usage: Usage
    cost: float | None


class _Stop(Exception):
    """No further request may be sent."""


def judge(
    parts: Sequence[Part],
    endpoint: Endpoint,
    store: ReplyStore,
    budget: Budget | None = None,
    *,
    advance: Callable[[int, int], None] | None = None,
) -> Judging:
    """Fetch every reply that the metrics need and the store does not hold.

    Each metric's `replies` become those of this judge in the store. What a metric asks after an
    unusable reply is fetched in the next round. Requests with the same words are sent once. A reply
    is in the store before the next request is sent; what a kill or a failure leaves out is fetched
    by the same call later.

    Args:
        parts: What is to be judged. What a metric looks at together must be in one part.
        endpoint: The judge.
        store: Where replies are kept.
        budget: What it may cost; without one there is no limit.
        advance: Told after every reply how many of how many requests of the round are answered.

    Returns:
        How it went; a spent budget is told there and is no error.

    Raises:
        ConfigError: Settings are wrong, or the key's variable is not set.
        UnsupportedError: The extra ``judge`` is not installed.
        LvlmsalError: The endpoint failed. All replies that came are kept.
    """
    budget = budget or Budget()
    if problems := [*endpoint.problems(), *budget.problems()]:
        raise ConfigError(problems, source="judge")
    replies = store.replies(endpoint.judge)
    for metric, _, _ in parts:
        metric.replies = replies
    session = _Session(parts, endpoint, store, budget, advance or (lambda done, total: None))
    if session.pending():
        try:
            _run(session.work())
        finally:
            store.close()
    if session.error is not None:
        raise LvlmsalError(
            f"{session.error}\n{session.added} replies of this session are kept: fix the cause, "
            "then rerun the same command to resume"
        ) from session.error
    usage = store.usage(endpoint.judge)
    return Judging(
        added=session.added,
        missing=len(session.pending()) + len(session.refused),
        refused=len(session.refused),
        reason=next(iter(session.refused.values()), ""),
        stopped=session.stopped,
        usage=usage,
        cost=budget.cost(usage),
    )


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, work).result()


@dataclass
class _Session:
    """The state of one call of `judge`."""

    parts: Sequence[Part]
    endpoint: Endpoint
    store: ReplyStore
    budget: Budget
    advance: Callable[[int, int], None]
    added: int = 0
    stopped: str = ""
    error: LvlmsalError | None = None
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # tries of this session count when they are sent, those of earlier ones by their replies
        self._calls = self.store.usage(self.endpoint.judge).calls

    def pending(self) -> dict[str, JudgeRequest]:
        """What to ask next, by key."""
        return {
            request.key: request
            for metric, answers, targets in self.parts
            for request in metric.set_requests(answers, targets)
            if request.key not in self.refused
        }

    async def work(self) -> None:
        """Ask, round by round, until nothing is left or nothing may be sent."""
        async with JudgeClient(self.endpoint) as client:
            while (requests := self.pending()) and not self._ended:
                queue = iter(requests.values())
                total, start = len(requests), self.added
                workers = min(self.endpoint.concurrency, total)
                await asyncio.gather(
                    *(self._worker(client, queue, start, total) for _ in range(workers))
                )

    @property
    def _ended(self) -> bool:
        return bool(self.stopped) or self.error is not None

    async def _worker(
        self, client: JudgeClient, queue: Iterator[JudgeRequest], start: int, total: int
    ) -> None:
        """Take requests until there are none; an end lets those under way come home."""
        for request in queue:
            try:
                reply = await client.ask(request, self._admit)
            except _Stop:
                return
            except JudgeFailed as error:
                self.error = self.error or error
                return
            except RequestRefused as error:
                self._note_refusal(request, error)
                continue
            self.store.add(request, self.endpoint, reply)
            self.added += 1
            self.advance(self.added - start, total)

    def _note_refusal(self, request: JudgeRequest, error: RequestRefused) -> None:
        self.refused[request.key] = str(error)
        if len(self.refused) > max(ENOUGH_REFUSALS, self.added) and self.error is None:
            self.error = JudgeFailed(
                f"{self.endpoint.judge}: refused {len(self.refused)} requests, the last with "
                f"{error}"
            )

    def _admit(self) -> None:
        """Let one more try be sent, or stop.

        Raises:
            _Stop: The judging has ended, or the budget is spent.
        """
        if self._ended:
            raise _Stop
        budget, usage = self.budget, self.store.usage(self.endpoint.judge)
        if budget.max_calls is not None and self._calls >= budget.max_calls:
            self.stopped = f"{self._calls} requests were sent and max_calls is {budget.max_calls}"
        elif budget.max_cost is not None:
            cost = budget.cost(usage)
            if usage.untold:
                self.stopped = (
                    "the endpoint does not tell how many tokens a reply took, so max_cost cannot "
                    "be kept: use max_calls"
                )
            elif cost is not None and cost >= budget.max_cost:
                self.stopped = f"{cost:.4g} is spent and max_cost is {budget.max_cost:g}"
        if self.stopped:
            raise _Stop
        self._calls += 1
