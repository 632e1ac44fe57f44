"""The checks of adapters that run this library's own methods on the model."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from torch import Tensor

from lvlmsal.adapters import Loaded, ModelAdapter
from lvlmsal.adapters.heads import inner_logits
from lvlmsal.attention import AttentionSession, intervene
from lvlmsal.attention.context import AttentionContext, LogitsContext
from lvlmsal.attention.prompt import Prompt
from lvlmsal.decoders.sgrs.decoder import SGRS
from lvlmsal.errors import UnsupportedError
from lvlmsal.interventions.base import FeedForwardIntervention, LogitsIntervention
from lvlmsal.interventions.locore import LocoRE
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.block import block_saliency
from lvlmsal.saliency.full import full_graph_rows
from lvlmsal.saliency.options import RowName, SaliencyOptions
from lvlmsal.saliency.reduce import context_mask, token_saliency
from lvlmsal.testing.checks import check_caches, own_cache
from lvlmsal.testing.pictures import QUESTIONS, random_images
from lvlmsal.tiny.parts import in_dtype

LENGTH: Final = 4
"""Tokens of the answers that are judged."""

_TOLERANCE: Final = 1e-4


def check_session(adapter: ModelAdapter) -> None:
    """A session that changes nothing leaves the logits as they are, edited or recorded."""
    inputs = adapter.encode(random_images(), QUESTIONS)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        plain = adapter.model(**inputs).logits
        with intervene(adapter, LocoRE(beta=1e-9)):
            edited = adapter.model(**inputs).logits
    with AttentionSession(adapter) as session, session.record(range(adapter.num_layers), full=True):
        recorded = adapter.model(**inputs).logits.detach()
    for said, logits in (("LocoRE(beta=1e-9)", edited), ("recording a pass", recorded)):
        gap = float((plain - logits)[real].abs().max())
        assert gap < _TOLERANCE, f"{said} changes the logits by {gap:.1e}"


class _Silenced(FeedForwardIntervention):
    """Takes away what one layer adds behind its feed-forward block, and keeps it."""

    def __init__(self, layer: int) -> None:
        self.layers = [layer]
        self.added: list[Tensor] = []

    def feed_forward(self, inputs: Tensor, output: Tensor, context: AttentionContext) -> Tensor:
        self.added.append(output)
        return torch.zeros_like(output)


def check_feed_forward(adapter: ModelAdapter) -> None:
    """What a layer is said to add behind its feed-forward block is what it lacks without that."""
    inputs = adapter.encode(random_images(), QUESTIONS)
    for layer, module in enumerate(adapter.layers):
        try:
            adapter.feed_forward(layer)
        except UnsupportedError:
            continue  # methods that edit it are refused
        edit, found = _Silenced(layer), list[Any]()
        hook = module.register_forward_hook(lambda *call, found=found: found.append(call[2]))
        try:
            with torch.no_grad():
                adapter.model(**inputs)
                with intervene(adapter, edit):
                    adapter.model(**inputs)
        finally:
            hook.remove()
        plain, silent = (made[0] if isinstance(made, tuple) else made for made in found)
        gap = float((plain - silent - edit.added[0])[inputs["attention_mask"].bool()].abs().max())
        assert gap < _TOLERANCE, f"layer {layer} adds something else, by {gap:.1e}"


def check_every_cache(adapter: ModelAdapter) -> None:
    """Under LocoRE every exact cache gives the tokens of the dynamic one, or is refused."""
    exact = _in_float64(adapter)
    inputs = _encoded(exact, range(len(QUESTIONS)))

    def decode(**options: Any) -> Tensor:
        with intervene(exact, LocoRE(beta=1.0)):
            options |= own_cache(exact, options)
            ids: Tensor = _generated(exact, inputs, do_sample=False, **options).sequences
        return ids

    check_caches(exact.model, inputs, decode)


def check_lens(adapter: ModelAdapter) -> None:
    """Read through the last norm, what leaves the last layer gives the model's own logits."""
    inputs, found = adapter.encode(random_images(), QUESTIONS), []
    hook = adapter.layers[-1].register_forward_hook(lambda *call: found.append(call[2]))
    try:
        with torch.no_grad():
            wanted = adapter.model(**inputs).logits[:, -1]
    finally:
        hook.remove()
    states = found[0][0] if isinstance(found[0], tuple) else found[0]
    with torch.no_grad():
        try:
            logits = inner_logits(adapter, states[:, -1], norm=True)
        except UnsupportedError:
            return  # it has no final norm under that name, which readers of inner layers then say
        few = inner_logits(adapter, states[:, -1], norm=True, tokens=torch.tensor([7, 5]))
    logits = logits.where(wanted > torch.finfo(wanted.dtype).min / 2, wanted)  # ruled out by it
    gap = float((logits - wanted).abs().max())
    assert gap < _TOLERANCE, f"logits read from the last layer are off by {gap:.1e}"
    assert torch.allclose(few, wanted[:, [7, 5]], atol=_TOLERANCE), "logits of two tokens differ"


