"""Parts of a tiny random model of any family, and of a real processor that fits it.

The whole of it is an architecture of transformers with a config of a few dozen numbers, weights
that are drawn, and a tokenizer with one id for each byte. `lvlmsal.tiny.families` puts these parts
together for each family; authors of adapters do so for theirs (docs/contributing/adapter.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils.import_utils import is_torchvision_available

from lvlmsal.errors import UnsupportedError

SPECIALS: Final = ("<pad>", "<s>", "</s>", "<unk>")
"""Ids 0 to 3; the 256 bytes follow, then the marks of the family."""

WORDS: Final = len(SPECIALS) + 256
"""Ids below are those of text, the first four of them special; above are those of the marks."""

IMAGE, VIDEO, IMAGE_START, IMAGE_END = range(WORDS, WORDS + 4)
"""Ids of the first four marks, as most families have them."""

WIDTH: Final = 32
"""Size of hidden states, of text and of images."""

SCALE: Final = 0.25
"""Of random weights: larger than at the start of a training, so that attention is far from uniform
and logits are far apart. A test that mixes up two columns or two rows fails then."""

SIDE: Final = 28
"""Side of an image, or of a tile, in pixels."""

PATCH: Final = 7
"""Side of a patch in pixels."""

SQUARE: Final = {"height": SIDE, "width": SIDE}
"""Size of an image, as image processors take it."""

_PIECES: Final = (
    "{{ %s }}{%%- for message in messages -%%}"
    "{%%- if message.role == 'system' -%%}{{ %r }}{%%- else -%%}{{ %r }}{%%- endif -%%}"
    "{%%- if message.content is string -%%}{{ message.content }}{%%- else -%%}"
    "{%%- for part in message.content -%%}"
    "{%%- if part.type == 'image' -%%}{{ %r }}{%%- elif part.type == 'video' -%%}{{ %r }}"
    "{%%- else -%%}{{ part.text }}{%%- endif -%%}"
    "{%%- endfor -%%}{%%- endif -%%}"
    "{%%- if message.role == 'system' -%%}{{ %r }}{%%- endif -%%}{%%- endfor -%%}"
    "{%%- if add_generation_prompt -%%}{{ %r }}{%%- endif -%%}"
)


def byte_tokenizer(*marks: str, **named: str) -> PreTrainedTokenizerFast:
    """Build a tokenizer with one id for each byte, which encodes and decodes any text.

    Args:
        *marks: Special tokens with the ids from :data:`WORDS` on; the first is what a processor
            writes for each visual token of an image, the second that of a video, if there is one.
        **named: Marks that the processor looks up by name, such as ``image_token="<image>"``.

    Returns:
        The tokenizer; it pads at the left.

    >>> tokenizer = byte_tokenizer("<image>")
    >>> tokenizer("<image>é")["input_ids"], len(tokenizer)
    ([260, 131, 106], 261)
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*SPECIALS, *alphabet, *marks]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*SPECIALS, *marks])
    build: Any = PreTrainedTokenizerFast  # transformers leaves it without types
    return cast(
        PreTrainedTokenizerFast,
        build(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            padding_side="left",
            extra_special_tokens=named,
        ),
    )


def chat_template(
    image: str,
    *,
    video: str = "",
    begin: bool = False,
    system: str = "system\n",
    user: str = "user\n",
    end: str = "\n",
    answer: str = "\nassistant\n",
) -> str:
    """Write a chat template in the format of transformers.

    Args:
        image: What stands for an image.
        video: What stands for a video, in families that take them.
        begin: Whether the text begins with the begin token.
        system: What stands before a system message.
        user: What stands before any other message.
        end: What stands behind a system message.
        answer: What the model's answer follows.
    """
    return _PIECES % ("bos_token" if begin else "''", system, user, image, video, end, answer)


def text_config(
    layers: int = 2, kv_heads: int = 2, heads: int = 4, *, marks: int = 4, **changes: Any
) -> dict[str, Any]:
    """Entries of a text decoder's config.

    Args:
        layers: Depth.
        kv_heads: Key-value heads; fewer than `heads` is grouped-query attention.
        heads: Attention heads; divides :data:`WIDTH`.
        marks: How many the tokenizer has.
        **changes: What else the config takes, such as ``model_type="llama"``.
    """
    return {
        "vocab_size": WORDS + marks,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 1024,
        "initializer_range": SCALE,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **changes,
    }


def vision_config(**changes: Any) -> dict[str, Any]:
    """Entries of an image encoder's config, for images of :data:`SIDE` pixels a side.

    Args:
        **changes: What else the config takes, such as ``model_type="clip_vision_model"``.
    """
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "initializer_range": SCALE,
        **changes,
    }


@dataclass(frozen=True)
class TinyFamily:
    """How a tiny random model of a family is built, and a processor that fits it.

    Attributes:
        architecture: Name of the model's class.
        config: Makes the model's config of (layers, key-value heads, heads) of its text decoder.
        processor: Makes a processor for images and text.
        adapter: Name of its adapter, where several share the architecture.
        module: That has the class.
    """

    architecture: str
    config: Callable[[int, int, int], Any]
    processor: Callable[[], Any]
    adapter: str = ""
    module: Any = transformers

    def model(self, layers: int, kv_heads: int, heads: int) -> PreTrainedModel:
        """The model with weights from torch's generator, see :func:`random_model`."""
        build: Any = getattr(self.module, self.architecture)
        model: PreTrainedModel = build(self.config(layers, kv_heads, heads))
        for name, weights in model.named_parameters():
            # Gates and embeddings that a training starts at zero would hide an image from the text.
            if not name.endswith("bias") and not weights.any():
                torch.nn.init.normal_(weights, std=SCALE)
        return model


def check_torchvision(family: str) -> None:
    """Raise UnsupportedError where a processor cannot be built for want of torchvision."""
    if not is_torchvision_available():
        raise UnsupportedError(
            f"the processor of {family} needs the package torchvision: pip install torchvision"
        )


def random_model(
    build: Callable[[], PreTrainedModel], *, dtype: torch.dtype = torch.float32, seed: int = 0
) -> PreTrainedModel:
    """Build a model with random weights.

    Args:
        build: Makes it, with weights from torch's generator.
        dtype: Of the weights. They are drawn in float32, so that every dtype has the same model.
        seed: Of the weights. The global generator is left as it was.

    Returns:
        The model, in evaluation mode, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    model.generation_config.pad_token_id = 0
    model.train(False)
    return in_dtype(model, dtype)


def in_dtype(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Bring the weights of a model, and what it computes with them, into a dtype.

    Args:
        model: Is changed.
        dtype: Of floating point.

    Returns:
        The model.
    """
    torch.nn.Module.to(model, dtype)
    if dtype == torch.float64:
        # torch multiplies the experts of a layer at once in smaller dtypes only
        model.set_experts_implementation("eager")
    return model
