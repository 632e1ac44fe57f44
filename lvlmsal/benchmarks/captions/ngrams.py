"""From captions to tokens, n-grams and BLEU's counts, for the metrics over reference captions."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

from lvlmsal.errors import UnsupportedError

Tokenizer = Literal["plain", "ptb"]

NGRAMS: Final = 4
"""The longest n-grams that BLEU and CIDEr count."""
_TOKEN: Final = re.compile(
    r"\d+(?:[.,:]\d+)+"  # 10,000 and 5:30
    r"|[^\W_]+?(?=n't\b)"  # the verb before "n't"
    r"|n't\b"
    r"|'(?:s|m|d|re|ve|ll)\b"
    r"|[^\W_]+(?:-[^\W_]+)*"
)


def require_pycocoevalcap(tokenizer: Tokenizer) -> str:
    """Check that captions can be scored.

    Args:
        tokenizer: ``"ptb"`` needs Java too.

    Returns:
        Name and version of the package, for the record of a result.

    Raises:
        UnsupportedError: Something is missing; the message says what to type.
    """
    if importlib.util.find_spec("pycocoevalcap") is None:
        raise UnsupportedError(
            "scoring captions needs pycocoevalcap: pip install 'lvlmsal[captions]'"
        )
    if tokenizer == "ptb" and shutil.which("java") is None:
        raise UnsupportedError(
            "the tokenizer 'ptb' is a Java program and there is no 'java' here: install a Java "
            "runtime, or use the tokenizer 'plain', whose figures are near but not equal"
        )
    return f"pycocoevalcap {importlib.metadata.version('pycocoevalcap')}"


def caption_tokens(texts: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Tokens of captions, separated by spaces.

    ``"plain"`` has words and numbers in lower case and no marks; "n't" and "'s" are tokens of their
    own, and hyphens stay. ``"ptb"`` is the Penn Treebank tokenizer that the evaluation of COCO
    runs: it also keeps dollar signs, slashes, abbreviations with full stops and, by a slip, round
    brackets.

    Args:
        texts: Captions.
        tokenizer: ``"plain"`` or ``"ptb"``.

    Returns:
        One text for each caption.

    Raises:
        UnsupportedError: The Java program did not run.

    Example:
        >>> caption_tokens(["A man's red-haired dog (5:30), isn't it?"], "plain")
        ["a man 's red-haired dog 5:30 is n't it"]
    """
    if tokenizer == "plain":
        return [" ".join(_TOKEN.findall(text.lower().replace("\u2019", "'"))) for text in texts]
    return _ptb(texts)


def _ptb(texts: Sequence[str]) -> list[str]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    if not texts:
        return []
    # the program takes a caption a line: line breaks of any kind become blanks, and what has no
    # place in UTF-8 a question mark
    lines = [" ".join(text.split()).encode(errors="replace").decode() for text in texts]
    try:
        found = PTBTokenizer().tokenize(
            {place: [{"caption": line}] for place, line in enumerate(lines)}
        )
    except OSError as error:
        raise UnsupportedError(
            f"the tokenizer 'ptb' writes next to its program and did not run: {error}; use the "
            "tokenizer 'plain', or install pycocoevalcap where you may write"
        ) from error
    if len(found) != len(texts):
        raise UnsupportedError(
            f"the tokenizer 'ptb' gave {len(found)} lines for {len(texts)} captions; use 'plain'"
        )
    return [str(found[place][0]) for place in range(len(texts))]


def ngrams(tokens: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    """How often each run of so many tokens occurs."""
    return Counter(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))


def bleu_counts(caption: str, references: Sequence[str]) -> list[int]:
    """What a caption adds to the counts of BLEU over a set of captions.

    Args:
        caption: Tokens separated by spaces.
        references: Likewise, at least one.

    Returns:
        Its length, the length of the reference that is nearest to it (of two, the shorter), and
        then for n from 1 to 4 how many n-grams it has, and how many of these a reference has as
        often.

    Example:
        >>> bleu_counts("a dog a dog", ["a dog runs", "the dog"])
        [4, 3, 4, 2, 3, 1, 2, 0, 1, 0]
    """
    said = caption.split()
    others = [reference.split() for reference in references]
    nearest = min((abs(len(other) - len(said)), len(other)) for other in others)[1]
    counts = [len(said), nearest]
    for size in range(1, NGRAMS + 1):
        mine = ngrams(said, size)
        most: Counter[tuple[str, ...]] = Counter()
        for other in others:
            most |= ngrams(other, size)
        counts += [mine.total(), (mine & most).total()]
    return counts
