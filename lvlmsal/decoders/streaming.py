"""The streamer that ``generate`` was given, which it does not hand on to loops of their own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.generation.streamers import BaseStreamer

from lvlmsal.errors import UnsupportedError

# Where `generate` runs, whatever class or wrapper it was called on.
_GENERATE = inspect.unwrap(GenerationMixin.generate).__code__


def given_streamer() -> BaseStreamer | None:
    """The ``streamer=`` of the innermost ``generate`` that this is called from.

    transformers takes ``streamer`` out of the arguments of a ``custom_generate`` callable, after it
    has put the prompt into it, so that whoever reads from it waits for ever. It is still there as
    an argument of the call itself.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not _GENERATE:
        frame = frame.f_back
    found: Any = None if frame is None else frame.f_locals.get("streamer")
    return found  # type: ignore[no-any-return]


@contextmanager
def streaming(own: BaseStreamer | None, prompt: Tensor) -> Iterator[list[BaseStreamer]]:
    """The streamers of a loop of its own, which end with this block however that ends.

    Args:
        own: an argument of the loop; it is told the prompt, for `skip_prompt` counts on that.
        prompt: ids, shape (B, L).

    Yields:
        Whom to tell the tokens, the one that ``generate`` was given among them.
    """
    given: Any = given_streamer()  # `generate` has told it the prompt
    untyped: Any = None if own is given else own
    streamers = [streamer for streamer in (given, untyped) if streamer is not None]
    try:
        if untyped is not None:
            untyped.put(prompt.cpu())
        yield streamers
    finally:
        for streamer in streamers:
            streamer.end()


def refuse_streamer(streamer: BaseStreamer | None, decoder: str) -> None:
    """Refuse to stream beams, and end the stream: somebody may wait at its other end already.

    Args:
        streamer: that was given; nothing happens where there is none.
        decoder: its name.

    Raises:
        UnsupportedError: there is a streamer.
    """
    if streamer is not None:
        streamer.end()  # type: ignore[no-untyped-call]
        raise UnsupportedError(
            f"{decoder} cannot stream tokens, for a beam may still be left for another one: drop "
            "streamer="
        )
