"""Models that are run in other threads, and what is said about that."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from lvlmsal.interventions.locore import LocoRE

STRONG = LocoRE(beta=2.0)
STEPS = 4


def decode(model: Any, inputs: dict[str, Tensor], **options: Any) -> list[Tensor]:
    """What each token was chosen from."""
    how: dict[str, Any] = {"do_sample": False, "max_new_tokens": STEPS, "suppress_tokens": [2]}
    how |= {"output_logits": True, "return_dict_in_generate": True, **options}
    return list(model.generate(**inputs, **how).logits)


def same(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(found) == len(wanted) and all(map(torch.equal, found, wanted))


@contextmanager
def told_about() -> Iterator[list[str]]:
    """The warnings about threads that know of no scope, once the block is over."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told += [str(each.message) for each in caught if "knows of no scope" in str(each.message)]


def in_thread(run: Callable[[], Any]) -> Any:
    """What another thread returns; its error is raised here."""
    found: dict[str, Any] = {}

    def target() -> None:
        try:
            found["value"] = run()
        except Exception as error:
            found["error"] = error

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if "error" in found:
        raise found["error"]
    return found["value"]


class Waits(LogitsProcessor):
    def __init__(self) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.reached.set()
        self.goes_on.wait(60)
        return scores
