"""What an intervention is: base classes with hooks that do nothing until they are overridden."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor

from lvlmsal.adapters.base import ModelAdapter
from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.kernel import PlainAttention
from lvlmsal.attention.layers import LayerSpec, resolve_layers
from lvlmsal.attention.prompt import Prompt
from lvlmsal.errors import ConfigError
from lvlmsal.registry import options_of


class Intervention:
    """Base of everything in the ``interventions`` registry. Subclasses are dataclasses.

    Derive from one or several of :class:`AttentionIntervention`, :class:`HiddenStateIntervention`,
    :class:`FeedForwardIntervention` and :class:`LogitsIntervention`, which say where a method acts.

    Attributes:
        name: set by the registry.
        summary: one line for listings.
        paper: title and year of the source.
        url: where to read it.
        supports_beam: whether it is right under beam search.
        supports_sgrs: whether saliency can be computed on the attention that it changes.
        shares_prefix: whether what it does to a row of the prompt depends on the keys before it,
            and on whether the row predicts a generated token, alone: not on the prompt's length or
            end. Questions about one image can then share its keys and values.
        shares_second: whether the second prompt of a prompt that goes on behind its images is that
            of its beginning, and behind it the same tokens. Questions then share its beginning,
            too, if no edits act in it alone; others are run as a whole.
        looks_ahead: whether it edits rows of the prompt by what stands behind them in the prompt.
        has_second_stream: whether it runs a second sequence next to the first; only one can.
        strong: options under which it changes a random model clearly, for the test kit.
        off: options that switch it off.
        model_defaults: options for checkpoints of the catalog, by a shell pattern of their names
            (``"llava-1.5-*"``); they stand above the class's own defaults and below the card's.
        layers: where it acts, see :data:`~lvlmsal.attention.layers.LayerSpec`; all by default.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    supports_beam: ClassVar[bool] = True
    supports_sgrs: ClassVar[bool] = True
    shares_prefix: ClassVar[bool] = False
    shares_second: ClassVar[bool] = False
    looks_ahead: ClassVar[bool] = False
    has_second_stream: ClassVar[bool] = False
    strong: ClassVar[Mapping[str, Any]] = {}
    off: ClassVar[Mapping[str, Any]] = {}
    model_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    layers: LayerSpec = None
    _bound: frozenset[int] | None = None

    def bind(self, num_layers: int) -> Self:
        """A copy that is fitted to a model of ``num_layers`` layers; called once per session.

        Raises:
            ConfigError: the model lacks layers that are named; one that is off names none.
        """
        bound = copy.copy(self)
        try:
            found = [] if self.is_identity else self.acting_layers(num_layers)
        except ValueError as error:
            raise ConfigError([f"intervention {self.name!r}: {error}"]) from error
        object.__setattr__(bound, "_bound", frozenset(found))
        return bound

    def meet(self, adapter: ModelAdapter) -> None:
        """Look at the model; called once per session, on the copy that :meth:`bind` has made.

        For what belongs to one model, such as a list of its heads: see that it is this one, and
        keep what the passes need on ``self``. What belongs to a sample is :meth:`prepare`'s.

        Raises:
            UnsupportedError: it was made for another model.
        """

    def acting_layers(self, num_layers: int) -> Sequence[int]:
        """Where it acts in a model of ``num_layers`` layers; by default what ``layers`` names.

        Raises:
            ValueError: the model lacks layers that the options name.
        """
        return resolve_layers(self.layers, num_layers)

    @property
    def is_identity(self) -> bool:
        """Whether the options switch the edit off; then the plain model runs, bit for bit."""
        return False

    @property
    def brings_second_stream(self) -> bool:
        """Whether it runs a second stream under its options; by default as its class says."""
        return self.has_second_stream

    def applies_to(self, layer: int) -> bool:
        """Whether the edit acts in a layer."""
        return not self.is_identity and (self._bound is None or layer in self._bound)

    def recorded(self) -> dict[str, Any]:
        """Options as records of a run hold them: all that an answer depends on."""
        return options_of(self)

    def prepare(self, prompt: Prompt) -> Any:
        """Look at a prompt before it is run.

        What is returned is kept as long as the prompt's cache and handed back by
        ``context.state(self)``: state of a sample belongs there, never on the object. Rows of the
        batch are those of the pass, beams included.
        """
        return None

    def go_on(self, state: Any, spans: Sequence[TokenSpans], cached: int) -> Any:
        """What is kept of prompts that share a prefix: by default what was kept of that.

        Args:
            state: of the prefix, run as a prompt of one row; other questions are handed it as well.
            spans: one for each row of the batch.
            cached: columns that are not run again, padding among them.
        """
        return state

    @classmethod
    def hooks(cls) -> tuple[str, ...]:
        """Where it acts, read off what the class overrides."""
        places = {
            "scores": (AttentionIntervention, "attention scores"),
            "weights": (AttentionIntervention, "attention weights"),
            "layer_input": (HiddenStateIntervention, "hidden states"),
            "layer_output": (HiddenStateIntervention, "hidden states"),
            "feed_forward": (FeedForwardIntervention, "feed-forward"),
            "logits": (LogitsIntervention, "logits"),
            "second_inputs": (LogitsIntervention, "second stream"),
            "second_edits": (LogitsIntervention, "second stream's own edits"),
            "exits": (LogitsIntervention, "early exits"),
            "prepare": (Intervention, "prompt"),
        }
        found = [
            place
            for method, (base, place) in places.items()
            if getattr(cls, method, None) not in (None, getattr(base, method))
        ]
        return tuple(dict.fromkeys(found))


