"""Lists of attention heads that belong to one model, in a file or in a config."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lvlmsal.adapters import ModelAdapter
from lvlmsal.errors import DataError, UnsupportedError
from lvlmsal.fits.model_mark import ModelMark
from lvlmsal.readers.rows import read_json_object

FORMAT: Final = "lvlmsal.HeadLists"
VERSION: Final = 1

Head = tuple[int, int]
"""A layer and a query head of it, from 0."""


def heads_key(adapter: ModelAdapter) -> str:
    """What lists of heads call a model: its class, its depth and its query heads.

    >>> from lvlmsal.adapters import adapter_for
    >>> from lvlmsal.testing import tiny_model
    >>> heads_key(adapter_for(tiny_model("llava")))
    'LlavaForConditionalGeneration 2x4'
    """
    heads = int(adapter.text_config.num_attention_heads)
    return f"{type(adapter.model).__name__} {adapter.num_layers}x{heads}"


@dataclass(frozen=True)
class HeadLists:
    """Heads of one model.

    Attributes:
        model: see :func:`heads_key`.
        lists: by name, such as ``"good"`` and ``"bad"``.
        weights: of :class:`~lvlmsal.fits.model_mark.ModelMark`, which tell apart models of one
            shape; empty where they are not known.
        source: where they come from, for people.
    """

    model: str
    lists: Mapping[str, tuple[Head, ...]]
    weights: tuple[float, ...] = ()
    source: str = ""

    @classmethod
    def of(
        cls, adapter: ModelAdapter, lists: Mapping[str, Sequence[Head]], *, source: str = ""
    ) -> HeadLists:
        """Lists of a model that is here, with what tells it from others.

        Args:
            adapter: of the model.
            lists: by name.
            source: where they come from, for people.
        """
        plain = {name: pairs(heads) for name, heads in lists.items()}
        return cls(heads_key(adapter), plain, ModelMark.of(adapter).weights, source)

    def refuse_another(self, adapter: ModelAdapter, what: str) -> None:
        """See that they were made for this model.

        Args:
            adapter: of the model.
            what: What the message calls them.

        Raises:
            UnsupportedError: They are those of another model, or name heads that it lacks.
        """
        here = heads_key(adapter)
        if self.model != here:
            raise UnsupportedError(
                f"{what} is for the model {self.model!r}, and this one is {here!r} (class, layers "
                "x query heads): a head means something in its own model only. Give lists that "
                "were made for this model"
            )
        depth, width = map(int, here.rpartition(" ")[2].split("x"))
        every = [head for heads in self.lists.values() for head in heads]
        if outside := [list(h) for h in every if not (h[0] < depth and h[1] < width)]:
            raise UnsupportedError(
                f"{what} names the heads {outside}, and this model has {depth} layers of {width} "
                "heads, counted from 0"
            )
        if self.weights and not ModelMark.kept_of(adapter).has_weights(self.weights):
            raise UnsupportedError(
                f"{what} is for a model of the same shape with other weights: give lists that "
                "were made for this one"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as JSON.

        Raises:
            DataError: The file cannot be written.
        """
        head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": self.model}
        head |= {"weights": list(self.weights), "source": self.source}
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        lists = {name: [list(head) for head in heads] for name, heads in self.lists.items()}
        text = "{\n" + ",\n".join([*lines, f'"lists": {json.dumps(lists)}']) + "\n}\n"
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot be written: {error.strerror}", path=Path(path)) from error


def pairs(heads: Sequence[Sequence[int]]) -> tuple[Head, ...]:
    """Pairs of layer and head, each once.

    Raises:
        ValueError: One is no pair of numbers from 0.

    >>> pairs([[3, 1], [0, 2], [3, 1]])
    ((3, 1), (0, 2))
    """
    for head in heads:
        whole = len(head) == 2 and all(type(number) is int and number >= 0 for number in head)
        if not whole:
            raise ValueError(f"a head must be [layer, head], both from 0, got {list(head)}")
    return tuple(dict.fromkeys((head[0], head[1]) for head in heads))


def read_head_lists(path: str | os.PathLike[str]) -> HeadLists:
    """Read what :meth:`HeadLists.save` has written, or somebody by hand.

    ``{"format": "lvlmsal.HeadLists", "version": 1, "model": "LlavaForConditionalGeneration 32x32",
    "lists": {"good": [[14, 24], ...], "bad": [...]}}``; ``weights`` and ``source`` may be left out.

    Raises:
        DataError: The file is missing, or is no such file.
    """
    path = Path(path)
    content = read_json_object(path, "a file of head lists")
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise DataError(
            f"expected a file of head lists with 'format': {FORMAT!r} and 'version': {VERSION}, "
            f"got {content.get('format')!r} and {content.get('version')!r}",
            path=path,
        )
    try:
        return HeadLists(
            str(content["model"]),
            {str(name): pairs(heads) for name, heads in content["lists"].items()},
            tuple(float(weight) for weight in content.get("weights", ())),
            str(content.get("source", "")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"is damaged: {error}", path=path) from error
