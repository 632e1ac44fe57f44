"""lmms-eval's own loop over a model that is loaded already, where lmms-eval is installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from PIL import Image

from lvlmsal.model.lvlm import Lvlm

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The prompt is rendered already: both sides must read the same tokens."""


def version() -> str | None:
    """Which lmms-eval is installed."""
    try:
        from lmms_eval.models.simple import llava_hf  # noqa: F401  # is all there that it needs?
    except ImportError:
        return None
    return importlib.metadata.version("lmms_eval")


def lmms_loop(lvlm: Lvlm, max_new_tokens: int) -> Callable[[Sequence[tuple[Any, str]]], list[str]]:
    """Its `generate_until` for LLaVA models of transformers, as it would run a task.

    Args:
        lvlm: A LLaVA.
        max_new_tokens: Of every answer.

    Returns:
        Answers pairs of image path and rendered prompt.
    """
    from lmms_eval.api.instance import Instance
    from lmms_eval.models.simple.llava_hf import LlavaHf

    class Loaded(LlavaHf):
        """Around a model in memory instead of one from the hub."""

        rank = 0

        def __init__(self) -> None:
            self._model, self._tokenizer = lvlm.model, lvlm.adapter.tokenizer
            self._image_processor = lvlm.processor
            self._device, self.batch_size_per_gpu, self.use_cache = lvlm.model.device, 1, True
            self.chat_template = TEMPLATE
            self.accelerator = SimpleNamespace(
                is_main_process=True, unwrap_model=lambda model: model
            )
            self.cache_hook = SimpleNamespace(add_partial=lambda *_: None)

    def answer(asked: Sequence[tuple[Any, str]]) -> list[str]:
        loop = Loaded()
        loop.task_dict = {"pope": {"test": list(asked)}}

        def visual(document: tuple[Any, str]) -> list[Image.Image]:
            return [Image.open(document[0]).convert("RGB")]

        requests = [
            Instance(
                request_type="generate_until",
                arguments=(
                    prompt,
                    {"max_new_tokens": max_new_tokens, "until": []},
                    visual,
                    index,
                    "pope",
                    "test",
                ),
                idx=0,
                metadata={"task": "pope", "doc_id": index, "repeats": 1},
            )
            for index, (_, prompt) in enumerate(asked)
        ]
        found: list[str] = loop.generate_until(requests)
        return found

    return answer
