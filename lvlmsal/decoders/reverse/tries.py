"""The tries of one sample: what of it stands, how hot the next one is, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lvlmsal.adapters import ModelAdapter
from lvlmsal.decoders.reverse.phrases import Doubted, Marks, Piece, first_doubted, without_marks

if TYPE_CHECKING:
    from lvlmsal.decoders.reverse.decoder import Reverse

HINT = "(Hint: potential incorrect phrases -> {})"
PREMISES = (
    "For this question, please point out the false premises or note what information is missing, "
    "rather than answering it directly."
)
NO_ANSWER = "Unable to answer directly due to false premises or missing information."
FORMAT_ERROR = "format error"
"""What a hint calls an answer whose marks do not come in pairs."""

HOTTER = 0.5
"""How far above the first temperature a try may be."""

HINTED = 5
"""So many of the last rejected phrases stand in a hint."""


@dataclass
class Tries:
    """One sample.

    Attributes:
        decoder: its options.
        marks: of phrases.
        adapter: of the model, which writes texts.
        said: what stands so far.
        phrases: rejected ones, in lower case, in their order.
        temperature: of the next try.
        done: whether there is no next one.
        gave_up: whether that is because all tries were used.
        corrects: whether the next try ends behind its first phrase.
        asks_premises: whether the question is told to look for false premises: the second round, of
            an answer that came out empty.
        unanswered: whether a fixed sentence stands in place of an answer.
        rejected: what was taken back, with the number of tokens before it.
    """

    decoder: Reverse
    marks: Marks
    adapter: ModelAdapter
    said: list[Piece] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    temperature: float = 0.0
    done: bool = False
    gave_up: bool = False
    corrects: bool = False
    asks_premises: bool = False
    unanswered: bool = False
    rejected: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _used: int = 0
    _local: int = 0

    def __post_init__(self) -> None:
        self.temperature = self.decoder.temperature

    @property
    def hint(self) -> str:
        """What the question is told besides; empty at first."""
        if not self.phrases and not self.asks_premises:
            return ""
        hint = HINT.format(", ".join(self.phrases[-HINTED:])) if self.phrases else ""
        if self.decoder.premises:
            return PREMISES + hint
        return " ".join(["", *[PREMISES] * self.asks_premises, *[hint] * bool(hint)])

    def ends(self, token: int) -> bool:
        """Whether a try ends with a token, whatever could follow."""
        return self.corrects and self.marks.closes(token)

    def hear(self, new: Sequence[Piece]) -> None:
        """Take what stands of a try, and get ready for the next one."""
        self._used += 1
        doubted = None
        if self.decoder.threshold is not None:
            doubted = first_doubted(self.said, new, self.marks, self.decoder.threshold)
        if doubted is not None:
            self._doubt(new, doubted)
        elif not self.corrects:
            self.said += new
            self._finish()
        else:
            # behind a phrase the answer goes on; otherwise its last token is said again
            closed = bool(new) and self.marks.closes(new[-1].token)
            self.said += new if closed else new[:-1]
            self.corrects, self._local = False, 0
            self.temperature = self.decoder.temperature
        if not self.done and self._used == self.decoder.total_tries:
            self.gave_up = True
            if self.decoder.open_ended:
                self.said = self._whole_sentences()
            self._finish()

    def _doubt(self, new: Sequence[Piece], doubted: Doubted) -> None:
        self.corrects = True
        self._local += 1
        first = self.decoder.temperature
        self.temperature = min(self.temperature + self.decoder.temperature_step, first + HOTTER)
        phrase = FORMAT_ERROR if doubted.phrase is None else self._text(doubted.phrase).lower()
        if phrase not in self.phrases:
            self.phrases.append(phrase)
        before = len(self.said) + doubted.kept
        self.rejected.append((before, {"phrase": phrase, "doubt": doubted.doubt}))
        if self._local < self.decoder.local_tries:
            self.said += new[: doubted.kept]
            return
        self._local = 0
        if lost := self._sentence_back(new):
            self.phrases.append(lost)

    def _sentence_back(self, new: Sequence[Piece]) -> str:
        """Take the last sentence back, which no try could go on with; its text.

        Where nothing stands, the text is what the try says before its first phrase.
        """
        tokens = [piece.token for piece in new]
        if not self.said:
            opened = self.marks.opens in tokens
            return self._text(
                tokens[: tokens.index(self.marks.opens)] if opened else tokens
            ).lower()
        vocabulary = self.adapter.tokenizer.get_vocab()
        said = [piece.token for piece in self.said]
        ends = [at for at, token in enumerate(said) if token == vocabulary.get(".")]
        kept = ends[-1] + 1 if ends else 0
        self.said = self.said[:kept]
        text = self._text(said[kept:])
        for mark in self.decoder.marks:
            text = text.replace(mark, "")
        return text.strip()

    def _whole_sentences(self) -> list[Piece]:
        """What stands, without a sentence that has not ended."""
        texts = self.adapter.token_texts([piece.token for piece in self.said])
        ends = [at for at, text in enumerate(texts) if "." in text]
        return self.said[: ends[-1] + 1] if ends else []

    def _finish(self) -> None:
        """Stop, or ask once more where an answer to an open question came out empty."""
        answer = [self.said[at].token for at in without_marks(self.said, self.marks)]
        if not self.decoder.open_ended or self.decoder.threshold is None or self._text(answer):
            self.done = True
        elif not self.asks_premises:
            self.asks_premises, self.corrects, self.gave_up = True, False, False
            self.said, self.phrases = [], []
            self._used = self._local = 0
            self.temperature = self.decoder.temperature
        else:
            ids = self.adapter.tokenizer(NO_ANSWER, add_special_tokens=False)["input_ids"]
            self.said = [Piece(token, 1.0) for token in ids]
            self.done = self.unanswered = True

    def _text(self, tokens: Sequence[int]) -> str:
        return self.adapter.decode(list(tokens)).strip()
