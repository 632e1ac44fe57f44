"""One pass over prompt and answer that records whatever the chosen detectors need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.adapters import ModelAdapter
from lvlmsal.attention.context import AttentionContext
from lvlmsal.attention.editor import Bindable
from lvlmsal.attention.prompt import Prompt
from lvlmsal.attention.recording_stream import RecordingStream
from lvlmsal.attention.session import AttentionSession
from lvlmsal.attention.stream import prepared
from lvlmsal.detection.columns import READINGS, Columns, Need, union
from lvlmsal.detection.lens import Lens
from lvlmsal.detection.patches import PatchStates
from lvlmsal.detection.questions import QuestionStates
from lvlmsal.detection.rows import Groups, attention_readings, logit_readings, saliency_readings
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.block import rows_per_block
from lvlmsal.saliency.losses import loss_gradient

BLANK: Final = "blank_log_probability"


def record(
    adapter: ModelAdapter,
    inputs: Mapping[str, Any],
    response: Tensor,
    needs: Iterable[Need],
    *,
    lens: Lens | None = None,
    interventions: Sequence[Bindable] = (),
    block_size: int | None = None,
) -> Columns:
    """Everything that some detectors need of the tokens of a batch of answers.

    The prompt is run once, and the answer behind it in one pass, or block by block where it is
    long. Only what was asked for is computed, and only numbers of tokens are kept. A backward pass
    is taken where saliency is among the needs, and nowhere else.

    Args:
        adapter: of the model.
        inputs: prompts, left-padded, as from :meth:`~lvlmsal.adapters.base.ModelAdapter.encode`.
        response: ids of the answers, shape (B, T); what is behind the end of a shorter one may be
            anything.
        needs: of the detectors.
        lens: reads inner layers; only needed for ``row_lens``.
        interventions: under which the answers are judged. Those of the logits say nothing about
            what the model itself holds of a token, and are left out.
        block_size: rows of a block; by default as many as memory holds.

    Returns:
        Columns of shape (B, T, ...), on the CPU. What is read from blank images takes a pass more;
        where nothing is read, none is made.

    Raises:
        ValueError: ``row_lens`` was asked for without a lens.
        UnsupportedError: saliency of a model in whose prompts the rows see one another; or a prompt
            that ends in an image.
    """
    wanted = union(needs, adapter.num_layers)
    asks_blank = wanted.pop(BLANK, None) is not None
    if "row_lens" in wanted and lens is None:
        raise ValueError("row_lens was asked for without a lens: hand over lens=Lens(...)")

    if not wanted and not asks_blank:
        return Columns({}, {}, adapter.num_layers)

    def one_pass(inputs: Mapping[str, Any], wanted: Mapping[str, list[int]]) -> Columns:
        walk = _Walk(adapter, wanted, response, lens, block_size)
        watcher = _Watcher(walk.layers_of("states", "rows", "patches", "question"))
        session = AttentionSession(adapter, [*interventions, watcher], edits_logits=False)

        def run(input_ids: Tensor, kwargs: dict[str, Any]) -> Columns:
            attended = walk.layers_of("attention", "saliency")
            stream = RecordingStream(adapter.model, session, input_ids, kwargs, attended)
            return walk.over(stream, watcher.states)

        # Open while the images are encoded, for edits that want to see their pixels.
        with session:
            return prepared(adapter.model, inputs, run)

    columns = one_pass(inputs, wanted)
    if asks_blank:
        blank = blank_inputs(adapter, inputs)
        if blank is None:
            columns.values[BLANK] = torch.full(response.shape, torch.nan)
        else:
            seen = one_pass(blank, {"log_probability": []})
            columns.values[BLANK] = seen.values["log_probability"]
    return columns


def blank_inputs(adapter: ModelAdapter, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same prompts with blank images, of the mean color; None where there is no image."""
    spans = adapter.spans(inputs["input_ids"], inputs.get("attention_mask"))
    prompt = Prompt(adapter, spans, inputs, run=lambda *_, **__: None)
    return prompt.with_pixels(torch.zeros_like)


class _Watcher:
    """An edit of the residual stream that changes nothing and keeps what leaves some layers.

    Attributes:
        states: of the last pass by layer, shape (B, rows, D).
    """

    def __init__(self, layers: Sequence[int]) -> None:
        self.layers, self.states = layers, dict[int, Tensor]()

    @property
    def is_identity(self) -> bool:
        return not self.layers

    def bind(self, num_layers: int) -> _Watcher:
        return self

    def applies_to(self, layer: int) -> bool:
        return layer in self.layers

    def prepare(self, prompt: Prompt) -> None:
        return None

    def layer_input(self, states: Tensor, context: AttentionContext) -> Tensor:
        return states

    def layer_output(self, states: Tensor, context: AttentionContext) -> Tensor:
        self.states[context.layer] = states.detach()
        return states


