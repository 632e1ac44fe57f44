"""OPERA's look at the candidates of each beam: what the layer sees at their own rows.

All candidates of a position are rows of one pass, of which none sees another. What was chosen is
taken out of it, so a token costs one pass of N_can rows a beam. Where rows cannot stand side by
side (a window, positions that are counted inside of the model, another edit that acts in the pass),
each candidate has a pass of its own, and what was chosen is run once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import DynamicCache

from lvlmsal.attention.scopes import acting
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import Stream
from lvlmsal.decoders.opera.over_trust import Seen


@dataclass(frozen=True)
class Tried:
    """Candidates of each beam, once they were looked at.

    Attributes:
        tokens: (R, N), on the CPU.
        rows: what the layer gives generated tokens and itself, (R, N, t + 1), on the CPU.
        on_image: what it gives the image, (R, N), on the CPU.
        logits: behind each, (R, N, V); ``None`` where each had a pass of its own.
        states: by layer of the cache, keys and values of each, (R, H, N, d).
    """

    tokens: Tensor
    rows: Tensor
    on_image: Tensor
    logits: Tensor | None
    states: list[tuple[Tensor, Tensor]]

    def places(self, beams: Tensor, tokens: Tensor, done: Tensor) -> Tensor | None:
        """Where tokens (R,) stand among the candidates of the beams that they follow (R,).

        ``None`` where one is no candidate, as tokens behind a roll-back may be, or where nothing
        was kept of them. What rows of samples that are ``done`` (R,) follow matters to nobody: they
        take their first candidate.
        """
        same = self.tokens[beams] == tokens[:, None]
        if self.logits is None or not bool((same.any(dim=1) | done).all()):
            return None
        return same.long().argmax(dim=1)

    def take(self, stream: Stream, beams: Tensor, places: Tensor) -> Tensor:
        """Commit a candidate of each beam to a stream whose rows follow them; logits (R, V)."""
        assert self.logits is not None
        for layer, states in enumerate(self.states):
            key, value = (each[beams, :, places][:, :, None] for each in states)
            stream.cache.update(key, value, layer)
        stream.was_given(self.tokens[beams, places][:, None])
        return self.logits[beams, places]


class LookAhead:
    """Looks at candidates in passes that leave a stream as it was.

    Args:
        session: in which the layer is watched.
        stream: a row for each beam.
        seen: what is seen of the layer.
        width: columns of the prompt.
    """

    def __init__(self, session: AttentionSession, stream: Stream, seen: Seen, width: int) -> None:
        self.session, self.stream, self.seen, self.width = session, stream, seen, width

    @cached_property
    def side_by_side(self) -> bool:
        """Whether candidates can be rows of one pass, once the prompt was run."""
        session = self.session
        others = [s for s in acting() if s.decoder is session.decoder and s is not session]
        alone = not any(other.passes.edits for other in others)
        return alone and self.stream.fits_side_by_side(session.adapter.text_config)

    def at(self, tokens: Tensor) -> Tried:
        """Look at candidates (R, N)."""
        return self._together(tokens) if self.side_by_side else self._one_by_one(tokens)

    def _together(self, tokens: Tensor) -> Tried:
        stream, count = self.stream, tokens.shape[1]
        assert isinstance(stream.cache, DynamicCache)
        inputs = stream.side_by_side(tokens.to(stream.input_ids.device))
        logits = stream.run_beside(inputs)
        states = []
        for layer in stream.cache.layers:
            pair = [getattr(layer, name)[:, :, -count:].clone() for name in ("keys", "values")]
            states.append((pair[0], pair[1]))
        stream.cache.crop(-count)
        local = self.seen.local(self.width)
        own = local[:, :, -count:].diagonal(dim1=1, dim2=2)[..., None]
        rows = torch.cat([local[:, :, :-count], own], dim=-1)
        return Tried(tokens, rows, self.seen.on_image(), logits, states)

    def _one_by_one(self, tokens: Tensor) -> Tried:
        mark = self.stream.mark()
        rows, on_image = [], []
        for candidate in tokens.T:
            self.stream.step(candidate)
            rows.append(self.seen.local(self.width)[:, -1])
            on_image.append(self.seen.on_image()[:, -1])
            self.stream.rewind(mark)
        return Tried(tokens, torch.stack(rows, dim=1), torch.stack(on_image, dim=1), None, [])
