"""What an intervention is told about the pass that it edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.runs import Interval
from lvlmsal.adapters.spans import ContextName, TokenSpans
from lvlmsal.attention.arguments import Call
from lvlmsal.errors import UnsupportedError


@dataclass
class Columns:
    """Columns of one forward pass on one device, and what its layers share."""

    first: int
    query: Tensor
    key: Tensor
    memo: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    carried: dict[tuple[Any, ...], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AttentionContext:
    """Where the rows and columns of one attention call stand in each sample.

    Columns count the padding, positions do not: ``position = column - pad``. Padding columns have
    negative positions.

    Attributes:
        spans: one :class:`~lvlmsal.adapters.spans.TokenSpans` for each row of the batch.
        query_columns: column of each query row, shape (q,).
        key_columns: column of each key, shape (k,).
        layer: index of the decoder layer.
        num_layers: depth of the decoder.
        first_query_column: column of the first query row, known without asking the device.
        first_key_column: column of the first key.
        memo: shared by all layers of one forward pass on one device; see :meth:`cached`.
        carried: what layers leave for later ones of the same pass, on whichever device these are,
            and for edits of the logits; keys hold the ``id`` of the intervention.
        states: what interventions keep of the prompt; see :meth:`state`.
        call: where scores or weights are edited, what they are made of; see :attr:`queries`.
        scores: where weights are edited, the masked scores that they were made of, (B, H, q, k).
    """

    spans: Sequence[TokenSpans]
    query_columns: Tensor
    key_columns: Tensor
    layer: int
    num_layers: int
    first_query_column: int
    first_key_column: int = 0
    memo: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)
    carried: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)
    states: Mapping[int, Any] = field(default_factory=dict, repr=False)
    call: Call | None = field(default=None, repr=False)
    scores: Tensor | None = field(default=None, repr=False)

    @property
    def pad(self) -> Tensor:
        """Left padding of each sample, shape (B, 1)."""
        pads = [spans.pad for spans in self.spans]
        return torch.tensor(pads, device=self.key_columns.device)[:, None]

    @property
    def query_positions(self) -> Tensor:
        """Positions of the query rows, shape (B, q)."""
        return self.query_columns[None] - self.pad

    @property
    def key_positions(self) -> Tensor:
        """Positions of the keys, shape (B, k); negative where a column is padding."""
        return self.key_columns[None] - self.pad

    def context_start(self, context: ContextName) -> Tensor:
        """First position of the set J of SGRS and LocoRE, shape (B, 1)."""
        starts = [spans.context_start(context) for spans in self.spans]
        return torch.tensor(starts, device=self.key_columns.device)[:, None]

    def first_context_row(self, context: ContextName) -> int:
        """Index of the first query row that has a key of J before it in any sample."""
        key = (context, self.first_query_column, len(self.query_columns))
        if key not in self.memo:
            first = min(spans.context_start(context) + spans.pad for spans in self.spans) + 1
            self.memo[key] = max(0, first - self.first_query_column)
        return int(self.memo[key])

    @property
    def first_predicting_row(self) -> int:
        """Index of the first query row that predicts a generated token.

        The last row of the prompt is the first of them, in every sample: padding is at the left.
        """
        return max(0, self.spans[0].output_column - 1 - self.first_query_column)

    def predicting_rows(self) -> Tensor:
        """Which query rows predict a generated token, boolean (B, q)."""
        starts = [[spans.output_start] for spans in self.spans]
        return self.query_positions >= torch.tensor(starts, device=self.key_columns.device) - 1

    def image_keys(self) -> Tensor:
        """Which keys are visual tokens, boolean (B, k)."""
        key = ("image keys", self.first_key_column, len(self.key_columns))
        return self._within(key, self.key_positions, [spans.visual for spans in self.spans])

    def image_rows(self) -> Tensor:
        """Which query rows are visual tokens, boolean (B, q)."""
        key = ("image rows", self.first_query_column, len(self.query_columns))
        return self._within(key, self.query_positions, [spans.visual for spans in self.spans])

    def system_keys(self) -> Tensor:
        """Which keys stand before the first image, boolean (B, k); none without an image."""
        key = ("system keys", self.first_key_column, len(self.key_columns))
        return self._within(key, self.key_positions, [(spans.system,) for spans in self.spans])

    def _within(
        self, key: tuple[Any, ...], positions: Tensor, intervals: Sequence[Sequence[Interval]]
    ) -> Tensor:
        """Which positions (B, n) lie in an interval of their sample; made once a pass by key."""
        if key not in self.memo:
            found = torch.zeros_like(positions, dtype=torch.bool)
            for row, of_sample in enumerate(intervals):
                for start, end in of_sample:
                    found[row] |= (positions[row] >= start) & (positions[row] < end)
            self.memo[key] = found
        made: Tensor = self.memo[key]
        return made

    @property
    def queries(self) -> Tensor:
        """Queries of the rows, (B, H, q, d), in the model's dtype.

        They, :attr:`keys` and :attr:`values` are what the model hands to its attention, behind the
        rotary embedding and any norm, before they are scaled; known where scores or weights are
        edited.

        Raises:
            UnsupportedError: they were asked for outside of such an edit.
        """
        return self._made_of.query

    @property
    def keys(self) -> Tensor:
        """All keys, (B, Hkv, k, d): query head h goes with key head ``h // (H // Hkv)``."""
        return self._made_of.key

    @property
    def values(self) -> Tensor:
        """All values, (B, Hkv, k, d)."""
        return self._made_of.value

    @property
    def _made_of(self) -> Call:
        if self.call is None:
            raise UnsupportedError(
                "queries, keys and values are known to AttentionIntervention.scores and weights "
                "only; closed_form finds them in what it is handed"
            )
        return self.call

    @property
    def log_sum_exp(self) -> Tensor:
        """Of each row's scores over the keys that it sees, (B, H, q); where weights are edited.

        The head's attention sink is one of them, in models that have sinks.

        It is what the softmax divided by: ``A[q, j] = exp(s(q, j) - log_sum_exp[q])``.

        Raises:
            UnsupportedError: it was asked for outside of an edit of weights.
        """
        if self.scores is None:
            raise UnsupportedError("the log-sum-exp is known to AttentionIntervention.weights only")
        found, sink = self.scores.logsumexp(-1), self._made_of.sink
        return found if sink is None else torch.logaddexp(found, sink.to(found)[:, None])

    def state(self, owner: object) -> Any:
        """What an intervention's :meth:`prepare` returned for the prompt of this pass.

        Args:
            owner: the intervention itself.

        Raises:
            UnsupportedError: the prompt was run outside of the intervention's scope.
        """
        return state_of(self.states, owner)

    def rows_from(self, first: int) -> AttentionContext:
        """The same pass, restricted to the query rows from index ``first`` on."""
        if not first:
            return self
        keys = slice(0, len(self.key_columns))
        return self.tile(slice(first, len(self.query_columns)), keys)

    def tile(self, rows: slice, keys: slice) -> AttentionContext:
        """The same pass, restricted to some query rows and keys, given by their indices."""
        return replace(
            self,
            query_columns=self.query_columns[rows],
            key_columns=self.key_columns[keys],
            first_query_column=self.first_query_column + rows.start,
            first_key_column=self.first_key_column + keys.start,
            call=None,
            scores=None,
        )

    def cached(self, owner: object, make: Callable[[], Tensor]) -> Tensor:
        """``make()``, computed once for all layers of this forward pass, these rows and keys.

        For tensors that depend on positions alone. ``owner`` is the intervention itself.
        """
        rows = (self.first_query_column, len(self.query_columns))
        keys = (self.first_key_column, len(self.key_columns))
        key = (id(owner), rows, keys)
        if key not in self.memo:
            self.memo[key] = make()
        made: Tensor = self.memo[key]
        return made


