"""The word-level tokenizer of the pocket models.

A word is one token, so a text and its tokens tell the same story: "hallucinated object" and
"hallucinated token" are one thing here. Blanks are not kept; the decoder puts one between words and
none before punctuation, which is all that the texts of this world need.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lvlmsal.pocket.scenes.language import corpus

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
    others = [token for token in specials if token not in (pad, bos, eos, "<unk>")]
    make: Any = PreTrainedTokenizerFast  # its __init__ is untyped
    tokenizer: PreTrainedTokenizerFast = make(
        tokenizer_object=backend,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token="<unk>",
        additional_special_tokens=others,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    return tokenizer