def check_diagnosis(adapter: ModelAdapter) -> None:
    """A diagnosis in one pass is that of the full graph, for each row that is not refused."""
    exact = _in_float64(adapter)
    inputs = _encoded(exact, [0])
    output = _generated(exact, inputs, do_sample=False)
    answer = output.sequences[:, inputs["input_ids"].shape[1] :]
    rows: tuple[RowName, ...] = ("predicting", "candidate")
    refused = []
    for row in rows:
        options = SaliencyOptions(row=row)
        try:
            found = block_saliency(exact, inputs, answer, options).maps["product"]
        except UnsupportedError as error:
            refused.append(error)
            continue
        wanted = full_graph_rows(exact, inputs, answer, options)["product"]
        gap = float((found - wanted).abs().max())
        assert gap < _TOLERANCE, f"row={row!r} is off by {gap:.1e} from the full graph"
    if len(refused) == len(rows):
        raise refused[0]


def check_sgrs(adapter: ModelAdapter) -> None:
    """The S that SGRS compared for the tokens of its answer is that of the full graph."""
    exact = _in_float64(adapter)
    inputs = _encoded(exact, [0])
    decoder = SGRS(alpha=1.2)
    output = _generated(exact, inputs, **decoder.generate_kwargs())
    start = inputs["input_ids"].shape[1]
    answer = output.sequences[:, start:]
    options = decoder.saliency_options()
    assert options is not None
    rows = full_graph_rows(exact, inputs, answer, options)[options.fusion][0]
    spans = exact.spans(inputs["input_ids"], inputs["attention_mask"])
    stops = range(start, start + answer.shape[1])
    members = context_mask(spans, rows.shape[-1], stops, options.context)[0]
    for index, record in enumerate(output.records[0]):
        wanted = float(token_saliency(rows[index], members[index]))
        found = float("nan") if record.saliency is None else record.saliency
        same = abs(found - wanted) < _TOLERANCE or (found != found and wanted != wanted)
        assert same, f"token {index} has S = {found:.6f}, by the full graph {wanted:.6f}"


class _OtherPixels(LogitsIntervention):
    """Answers as if the contrast of all images were turned around, and keeps the logits of that."""

    has_second_stream = True

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def second_inputs(self, prompt: Prompt) -> Any:
        return prompt.with_pixels(lambda pixels: -pixels)

    def logits(self, logits: Tensor, context: LogitsContext) -> Tensor:
        assert context.second is not None
        self.seen.append(context.second[:, -1])
        return context.second


def check_second_stream(adapter: ModelAdapter) -> None:
    """A second stream on changed pixels has the logits of the model on these, beams included."""
    exact = _in_float64(adapter)
    inputs = _encoded(exact, range(len(QUESTIONS)))
    changed = {k: -v if v.is_floating_point() else v for k, v in inputs.items()}
    with torch.no_grad():
        wanted = exact.model(**changed).logits[:, -1]
    for beams in (1, 2):
        edit = _OtherPixels()
        with intervene(exact, edit):
            _generated(exact, inputs, num_beams=beams, do_sample=False)
        gap = float((edit.seen[0] - wanted.repeat_interleave(beams, dim=0)).abs().max())
        assert gap < _TOLERANCE, f"{beams} beam(s): off by {gap:.1e} from a pass on these pixels"


def check_shared_prefix(adapter: ModelAdapter) -> None:
    """Questions about one image that are asked together get the answers that each gets alone."""
    exact = _in_float64(adapter)
    lvlm = Lvlm(Loaded(exact.model, exact.processor, exact))
    image = random_images()[0]
    together = lvlm.ask(image, QUESTIONS, max_new_tokens=LENGTH)
    for question, answer in zip(QUESTIONS, together, strict=True):
        alone = lvlm.generate(image, question, max_new_tokens=LENGTH).token_ids
        assert answer.token_ids == alone, f"{question!r}: {answer.token_ids}, alone {alone}"


def _in_float64(adapter: ModelAdapter) -> ModelAdapter:
    """The same on a copy of the model, so that rounding decides nothing."""
    model = in_dtype(copy.deepcopy(adapter.model), torch.float64)
    return type(adapter)(model, adapter.processor)


def _encoded(adapter: ModelAdapter, samples: Any) -> dict[str, Tensor]:
    images = random_images()
    inputs = adapter.encode([images[i] for i in samples], [QUESTIONS[i] for i in samples])
    return {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}


def _generated(adapter: ModelAdapter, inputs: dict[str, Tensor], **options: Any) -> Any:
    generative: Any = type(adapter.model)  # `generate` is a mixin of the concrete classes
    return generative.generate(
        adapter.model,
        **inputs,
        max_new_tokens=LENGTH,
        min_new_tokens=LENGTH,
        # a random model may write an image, which a pass over its answer would want the pixels of
        suppress_tokens=list(adapter.image_token_ids),
        return_dict_in_generate=True,
        **options,
    )