def state_of(states: Mapping[int, Any], owner: object) -> Any:
    """What an intervention keeps of a prompt, among what all of them keep.

    Raises:
        UnsupportedError: it has not seen the prompt.
    """
    if id(owner) not in states:
        raise UnsupportedError(
            f"{type(owner).__name__} has not seen the prompt of this cache: run the prompt "
            "inside of the same intervene(...) scope, without the cache of another one"
        )
    return states[id(owner)]


@dataclass(frozen=True)
class LogitsContext:
    """The rows of a pass that predict generated tokens, the same number in each sample.

    Attributes:
        adapter: of the model; its ``lm_head`` turns hidden states into logits.
        spans: of the prompt, one for each row of the batch.
        first_step: how many tokens were generated before the one that the first row predicts: 0 for
            the last row of a prompt.
        second: raw logits of the second stream for the same tokens, shape (B, r, V); ``None`` where
            there is none, or several have names.
        hidden: by layer, the residual stream (B, r, D) that enters it, before any norm; for the
            layers that :meth:`~lvlmsal.interventions.LogitsIntervention.exits` names.
        states: what interventions keep of the prompt; see :meth:`state`.
        carried: what the layers of this pass have left, under keys that hold the ``id`` of the
            intervention; of all rows that they were handed, of which the last r are these.
        seconds: as ``second``, of each of several second streams, by the names that
            :meth:`~lvlmsal.interventions.LogitsIntervention.second_inputs` gave them.
    """

    adapter: ModelAdapter
    spans: Sequence[TokenSpans]
    first_step: int
    second: Tensor | None
    hidden: Mapping[int, Tensor]
    states: Mapping[int, Any] = field(default_factory=dict)
    carried: Mapping[tuple[Any, ...], Any] = field(default_factory=dict)
    seconds: Mapping[str, Tensor] = field(default_factory=dict)

    def steps(self, logits: Tensor) -> Tensor:
        """Number of tokens generated before the one that each row predicts, shape (r, 1)."""
        return self.first_step + logits.new_ones(logits.shape[1]).cumsum(0)[:, None] - 1

    def state(self, owner: object) -> Any:
        """What an intervention's :meth:`prepare` returned for the prompt; ``owner`` is itself.

        Raises:
            UnsupportedError: the prompt was run outside of the intervention's scope.
        """
        return state_of(self.states, owner)


def check_batch(spans: Sequence[TokenSpans], rows: int) -> None:
    """Raise ``UnsupportedError`` where spans are those of another batch."""
    if len(spans) != rows:
        raise UnsupportedError(f"spans of {len(spans)} samples were given for a batch of {rows}")
