"""The hypotheses of one sample in a beam search, by the rules of transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvlmsal.errors import UnsupportedError

NEVER = -1e9
"""Score of a beam that is not a choice, as in transformers; not -inf, so that sums stay finite."""


@dataclass(frozen=True)
class BeamRules:
    """What ``generate`` is asked for.

    Attributes:
        beams: hypotheses that are kept.
        keep: continuations that are looked at: so many that some are left when others end.
        length_penalty: exponent on the length in a finished hypothesis' score.
        early_stopping: as in transformers' generation config.
        longest: tokens that may be generated at most.
    """

    beams: int
    keep: int
    length_penalty: float
    early_stopping: bool | str
    longest: int


@dataclass(frozen=True)
class Beams:
    """A sample's beams after t tokens; all on the CPU.

    Attributes:
        tokens: generated so far, (beams, t).
        scores: sums of log-probabilities, best first, (beams,), float64.
        parents: which beam each one continues, (beams,).
        places: of OPERA's columns, by each beam's own lineage, (beams, t).
        finished: scores and tokens of hypotheses that ended, best first.
        improvable: whether a running beam may still beat them.
        done: whether the search is over.
    """

    tokens: Tensor
    scores: Tensor
    parents: Tensor
    places: Tensor
    finished: tuple[tuple[float, Tensor], ...] = ()
    improvable: bool = True
    done: bool = False

    @classmethod
    def start(cls, beams: int) -> Beams:
        """All beams are the prompt, so only the first of them is continued."""
        scores = torch.full((beams,), NEVER, dtype=torch.float64)
        scores[0] = 0.0
        nothing = torch.zeros(beams, 0, dtype=torch.long)
        return cls(nothing, scores, torch.arange(beams), nothing)

    def advanced(
        self,
        tokens: Tensor,
        scores: Tensor,
        places: Tensor,
        ends: Callable[[Tensor], Tensor],
        rules: BeamRules,
    ) -> Beams:
        """One token further.

        Args:
            tokens: that each beam may be continued by, (beams, m).
            scores: log-probabilities of them, (beams, m).
            places: c of each beam here, (beams,).
            ends: from generated tokens (n, t + 1) to whether each hypothesis ends there, (n,).
            rules: of the search.

        Raises:
            UnsupportedError: no token is left, or scores are not finite.
        """
        sums = (self.scores[:, None] + scores).flatten()
        best, index = sums.sort(descending=True, stable=True)
        best, index = best[: rules.keep], index[: rules.keep]
        if not bool(best[0].isfinite()):
            raise UnsupportedError(
                "no token is left to go on with: the logits processors ban the whole vocabulary, "
                "or the logits are not finite"
            )
        parents = index // tokens.shape[1]
        longer = torch.cat([self.tokens[parents], tokens.flatten()[index][:, None]], dim=1)
        ended = ends(longer)
        running, order = (best + NEVER * ended).sort(descending=True, stable=True)
        kept = order[: rules.beams]
        length = longer.shape[1]
        finished = list(self.finished)
        full = len(finished) == rules.beams
        if self.improvable and not (full and rules.early_stopping is True):
            finished += [
                (float(best[i]) / length**rules.length_penalty, longer[i])
                for i in range(min(rules.beams, len(best)))
                if ended[i]
            ]
            finished = sorted(finished, key=lambda pair: -pair[0])[: rules.beams]
        full = len(finished) == rules.beams
        optimistic = rules.early_stopping == "never" and rules.length_penalty > 0
        expected = rules.longest if optimistic else length
        worst = finished[-1][0] if full else NEVER
        improvable = self.improvable and (
            float(running[0]) / expected**rules.length_penalty > worst
        )
        over = not improvable or (full and rules.early_stopping is True) or bool(ended.all())
        histories = torch.cat([self.places, places[:, None]], dim=1)
        return Beams(
            longer[kept],
            running[: rules.beams],
            parents[kept],
            histories[parents[kept]],
            tuple(finished),
            improvable,
            over,
        )

    def best(self, count: int) -> list[tuple[float, Tensor]]:
        """Scores and tokens of the best hypotheses; running ones where too few have ended."""
        running = zip(self.scores.tolist(), self.tokens, strict=True)
        return [*self.finished, *running][:count]
