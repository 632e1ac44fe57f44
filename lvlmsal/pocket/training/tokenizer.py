"""The tokenizers of the pocket models: words for shapes, byte-level pieces for stickers.

In the shape world a word is one token, so a text and its tokens tell the same story: "hallucinated
object" and "hallucinated token" are one thing there. Blanks are not kept; the decoder puts one
between words and none before punctuation, which is all that the texts of that world need. In the
sticker world rare names are several tokens, as they are in large models, and blanks count.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lvlmsal.pocket.scenes.language import CAPTION_PROMPTS, corpus
from lvlmsal.pocket.stickers.captions import caption
from lvlmsal.pocket.stickers.questions import QUESTIONS, ask
from lvlmsal.pocket.stickers.scene import sample_scene

_PIECE: Final = r"\n|\w+|[^\w\s]"


def words(text: str) -> list[str]:
    """Split a text as the tokenizer does.

    Example:
        >>> words("Is there an arrow?")
        ['Is', 'there', 'an', 'arrow', '?']
    """
    return re.findall(_PIECE, text)


def build_tokenizer(
    specials: tuple[str, ...], *, pad: str, bos: str, eos: str
) -> PreTrainedTokenizerFast:
    """Make a tokenizer over every word of the world.

    Args:
        specials: Control tokens, first in the vocabulary; ``"<unk>"`` must be among them.
        pad: The one for padding.
        bos: The one that starts a sequence.
        eos: The one that ends an answer.

    Returns:
        A tokenizer that pads on the left and adds nothing of its own.

    Raises:
        ValueError: A control token is missing from `specials`.

    Example:
        >>> tokenizer = build_tokenizer(("<pad>", "<s>", "</s>", "<unk>"), pad="<pad>", bos="<s>",
        ...                             eos="</s>")
        >>> tokenizer.decode(tokenizer("Is there   an arrow ?").input_ids)
        'Is there an arrow?'
    """
    missing = {pad, bos, eos, "<unk>"} - set(specials)
    if missing:
        raise ValueError(f"control tokens {sorted(missing)} are not among specials={specials}")
    vocabulary = sorted({word for text in corpus() for word in words(text)} - set(specials))
    ids = {word: index for index, word in enumerate((*specials, *vocabulary))}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True)
    # the WordPiece decoder joins words by blanks and removes those before punctuation
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return _wrap(backend, specials, pad_token=pad, bos_token=bos, eos_token=eos, unk_token="<unk>")


def _wrap(backend: Tokenizer, specials: tuple[str, ...], **roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer for transformers, padding on the left and adding nothing of its own."""
    make: Any = PreTrainedTokenizerFast  # its __init__ is untyped
    tokenizer: PreTrainedTokenizerFast = make(
        tokenizer_object=backend,
        **roles,
        additional_special_tokens=[token for token in specials if token not in roles.values()],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    return tokenizer


PIECES: Final = 2304
"""Entries of the byte-level vocabulary, control tokens included."""

_TEXTS: Final = 40
"""Scenes whose captions and questions the pieces are learned from.

Names of characters are learned with them. Few scenes leave rare nouns in several pieces, as the
vocabularies of large models do.
"""


def sticker_corpus() -> Iterator[str]:
    """Texts of the sticker world, and the names of Unicode's characters as further English."""
    for index in range(_TEXTS):
        rng = random.Random(f"pieces/{index}")
        scene = sample_scene(rng)
        yield from (f"User: {prompt}\nAssistant:" for prompt in CAPTION_PROMPTS)
        yield f" {caption(scene, rng)}"
        for kind in QUESTIONS:
            turn = ask(scene, kind, rng)
            yield from (turn.question, f" {turn.answer}")
    for code in range(0x20, 0x2E80):
        yield unicodedata.name(chr(code), "").lower()


@lru_cache(maxsize=2)
def _pieces(specials: tuple[str, ...]) -> str:
    """The trained byte-level BPE, as the JSON that it is saved as."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(sticker_corpus(), trainer)
    text: str = backend.to_str()
    return text


def build_bpe_tokenizer(
    specials: tuple[str, ...], *, pad: str, bos: str, eos: str
) -> PreTrainedTokenizerFast:
    """Make a byte-level tokenizer of the sticker world; it can spell every text.

    Args:
        specials: Control tokens, first in the vocabulary.
        pad: The one for padding.
        bos: The one that starts a sequence.
        eos: The one that ends an answer.

    Returns:
        A tokenizer that pads on the left and adds nothing of its own.

    Example:
        >>> tokenizer = build_bpe_tokenizer(("<pad>", "<s>", "</s>"), pad="<pad>", bos="<s>",
        ...                                 eos="</s>")
        >>> ids = tokenizer("A teddy bear, naïve.").input_ids
        >>> tokenizer.decode(ids)
        'A teddy bear, naïve.'
    """
    backend = Tokenizer.from_str(_pieces(specials))
    return _wrap(backend, specials, pad_token=pad, bos_token=bos, eos_token=eos)
