"""What a model said, with a record of every token."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from lvlmsal.adapters.spans import TokenSpans
from lvlmsal.decoders.records import TokenRecord
from lvlmsal.errors import LvlmsalError, UnsupportedError, is_out_of_memory
from lvlmsal.escaping import shortened
from lvlmsal.explorer.page import write_page
from lvlmsal.explorer.shown_answer import ShownAnswer
from lvlmsal.frames import data_frame
from lvlmsal.pages import open_in_browser
from lvlmsal.saliency.html import answer_html, plain_html
from lvlmsal.saliency.options import SaliencyKeywords, SaliencyOptions
from lvlmsal.saliency.report import SaliencyReport

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Diagnosis:
    """Judges one answer, by the model that gave it; copies share it, and pickles do without.

    Args:
        judge: what does it; ``None`` once it was pickled.
        own: which saliency the decoder judged the tokens by itself.
    """

    def __init__(
        self,
        judge: Callable[..., SaliencyReport] | None,
        own: SaliencyOptions | None = None,
    ) -> None:
        self.judge, self.own = judge, own

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

    def __reduce__(self) -> tuple[type[Diagnosis], tuple[None, SaliencyOptions | None]]:
        return Diagnosis, (None, self.own)


_COLUMNS = {
    "id": "int64",
    "text": "object",
    "probability": "float64",
    "saliency": "float64",
    "threshold": "float64",
    "tries": "int64",
    "rejected": "int64",
    "fallback": "bool",
}


@dataclass(repr=False)
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
    diagnose: Callable[..., SaliencyReport]
    messages: list[Mapping[str, Any]] | None = None
    _html: str | None = field(default=None, init=False, compare=False)

    def __repr__(self) -> str:
        return (
            f"Answer({shortened(self.text)!r}, {len(self.token_ids)} tokens, "
            f"{self.seconds:.2f} s, to {shortened(self.prompt, 40)!r})"
        )

    def _repr_html_(self) -> str:
        """The words colored by saliency, for notebooks; the first time this takes a diagnosis."""
        if self._html is None:
            try:
                # of the same definition whatever the decoder, as in `plot`
                self._html = answer_html(self.diagnose(options=SaliencyOptions()))
            # Whatever keeps an answer from being judged must not keep it from being read.
            except Exception as error:
                if not isinstance(error, LvlmsalError | ValueError) and not is_out_of_memory(error):
                    raise
                return plain_html(self.prompt, self.text, f"not colored by saliency: {error}")
        return self._html

    def explore(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        browser: bool = True,
        options: SaliencyOptions | None = None,
        **saliency: Unpack[SaliencyKeywords],
    ) -> Path:
        """Diagnose this answer, write the explorer's page of it, and open it in a browser.

        Args:
            path: the file, ``.html``; by default one in a new folder for temporary files.
            browser: whether to open it, where there is a browser with a window to show it in.
            options: which saliency, as in :meth:`plot`.
            saliency: fields of the options that are to be others.

        Returns:
            The file.

        Raises:
            DataError: there is no folder for the file.
        """
        target = Path(path or Path(tempfile.mkdtemp(prefix="lvlmsal-"), "answer.html"))
        own = self.diagnose.own if isinstance(self.diagnose, Diagnosis) else None
        shown = ShownAnswer(
            self.diagnose(options=options or SaliencyOptions(), **saliency),
            records=[token.to_dict() for token in self.tokens],
            own=own,
        )
        written = write_page(target, [shown], title=shortened(self.prompt))
        if browser:
            open_in_browser(written.path)
        return written.path

    def to_pandas(self) -> pd.DataFrame:
        """A frame with a row for each token, and how it was chosen.

        Columns: those of :class:`~lvlmsal.decoders.TokenRecord`; ``rejected`` counts the candidates
        that were turned down. What the decoder has not computed is missing. Needs the ``pandas``
        extra.

        Raises:
            UnsupportedError: pandas is not installed.
        """
        rows = [{**token.to_dict(), "rejected": len(token.rejected)} for token in self.tokens]
        return data_frame(rows, _COLUMNS)

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
            saliency: fields of the options that are to be others.
        """
        return self.diagnose(options=options or SaliencyOptions(), **saliency).plot(path)
