"""What a model said, with a record of every token."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import UnsupportedError
from lvlmsal.saliency.options import SaliencyKeywords, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Diagnosis:
    """Judges one answer, by the model that gave it; copies share it, and pickles do without.

    Args:
        judge: what does it; ``None`` once it was pickled.
    """

    def __init__(self, judge: Callable[..., SaliencyReport] | None) -> None:
        self.judge = judge

    def __call__(
        self, options: SaliencyOptions | None = None, **saliency: Unpack[SaliencyKeywords]
    ) -> SaliencyReport:
        """The saliency of the answer.

        Args:
            options: which saliency; by default what its decoder judged it by, or the usual one.
            saliency: fields of the options that are to be others, such as ``row="candidate"``.

        Raises:
            UnsupportedError: the answer was pickled, without the model.
        """
        if self.judge is None:
            raise UnsupportedError(
                "this answer comes out of a pickle, which holds no model: load the model and call "
                "lvlm.diagnose(images, answer.messages or answer.prompt, answer.token_ids), with "
                "the interventions under which the answer was given"
            )
        return self.judge(**({} if options is None else {"options": options}), **saliency)

    def __deepcopy__(self, memo: object) -> Diagnosis:
        return self

    def __reduce__(self) -> tuple[type[Diagnosis], tuple[None]]:
        return Diagnosis, (None,)


@dataclass
class Answer:
    """What a model said, and how each token was chosen.

    Attributes:
        text: the answer.
        prompt: the question; of messages, the text of the last one.
        token_ids: of the answer, end of sequence included where it was generated.
        tokens: one record for each of them.
        spans: where system prompt, images, question and output stand.
        seconds: wall time of the batch, divided by its size.
        forwards: forward passes of the model that its batch took.
        diagnose: runs the saliency of this very answer, under the interventions that made it and,
            after SGRS, with its options; takes ``options`` for others. Pickling an answer leaves
            the model out; what comes back is all but this.
        messages: as they were given; None where the question was a text.
    """

    text: str
    prompt: str
    token_ids: list[int]
    tokens: list[TokenRecord]
    spans: TokenSpans
    seconds: float
    forwards: int
    diagnose: Callable[..., SaliencyReport] = field(repr=False)
    messages: list[Mapping[str, Any]] | None = field(default=None, repr=False)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        options: SaliencyOptions | None = None,
        **saliency: Unpack[SaliencyKeywords],
    ) -> Figure:
        """Diagnose this answer and draw its saliency; see :meth:`SaliencyReport.plot`.

        Args:
            path: where to save it; the suffix chooses the format.
            options: which saliency: by default the same for every decoder, so that pictures can
                stand side by side. ``answer.diagnose().plot()`` draws what SGRS itself read.
        """
        return self.diagnose(options=options or SaliencyOptions()).plot(path)
