"""An answer as it is written, piece by piece."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from lvlmsal.errors import UnsupportedError
from lvlmsal.model.answer import Answer


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are generated; joined they are its text.

    The model works in a thread of its own, from the start on. It stops after the token that it is
    at when the stream is closed, or when nobody holds the stream any more.

    Args:
        decode: Token ids to text.
        generate: Generates the answer, telling each token to a streamer.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], generate: Callable[[BaseStreamer], Answer]
    ) -> None:
        self._work = _Work(decode, generate)
        self._thread = threading.Thread(target=self._work.run, daemon=True)
        # The thread does not hold this object, so that letting go of it stops the thread.
        self._finalizer = weakref.finalize(self, self._work.stop)
        self._thread.start()

    def __next__(self) -> str:
        piece = self._work.pieces.get()
        if piece is not None:
            return piece
        self._work.pieces.put(None)  # for whoever asks once more
        self._thread.join()
        if self._work.error is not None:
            raise self._work.error
        raise StopIteration

    @property
    def answer(self) -> Answer:
        """The whole answer; waits for its end, and takes what is left of the pieces.

        Raises:
            UnsupportedError: The stream was closed before the end of the answer.
        """
        for _ in self:
            pass
        if self._work.answer is None:
            raise UnsupportedError("the stream was closed before the end of the answer")
        return self._work.answer

    def close(self) -> None:
        """Let the model stop after the token that it is at."""
        self._work.stop()
        self._thread.join()


class _Stopped(Exception):
    """The rest of the answer has no reader any more."""


class _Work(BaseStreamer):
    """What the thread does: it generates, and hears of each token."""

    def __init__(
        self, decode: Callable[[list[int]], str], generate: Callable[[BaseStreamer], Answer]
    ) -> None:
        self.pieces: SimpleQueue[str | None] = SimpleQueue()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self._decode, self._generate = decode, generate
        self._ids: list[int] = []
        self._told = ""
        self._heard_prompt = self._stopped = False

    def run(self) -> None:
        """Generate; the end of the pieces is told however that ends."""
        try:
            self.answer = self._generate(self)
        except _Stopped:
            pass
        # of any kind: it is raised where the pieces are taken
        except BaseException as error:
            self.error = error
        finally:
            self.pieces.put(None)

    def stop(self) -> None:
        """Stop at the next token."""
        self._stopped = True

    def put(self, value: Tensor) -> None:
        """Hear of the prompt first, then of each token."""
        if self._stopped:
            raise _Stopped
        if not self._heard_prompt:
            self._heard_prompt = True
            return
        self._ids += value.flatten().tolist()
        text = self._decode(self._ids)
        # The rest of a character that is cut in two comes with a later token.
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            self._tell(text)

    def end(self) -> None:
        """Tell what was held back."""
        self._tell(self._decode(self._ids))

    def _tell(self, text: str) -> None:
        if len(text) > len(self._told):
            self.pieces.put(text[len(self._told) :])
            self._told = text