class _Walk:
    """The blocks of one pass, and what they leave.

    Row 0 is the last one of the prompt; row r predicts token r of the answer and is the own row of
    the token before it.
    """

    def __init__(
        self,
        adapter: ModelAdapter,
        wanted: Mapping[str, list[int]],
        response: Tensor,
        lens: Lens | None,
        block_size: int | None,
    ) -> None:
        self.adapter, self.wanted, self.response = adapter, wanted, response
        self._lens, self._block_size = lens, block_size
        self._reads_own = any(READINGS[name].own for name in wanted)
        self._parts: dict[str, list[Tensor]] = {}

    def named(self, *parts: str) -> list[str]:
        """The wanted readings that are computed from some parts of a pass."""
        return [name for name in self.wanted if READINGS[name].part in parts]

    def layers_of(self, *parts: str) -> list[int]:
        """The layers that they are read in."""
        return sorted({layer for name in self.named(*parts) for layer in self.wanted[name]})

    def over(self, stream: RecordingStream, states: Mapping[int, Tensor]) -> Columns:
        """Run prompt and answer.

        Args:
            stream: at the beginning of the prompt.
            states: what the watched layers put out in the last pass.
        """
        tokens = self.response.to(stream.input_ids)
        prompt = stream.input_ids
        last, start = prompt[:, -1:], prompt.shape[1]
        stream.prefill()
        patches = None
        if self.named("patches"):
            patches = PatchStates.of(self.adapter, stream.spans, states)
        question = None
        if self.named("question"):
            question = QuestionStates.of(self.adapter, stream.spans, states)
        if self.named("saliency") and stream.prefix_sees_last:
            raise UnsupportedError(
                "the rows of this prompt see one another (a prefix-LM mask), so the row that "
                "predicts the first token has no gradient of its own: leave detectors that read "
                "saliency out, or diagnose the answer with lvlm.diagnose(..., row='candidate')"
            )
        stream.rewind(stream.before_last)
        inputs = torch.cat([last, tokens], dim=1)
        rows = tokens.shape[1] + self._reads_own
        # Nobody asks what the last row predicts.
        judged = torch.cat([tokens, tokens[:, -1:]], dim=1)
        groups = Groups.of(stream.spans, start + rows, start)
        lowest = stream.layers or [self.adapter.num_layers - 1]  # without a graph, that of the head
        most = self._block_size or rows_per_block(self.adapter, tokens.shape, lowest, prompt)
        for first in range(0, rows, most):
            block = slice(first, min(first + most, rows))
            self._block(
                stream,
                states,
                (patches, question),
                inputs[:, block],
                judged[:, block],
                groups,
                first,
            )
        return self._columns(tokens.shape[1])

    def _block(
        self,
        stream: RecordingStream,
        states: Mapping[int, Tensor],
        held: tuple[PatchStates | None, QuestionStates | None],
        inputs: Tensor,
        judged: Tensor,
        groups: Groups,
        first: int,
    ) -> None:
        salient, attended = self.named("saliency"), self.named("attention")
        if salient or attended:
            logits, recording = stream.record(inputs)
            by_layer = {
                layer: attention_readings(weights, groups, first, attended)
                for layer, weights in recording.weights.items()
            }
            for name in attended:
                layers = [by_layer[layer][name] for layer in self.wanted[name]]
                self._keep(name, torch.stack([values.cpu() for values in layers], dim=2))
            if salient:
                loss = loss_gradient(logits, judged, "predicting")
                gradients = recording.gradients(loss.logits, loss.direction, loss.scale)
                read = saliency_readings(recording.weights, gradients, stream.spans, groups, first)
                for name in salient:
                    layers = [read[name][layer].cpu() for layer in self.wanted[name]]
                    self._keep(name, torch.stack(layers, dim=-1))
            logits = logits.detach()
        else:
            logits = stream.commit(inputs)
        for name, values in logit_readings(logits, judged).items():
            if name in self.wanted:
                self._keep(name, values.cpu())
        for name in self.named("states"):
            found = [self._lensed(states[layer], judged) for layer in self.wanted[name]]
            self._keep(name, torch.stack(found, dim=-1))
        for name in self.named("rows"):
            rows = [states[layer].cpu() for layer in self.wanted[name]]
            self._keep(name, torch.stack(rows, dim=2))
        for part, of in zip(("patches", "question"), held, strict=True):
            for name in self.named(part):
                assert of is not None  # made where one of them is wanted
                self._keep(name, of.reading(name, self.wanted[name], states, judged).cpu())

    def _lensed(self, states: Tensor, tokens: Tensor) -> Tensor:
        """What a layer would say of one token a row, from its states (B, m, D)."""
        assert self._lens is not None  # `record` has seen to it
        ids = tokens[..., None].to(states.device)
        return self._lens.log_probabilities(states, ids).squeeze(-1).cpu()

    def _keep(self, name: str, values: Tensor) -> None:
        self._parts.setdefault(name, []).append(values)

    def _columns(self, length: int) -> Columns:
        """The readings of the tokens, each from its own row or from the one that predicts it."""
        values = {
            name: torch.cat(parts, dim=1)[:, READINGS[name].own :][:, :length]
            for name, parts in self._parts.items()
        }
        if "position" in self.wanted:
            position = torch.arange(length, dtype=torch.float32)
            values["position"] = position.expand(len(self.response), -1)
        if "occurrence" in self.wanted:
            same = self.response[:, :, None] == self.response[:, None, :]
            values["occurrence"] = same.cpu().tril(-1).sum(-1).float()
        layers = {name: layers for name, layers in self.wanted.items() if layers}
        return Columns(values, layers, self.adapter.num_layers)
