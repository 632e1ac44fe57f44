"""How an answer is read as yes or no: the rules of the tools in use, as named objects.

The same answers give different scores under different rules, so a score without the name of its
rule says little. Each rule here is a restatement of what the named tool does, oddities included;
``strict`` is this library's own. None of them raises on any text.

Example:
    >>> answers = ["Yes.", "There isn't a dog.", "NO", "I know.", ""]
    >>> for name in ("strict", "pope-official", "opera", "lmms-eval", "vlmevalkit"):
    ...     print(f"{name:14}", [get_parser(name).parse(answer) for answer in answers])
    strict         ['yes', None, 'no', None, None]
    pope-official  ['yes', 'yes', 'yes', 'yes', 'yes']
    opera          ['yes', 'no', 'no', 'yes', 'yes']
    lmms-eval      [None, None, 'no', None, None]
    vlmevalkit     ['yes', None, 'no', None, None]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from lvlmsal.errors import UnknownName

T = TypeVar("T")

Verdict = Literal["yes", "no"] | None
"""What an answer says; None where a rule finds neither answer in it."""

COUNT_NAMES: Final = ("n", "correct", "true_yes", "yes", "gold_yes", "unparsed")
"""What a rule counts of one answer, in this order.

``n`` is 1; ``correct`` agrees with the label; ``true_yes`` says yes where the label is yes; ``yes``
says yes; ``gold_yes`` has the label yes and enters the denominator of recall; ``unparsed`` holds
neither answer. Accuracy, precision, recall and F1 of every tool are ratios of these.
"""


@dataclass(frozen=True)
class AnswerParser:
    """A rule that reads answers to yes-or-no questions.

    Attributes:
        name: What configurations and results call it.
        summary: The rule in one line.
        url: The code that it restates, or an empty string.
        rule: From an answer and its label to a verdict. Only VCD's rule looks at the label.
        is_silent: Tells that neither answer was found although `rule` gave a verdict. Only VCD's
            rule has such answers: it counts them as wrong, whatever the label.
        unparsed_is_missed: Whether an unparsed answer to a question with the label yes lowers
            recall. It does not in lmms-eval, which counts only an exact "no" as a miss.
        note: How the tool's printed figures differ from those computed here, if they do.
    """

    name: str
    summary: str
    url: str
    rule: Callable[[str, str | None], Verdict]
    is_silent: Callable[[str], bool] | None = None
    unparsed_is_missed: bool = True
    note: str = ""

    def parse(self, answer: str, label: str | None = None) -> Verdict:
        """Read one answer.

        Args:
            answer: Any text.
            label: ``"yes"`` or ``"no"``, the right answer. Only ``vcd`` uses it.

        Returns:
            The verdict, None where the rule finds neither answer.
        """
        return self.rule(answer, label)

    def counts(self, answer: str, label: str) -> tuple[int, ...]:
        """What one answer adds to the counts that all figures are made of.

        Args:
            answer: Any text.
            label: ``"yes"`` or ``"no"``.

        Returns:
            Six zeros and ones, in the order of `COUNT_NAMES`.

        Raises:
            ValueError: `label` is neither yes nor no.

        Example:
            >>> dict(zip(COUNT_NAMES, get_parser("strict").counts("Perhaps.", "yes")))
            {'n': 1, 'correct': 0, 'true_yes': 0, 'yes': 0, 'gold_yes': 1, 'unparsed': 1}
        """
        if label not in ("yes", "no"):
            raise ValueError(f"a label must be 'yes' or 'no', got {label!r}")
        verdict = self.parse(answer, label)
        unparsed = verdict is None or (self.is_silent is not None and self.is_silent(answer))
        relevant = label == "yes" and (verdict is not None or self.unparsed_is_missed)
        counts = (
            True,
            verdict == label,
            verdict == label == "yes",
            verdict == "yes",
            relevant,
            unparsed,
        )
        return tuple(map(int, counts))


_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_NOT_OFFICIAL = frozenset({"No", "not", "no"})
_NOT_OPERA = frozenset({"No", "not", "no", "NO"})
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")


def _strict(answer: str, label: str | None = None) -> Verdict:
    """The first word decides, if it is yes or no.

    A word is a run of letters and digits, in which single apostrophes and hyphens may stand
    ("no-one" is one word); whatever precedes it (blanks, quotes, asterisks) is skipped, and case
    does not matter.
    """
    first = _WORD.search(answer)
    return _yes_or_no(first.group().casefold()) if first else None


def _yes_or_no(word: str) -> Verdict:
    if word == "yes":
        return "yes"
    return "no" if word == "no" else None


def _official(answer: str, label: str | None = None) -> Verdict:
    """No if No, not or no is a word of the first sentence, otherwise yes.

    The sentence ends at the first full stop, commas are deleted, and only the blank parts words:
    not a line break, not a tab. An empty answer means yes.
    """
    words = answer.split(".", 1)[0].replace(",", "").split(" ")
    return "yes" if _NOT_OFFICIAL.isdisjoint(words) else "no"


def _opera(answer: str, label: str | None = None) -> Verdict:
    """No if a word of the whole text is No, not, no or NO or ends in n't, otherwise yes."""
    words = answer.replace(".", "").replace(",", "").split(" ")
    negative = any(word in _NOT_OPERA or word.endswith("n't") for word in words)
    return "no" if negative else "yes"


