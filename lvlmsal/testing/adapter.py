"""What every adapter must keep to, checked on a model with random weights.

Each check compares the adapter with what the model does, never with the adapter's own account.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lvlmsal.adapters import ModelAdapter, adapter_for
from lvlmsal.testing.adapter_images import (
    TOLERANCE,
    check_grids,
    check_mismatch,
    check_pixels,
    check_rows,
    check_spans,
    encoded,
    run,
)
from lvlmsal.testing.adapter_methods import (
    check_diagnosis,
    check_every_cache,
    check_feed_forward,
    check_lens,
    check_second_stream,
    check_session,
    check_sgrs,
    check_shared_prefix,
)
from lvlmsal.testing.adapter_videos import check_videos
from lvlmsal.testing.checks import Check, Failures
from lvlmsal.testing.pictures import QUESTIONS, random_images


def check_adapter(
    adapter_class: type[ModelAdapter], model: PreTrainedModel, processor: Any
) -> None:
    """Run all of :data:`ADAPTER_CHECKS`.

    Args:
        adapter_class: A registered adapter.
        model: With random weights in float32, large enough that attention is not uniform. It is
            left as it was.
        processor: That fits the model.

    Raises:
        AssertionError: Says which promise of an adapter is not kept.
    """
    adapter = adapter_class(model, processor)
    found = type(adapter_for(model))
    assert found is adapter_class, f"the registry gives {found.__name__} for this model"
    failures = Failures()
    failures.run(adapter.family, ADAPTER_CHECKS, lambda: adapter_class(model, processor))
    failures.raise_any()


def check_parts(adapter: ModelAdapter) -> None:
    """One pass calls the parts that the adapter names: every attention in order, the head."""
    modules = adapter.attention_modules
    assert len({id(module) for module in modules}) == len(modules), "a module is named twice"
    calls: list[int] = []
    head: list[Tensor] = []
    watched = [
        module.register_forward_hook(lambda *_, index=index: calls.append(index))
        for index, module in enumerate(modules)
    ]
    watched.append(adapter.lm_head.register_forward_hook(lambda *call: head.append(call[2])))
    try:
        out = run(adapter, encoded(adapter))
    finally:
        for handle in watched:
            handle.remove()
    depth = adapter.text_config.num_hidden_layers
    assert calls == list(range(depth)), f"{depth} layers, attention modules called: {calls}"
    assert len(head) == 1, "the output projection is another module"
    # some families cap their logits, or rule out tokens, which leaves the order as it is
    made = head[0].shape == out.logits.shape and head[0].argmax(-1).equal(out.logits.argmax(-1))
    assert made, "the output projection is another module"
    assert adapter.decoder.config is adapter.text_config, "the decoder has another configuration"


def check_batch(adapter: ModelAdapter) -> None:
    """A left-padded batch has the logits of its samples one by one."""
    batch = run(adapter, encoded(adapter)).logits[:, -1]
    for row, (question, pictures) in enumerate(zip(QUESTIONS, random_images(), strict=True)):
        alone = run(adapter, adapter.encode([pictures], [question])).logits[0, -1]
        gap = float((batch[row] - alone).abs().max())
        assert gap < TOLERANCE, f"sample {row} differs by {gap:.1e} in a padded batch"


def check_beams(adapter: ModelAdapter) -> None:
    """Each beam reads the images of its prompt in their order, or the adapter says otherwise."""
    inputs = encoded(adapter)
    plain = run(adapter, inputs).logits[:, -1].repeat_interleave(2, dim=0)
    first: list[Tensor] = []
    watched = adapter.model.register_forward_hook(lambda *call: first.append(call[2].logits[:, -1]))
    try:
        generative: Any = type(adapter.model)
        generative.generate(adapter.model, **inputs, num_beams=2, do_sample=False, max_new_tokens=1)
    finally:
        watched.remove()
    gap = float((first[0] - plain).abs().max())
    said = f"logits of the first step under 2 beams differ by {gap:.1e} from those of a plain pass"
    assert (gap < TOLERANCE) is not adapter.mixes_beams, (
        f"{said}, and `mixes_beams` is {adapter.mixes_beams}"
    )


def check_append(adapter: ModelAdapter) -> None:
    """A pass over prompt and answer at once has the logits of `generate`, step by step."""
    inputs = encoded(adapter)
    generative: Any = type(adapter.model)
    out = generative.generate(
        adapter.model,
        **inputs,
        max_new_tokens=4,
        min_new_tokens=4,
        # a random model may write an image, which a pass over its answer would want the pixels of
        suppress_tokens=list(adapter.image_token_ids),
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    start = inputs["input_ids"].shape[1]
    answer = out.sequences[:, start:]
    logits = run(adapter, adapter.append(inputs, answer)).logits[:, start - 1 : -1]
    gap = float((logits - torch.stack(out.logits, dim=1)).abs().max())
    assert gap < TOLERANCE, f"prompt and answer at once differ by {gap:.1e} from generate"


def check_attention(adapter: ModelAdapter) -> None:
    """`set_attention` reaches every layer of the text decoder, and nothing else."""
    model = adapter.model
    before = adapter.attention
    configs = {
        name: getattr(model.config, name)
        for name in model.config.sub_configs
        if getattr(model.config, name, None) is not adapter.text_config
    }
    others = {name: config._attn_implementation for name, config in configs.items()}
    inputs = encoded(adapter)
    try:
        # one that the family is not written for is as good as the other way around
        adapter.set_attention("sdpa" if adapter.decoder._supports_sdpa else "eager")
        fast = run(adapter, inputs)
        adapter.set_attention("eager")
        # Of all implementations only the eager one hands out the weights.
        slow = run(adapter, inputs, output_attentions=True)
        after = {name: config._attn_implementation for name, config in configs.items()}
    finally:
        adapter.set_attention(before)
    assert len(slow.attentions) == adapter.num_layers, "eager attention did not reach all layers"
    assert after == others, f"set_attention changed other parts: {others} became {after}"
    # Rows of padding see nothing, and each implementation fills them in its own way.
    real = inputs["attention_mask"].bool()
    gap = float((fast.logits - slow.logits)[real].abs().max())
    assert gap < TOLERANCE, f"eager and sdpa differ by {gap:.1e}"


def check_text(adapter: ModelAdapter) -> None:
    """Texts of the tokens join to the text, and the question can be read in it."""
    inputs = encoded(adapter)
    for ids, question in zip(inputs["input_ids"], QUESTIONS, strict=True):
        whole = adapter.tokenizer.decode(
            ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        pieces = adapter.token_texts(ids)
        assert len(pieces) == len(ids), "one text for each token"
        assert "".join(pieces) == whole, f"{''.join(pieces)!r} is not {whole!r}"
        # A small vocabulary may not know every word of the question.
        words = adapter.tokenizer(question, add_special_tokens=False)["input_ids"]
        known, text = adapter.decode(words).strip(), adapter.decode(ids)
        assert known, f"no word of {question!r} is in the vocabulary"
        assert known in text, f"{known!r} is not in {text!r}"


ADAPTER_CHECKS: Final[dict[str, Check[ModelAdapter]]] = {
    "parts": Check(check_parts, "`attention_name` or `decoder` is another one here"),
    "spans": Check(
        check_spans,
        "`image_token_ids` lacks the token of a patch; `within_image` does not know the marks "
        "inside of an image; or `complete` leaves out inputs that the processor does not make",
    ),
    "grids": Check(
        check_grids,
        "`image_grids` forgets a merge, a crop or tiles; where visual tokens are no grid it says "
        "None, and `patch_boxes` where they are",
    ),
    "rows": Check(
        check_rows,
        "`input_rows` counts an input wrongly, or `pixel_inputs` and `image_inputs` lack one",
    ),
    "batch": Check(check_batch, "`complete` drops the attention mask, or padding is at the right"),
    "beams": Check(
        check_beams,
        "transformers repeats each image of a prompt by itself, or no longer: then `mixes_beams` "
        "says it, and prompts with several images are refused under beams",
    ),
    "append": Check(check_append, "an input with an entry for each token is not continued"),
    "attention": Check(
        check_attention,
        "`_attention_key` names another part of the config than that of the text decoder",
    ),
    "text": Check(check_text, "`token_texts` strips blanks, or decodes token by token"),
    "mismatch": Check(check_mismatch, "`encode` was overridden and does not count placeholders"),
    "pixels": Check(check_pixels, "images are dropped, or all samples get those of the first one"),
    "videos": Check(
        check_videos,
        "`panels` says another number of frames, `video_ends` lacks a token behind the last one, "
        "`within_video` takes two videos for one, or `video_inputs` lacks an input",
    ),
    "session": Check(
        check_session,
        "its attention does more than softmax(q k) v, or the modules are those of another part",
    ),
    "lens": Check(
        check_lens,
        "the model scales or caps its logits, which `lm_head` does not show, or the decoder's "
        "`norm` is not its last one",
    ),
    "feed-forward": Check(
        check_feed_forward,
        "the layer norms or scales what its block makes: `feed_forward` names the last module",
    ),
    "every cache": Check(check_every_cache, "the model does not take caches of transformers"),
    "diagnosis": Check(
        check_diagnosis,
        "rows of the prompt see later ones (a prefix, or images without a causal mask), layers "
        "share keys and values, or `append` does not continue an input as generation does",
    ),
    "sgrs": Check(check_sgrs, "the same as of `diagnosis`; look at that one first"),
    "second stream": Check(
        check_second_stream,
        "`pixel_inputs` names another input, or `pixel_units` are no views of all its images",
    ),
    "shared prefix": Check(
        check_shared_prefix, "`render` or `image_mark` is not what `encode` goes by"
    ),
}
"""Name -> check; one by one they make parameters of a test."""