class AttentionIntervention(Intervention):
    """An edit of the scores before the softmax or of the weights after it.

    Override :meth:`scores`, :meth:`weights` or both; they run on the text decoder's attention only,
    in prefill and in decode steps alike. ``context`` tells positions, spans and layer.

    Attributes:
        by_position: whether a row's edit goes by ``context.query_positions`` and ``key_positions``
            alone, so that SGRS may run the candidates of one position side by side in one pass.

    >>> class Flat(AttentionIntervention):
    ...     def scores(self, scores, context):
    ...         return scores * 0.5
    >>> Flat.hooks()
    ('attention scores',)
    """

    by_position: ClassVar[bool] = False

    def first_row(self, context: AttentionContext) -> int:
        """Index of the first query row that the edit can change; rows before it stay on sdpa."""
        return 0

    def scores(self, scores: Tensor, context: AttentionContext) -> Tensor:
        """Edit the scaled scores (B, H, q, k), before the mask and the softmax.

        They are what the softmax is taken of: behind the soft cap of models that have one, and
        without attention sinks and biases of the mask, which take their part in it afterwards.
        """
        return scores

    def weights(self, weights: Tensor, context: AttentionContext) -> Tensor:
        """Edit the weights (B, H, q, k), after the softmax; masked entries are zero.

        Rows sum to one, or to less than that in models with attention sinks.
        """
        return weights

    @property
    def has_closed_form(self) -> bool:
        """Whether :meth:`closed_form` is defined; it keeps long passes off the explicit weights."""
        return False

    def closed_form(self, plain: PlainAttention, context: AttentionContext) -> Tensor:
        """The edited output (B, H, q, d), from the plain kernel's output and log-sum-exp.

        The same edit as :meth:`scores` and :meth:`weights` make, without the matrix. It is used in
        passes of many rows where no gradient is asked for and no other intervention acts.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no closed form")

    def key_gains(
        self, column: int, spans: Sequence[TokenSpans]
    ) -> tuple[slice, float | Tensor] | None:
        """What the edit comes to in a pass of one row, where it multiplies weights key by key.

        The same edit as :meth:`weights` makes, in all heads and layers where it acts; then decode
        steps run on the model's own attention kernel. It is used where no gradient is asked for
        and no other intervention edits attention.

        Args:
            column: of the row; keys are the columns up to it.
            spans: one for each sample.

        Returns:
            Columns before the row, and the factor on their weights: one, or one for each sample and
            column, (B, number of columns). The weights of all others stay. ``None``, the default,
            where the edit is something else.
        """
        return None


class HiddenStateIntervention(Intervention):
    """An edit of the residual stream before or after a layer, or a look at it."""

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Edit what enters a layer, shape (B, q, D), before its first norm."""
        return states

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        """Edit what leaves a layer, shape (B, q, D), after its second residual addition."""
        return states


class FeedForwardIntervention(Intervention):
    """An edit of what the feed-forward block of a layer adds to the residual stream."""

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        """Edit what is added, in the model's dtype.

        Args:
            inputs: what enters the block, (B, q, D): the normed residual stream, in nearly all
                families.
            output: what the block makes of it, (B, q, D), behind a norm where the family has one
                there (Gemma 2 and 3, GLM-4.1V).
            context: positions, spans and layer, as of the other edits.
        """
        return output


class LogitsIntervention(Intervention):
    """An edit of the logits from which tokens are chosen, whichever decoder chooses.

    It acts on the model's output, before logits processors, temperature and cuts; beam search
    normalizes what it leaves. Saliency is taken from the raw logits. Tokens that the model itself
    rules out stay so.
    """

    def exits(self, num_layers: int) -> Sequence[int]:
        """Layers whose inputs ``context.hidden`` shall hold."""
        return ()

    def second_inputs(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """Inputs of ``generate`` for a second stream, which then follows the first token by token.

        It has a cache of its own, is reordered with the beams and cut back with rejected tokens.
        Its prompt may be of another length, with the same last token. Others act in it, too.

        Returns:
            A row for each row of the prompt, padded at the left; None for no second stream. Or the
            inputs of several by name, whose logits are ``context.seconds``: they count as one.
        """
        return None

    def second_edits(
        self, prompt: Prompt
    ) -> Sequence[Intervention] | Mapping[str, Sequence[Intervention]]:
        """Edits that act in the second stream alone, behind others; of several by its name."""
        return ()

    def wants_second(self, logits: Tensor, context: LogitsContext) -> bool:
        """Whether the second stream's logits matter for any of these rows, (B, r, V).

        Where they do not, its passes wait, to be run together later, and ``context.second`` is
        None: what :meth:`logits` makes of these rows must be the same then after a softmax.
        """
        return True

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        """Edit logits (B, r, V), float32 or better, of rows that predict generated tokens."""
        return logits