def _vcd(answer: str, label: str | None = None) -> Verdict:
    """Right if the letters of the label occur anywhere in the text, otherwise the other answer.

    Without a label the rule is defined only where both labels lead to the same verdict.
    """
    text = answer.lower()
    for_yes: Verdict = "yes" if "yes" in text else "no"
    for_no: Verdict = "no" if "no" in text else "yes"
    if label is None:
        return for_yes if for_yes == for_no else None
    return for_yes if label == "yes" else for_no


def _vcd_is_silent(answer: str) -> bool:
    text = answer.lower()
    return "yes" not in text and "no" not in text


def _lmms_eval(answer: str, label: str | None = None) -> Verdict:
    """The whole text, stripped and in lower case, must be yes or no; "No." is neither."""
    return _yes_or_no(answer.lower().strip())


def _vlmevalkit(answer: str, label: str | None = None) -> Verdict:
    """Exactly one of yes and no must be among the words, once marks are taken out.

    A mark is deleted if it has a blank next to it anywhere in the text, or if the text holds a
    number such as 1,000; otherwise it parts words. The first 32 full stops that no digit follows
    are deleted; colons and apostrophes stay. The judge model that the tool may ask where this
    fails is left out.
    """
    text = answer.lower()
    marked = text
    delete_all = _DIGIT_COMMA_DIGIT.search(text) is not None
    for mark in _MARKS:
        beside_blank = f"{mark} " in text or f" {mark}" in text
        marked = marked.replace(mark, "" if beside_blank or delete_all else " ")
    words = _FULL_STOP.sub("", marked, count=32).split()
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


_ALL = (
    AnswerParser(
        "strict",
        "the first word, in any case and after any marks, must be yes or no; else unparsed",
        "",
        _strict,
        note="an unparsed answer is wrong, and lowers recall where the label is yes",
    ),
    AnswerParser(
        "pope-official",
        "no if No, not or no is a word of the first sentence; anything else is yes",
        "https://github.com/AoiDragon/POPE",
        _official,
        note="never unparsed: an empty answer counts as yes",
    ),
    AnswerParser(
        "llava",
        "the rule of pope-official, as LLaVA's evaluation script has it",
        "https://github.com/haotian-liu/LLaVA",
        _official,
        note="never unparsed: an empty answer counts as yes",
    ),
    AnswerParser(
        "opera",
        "no if No, not, no, NO or a word in n't occurs anywhere; anything else is yes",
        "https://github.com/shikiw/OPERA",
        _opera,
        note="never unparsed: an empty answer counts as yes",
    ),
    AnswerParser(
        "vcd",
        "right if the letters of the label occur anywhere in the text, else wrong",
        "https://github.com/DAMO-NLP-SG/VCD",
        _vcd,
        is_silent=_vcd_is_silent,
        note="unparsed answers hold neither 'yes' nor 'no' and are wrong whatever the label: they "
        "count as yes where the label is no",
    ),
    AnswerParser(
        "lmms-eval",
        "the stripped text in lower case must equal yes or no; else unparsed",
        "https://github.com/EvolvingLMMs-Lab/lmms-eval",
        _lmms_eval,
        unparsed_is_missed=False,
        note="unparsed answers are wrong and leave precision and recall; the yes ratio that the "
        "tool prints is the share of yes among the labels, here it is that of the answers",
    ),
    AnswerParser(
        "vlmevalkit",
        "exactly one of the words yes and no must occur, marks aside; else unparsed",
        "https://github.com/open-compass/VLMEvalKit",
        _vlmevalkit,
        note="unparsed answers are wrong, and count as no in precision, recall and F1; the tool "
        "prints percentages and, if told to, asks a judge model about unparsed answers",
    ),
)

PARSERS: Final[dict[str, AnswerParser]] = {parser.name: parser for parser in _ALL}
"""Every rule by name."""


def get_parser(name: str) -> AnswerParser:
    """The rule of that name.

    Raises:
        UnknownName: There is none; the message lists all.
    """
    return rule_named("parser", name, PARSERS)


def rule_named(kind: str, name: str, rules: Mapping[str, T]) -> T:
    """The rule of that name among some.

    Args:
        kind: What the rules are, for the message.
        name: Of the wanted one.
        rules: All, by name.

    Raises:
        UnknownName: There is none; the message lists all.
    """
    if name not in rules:
        raise UnknownName(kind, name, list(rules))
    return rules[name]
